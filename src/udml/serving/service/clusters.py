"""Groups of images that look alike, to browse a collection that nobody has labelled."""

from dataclasses import dataclass

import faiss
import numpy as np

from udml.search.gallery import vectors_of
from udml.serving.engine.searcher import Searcher

MAX_IMAGES = 50_000  # of the index; larger ones are browsed by a random sample: a second, 100 MB
_MAX_CLUSTERS = 60  # more than a person looks through
_ITERATIONS = 15
_MAX_POINTS_PER_CLUSTER = 256  # that k-means looks at


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
    """Group what is in a collection now, or a random sample of it."""
    collection = searcher.collection
    overlay = collection.refresh()
    indexed = np.setdiff1d(collection.index.ids, overlay.hidden)
    images = len(indexed) + len(overlay.ids)
    if len(indexed) > MAX_IMAGES:
        indexed = np.random.default_rng(0).choice(indexed, MAX_IMAGES, replace=False)
    ids = np.concatenate([indexed, overlay.ids[:MAX_IMAGES]])
    vectors = np.concatenate([vectors_of(collection.index, indexed), overlay.vectors[:MAX_IMAGES]])
    return Clusters(group(ids, vectors), len(ids), images)


def spread_over(searcher: Searcher, at_most: int) -> tuple[list[int], int]:
    """Ids spread evenly over a collection in the order it was indexed and added, and how many there are."""
    overlay = searcher.collection.refresh()
    indexed = searcher.collection.index.ids
    ids = np.concatenate([indexed[~np.isin(indexed, overlay.hidden)], overlay.ids])
    chosen = np.unique(np.linspace(0, len(ids) - 1, min(at_most, len(ids))).round().astype(np.int64))
    return ids[chosen].tolist(), len(ids)


def group(image_ids: np.ndarray, vectors: np.ndarray) -> list[np.ndarray]:
    """Group images by k-means: about as many groups as a group has images, but never too many.

    Args:
        image_ids: int64 [n].
        vectors: float32 [n, d], unit rows.

    Returns:
        The image_ids of each group, most typical first; the largest group first.
    """
    if not len(image_ids):
        return []
    k = min(_MAX_CLUSTERS, max(1, round((len(image_ids) / 2) ** 0.5)))
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        k,
        niter=_ITERATIONS,
        spherical=True,
        seed=0,
        min_points_per_centroid=1,
        max_points_per_centroid=_MAX_POINTS_PER_CLUSTER,
    )
    kmeans.train(vectors)
    similarity, nearest = kmeans.index.search(vectors, 1)
    order = np.lexsort((image_ids, -similarity[:, 0], nearest[:, 0]))
    edges = np.searchsorted(nearest[order, 0], np.arange(1, k))
    groups = [ids for ids in np.split(image_ids[order], edges) if len(ids)]
    return sorted(groups, key=len, reverse=True)
