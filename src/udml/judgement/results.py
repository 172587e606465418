"""What models find among the test images, as it is judged: each image's first five, its copies left out.

Shapes: n images, d embedding length, k results.
"""

import numpy as np

from udml.evaluation.neighbourhoods import know_neighbourhoods, refine_with
from udml.judgement.pairs import DEPTHS, lot
from udml.progress import progress

MAX_QUERIES = 3000  # of a large test set these ask; all of it is searched
_AT_ONCE = 64


def queries_of(shas: list[str]) -> np.ndarray:
    """int64, ascending: positions of the images that ask, always the same ones of a set."""
    lots = np.array([lot(sha256, "") for sha256 in shas])
    return np.sort(np.argsort(lots, kind="stable")[:MAX_QUERIES])


def results(vectors: np.ndarray, groups: np.ndarray, queries: np.ndarray, refined: bool) -> np.ndarray:
    """Positions of each query's nearest others, int64 [n, 5]; -1 behind the last, and for who does not ask.

    Args:
        vectors: float32 [n, d], unit rows.
        groups: int64 [n]; images of one group are copies of each other, and no results for each other.
        queries: int64, positions of the images that ask.
        refined: search by neighbourhoods, as if the query and its copies were not in the collection.
    """
    k = min(DEPTHS[-1], len(vectors) - 1)
    found = np.full((len(vectors), DEPTHS[-1]), -1, np.int64)
    refine = refine_with(know_neighbourhoods(vectors)) if refined else None
    for start in progress(range(0, len(queries), _AT_ONCE), "search", unit=f"{_AT_ONCE} queries"):
        rows = queries[start : start + _AT_ONCE]
        ranked_by = vectors[rows] @ vectors.T
        copies = [np.flatnonzero(groups == groups[query]) for query in rows]
        if refine is not None:
            ranked_by = refine(vectors[rows], ranked_by, copies)
        for query, ranked, own in zip(rows, ranked_by, copies, strict=True):
            ranked[own] = -np.inf
            best = np.sort(np.argpartition(-ranked, k - 1)[:k]) if k else np.empty(0, np.int64)
            best = best[np.argsort(-ranked[best], kind="stable")]
            best = best[np.isfinite(ranked[best])]
            found[query, : len(best)] = best
    return found
