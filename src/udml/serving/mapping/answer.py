"""A collection's map in one compact answer: 13 bytes an image, so that 50,000 are 650 kB.

| bytes         | what                                                                               |
|---------------|------------------------------------------------------------------------------------|
| 4             | length h of the head, uint32; all numbers are little-endian                          |
| h             | the head, JSON, filled up with spaces to a multiple of 8 less 4: `Head`              |
| 8 n           | ids, uint64                                                                        |
| 4 n           | places, uint16 x and y; 0 to 65535 is -1 to 1                                        |
| n             | numbers of groups, uint8; images of a group lie together, the most typical first      |
"""

import asyncio
import json
from collections.abc import Callable

import numpy as np

from udml.collection.collection import Collection
from udml.collection.contract import CollectionStore
from udml.search.gallery import vectors_of
from udml.search.mapping.places import MOST_PLACES, Places, as_bytes, group_numbers, places_beside
from udml.serving.engine.searcher import Searcher
from udml.serving.service.clusters import Clusters
from udml.serving.service.service import Service
from udml.serving.service.switching import OpenVersion

NO_MAP = "This version was indexed before there were maps; index it again with `dvc repro index` to get one."

NO_MAP_THERE = "A collection in Milvus has no map; its groups are below."


def encode(searcher: Searcher, clusters: Clusters) -> bytes:
    """The map of the images that are grouped, at most 50,000: those laid out, and those added beside them."""
    collection = searcher.collection
    places = collection.index.places if isinstance(collection, Collection) else None
    ids, groups = np.concatenate([np.empty(0, np.int64), *clusters.groups]), group_numbers(clusters.groups)
    points = np.empty((0, 2), np.float32)
    if isinstance(collection, Collection) and places is not None:
        points = _points(collection, places, ids)
    kept = np.flatnonzero(~np.isnan(points[:, 0]))
    if len(kept) > MOST_PLACES:  # spread, so that every group stays
        kept = kept[np.linspace(0, len(kept) - 1, MOST_PLACES).round().astype(np.int64)]
    head = {
        "images": clusters.images,
        "placed": len(kept),
        "groups": len(clusters.groups),
        "missing": None if places is not None else _why_missing(collection),
    }
    text = json.dumps(head).encode()
    text += b" " * (-(len(text) + 4) % 8)
    arrays = ids[kept].astype("<u8"), as_bytes(points[kept]), groups[kept]
    return b"".join([len(text).to_bytes(4, "little"), text, *(array.tobytes() for array in arrays)])


def _why_missing(collection: CollectionStore) -> str:
    return NO_MAP if isinstance(collection, Collection) else NO_MAP_THERE


def _points(collection: Collection, places: Places, ids: np.ndarray) -> np.ndarray:
    """Places of images, float32 [n, 2]; NaN for those removed meanwhile."""
    points = places.of(ids)
    overlay = collection.refresh()
    order = np.argsort(overlay.ids)
    rows = np.searchsorted(overlay.ids, ids, sorter=order)
    rows = order[np.minimum(rows, len(order) - 1)] if len(order) else np.zeros(len(ids), np.int64)
    added = np.flatnonzero(overlay.ids[rows] == ids) if len(order) else np.empty(0, np.int64)
    if len(added):
        placed = vectors_of(collection.index, places.ids)
        points[added] = places_beside(overlay.vectors[rows[added]], placed, places.points)
    return points


class MapOfVersion:
    """The map of what serves; made when first asked for, and again after a change."""

    def __init__(self) -> None:
        self._made: tuple[str, bytes] | None = None
        self._making = asyncio.Lock()

    async def get(self, service: Service, version: OpenVersion) -> tuple[str, bytes]:
        """Its tag, which changes with it, and its bytes; see `encode`."""
        clusters = await service.clusters(version)
        tag = f'"{version.name}-{version.searcher.version.revision}"'
        async with service.deadline(), self._making:
            if self._made is None or self._made[0] != tag:
                make: Callable[[], bytes] = lambda: encode(version.searcher, clusters)  # noqa: E731
                self._made = (tag, await service.run(version, make))
            return self._made
