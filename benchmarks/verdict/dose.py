"""How search by neighbourhoods was set: doses beside each other, on classes that no training saw.

    python -m benchmarks.verdict.dose --prepared places=artifacts/prepare grocery=DIR ... --work DIR

Reads what `benchmarks.verdict` with the same options has left: the last checkpoint of the training as set, on
the half of a set's training classes that it was not trained on. Some images of each class ask, the others are
thinned to 2, 3, 6, 10 and 20 a class; copies of who asks are left out. A cell is the gain of MAP@R over plain
search, and behind the stroke that of R@4, in points, means of three draws; R@1 is that of plain search. How
many neighbours are mixed is told by the graph, up to the number that a dose names.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.neighbourhood import flat_index, scores
from benchmarks.verdict.trainings import last_of, split_classes
from udml.config import load_params
from udml.learning.mixing import without_copies
from udml.search.neighbourhood import (
    DEPTH,
    MAX_MIXED,
    NEIGHBOURS,
    nearest_distinct,
    neighbour_graph,
    refined_order,
    whom_to_mix,
)

SIZES = (2, 3, 6, 10, 20)
QUERIES_A_CLASS = 4
DRAWS = 3
LEAST_ASKED = 60
Figures = tuple[float, float]  # MAP@R and R@4, percent


class Dose(NamedTuple):
    """What `udml.search.neighbourhood` has as constants."""

    rounds: int
    most_mixed: int
    power: float
    plain_share: float

    def __str__(self) -> str:
        return f"{self.rounds} x {self.most_mixed}, power {self.power:g}, plain {self.plain_share:g}"


DOSES = (
    Dose(4, 4, 3, 0), Dose(4, 4, 2, 0), Dose(6, 4, 2, 0), Dose(6, 4, 2, 0.25), Dose(6, 4, 2, 0.5),
    Dose(6, 4, 2, 1), Dose(4, 4, 2, 0.5), Dose(8, 4, 2, 0.5), Dose(6, 3, 2, 0.5), Dose(6, 6, 2, 0.5),
    Dose(6, 4, 1.5, 0.5), Dose(6, 4, 3, 0.5),
)  # fmt: skip


class Search(NamedTuple):
    """Queries and a gallery, their vectors, classes and cosines, and each query's plain order."""

    queries: np.ndarray
    gallery: np.ndarray
    asking: np.ndarray
    asked: np.ndarray
    cosine: np.ndarray
    order: np.ndarray


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prepared", nargs="+", required=True, metavar="NAME=DIR", help="sets with labels")
    parser.add_argument("--work", type=Path, default=Path(".scratch/benchmark-verdict"))
    options = parser.parse_args()
    rows: dict[str, list[Search]] = {}
    for given in options.prepared:
        name, _, directory = given.partition("=")
        photos = split_classes(Path(directory), load_params().train)
        scored = photos.scored(last_of("as set", options.work / name).images)
        for size in SIZES:
            draws = [
                _draw(scored.embeddings, scored.labels, scored.groups, size, draw) for draw in range(DRAWS)
            ]
            if len(draws[0].gallery) >= LEAST_ASKED:
                rows[f"{name}, {size}"] = draws
    print("| set, images of a class | plain | " + " | ".join(map(str, DOSES)) + " |")
    print("|---" * (2 + len(DOSES)) + "|")
    for name, draws in rows.items():
        plain = np.mean([_figures(one, one.order) for one in draws], axis=0)
        cells = [f"{plain[0]:.1f} / {plain[1]:.1f}"]
        for dose in DOSES:
            gain = np.mean([_figures(one, dosed(one, dose)) for one in draws], axis=0) - plain
            cells.append(f"{gain[0]:+.1f} / {gain[1]:+.1f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def dosed(search: Search, dose: Dose) -> np.ndarray:
    """Whole rankings as `udml.collection.refined` makes them, but for the dose."""
    gallery = search.gallery
    graph = neighbour_graph(flat_index(gallery), gallery, len(gallery), None)
    told = whom_to_mix(*graph, gallery)[0].shape[1]
    k = dose.most_mixed if told == MAX_MIXED else min(told, dose.most_mixed)
    near, similarity = (part[:, :k] for part in without_copies(*graph, gallery))
    weights, mixed = np.maximum(similarity, 0) ** dose.power, gallery
    for _ in range(dose.rounds):
        mixed = _unit(mixed + np.einsum("nk,nkd->nd", weights, mixed[near]))
    found = search.order.copy()
    for row, query in enumerate(search.queries):
        top = search.order[row, :DEPTH]
        plain = search.cosine[row, top]
        own = nearest_distinct(plain[:NEIGHBOURS], gallery[top[:NEIGHBOURS]], k)
        expanded = _unit(query + np.maximum(plain[own], 0) ** dose.power @ mixed[top[own]])
        score = mixed[top] @ expanded + dose.plain_share * plain
        found[row, :DEPTH] = top[refined_order(plain, score, -np.inf)]
    return found


def _draw(vectors: np.ndarray, labels: np.ndarray, groups: np.ndarray, size: int, draw: int) -> Search:
    rng = np.random.default_rng(draw)
    asking, asked = [], []
    for one in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == one))
        first, others = np.split(rows, [min(QUERIES_A_CLASS, max(1, len(rows) // 4))])
        asking.append(first)
        asked.append(others[~np.isin(groups[others], groups[first])][:size])
    ask, gallery = np.concatenate(asking), np.concatenate(asked)
    cosine = vectors[ask] @ vectors[gallery].T
    order = np.argsort(-cosine, axis=1, kind="stable")
    return Search(vectors[ask], vectors[gallery], labels[ask], labels[gallery], cosine, order)


def _figures(search: Search, found: np.ndarray) -> Figures:
    precision, fourth = scores(found, search.asking, search.asked, 4)
    return 100 * float(precision.mean()), 100 * float(fourth.mean())


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


if __name__ == "__main__":
    main()
