"""What pseudo-labels cost: k-means with its exchange, and the graph of neighbours.

    python -m benchmarks.training.labels_cost
    python -m benchmarks.training.labels_cost --images 10000 30000

Made-up unit vectors of length 512 in classes of 5 on average (`benchmarks.evaluate.make`) into one cluster
for 25, each in a fresh process of one thread; seconds are of the process's time of the processor, which
leaves out waiting. Their neighbours are nearly noise: in real embeddings cells find more of them. "Found" is
the share of each vector's ten nearest that the graph begins with, on 300 of them.
"""

import argparse
import json
import os
import time
from collections.abc import Callable

import numpy as np

from benchmarks.contenders import alternate, exponent, machine
from benchmarks.evaluate import make
from udml.learning.labels.graph import NEIGHBOURS, graph_labels
from udml.learning.labels.neighbours import nearest_neighbours
from udml.learning.labels.pseudo_labels import MEAN_CLUSTER_SIZE, cluster

_ASKED = 300
WAYS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "kmeans": lambda vectors, k: cluster(vectors, k, 20, 256, 0).assignment,
    "graph": lambda vectors, k: graph_labels(vectors, k, 0),
}


def main() -> None:
    """Print a table, or do one clustering of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--only", choices=list(WAYS), help="this one alone, for the first number of images")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(_measured(options.only, options.images[0])))
        return
    print(f"{machine()}\n")
    print("| vectors | labels | clusters | found, % | seconds | peak memory, MiB |")
    print("|---|---|---|---|---|---|", flush=True)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for images in options.images:
        found = alternate("benchmarks.training.labels_cost", list(WAYS), ["--images", str(images)], rounds=1)
        for way, (figures,) in found.items():
            seconds[way].append(figures["seconds"])
            print(_row(images, way, figures), flush=True)
    for way, spent in seconds.items():
        print(f"\n{way}: seconds grow with an exponent of {exponent(options.images, spent):.2f}")


def _measured(way: str, images: int) -> dict[str, float]:
    import resource

    vectors = make(images).embeddings
    WAYS[way](vectors[:500], 20)  # imports are not what is measured
    began = time.process_time()
    found = WAYS[way](vectors, images // MEAN_CLUSTER_SIZE)
    spent = time.process_time() - began
    return {
        "seconds": spent,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "clusters": float(found.max() + 1),
        "recall": _recall(vectors) if way == "graph" else float("nan"),
    }


def _recall(vectors: np.ndarray) -> float:
    asked = np.random.default_rng(0).choice(len(vectors), _ASKED, replace=False)
    similarity = vectors[asked] @ vectors.T
    similarity[np.arange(_ASKED), asked] = -np.inf
    truth = np.argpartition(-similarity, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    found = nearest_neighbours(vectors, NEIGHBOURS, 0)[asked, 1:]
    shared = [len(set(a) & set(b)) for a, b in zip(truth.tolist(), found.tolist(), strict=True)]
    return float(np.mean(shared)) / NEIGHBOURS


def _row(images: int, way: str, found: dict[str, float]) -> str:
    recall = "-" if way == "kmeans" else f"{100 * found['recall']:.0f}"
    return (
        f"| {images:,} | {way} | {found['clusters']:,.0f} | {recall} | {found['seconds']:.1f} "
        f"| {found['peak_mib']:,.0f} |"
    )


if __name__ == "__main__":
    main()
