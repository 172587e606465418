"""Search in what a filter has left of a collection in Milvus, before neighbours are cut to k.

However many are left: few are named to Milvus, in one request; of many, more neighbours than asked for are
fetched from the whole collection, of which enough should be among those that are left. A query that is unlike
all of these is asked of them by name after all, so many at a time.

| index | how exact |
|---|---|
| `FLAT` | exact |
| `HNSW` | few are compared by their vectors, exact; of many, as a search without a filter, or a wider one |

Shapes: n queries, k neighbours, m images that are left, d embedding length.
"""

import faiss
import numpy as np

from udml.collection.shared.connection import MOST_FOUND
from udml.collection.shared.filtering.chosen import SharedChosen
from udml.collection.shared.searching import NOBODY, Place, check_queries, search_plain
from udml.search.gallery import within_cosines

_NAMED_AT_ONCE = 5_000  # ids in one request: 100 kB
_COMPARED = 2_000  # images whose vectors are fetched, where Milvus has a graph: 4 MB at a length of 512
_MORE = 2  # as many times the neighbours are fetched that would do if those left were spread evenly
_HITS_AT_ONCE = 65_536  # in one answer, over all queries
Found = tuple[np.ndarray, np.ndarray]


def search_among(chosen: SharedChosen, place: Place, queries: np.ndarray, k: int) -> Found:
    """The k nearest of these images of each query, best first; fewer where they are fewer.

    Returns:
        Cosine similarities float32 [n, min(k, m)] and image_ids int64 of the same shape; NOBODY, at -1, in
        the place of images that were removed since they were chosen.

    Raises:
        UdmlError: if the queries are not finite or of another length than the collection's vectors.
    """
    check_queries(place, queries)
    k = min(k, len(chosen), MOST_FOUND)
    found = np.full((len(queries), k), -1, np.float32), np.full((len(queries), k), NOBODY, np.int64)
    if k == 0:
        return found
    lacking = (
        _of_all(place, chosen, queries, found) if len(chosen) > _NAMED_AT_ONCE else np.arange(len(queries))
    )
    if len(lacking):
        found[0][lacking], found[1][lacking] = _by_name(place, chosen.ids, queries[lacking], k)
    return found


def _of_all(place: Place, chosen: SharedChosen, queries: np.ndarray, found: Found) -> np.ndarray:
    """Search the whole collection and pass the others over; gives the queries that lack neighbours, int64."""
    k = found[1].shape[1]
    fetched = _MORE * k * -(-place.connection.count(place.name) // len(chosen))
    if fetched > MOST_FOUND:
        return np.arange(len(queries))
    lacking = []
    for start in range(0, len(queries), at_once := max(1, _HITS_AT_ONCE // fetched)):
        similarity, ids = search_plain(place, queries[start : start + at_once], fetched)
        for row, left in enumerate(chosen.mask(ids), start):
            near = np.flatnonzero(left)[:k]
            if len(near) < k:
                lacking.append(row)
            else:
                found[0][row], found[1][row] = similarity[row - start, near], ids[row - start, near]
    return np.array(lacking, np.int64)


def _by_name(place: Place, ids: np.ndarray, queries: np.ndarray, k: int) -> Found:
    """Search in images that are named, so many at a time."""
    best = np.full((len(queries), k), -1, np.float32), np.full((len(queries), k), NOBODY, np.int64)
    for start in range(0, len(ids), _NAMED_AT_ONCE):
        some = ids[start : start + _NAMED_AT_ONCE]
        best = _better(best, _in_some(place, some, queries, min(k, len(some))), k)
    return best


def _in_some(place: Place, ids: np.ndarray, queries: np.ndarray, k: int) -> Found:
    is_flat = place.info.kind == "flat"
    if is_flat or len(ids) > _COMPARED:
        similarity, found = search_plain(place, queries, k, ids)
        if is_flat or (found.shape[1] == k and (found != NOBODY).all()):
            return similarity, found
    return _compared(place, ids, queries, k)  # few, or the graph has led nowhere


def _compared(place: Place, ids: np.ndarray, queries: np.ndarray, k: int) -> Found:
    """Compare vectors one by one, here."""
    there = place.plain_vectors(ids.tolist())
    if not there:
        return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    vectors, of = np.stack(list(there.values())), np.array(list(there), np.int64)
    asked = np.ascontiguousarray(queries, np.float32)
    similarity, rows = faiss.knn(asked, vectors, min(k, len(of)), metric=faiss.METRIC_INNER_PRODUCT)
    return within_cosines(similarity), of[rows]


def _better(some: Found, more: Found, k: int) -> Found:
    similarity, ids = (np.concatenate(two, axis=1) for two in zip(some, more, strict=True))
    ranked = np.where(ids == NOBODY, -np.inf, similarity)
    best = np.argsort(-ranked, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarity, best, axis=1), np.take_along_axis(ids, best, axis=1)
