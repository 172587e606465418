"""The vectors that lie over an index: what was added to it, and what of it is hidden."""

from collections.abc import Iterable
from dataclasses import dataclass

import faiss
import numpy as np

from udml.search.gallery import GalleryIndex, search, within_cosines

_FIRST_ROWS = 64


@dataclass(frozen=True)
class Overlay:
    """What lies over an index at one revision; never changes.

    Attributes:
        revision: of the additions it was made from.
        ids: int64 [n], added images.
        vectors: float32 [n, d], unit rows.
        mixed: float32 [n, d], each mixed with its neighbours when it was added.
        hidden: int64 [h], ascending: images of the index that were removed.
    """

    revision: int
    ids: np.ndarray
    vectors: np.ndarray
    mixed: np.ndarray
    hidden: np.ndarray


class OverlayRows:
    """Where overlays are made, by one thread at a time: rows are appended, earlier overlays keep theirs."""

    def __init__(self, dim: int) -> None:
        self._ids = np.empty(_FIRST_ROWS, np.int64)
        self._vectors = np.empty((_FIRST_ROWS, dim), np.float32)
        self._mixed = np.empty((_FIRST_ROWS, dim), np.float32)
        self._count = 0
        self._hidden: set[int] = set()

    def append(self, ids: list[int], vectors: np.ndarray, mixed: np.ndarray) -> None:
        """Put images on top, with their vectors and their mixtures, float32 [n, d]."""
        if not ids:
            return
        end = self._count + len(ids)
        if end > len(self._ids):
            self._move(np.arange(self._count), 2 * end)
        self._ids[self._count : end] = ids
        self._vectors[self._count : end] = vectors
        self._mixed[self._count : end] = mixed
        self._count = end

    def drop(self, ids: Iterable[int]) -> None:
        """Take images away; unknown ones are left alone."""
        staying = np.flatnonzero(~np.isin(self._ids[: self._count], list(ids)))
        if len(staying) < self._count:
            self._move(staying, len(self._ids))

    def hide(self, ids: Iterable[int]) -> None:
        """Hide images of the index."""
        self._hidden.update(ids)

    def unhide(self, ids: Iterable[int]) -> None:
        """Show images of the index again; unknown ones are left alone."""
        self._hidden.difference_update(ids)

    def overlay(self, revision: int) -> Overlay:
        """What is there now."""
        hidden = np.array(sorted(self._hidden), np.int64)
        ids, vectors, mixed = (a[: self._count] for a in (self._ids, self._vectors, self._mixed))
        return Overlay(revision, ids, vectors, mixed, hidden)

    def _move(self, rows: np.ndarray, room: int) -> None:
        """Copy these rows to the head of new arrays; overlays go on with the old ones."""
        dim = self._vectors.shape[1]
        ids, vectors, mixed = (
            np.empty(room, np.int64),
            np.empty((room, dim), np.float32),
            np.empty((room, dim), np.float32),
        )
        for new, old in ((ids, self._ids), (vectors, self._vectors), (mixed, self._mixed)):
            new[: len(rows)] = old[rows]
        self._ids, self._vectors, self._mixed, self._count = ids, vectors, mixed, len(rows)


def search_index(
    index: GalleryIndex, queries: np.ndarray, k: int, hidden: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest images of an index that are not hidden, best first; see `Collection.search`.

    More are fetched than asked for until enough are left.
    """
    k = min(k, index.info.count - len(hidden))
    most = k + len(hidden)  # of which at least k are not hidden
    fetched = min(2 * k, most)
    while True:
        similarity, ids = search(index, queries, max(1, fetched))
        shown = ~np.isin(ids, hidden)
        if fetched == most or (shown.sum(axis=1) >= k).all():
            break
        fetched = min(2 * fetched, most)
    first = np.argsort(~shown, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarity, first, axis=1), np.take_along_axis(ids, first, axis=1)


def evenly_spread(index: GalleryIndex, overlay: Overlay, at_most: int) -> tuple[np.ndarray, int]:
    """Ids spread evenly over what was indexed, then added, int64 [n], and how many images there are."""
    ids = np.concatenate([index.ids[~np.isin(index.ids, overlay.hidden)], overlay.ids])
    chosen = np.unique(np.linspace(0, len(ids) - 1, min(at_most, len(ids))).round().astype(np.int64))
    return ids[chosen], len(ids)


def search_overlaid(
    index: GalleryIndex, overlay: Overlay, queries: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest images of an index and what lies over it, best first; see `Collection.search`."""
    similarity, ids = search_index(index, queries, k, overlay.hidden)
    if len(overlay.ids):
        queries = np.ascontiguousarray(queries, np.float32)
        found = faiss.knn(
            queries, overlay.vectors, min(k, len(overlay.ids)), metric=faiss.METRIC_INNER_PRODUCT
        )
        similarity = np.concatenate([similarity, within_cosines(found[0])], axis=1)
        ids = np.concatenate([ids, overlay.ids[found[1]]], axis=1)
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarity, best, axis=1), np.take_along_axis(ids, best, axis=1)
