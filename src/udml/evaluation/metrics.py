"""Retrieval figures: arrays in, numbers out.

Shapes: n queries, m gallery images, d embedding length. Embeddings are float32 rows of unit length.
Definitions of MAP@R and R-precision: Musgrave, Belongie and Lim, "A Metric Learning Reality Check"
(arXiv 2003.08505), section 3.3.

Ties count against the embedding: a gallery image of another class ranks before one of the query's
class unless it is less similar by more than `TIE`. So a model that maps everything to one point
scores what it deserves.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from udml.errors import UdmlError
from udml.machine import usable_cores

# A matrix product sums in an order that depends on where a row lies in a block, so the similarities
# of two identical vectors may differ by some 1e-7. Differences of at most this count as ties.
TIE = 1e-6
Refine = Callable[[np.ndarray, np.ndarray, Sequence[np.ndarray]], np.ndarray]
"""Some queries float32 [q, d], their similarities float32 [q, m] to the gallery, and the rows that each of
them ignores in; what to rank the gallery by out, float64 [q, m]."""
_LENGTH_TOLERANCE = 1e-3
_CHECKED_AT_ONCE = 4096
_MIN_CHUNK_ROWS = 16
_REFINED_QUERIES, _REFINED_VALUES = 64, 2**21  # at once, at most: queries, and gallery images of all of them


@dataclass(frozen=True)
class Embedded:
    """Images as they are scored, here m of them.

    Attributes:
        embeddings: float32 [m, d].
        labels: int [m] class codes.
        groups: int [m]; images of one group are duplicates of each other.
    """

    embeddings: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class QueryScores:
    """Figures per query, so that queries can be resampled.

    Attributes:
        query: int64 [q] positions of the scored queries, ascending.
        values: "recall_at_<K>" for each K, "map_at_r", "r_precision"; float64 [q], 0..1.
        without_match: how many queries were left out, as nothing in the gallery could match them.
    """

    query: np.ndarray
    values: dict[str, np.ndarray]
    without_match: int


def score_queries(
    queries: Embedded,
    gallery: Embedded,
    own_row: np.ndarray,
    recall_at: Sequence[int],
    mask_groups: bool,
    memory_budget_bytes: int,
    refine: Refine | None = None,
) -> QueryScores:
    """Recall@K, MAP@R and R-precision of every query; exact.

    Recall@K is 1 if any of the K first is of the query's class. With R images of that class in the
    gallery, R-precision is their share among the R first, and MAP@R the mean over the R first ranks
    of the precision there, where a rank that holds another class counts 0.

    Args:
        queries: the n queries with their labels and groups.
        gallery: the m images searched.
        own_row: int [n], the gallery row that is the query itself and is left out, or -1.
        recall_at: the Ks.
        mask_groups: leave out all gallery images of the query's group: they are neither hit nor
            miss, and R counts only the rest. Otherwise they count like any other.
        memory_budget_bytes: for what is held beside the arguments; at least 16 rows of m float32
            values are held whatever it says.
        refine: what to rank a query's gallery by instead of its similarities; None to rank by these.

    Raises:
        UdmlError: if the embeddings are not finite, not of unit length, or all the same.
    """
    require_sound(queries.embeddings, "the query embeddings")
    require_sound(gallery.embeddings, "the gallery embeddings")
    matches = _Members(gallery.labels)
    copies = _Members(gallery.groups)

    def ignored_by(query: int) -> np.ndarray:
        own = own_row[query : query + 1]
        ignored = np.union1d(own, copies.of(queries.groups[query])) if mask_groups else own
        return ignored[ignored >= 0]

    def score(query: int, similarity: np.ndarray, ignored: np.ndarray) -> list[float] | None:
        ranks = match_ranks(similarity, matches.of(queries.labels[query]), ignored, max(recall_at))
        return _figures(ranks, recall_at) if len(ranks) else None

    def score_some(numbers: np.ndarray, similarity: np.ndarray) -> list[list[float] | None]:
        found = []
        at_once = max(1, min(_REFINED_QUERIES, _REFINED_VALUES // len(gallery.labels)))
        for start in range(0, len(numbers), at_once):
            some, lines = numbers[start : start + at_once], similarity[start : start + at_once]
            ignored = [ignored_by(query) for query in some]
            if refine is not None:
                lines = refine(queries.embeddings[some], lines, ignored)
            found += [score(*asked) for asked in zip(some.tolist(), lines, ignored, strict=True)]
        return found

    scored: list[list[float] | None] = []
    cores = usable_cores()
    with ThreadPoolExecutor(cores) as pool:  # sorting leaves the interpreter's lock to the others
        for first, similarity in _similarities(queries.embeddings, gallery.embeddings, memory_budget_bytes):
            numbers = np.arange(first, first + len(similarity))
            parts = pool.map(score_some, np.array_split(numbers, cores), np.array_split(similarity, cores))
            scored += [found for part in parts for found in part]
    rows = [query for query, found in enumerate(scored) if found is not None]
    figures = [found for found in scored if found is not None]
    names = [*(f"recall_at_{k}" for k in recall_at), "map_at_r", "r_precision"]
    table = np.array(figures, dtype=np.float64).reshape(len(rows), len(names))
    values = {name: table[:, column].copy() for column, name in enumerate(names)}
    return QueryScores(np.array(rows, dtype=np.int64), values, len(queries.embeddings) - len(rows))


def match_ranks(
    similarity: np.ndarray, matches: np.ndarray, ignored: np.ndarray, at_least: int
) -> np.ndarray:
    """Ranks of a query's matches, counted from 1, ties against them.

    Args:
        similarity: float [m], or what else to rank by; overwritten.
        matches: int, gallery rows of the query's class.
        ignored: int, gallery rows that count neither way, themselves matches or not.
        at_least: ranks up to max(at_least, R) are exact, later ones are merely beyond that.

    Returns:
        int64 [R], ascending; empty if no match remains.
    """
    similarity[ignored] = np.inf  # marks matches to drop; never reaches the ranking
    own = similarity[matches]
    own = np.sort(own[own != np.inf])[::-1]
    if len(own) == 0:
        return np.empty(0, np.int64)
    similarity[matches] = -np.inf
    similarity[ignored] = -np.inf
    depth = min(max(at_least, len(own)), len(similarity))
    similarity.partition(len(similarity) - depth)
    others = np.sort(similarity[len(similarity) - depth :])
    before = depth - np.searchsorted(others, own - np.float32(TIE), side="left")
    return before + np.arange(1, len(own) + 1)


def _figures(ranks: np.ndarray, recall_at: Sequence[int]) -> list[float]:
    within = ranks[ranks <= len(ranks)]
    average_precision = float((np.arange(1, len(within) + 1) / within).sum()) / len(ranks)
    recalls = [float(ranks[0] <= k) for k in recall_at]
    return [*recalls, average_precision, len(within) / len(ranks)]


def _similarities(
    queries: np.ndarray, gallery: np.ndarray, memory_budget_bytes: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Chunks of `queries @ gallery.T` with the first query of each; one buffer is used for all."""
    at_once = max(_MIN_CHUNK_ROWS, memory_budget_bytes // (4 * len(gallery)))
    buffer = np.empty((min(at_once, len(queries)), len(gallery)), np.float32)
    for first in range(0, len(queries), at_once):
        chunk = queries[first : first + at_once]
        yield first, np.matmul(chunk, gallery.T, out=buffer[: len(chunk)])


class _Members:
    """The rows that carry each code, without a scan per question."""

    def __init__(self, codes: np.ndarray) -> None:
        self._order = np.argsort(codes, kind="stable")
        self._sorted = codes[self._order]

    def of(self, code: int) -> np.ndarray:
        first = np.searchsorted(self._sorted, code, side="left")
        return self._order[first : np.searchsorted(self._sorted, code, side="right")]


def require_sound(embeddings: np.ndarray, name: str) -> None:
    """Refuse embeddings that no figure can be trusted on; `name` says which, in the message.

    Args:
        embeddings: float32 [n, d].
        name: how the message calls them.

    Raises:
        UdmlError: if one is not finite or not of unit length (a zero vector), or if there are
            several and all point the same way to within a cosine of `TIE`: a collapsed model.
    """
    if embeddings.ndim != 2 or len(embeddings) == 0:
        raise UdmlError(
            f"{name} have shape {embeddings.shape}, expected [n, d]", "at least one image is needed"
        )
    nearest = 1.0
    for first in range(0, len(embeddings), _CHECKED_AT_ONCE):  # float64 copies of a chunk at a time
        chunk = embeddings[first : first + _CHECKED_AT_ONCE].astype(np.float64)
        lengths = np.sqrt((chunk**2).sum(axis=1))
        bad = np.flatnonzero(~(np.abs(lengths - 1) <= _LENGTH_TOLERANCE))  # NaN compares false
        if len(bad):
            found = "not finite" if not np.isfinite(lengths[bad[0]]) else f"{lengths[bad[0]]:.4g}"
            raise UdmlError(
                f"{name}: the length of row {first + bad[0]} is {found}, expected 1",
                "the model is broken: export it again, and if that does not help, train again",
            )
        nearest = min(nearest, float((chunk @ embeddings[0].astype(np.float64) / lengths).min()))
    if len(embeddings) > 1 and nearest > 1 - TIE:
        raise UdmlError(
            f"{name} have collapsed: all {len(embeddings)} are the same vector",
            "train again with a lower learning_rate or more clusters",
        )
