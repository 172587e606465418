"""Pseudo-labels: k-means over embeddings, and how healthy the clusters are.

Shapes: n images, d vector length, k clusters.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from udml.evaluation.labelfree import effective_rank, spread
from udml.learning.labels.exchange import cluster_sums, exchange
from udml.learning.mixing import unit_rows
from udml.machine import usable_cores

MEAN_CLUSTER_SIZE = 25
MAX_CLUSTERS = 10_000
RANK_SAMPLE = 2_000
_AT_ONCE = 65_536


@dataclass(frozen=True)
class Clustering:
    """A partition of n vectors.

    Attributes:
        assignment: int64 [n], cluster of each vector.
        similarity: float32 [n], cosine of each vector to its centroid.
        centroids: float32 [k, d], unit rows.
    """

    assignment: np.ndarray
    similarity: np.ndarray
    centroids: np.ndarray


def choose_clusters(images: int, at_least: int) -> int:
    """How many clusters, from the number of images alone: about 25 images each, at most 10,000."""
    return max(at_least, min(MAX_CLUSTERS, images // MEAN_CLUSTER_SIZE))


def cluster(
    vectors: np.ndarray,
    clusters: int,
    iterations: int,
    max_points_per_cluster: int,
    seed: int,
    start: np.ndarray | None = None,
) -> Clustering:
    """Spherical k-means, then single vectors exchanged between its clusters; see `exchange`.

    Args:
        vectors: float32 [n, d], unit rows, n >= clusters.
        clusters: k.
        iterations: of Lloyd's algorithm.
        max_points_per_cluster: k-means is fitted on at most k times this many vectors, drawn with
            `seed`; all n are assigned.
        seed: of the initial centroids, the draw, and the order of the exchange.
        start: centroids [k, d] of the last round, to begin from (warm start).

    A cluster that loses all its points is re-seeded by FAISS beside a large one; k stays k.
    """
    kmeans: Any = faiss.Kmeans(
        vectors.shape[1],
        clusters,
        niter=iterations,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=max_points_per_cluster,
    )
    with _all_cores():
        kmeans.train(vectors, init_centroids=start)
        found = kmeans.index.search(vectors, 1)[1][:, 0]
    assignment = exchange(vectors, found, clusters, seed)
    return given_clusters(vectors, assignment, clusters)


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let FAISS use them in the block.

    It shares its number of threads with PyTorch, whose sums depend on it. A training that goes on after a
    kill, and has not clustered yet, must have the same.
    """
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(usable_cores())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def given_clusters(vectors: np.ndarray, assignment: np.ndarray, clusters: int) -> Clustering:
    """The clustering of unit rows float32 [n, d] that an assignment int64 [n] into 0 .. k - 1 makes."""
    centroids = unit_means(vectors, assignment, clusters)
    similarity = np.empty(len(vectors), np.float32)
    for first in range(0, len(vectors), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        np.einsum("nd,nd->n", vectors[rows], centroids[assignment[rows]], out=similarity[rows])
    return Clustering(assignment, np.clip(similarity, -1, 1), centroids)


def unit_means(vectors: np.ndarray, assignment: np.ndarray, clusters: int) -> np.ndarray:
    """Mean of each cluster's vectors at length 1, float32 [k, d]; of an empty one, some vector."""
    sums, sizes = cluster_sums(vectors, assignment, clusters)
    empty = np.flatnonzero(sizes == 0)
    sums[empty] = vectors[empty % len(vectors)]
    return unit_rows(sums)


def cluster_health(
    clustering: Clustering, embeddings: np.ndarray, min_points: int, seed: int
) -> dict[str, object]:
    """What a person needs to know of one round, from [n, d] embeddings and their clusters.

    Images in clusters of fewer than `min_points` are left out of the batches. `effective_rank` is taken on a
    fixed sample of at most 2,000 images, so that its cost does not grow with n and rounds compare.
    """
    sizes = np.bincount(clustering.assignment, minlength=len(clustering.centroids))
    edges = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9]
    sample = np.random.default_rng([seed, 1]).permutation(len(embeddings))[:RANK_SAMPLE]
    return {
        "images": len(embeddings),
        "clusters": len(sizes),
        "cluster_sizes_histogram": {"edges": edges, "counts": np.histogram(sizes, edges)[0].tolist()},
        "largest": int(sizes.max()),
        "largest_share": float(sizes.max() / len(embeddings)),
        "share_left_out": float(sizes[sizes < min_points].sum() / len(embeddings)),
        "empty": int((sizes == 0).sum()),
        "singletons": int((sizes == 1).sum()),
        "mean_similarity_to_centroid": float(clustering.similarity.mean()),
        "effective_rank": effective_rank(embeddings[sample]),
        **spread(embeddings),
    }


def churn(before: np.ndarray, after: np.ndarray) -> float:
    """1 - NMI of two assignments int [n]: 0 nothing moved, 1 nothing in common."""
    return 1.0 - nmi(before, after)


def nmi(first: np.ndarray, second: np.ndarray) -> float:
    """Normalised mutual information (arithmetic mean) of two labellings of the same images."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(first, second))
