"""The images of the collection: one of them, groups of them, adding and removing."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from udml.collection.outcome import NoImageError
from udml.search.items import Item
from udml.serving.http import schemas
from udml.serving.http.dependencies import (
    VERSION_HEADER,
    CurrentVersion,
    ForReaders,
    ForWriters,
    IdInPath,
    problems,
    upload_body,
)
from udml.serving.http.search_query import Where
from udml.serving.service.clusters import spread_over
from udml.serving.service.editing import add_uploads
from udml.serving.service.problems import Problem
from udml.serving.service.switching import OpenVersion

_EXAMPLES = 6  # of each group
_IMAGE_SECONDS = 300  # a browser may show a thumbnail for this long without asking again
router = APIRouter(prefix="/v1", tags=["collection"])


@router.get("/items/{id}", responses=problems(404))
async def item(service: ForReaders, version: CurrentVersion, image_id: IdInPath) -> schemas.ItemAnswer:
    """One image of the collection."""
    found = await service.run(version, lambda: known(version, image_id))
    return schemas.ItemAnswer(version=version.name, item=schemas.Item.of(found))


@router.get("/items", responses=problems())
async def some_items(
    service: ForReaders,
    version: CurrentVersion,
    limit: Annotated[int, Query(ge=1, le=200, description="how many")] = 24,
    where: Where = None,
) -> schemas.Items:
    """Images spread evenly over the collection, to show what it holds; the same ones until it changes.

    With a filter, over what meets it, and `images` counts that.
    """

    def look() -> schemas.Items:
        ids, images = spread_over(version.searcher, limit, where)
        return schemas.Items(version=version.name, images=images, items=_items(version, ids))

    return await service.run(version, look)


@router.get(
    "/items/{id}/image",
    responses={**problems(404), 200: {"content": {"image/jpeg": {}}}},
    response_class=Response,
)
async def item_image(
    service: ForReaders,
    version: CurrentVersion,
    image_id: IdInPath,
    side_px: Annotated[int, Query(ge=16, le=1600, description="of the longer side, at most")] = 256,
) -> Response:
    """An image of the collection, made small: always a JPEG, never the file that was sent."""

    def make() -> bytes:
        number = known(version, image_id).image_id
        return service.thumbnails.get(
            (version.name, number, side_px), lambda: version.searcher.thumbnail(number, side_px)
        )

    headers = {VERSION_HEADER: version.name, "Cache-Control": f"private, max-age={_IMAGE_SECONDS}"}
    return Response(await service.run(version, make), media_type="image/jpeg", headers=headers)


@router.get("/clusters", responses=problems())
async def clusters(service: ForReaders, version: CurrentVersion) -> schemas.Groups:
    """The collection in groups of images that look alike, largest first."""
    made = await service.clusters(version)
    heads = [ids[:_EXAMPLES].tolist() for ids in made.groups]
    examples = await service.run(version, lambda: [_items(version, head) for head in heads])
    return schemas.Groups(
        version=version.name,
        images=made.images,
        grouped=made.grouped,
        clusters=[
            schemas.Group(cluster=number, images=len(ids), examples=some)
            for number, (ids, some) in enumerate(zip(made.groups, examples, strict=True))
        ],
    )


@router.get("/clusters/{cluster}", responses=problems(404))
async def cluster_items(
    service: ForReaders,
    version: CurrentVersion,
    cluster: Annotated[int, Path(ge=0, le=10_000)],
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
) -> schemas.GroupItems:
    """Images of one group, the most typical first."""
    groups = (await service.clusters(version)).groups
    if cluster >= len(groups):
        raise Problem(404, "not_found", f"there is no cluster {cluster}, there are {len(groups)}")
    ids = groups[cluster][offset : offset + limit].tolist()
    items = await service.run(version, lambda: _items(version, ids))
    return schemas.GroupItems(version=version.name, cluster=cluster, images=len(groups[cluster]), items=items)


@router.post(
    "/items",
    responses=problems(400, 408, 413, 415),
    openapi_extra=upload_body(many=True),
)
async def add_items(
    request: Request,
    service: ForWriters,
    version: CurrentVersion,
    name: Annotated[
        str | None, Query(min_length=1, max_length=500, description="of an image sent as the whole body")
    ] = None,
    label: Annotated[
        str | None, Query(min_length=1, max_length=200, description="class of the images")
    ] = None,
) -> schemas.AddedItems:
    """Add images, one as the body or many as parts of a form. They are on disk when this answers."""
    service.batcher.require_room()
    async with service.uploads.read(request, name) as uploads:
        if not uploads:
            raise Problem(400, "no_image", "send at least one image")
        done = await add_uploads(service, version, uploads, label)
    return schemas.AddedItems(version=version.name, items=[schemas.AddedItem.of(added) for added in done])


@router.delete("/items", responses=problems(404))
async def remove_items(
    service: ForWriters,
    version: CurrentVersion,
    image_ids: Annotated[list[schemas.Id], Query(alias="id", min_length=1, max_length=100)],
) -> schemas.RemovedItems:
    """Remove images, all of these or none. That is on disk when this answers."""

    def remove() -> None:
        try:
            version.searcher.remove([int(image_id, 16) for image_id in image_ids])
        except NoImageError as error:  # perhaps somebody else has just removed it
            raise _not_found(f"{error.image_id:016x}") from error

    await service.write(version, remove)
    return schemas.RemovedItems(version=version.name, removed=image_ids)


def known(version: OpenVersion, image_id: str) -> Item:
    """The image of this id, or a 404."""
    try:
        return version.searcher.item(int(image_id, 16))
    except NoImageError as error:
        raise _not_found(image_id) from error


def _not_found(image_id: str) -> Problem:
    return Problem(404, "not_found", f"there is no image {image_id} in the collection")


def _items(version: OpenVersion, image_ids: list[int]) -> list[schemas.Item]:
    found = version.searcher.collection.items(image_ids)
    return [schemas.Item.of(found[number]) for number in image_ids if number in found]
