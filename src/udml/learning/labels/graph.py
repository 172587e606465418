"""Pseudo-labels from the graph of neighbours, as `train.labels: graph` has them in place of k-means alone.

Every image is mixed with its nearest (`mixtures`), the mixtures are merged along their graph (`ward`) until
as many clusters are left as there are to be, and single ones are exchanged between these (`exchange`). How
many, is found as for k-means (`number`). Every image is in a cluster: what nothing is near to is in a small
one, and batches pass over those of fewer than `train.min_points_per_cluster`.

Shapes: n images, d vector length, k clusters.
"""

import numpy as np

from udml.learning.labels.exchange import exchange
from udml.learning.labels.mixtures import mixtures
from udml.learning.labels.neighbours import nearest_neighbours
from udml.learning.labels.pseudo_labels import unit_means
from udml.learning.labels.ward import ward_clusters

AT_MOST_IMAGES = 100_000  # of more a sample is labelled; the rest joins its clusters
NEIGHBOURS = 10
_ROWS_AT_ONCE = 4_096


def graph_labels(vectors: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Which cluster each of `vectors` is in: int64 [n], 0 .. clusters - 1.

    Args:
        vectors: float32 [n, d], unit rows, n >= clusters.
        clusters: k, at least 1.
        seed: of the sample, of the cells in which neighbours are sought, of the order of exchanges, and of
            what decides between equals.
    """
    rows = np.arange(len(vectors))
    if len(vectors) > AT_MOST_IMAGES:
        rows = np.sort(np.random.default_rng([seed, 4]).choice(rows, AT_MOST_IMAGES, replace=False))
    found = _clusters(np.ascontiguousarray(vectors[rows]), clusters, seed)
    return found if len(rows) == len(vectors) else _joined(vectors, rows, found, clusters)


def _clusters(vectors: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    k = min(NEIGHBOURS, len(vectors) - 1)
    mixed = mixtures(vectors, nearest_neighbours(vectors, k, seed))
    nearest = nearest_neighbours(mixed, k, seed)
    found = ward_clusters(mixed, nearest, clusters, seed)
    # between clusters of neighbours: comparing with all finds hardly more, and costs the square
    return exchange(mixed, found, clusters, seed, nearest)


def _joined(vectors: np.ndarray, rows: np.ndarray, sampled: np.ndarray, clusters: int) -> np.ndarray:
    """Everybody's cluster, int64 [n], given that of a sample: the rest joins the nearest mean."""
    found = np.empty(len(vectors), np.int64)
    found[rows] = sampled
    means = unit_means(vectors[rows], sampled, clusters)
    rest = np.setdiff1d(np.arange(len(vectors)), rows, assume_unique=True)
    for first in range(0, len(rest), _ROWS_AT_ONCE):
        some = rest[first : first + _ROWS_AT_ONCE]
        found[some] = (vectors[some] @ means.T).argmax(axis=1)
    return found
