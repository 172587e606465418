"""Evaluation at the size of Stanford Online Products, beside pytorch-metric-learning.

    python -m benchmarks.evaluate

60,502 unit vectors of length 512 in 11,316 classes, made from a seed: class centres with noise.
Contenders, each in fresh processes, alternating:

udml               Recall@1/10/100/1000, MAP@R, R-precision
pml-same           AccuracyCalculator with the same figures (Recall@K added the way its manual says), k = 1000
pml-fewer          AccuracyCalculator as it comes: precision@1, MAP@R, R-precision, k = the largest class
udml-nmi, pml-nmi  clustering into as many clusters as classes, and NMI

Then udml's figures are compared, query by query, with a slow reference on a subset.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.contenders import Figures, alternate, machine, ratios, report, spread
from udml.evaluation.agreement import clustering_scores
from udml.evaluation.metrics import TIE, Embedded, score_queries

IMAGES, CLASSES, DIM = 60_502, 11_316, 512
RECALL_AT = (1, 10, 100, 1000)
MEMORY_BUDGET_BYTES = 512 * 2**20
SUBSET = 2000
NOISE = 2.4  # length of the noise, the class centre having length 1


def main() -> None:
    """Run the contenders and print the table, or run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES, help="fewer for a quick look")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=sorted(CONTENDERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        embedded = make(options.images)
        report(CONTENDERS[options.only](embedded), lambda figures: figures)
        return
    print(f"{machine()}; {options.images:,} images, {options.rounds} rounds\n")
    check_against_reference(make(options.images))
    found = alternate(
        "benchmarks.evaluate", list(CONTENDERS), ["--images", str(options.images)], options.rounds
    )
    print("| contender | seconds | peak memory, MiB | R@1 | R@1000 | MAP@R | NMI | times udml |")
    print("|---|---|---|---|---|---|---|---|")
    for name, runs in found.items():
        cells = [
            f"{100 * runs[0][key]:.2f}" if key in runs[0] else ""
            for key in ("r1", "r1000", "map_at_r", "nmi")
        ]
        own = found["udml-nmi" if "nmi" in name else "udml"]
        shown = [name, spread([r["seconds"] for r in runs]), spread([r["peak_mib"] for r in runs], 0), *cells]
        print(f"| {' | '.join(shown)} | {ratios(runs, own)} |")


def make(images: int) -> Embedded:
    """Unit vectors around class centres; the classes are as uneven as those of the data set."""
    rng = np.random.default_rng(0)
    classes = max(2, CLASSES * images // IMAGES)
    labels = np.sort(np.concatenate([np.arange(classes), rng.integers(0, classes, images - classes)]))
    centres = rng.standard_normal((classes, DIM), np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = rng.standard_normal((images, DIM), np.float32) * np.float32(NOISE / DIM**0.5)
    vectors += centres[labels]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Embedded(vectors, labels, np.arange(images))


# A contender does its imports when it is made, and its work when it is called; only that is timed.
Work = Callable[[], Figures]


def _udml(embedded: Embedded) -> Work:
    def work() -> Figures:
        found = score_queries(
            embedded, embedded, np.arange(len(embedded.labels)), RECALL_AT, False, MEMORY_BUDGET_BYTES
        )
        means = {name: float(values.mean()) for name, values in found.values.items()}
        return {"r1": means["recall_at_1"], "r1000": means["recall_at_1000"], "map_at_r": means["map_at_r"]}

    return work


def _udml_nmi(embedded: Embedded) -> Work:
    import faiss  # noqa: F401
    import sklearn.metrics  # noqa: F401

    return lambda: {"nmi": clustering_scores(embedded.embeddings, embedded.labels, seed=0)["nmi"]}


def _pml_same(embedded: Embedded) -> Work:
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    def recall_at(k: int) -> Callable[..., float]:
        def calculate(
            self: Any, knn_labels: Any, query_labels: Any, not_lone_query_mask: Any, **_: Any
        ) -> float:
            hits = knn_labels[not_lone_query_mask, :k] == query_labels[not_lone_query_mask, None]
            return hits.any(1).float().mean().item()

        return calculate

    recalls = [f"recall_at_{k}" for k in RECALL_AT]
    added: dict[str, Any] = {f"calculate_recall_at_{k}": recall_at(k) for k in RECALL_AT}
    added["requires_knn"] = lambda self: [*AccuracyCalculator.requires_knn(self), *recalls]
    with_recall = type("WithRecall", (AccuracyCalculator,), added)
    names = ("mean_average_precision_at_r", "r_precision", *recalls)
    calculator = with_recall(include=names, k=min(1000, len(embedded.labels) - 1))
    shown = {"r1": "recall_at_1", "r1000": "recall_at_1000", "map_at_r": "mean_average_precision_at_r"}
    return _pml(calculator, embedded, shown)


def _pml_fewer(embedded: Embedded) -> Work:
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    shown = {"r1": "precision_at_1", "map_at_r": "mean_average_precision_at_r"}
    calculator = AccuracyCalculator(include=(*shown.values(), "r_precision"), k="max_bin_count")
    return _pml(calculator, embedded, shown)


def _pml_nmi(embedded: Embedded) -> Work:
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    return _pml(AccuracyCalculator(include=("NMI",)), embedded, {"nmi": "NMI"})


def _pml(calculator: Any, embedded: Embedded, shown: dict[str, str]) -> Work:
    import faiss  # noqa: F401
    import torch

    vectors, labels = torch.from_numpy(embedded.embeddings), torch.from_numpy(embedded.labels)

    def work() -> Figures:
        found = calculator.get_accuracy(vectors, labels)
        return {name: found[theirs] for name, theirs in shown.items()}

    return work


CONTENDERS = {
    "udml": _udml,
    "pml-same": _pml_same,
    "pml-fewer": _pml_fewer,
    "udml-nmi": _udml_nmi,
    "pml-nmi": _pml_nmi,
}


# --- the slow reference ---------------------------------------------------------------------------


def check_against_reference(embedded: Embedded) -> None:
    """Compare every query of a subset with plain loops over its sorted neighbours; refuse any difference.

    Raises:
        ValueError: if one figure of one query differs by a bit.
    """
    rows = slice(0, SUBSET)
    part = Embedded(embedded.embeddings[rows], embedded.labels[rows], embedded.groups[rows])
    count = len(part.labels)
    found = score_queries(part, part, np.arange(count), RECALL_AT, False, MEMORY_BUDGET_BYTES)
    similarity = part.embeddings @ part.embeddings.T
    for position, query in enumerate(found.query.tolist()):
        expected = _slow(similarity[query], part.labels, query)
        for name, value in expected.items():
            if found.values[name][position] != value:
                raise ValueError(f"{name} of query {query}: {found.values[name][position]} is not {value}")
    print(f"Equal to the slow reference, to the last bit, for {len(found.query):,} queries among {count:,}.")
    own, slow = clustering_scores(part.embeddings, part.labels, 0)["nmi"], _slow_nmi(part)
    print(f"NMI {own:.15f}, by the definition {slow:.15f}.\n")


def _slow(similarity: np.ndarray, labels: np.ndarray, query: int) -> dict[str, float]:
    """The definitions, one neighbour at a time; of nearly equal ones (by TIE) another class goes first."""
    others = [row for row in range(len(labels)) if row != query]
    same = {row for row in others if labels[row] == labels[query]}
    key = {row: similarity[row] - np.float32(TIE) if row in same else similarity[row] for row in others}
    ordered = sorted(others, key=lambda row: (-key[row], row in same))
    ranks = [rank for rank, row in enumerate(ordered, 1) if row in same]
    within = [rank for rank in ranks if rank <= len(same)]
    precisions = [(number + 1) / rank for number, rank in enumerate(within)]
    return {
        **{f"recall_at_{k}": float(any(rank <= k for rank in ranks)) for k in RECALL_AT},
        "map_at_r": float(np.array(precisions).sum()) / len(same),
        "r_precision": len(within) / len(same),
    }


def _slow_nmi(part: Embedded) -> float:
    """2 I / (H + H) of the same clustering, from counts in a dictionary."""
    from collections import Counter
    from math import log

    import faiss

    count = len(part.labels)
    kmeans = faiss.Kmeans(
        DIM, len(np.unique(part.labels)), niter=20, seed=0,
        min_points_per_centroid=1, max_points_per_centroid=count,
    )  # fmt: skip
    kmeans.train(part.embeddings)
    clusters = kmeans.index.search(part.embeddings, 1)[1][:, 0].tolist()
    labels = part.labels.tolist()
    pairs, first, second = Counter(zip(labels, clusters, strict=True)), Counter(labels), Counter(clusters)
    shared = sum(n / count * log(n * count / (first[a] * second[b])) for (a, b), n in pairs.items())
    entropies = [-sum(n / count * log(n / count) for n in one.values()) for one in (first, second)]
    return 2 * shared / sum(entropies)


if __name__ == "__main__":
    main()
