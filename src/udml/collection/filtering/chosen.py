"""What a filter has left of a collection, and search in that; masks are kept for the next who asks.

A search in it answers as a collection of these images alone would, but for each image's mixture with its
neighbours, which stays that of the whole collection.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import faiss
import numpy as np

from udml.collection.filtering.expression import Expression
from udml.collection.filtering.masks import mask_of, tree_of
from udml.collection.overlay import Overlay
from udml.search.among import Among, search_among
from udml.search.columns import Columns
from udml.search.gallery import GalleryIndex, check_queries, positions_of, within_cosines

Key = TypeVar("Key")
Value = TypeVar("Value")
_MASKS_KEPT = 16  # a byte an image each, and up to eight bytes for each that is left


@dataclass(frozen=True, eq=False)
class Chosen:
    """The images of an index, and of what lies over it, that meet a filter.

    Attributes:
        index: the index.
        overlay: what lay over it when the filter was asked.
        base: rows of the index, removed ones left out.
        added: rows of the overlay, int64 [m].
    """

    index: GalleryIndex
    overlay: Overlay
    base: Among
    added: np.ndarray

    def __len__(self) -> int:
        return len(self.base) + len(self.added)

    def spread(self, at_most: int) -> list[int]:
        """Ids spread evenly over them, in the order they were indexed and added."""
        ids = np.concatenate([self.index.ids[self.base.rows], self.overlay.ids[self.added]])
        rows = np.linspace(0, len(ids) - 1, min(at_most, len(ids))).round().astype(np.int64)
        found: list[int] = ids[np.unique(rows)].tolist()
        return found

    def holds(self, image_ids: Sequence[int]) -> set[int]:
        """Those of these images that are among them."""
        ids = np.array(image_ids, np.int64)
        positions = positions_of(self.index, ids)
        inside = (positions >= 0) & self.base.mask[positions]
        return set(ids[inside | np.isin(ids, self.overlay.ids[self.added])].tolist())


class Filters:
    """Makes what filters choose of one index; may be used from several threads."""

    def __init__(self, index: GalleryIndex, added: Callable[[Overlay], Columns]) -> None:
        """No filter has been asked yet.

        Args:
            index: an open index.
            added: gives the columns of the images of an overlay, in its order; may lack some of the index's.
        """
        self._index = index
        self._added = added
        self._lock = threading.Lock()
        self._masks: OrderedDict[Expression, np.ndarray] = OrderedDict()
        self._chosen: OrderedDict[tuple[Expression, int], Chosen] = OrderedDict()

    def choose(self, where: str, overlay: Overlay) -> Chosen:
        """The images that meet a filter.

        Raises:
            FilterError: if it is none, or does not fit the columns.
            BusyError: if whoever asked waits no more.
        """
        tree = tree_of(where, self._index.columns)
        key = tree, overlay.revision
        with self._lock:
            if key in self._chosen:
                self._chosen.move_to_end(key)
                return self._chosen[key]
        made = self._made(tree, overlay)
        with self._lock:
            keep_latest(self._chosen, key, made)
        return made

    def _made(self, tree: Expression, overlay: Overlay) -> Chosen:
        mask = self._mask_of_index(tree)
        hidden = positions_of(self._index, overlay.hidden)
        if len(hidden):
            mask = mask.copy()
            mask[hidden] = False
        met = mask_of(tree, self._added(overlay), len(overlay.ids)) if len(overlay.ids) else np.empty(0, bool)
        return Chosen(self._index, overlay, Among(mask), np.flatnonzero(met))

    def _mask_of_index(self, tree: Expression) -> np.ndarray:
        """Which of the index's images meet it: the same as long as the index is open."""
        with self._lock:
            if tree in self._masks:
                self._masks.move_to_end(tree)
                return self._masks[tree]
        mask = mask_of(tree, self._index.columns, self._index.info.count)
        with self._lock:
            keep_latest(self._masks, tree, mask)
        return mask


def search_chosen(chosen: Chosen, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of these images of each query, best first; fewer where they are fewer.

    Args:
        chosen: m images.
        queries: float32 [n, d], unit rows.
        k: at least 1.

    Returns:
        Cosine similarities float32 [n, min(k, m)] and image_ids int64 of the same shape.

    Raises:
        UdmlError: if the queries are not finite or of another length than the index's vectors.
    """
    index, overlay = chosen.index, chosen.overlay
    check_queries(index, queries)
    queries = np.ascontiguousarray(queries, np.float32)
    similarity, positions = search_among(index.base, queries, k, index.exact, chosen.base)
    ids = index.ids[positions]
    if len(chosen.added):
        vectors, some = overlay.vectors[chosen.added], min(k, len(chosen.added))
        near, rows = faiss.knn(queries, vectors, some, metric=faiss.METRIC_INNER_PRODUCT)
        similarity = np.concatenate([similarity, near], axis=1)
        ids = np.concatenate([ids, overlay.ids[chosen.added][rows]], axis=1)
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return within_cosines(np.take_along_axis(similarity, best, axis=1)), np.take_along_axis(ids, best, axis=1)


def keep_latest(kept: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    """Add one to what filters made, and let go of the oldest where they are more than are kept."""
    kept[key] = value
    while len(kept) > _MASKS_KEPT:
        kept.popitem(last=False)
