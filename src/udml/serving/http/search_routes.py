"""POST /v1/embed and /v1/search."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from udml.serving.http import schemas
from udml.serving.http.dependencies import VERSION_HEADER, CurrentVersion, ForReaders, problems, upload_body
from udml.serving.http.search_query import SearchQuery
from udml.serving.service.asking import UNLIKE
from udml.serving.service.asking import search as ask

router = APIRouter(prefix="/v1", tags=["search"])


@router.post("/embed", responses=problems(400, 408, 413, 415), openapi_extra=upload_body())
async def embed(request: Request, service: ForReaders, version: CurrentVersion) -> schemas.Embedding:
    """The vector of an image."""
    answer = await service.embed(request, version)
    return schemas.Embedding(
        version=version.name, model_version=version.model_version, embedding=answer.vector.tolist()
    )


@router.post(
    "/search",
    response_model=schemas.Neighbours,
    responses=problems(400, 404, 408, 413, 415),
    openapi_extra=upload_body(required=False, many=True, others=[UNLIKE]),
)
async def search(
    request: Request,
    service: ForReaders,
    version: CurrentVersion,
    query: Annotated[SearchQuery, Query()],
) -> Response:
    """The images most like the one in the body, or like the one of the collection that has this id.

    With several pictures, or some to stay away from, what is like all of them together.
    """
    wanted = query.wanted()
    matching = await service.matching(version, wanted.where)  # a wrong filter is told before anything is done
    hits, pictures = await ask(service, request, version, wanted, query.asked())
    is_refined = wanted.refine == "auto" and version.searcher.knows_neighbourhoods
    answer = schemas.Neighbours(
        version=version.name,
        refine="neighbourhood" if is_refined else "none",
        no_match_below=version.searcher.no_match_below if pictures == 1 else None,
        matching=matching,
        neighbours=[schemas.Neighbour.of_hit(hit) for hit in hits],
    )
    # FastAPI would check it once more, and write it then
    return Response(
        answer.model_dump_json(), media_type="application/json", headers={VERSION_HEADER: version.name}
    )
