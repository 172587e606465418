"""Groups of images that look alike, to look at a collection that nobody has labelled."""

import faiss
import numpy as np

_MAX_GROUPS = 60  # more than a person looks through
_ITERATIONS = 15
_MAX_POINTS_PER_GROUP = 256  # that k-means looks at


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
    k = min(_MAX_GROUPS, max(1, round((len(image_ids) / 2) ** 0.5)))
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        k,
        niter=_ITERATIONS,
        spherical=True,
        seed=0,
        min_points_per_centroid=1,
        max_points_per_centroid=_MAX_POINTS_PER_GROUP,
    )
    kmeans.train(vectors)
    similarity, nearest = kmeans.index.search(vectors, 1)
    order = np.lexsort((image_ids, -similarity[:, 0], nearest[:, 0]))
    edges = np.searchsorted(nearest[order, 0], np.arange(1, k))
    groups = [ids for ids in np.split(image_ids[order], edges) if len(ids)]
    return sorted(groups, key=len, reverse=True)
