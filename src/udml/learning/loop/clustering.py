"""The pseudo-classes of a round: how many, by k-means or the graph, and in all processes the same.

Shapes: n training images, d length of embeddings.
"""

from typing import Any, TypeVar

import numpy as np

from udml.learning.labels.graph import graph_labels
from udml.learning.labels.judged import with_judgements
from udml.learning.labels.number import find_clusters
from udml.learning.labels.pseudo_labels import Clustering, cluster, given_clusters, unit_means
from udml.learning.loop.run import Run

Agreed = TypeVar("Agreed")


def agreed(run: Run, decision: Agreed) -> Agreed:
    """What the first process decided, in all of them."""
    decisions = [decision]
    if run.device.accelerator.num_processes > 1:
        from accelerate.utils import broadcast_object_list

        broadcast_object_list(decisions)
    return decisions[0]


def find_number(run: Run, vectors: np.ndarray) -> dict[str, Any]:
    """Set how many clusters there are, if that is to be found; what the log says of it.

    A loss with a proxy for each needs their number before the first round: it keeps the usual one. Classes
    that a benchmark teaches stay as many as they are; what speaks for the number still bears on the loss.
    """
    if run.params.clusters != "auto" or hasattr(run.loss.loss, "proxies"):
        return {}
    found = find_clusters(vectors, run.params.clusters_per_batch, run.params.seed)
    if run.data.taught is None:
        run.clusters = found.clusters
    strengths = {str(size): strength for size, strength in found.strengths.items()}
    return {
        "strengths_by_cluster_size": strengths,
        "found_cluster_size": found.mean_size,
        "clusters_found_on_images": found.images,
    }


def pseudo_labels(run: Run, vectors: np.ndarray, first: bool) -> Clustering:
    """The round's pseudo-classes, respecting what people said; or the classes that a benchmark teaches.

    Args:
        run: its `clusters` are how many there are to be.
        vectors: float32 [n, d], unit rows.
        first: whether it is the first round.
    """
    if run.data.taught is not None:
        return given_clusters(vectors, run.data.taught, run.clusters)
    made = _by_graph(run, vectors) if run.params.labels == "graph" else _by_kmeans(run, vectors, first)
    return with_judgements(made, vectors, run.data.links)


def _by_kmeans(run: Run, vectors: np.ndarray, first: bool) -> Clustering:
    params = run.params
    # where each cluster is now; the last centroids are where it was before the network moved
    start = None if first else unit_means(vectors, run.state.assignment, run.clusters)
    return cluster(
        vectors, run.clusters, params.kmeans_iterations, params.max_points_per_cluster, params.seed, start
    )


def _by_graph(run: Run, vectors: np.ndarray) -> Clustering:
    """One process makes them for all: on machines of two kinds, rounding may decide otherwise."""
    found: np.ndarray | None = None
    if run.device.accelerator.is_main_process:
        found = graph_labels(vectors, run.clusters, run.params.seed)
    found = agreed(run, found)
    assert found is not None
    return given_clusters(vectors, found, run.clusters)
