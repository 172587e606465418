"""The map of the collection, and what is behind its points."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from udml.serving.http import schemas
from udml.serving.http.dependencies import VERSION_HEADER, CurrentVersion, ForReaders, problems
from udml.serving.mapping.answer import MapOfVersion

_MOST_ITEMS = 200
router = APIRouter(prefix="/v1/map", tags=["collection"])
_ANSWERS: dict[int | str, dict[str, object]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "see docs/map.md for its layout"},
    304: {"description": "It is what you have"},
}


@router.get("", responses={**problems(), **_ANSWERS}, response_class=Response)
async def whole_map(
    request: Request,
    service: ForReaders,
    version: CurrentVersion,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Where the images lie on the map, in groups: binary, at most 50,000."""
    state = request.app.state
    if not hasattr(state, "map"):  # on the event loop: nothing comes between
        state.map = MapOfVersion()
    tag, content = await state.map.get(service, version)
    headers = {
        VERSION_HEADER: version.name,
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization",
    }
    if tag in [given.strip().removeprefix("W/") for given in (if_none_match or "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get("/items", responses=problems())
async def items_of_map(
    service: ForReaders,
    version: CurrentVersion,
    image_ids: Annotated[list[schemas.Id], Query(alias="id", min_length=1, max_length=_MOST_ITEMS)],
) -> schemas.MapItems:
    """Images by their ids, in the order asked for; those that are not in the collection are left out."""
    numbers = [int(one, 16) for one in image_ids]
    found = await service.run(version, lambda: version.searcher.collection.items(numbers))
    items = [schemas.Item.of(found[number]) for number in numbers if number in found]
    return schemas.MapItems(version=version.name, items=items)
