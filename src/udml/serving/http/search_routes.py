"""POST /v1/embed and /v1/search."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from udml.serving.engine.answers import Hit
from udml.serving.http import schemas
from udml.serving.http.collection_routes import known
from udml.serving.http.dependencies import CurrentVersion, ForReaders, problems, upload_body
from udml.serving.service.problems import Problem
from udml.serving.service.switching import OpenVersion

router = APIRouter(prefix="/v1", tags=["search"])


@router.post("/embed", responses=problems(400, 408, 413, 415), openapi_extra=upload_body())
async def embed(request: Request, service: ForReaders, version: CurrentVersion) -> schemas.Embedding:
    """The vector of an image."""
    answer = await service.ask(request, version)
    return schemas.Embedding(
        version=version.name, model_version=version.model_version, embedding=answer.vector.tolist()
    )


@router.post(
    "/search", responses=problems(400, 404, 408, 413, 415), openapi_extra=upload_body(required=False)
)
async def search(
    request: Request,
    service: ForReaders,
    version: CurrentVersion,
    k: Annotated[int, Query(ge=1, le=200, description="neighbours wanted")] = 8,
    threshold: Annotated[
        float | None, Query(ge=-1, le=1, description="leave out what is less similar")
    ] = None,
    image_id: Annotated[schemas.Id | None, Query(alias="id")] = None,
) -> schemas.Neighbours:
    """The images most like the one in the body, or like the one of the collection that has this id."""
    if image_id is None:
        hits = (await service.ask(request, version, k, threshold)).hits
    else:
        async with service.uploads.read(request) as uploads:
            if uploads:
                raise Problem(400, "image_and_id", "search with an image or with an id, not with both")
        hits = await service.run(version, lambda: _neighbours_of(version, image_id, k, threshold))
    return schemas.Neighbours(
        version=version.name,
        no_match_below=version.searcher.no_match_below,
        neighbours=[schemas.Neighbour.of_hit(hit) for hit in hits],
    )


def _neighbours_of(version: OpenVersion, image_id: str, k: int, threshold: float | None) -> list[Hit]:
    return version.searcher.neighbours_of(known(version, image_id).image_id, k, threshold)
