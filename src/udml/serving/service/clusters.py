"""Groups of images that look alike, to browse a collection that nobody has labelled."""

from dataclasses import dataclass

import numpy as np

from udml.collection.collection import Collection
from udml.search.gallery import vectors_of
from udml.search.mapping.groups import group
from udml.search.mapping.places import sample_of
from udml.serving.engine.searcher import Searcher

MAX_IMAGES = 50_000  # of the index; larger ones are browsed by a sample, that on the map: 100 MB


@dataclass(frozen=True)
class Clusters:
    """The groups of a collection, largest first.

    Attributes:
        groups: image_ids of each, int64, the most typical first.
        grouped: images in them.
        images: images in the collection.
    """

    groups: list[np.ndarray]
    grouped: int
    images: int


def group_collection(searcher: Searcher) -> Clusters:
    """Group what is in a collection now, or a sample of it: that on its map, if it has one."""
    collection = searcher.collection
    if isinstance(collection, Collection):
        ids, vectors, images = _sample_on_map(collection)
    else:
        ids, vectors, images = collection.sample(MAX_IMAGES)
    return Clusters(group(ids, vectors), len(ids), images)


def spread_over(searcher: Searcher, at_most: int, where: str | None = None) -> tuple[list[int], int]:
    """Ids spread evenly over a collection in the order it was indexed and added, and how many there are.

    With a filter, over what meets it.
    """
    if where is not None:
        chosen = searcher.collection.choose(where)
        return chosen.spread(at_most), len(chosen)
    ids, _, images = searcher.collection.sample(at_most)
    return ids.tolist(), images


def _sample_on_map(collection: Collection) -> tuple[np.ndarray, np.ndarray, int]:
    overlay = collection.refresh()
    indexed = np.setdiff1d(collection.index.ids, overlay.hidden)
    images = len(indexed) + len(overlay.ids)
    indexed = sample_of(indexed, collection.index.places, MAX_IMAGES)
    ids = np.concatenate([indexed, overlay.ids[:MAX_IMAGES]])
    vectors = np.concatenate([vectors_of(collection.index, indexed), overlay.vectors[:MAX_IMAGES]])
    return ids, vectors, images
