"""Search in some of the images of an index: those that a filter has left, before neighbours are cut to k.

| kind | how |
|---|---|
| flat | exact: the others are passed over |
| hnsw | few rows are compared one by one; with more, the graph is searched more widely |
| ivf | the lists nearest to the query that hold such rows, until as many of these were seen as a search
without a filter sees of all; few rows are all seen, wherever they lie |

Shapes: n queries, k neighbours, d embedding length, count images in the index.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import faiss
import numpy as np

from udml.learning.mixing import Rows

CANDIDATES = 4  # per neighbour asked for, where vectors are held in bytes
_FAISS: Any = faiss  # its types don't tell of parameters
_FEW_QUERIES = 20  # of more, FAISS multiplies matrices, but not where it passes rows over
_LISTS_AT_ONCE = 256  # queries whose lists are put in order: 50 MB with 4,000 lists
_AT_ONCE = 16_384  # rows compared at a time: 34 MB at a length of 512
# Where both cost the same, by `python -m benchmarks.serving.filters`; docs/search.md has the table.
_ONE_BY_ONE = 4  # rows compared in the time of a step more of breadth in a graph
_lists_of: "WeakKeyDictionary[Any, np.ndarray]" = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Among:
    """Rows of an index that a search may find.

    Attributes:
        mask: bool [count].
    """

    mask: np.ndarray

    @cached_property
    def rows(self) -> np.ndarray:
        """Their positions, int64 [m], ascending."""
        return np.flatnonzero(self.mask)

    @cached_property
    def selector(self) -> Any:
        """As FAISS wants it: a bit a row."""
        return _FAISS.IDSelectorBitmap(np.packbits(self.mask, bitorder="little"))

    def __len__(self) -> int:
        return len(self.rows)


def search_among(
    base: Any, queries: np.ndarray, k: int, exact: Rows | None, among: Among
) -> tuple[np.ndarray, np.ndarray]:
    """As `udml.search.gallery.search_base`, in these rows alone; fewer than k where they are fewer.

    Similarities are as they were computed: rounding may take them past 1.

    Returns:
        Similarities float32 and positions int64, [n, min(k, len(among))], best first.
    """
    queries = np.ascontiguousarray(queries, np.float32)
    k = min(k, len(among))
    if k == 0:
        return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    if isinstance(base, faiss.IndexIVF):
        assert exact is not None
        return _in_lists(base, queries, k, exact, among)
    if isinstance(base, faiss.IndexHNSW):
        return _in_graph(base, queries, k, among)
    return _in_all(base, queries, k, among)


def _in_all(flat: Any, queries: np.ndarray, k: int, among: Among) -> tuple[np.ndarray, np.ndarray]:
    if len(queries) >= _FEW_QUERIES:
        return one_by_one(_Stored(flat), queries, k, among)
    params = _FAISS.SearchParameters(sel=among.selector)
    found: tuple[np.ndarray, np.ndarray] = flat.search(queries, k, params=params)
    return found


def _in_graph(graph: Any, queries: np.ndarray, k: int, among: Among) -> tuple[np.ndarray, np.ndarray]:
    storage = faiss.downcast_index(graph.storage)
    breadth = int(min(graph.ntotal, max(graph.hnsw.efSearch, k) * graph.ntotal / len(among)))
    if len(among) < _ONE_BY_ONE * breadth:
        return _in_all(storage, queries, k, among)
    params = _FAISS.SearchParametersHNSW(sel=among.selector, efSearch=breadth)
    similarity, positions = graph.search(queries, k, params=params)
    short = np.flatnonzero((positions < 0).any(axis=1))
    if len(short):  # the graph has led nowhere
        similarity[short], positions[short] = _in_all(storage, queries[short], k, among)
    return similarity, positions


def _in_lists(
    inverted: Any, queries: np.ndarray, k: int, exact: Rows, among: Among
) -> tuple[np.ndarray, np.ndarray]:
    if len(queries) > _LISTS_AT_ONCE:
        halves = np.array_split(queries, 2)
        parts = [_in_lists(inverted, half, k, exact, among) for half in halves]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    wanted = min(len(among), CANDIDATES * k)
    sizes = np.bincount(lists_of(inverted)[among.rows], minlength=inverted.nlist)
    enough = max(inverted.nprobe * inverted.ntotal / inverted.nlist, wanted)
    near, lists = inverted.quantizer.search(queries, inverted.nlist)
    held = sizes[lists]
    before = np.cumsum(held, axis=1) - held
    probed = (held > 0) & (before < enough)
    width = int(probed.sum(axis=1).max())
    order = np.argsort(~probed, axis=1, kind="stable")[:, :width]  # those probed first, the nearest first
    lists = np.where(np.take_along_axis(probed, order, axis=1), np.take_along_axis(lists, order, axis=1), -1)
    near = np.take_along_axis(near, order, axis=1)
    similarity, positions = _in_these_lists(inverted, queries, wanted, (lists, near), among)
    return ranked(similarity, positions, queries, k, exact)


def _in_these_lists(
    inverted: Any, queries: np.ndarray, k: int, probed: tuple[np.ndarray, np.ndarray], among: Among
) -> tuple[np.ndarray, np.ndarray]:
    """Search lists that are given, -1 for none, with the products of queries and centres: [n, probed]."""
    lists, near = (np.ascontiguousarray(array) for array in probed)
    similarity = np.empty((len(queries), k), np.float32)
    positions = np.empty((len(queries), k), np.int64)
    params = _FAISS.IVFSearchParameters(sel=among.selector, nprobe=lists.shape[1])
    arrays = [faiss.swig_ptr(array) for array in (lists, near, similarity, positions)]
    # FAISS's own wrapper for arrays takes no parameters here
    inverted.search_preassigned_c(len(queries), faiss.swig_ptr(queries), k, *arrays, False, params)
    return similarity, positions


def ranked(
    similarity: np.ndarray, positions: np.ndarray, queries: np.ndarray, k: int, exact: Rows
) -> tuple[np.ndarray, np.ndarray]:
    """The best k of candidates that were found by vectors in bytes, [n, c], by the vectors themselves."""
    for row, query in enumerate(queries):
        similarity[row] = exact[positions[row]] @ query
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarity, best, axis=1), np.take_along_axis(positions, best, axis=1)


def one_by_one(vectors: Rows, queries: np.ndarray, k: int, among: Among) -> tuple[np.ndarray, np.ndarray]:
    """Exactly, by products with the vectors of all these rows, a stretch of them at a time."""
    similarity = np.empty((len(queries), 0), np.float32)
    positions = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(among), _AT_ONCE):
        rows = among.rows[start : start + _AT_ONCE]
        some, places = faiss.knn(
            queries, np.ascontiguousarray(vectors[rows], np.float32), min(k, len(rows)),
            metric=faiss.METRIC_INNER_PRODUCT,
        )  # fmt: skip
        similarity = np.concatenate([similarity, some], axis=1)
        positions = np.concatenate([positions, rows[places]], axis=1)
        best = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        similarity = np.take_along_axis(similarity, best, axis=1)
        positions = np.take_along_axis(positions, best, axis=1)
    return similarity, positions


class _Stored:
    """The vectors of a flat index by position; see `Rows`."""

    def __init__(self, flat: Any) -> None:
        self._flat = flat

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._flat.reconstruct_batch(positions)
        return found


def lists_of(inverted: Any) -> np.ndarray:
    """Which list each row of an index lies in, int32 [count]; read once of each index."""
    known = _lists_of.get(inverted)
    if known is None:
        known = np.empty(inverted.ntotal, np.int32)
        for number in range(inverted.nlist):
            size = inverted.invlists.list_size(number)
            if size:
                ids = inverted.invlists.get_ids(number)
                known[faiss.rev_swig_ptr(ids, size)] = number
        _lists_of[inverted] = known
    return known
