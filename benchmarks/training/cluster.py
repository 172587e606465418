"""Clustering for pseudo-labels, beside scikit-learn.

    python -m benchmarks.training.cluster
    python -m benchmarks.training.cluster --images 1000000 --clusters 10000 --only udml

59,551 unit vectors of length 512 (the training part of Stanford Online Products) in 11,318 classes, made
from a seed, into 10,000 clusters; fewer images mean fewer classes and clusters. Contenders, each in fresh
processes, alternating:

udml        spherical k-means as the stage `train` runs it, from random rows
udml-warm   the same, from the centroids that a run on slightly other vectors ended with
sklearn     KMeans as it comes: k-means++, one start, until it no longer moves (at most 300 iterations)
sklearn-20  the same, stopped after as many iterations as udml makes

Inertia is the sum of squared distances to the mean of each cluster, computed here for all of them alike.
"""

import argparse

import numpy as np

from benchmarks.contenders import alternate, machine, ratios, report, spread
from benchmarks.evaluate import make
from udml.config import load_params
from udml.learning.labels.pseudo_labels import cluster

IMAGES, CLUSTERS = 59_551, 10_000
DRIFT = 0.02  # length by which vectors move between two rounds


def main() -> None:
    """Run the contenders and print the table, or run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES, help="fewer for a quick look")
    parser.add_argument("--clusters", type=int, help="default: 10,000, or in proportion for fewer images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=sorted(CONTENDERS), help="run this one alone, print its figures")
    options = parser.parse_args()
    clusters = options.clusters or min(CLUSTERS, CLUSTERS * options.images // IMAGES)
    if options.only:
        import sklearn.cluster  # noqa: F401  - importing is not what is timed

        vectors = make(options.images).embeddings
        start = _earlier_round(vectors, clusters) if options.only == "udml-warm" else None
        report(
            lambda: CONTENDERS[options.only](vectors, clusters, start),
            lambda assigned: {"inertia": inertia(vectors, assigned)},
        )
        return
    print(f"{machine()}; {options.images:,} images, {clusters:,} clusters, {options.rounds} rounds\n")
    arguments = ["--images", str(options.images), "--clusters", str(clusters)]
    found = alternate("benchmarks.training.cluster", list(CONTENDERS), arguments, options.rounds)
    print("| contender | seconds | peak memory, MiB | inertia | times udml |")
    print("|---|---|---|---|---|")
    for name, runs in found.items():
        cells = [
            spread([run["seconds"] for run in runs]),
            spread([run["peak_mib"] for run in runs], 0),
            spread([run["inertia"] for run in runs]),
            ratios(runs, found["udml"]),
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def _udml(vectors: np.ndarray, clusters: int, start: np.ndarray | None) -> np.ndarray:
    params = load_params().train
    return cluster(
        vectors, clusters, params.kmeans_iterations, params.max_points_per_cluster, params.seed, start
    ).assignment


def _earlier_round(vectors: np.ndarray, clusters: int) -> np.ndarray:
    """Where the clusters were before the vectors moved a little: float32 [clusters, d]."""
    noise = np.random.default_rng(1).standard_normal(vectors.shape, np.float32)
    moved = vectors + noise * np.float32(DRIFT / vectors.shape[1] ** 0.5)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    params = load_params().train
    return cluster(
        moved, clusters, params.kmeans_iterations, params.max_points_per_cluster, params.seed
    ).centroids


def _sklearn(vectors: np.ndarray, clusters: int, start: np.ndarray | None) -> np.ndarray:
    from sklearn.cluster import KMeans

    return KMeans(clusters, n_init=1, random_state=0).fit(vectors).labels_


def _sklearn_stopped(vectors: np.ndarray, clusters: int, start: np.ndarray | None) -> np.ndarray:
    from sklearn.cluster import KMeans

    iterations = load_params().train.kmeans_iterations
    return KMeans(clusters, n_init=1, max_iter=iterations, random_state=0).fit(vectors).labels_


CONTENDERS = {"udml": _udml, "udml-warm": _udml, "sklearn": _sklearn, "sklearn-20": _sklearn_stopped}


def inertia(vectors: np.ndarray, assigned: np.ndarray) -> float:
    """Sum of squared distances of unit vectors to their clusters' means: n less the sum of n_c |mean_c|^2."""
    order = np.argsort(assigned, kind="stable")
    sizes = np.bincount(assigned)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])[sizes > 0]
    sums = np.add.reduceat(vectors[order], starts, axis=0).astype(np.float64)
    return float(len(vectors) - ((sums**2).sum(axis=1) / sizes[sizes > 0]).sum())


if __name__ == "__main__":
    main()
