"""Groups of images that look alike, to browse a collection that nobody has labelled."""

from dataclasses import dataclass

import faiss
import numpy as np

from udml.serving.engine.searcher import Searcher

MAX_IMAGES = 50_000  # larger collections are browsed by a sample, spread evenly: a second, 100 MB
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
    """Group what is in a collection now, or a sample of it."""
    ids, vectors, images = searcher.collection.sample(MAX_IMAGES)
    return Clusters(group(ids, vectors), len(ids), images)


def spread_over(searcher: Searcher, at_most: int) -> tuple[list[int], int]:
    """Ids spread evenly over a collection in the order it was indexed and added, and how many there are."""
    ids, _, images = searcher.collection.sample(at_most)
    return ids.tolist(), images


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
