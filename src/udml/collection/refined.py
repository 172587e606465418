"""Search by neighbourhoods over an index and its overlay; see `udml.search.neighbourhood`.

Plain search finds the candidates, their mixtures decide the order. Images of the index have the mixtures
they were indexed with, which lose what was removed when the collection is compacted; an added image is
mixed with what was there when it came. Only an image's order depends on this, never whether it is shown.
"""

import numpy as np

from udml.collection.filtering.chosen import Chosen, search_chosen
from udml.collection.overlay import Overlay, search_overlaid
from udml.search.gallery import GalleryIndex, positions_of
from udml.search.neighbourhood import (
    DEPTH,
    NEIGHBOURS,
    mix_one,
    nearest_distinct,
    refined_order,
    refined_score,
)


def search_plain(
    index: GalleryIndex, overlay: Overlay, queries: np.ndarray, k: int, among: Chosen | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest images of each query: of an index and what lies over it, or of those a filter chose."""
    return search_overlaid(index, overlay, queries, k) if among is None else search_chosen(among, queries, k)


def search_refined(
    index: GalleryIndex,
    overlay: Overlay,
    queries: np.ndarray,
    k: int,
    lowest: float,
    among: Chosen | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k best images of each query in the order of their neighbourhoods.

    Args:
        index: an open index; one without mixtures is searched plainly.
        overlay: what lies over it.
        queries: float32 [n, d], unit rows.
        k: at least 1.
        lowest: less similar candidates come last.
        among: what a filter chose, with the overlay that lay there then; None for all of them.

    Returns:
        Plain cosine similarities float32 [n, min(k, images)], which need not descend, and image_ids int64.
    """
    if index.mixed is None:
        return search_plain(index, overlay, queries, k, among)
    overlay = overlay if among is None else among.overlay
    similarity, ids = search_plain(index, overlay, queries, max(k, DEPTH), among)
    for row, query in enumerate(queries):
        order = _order(index, overlay, query, similarity[row, :DEPTH], ids[row, :DEPTH], lowest)
        similarity[row, :DEPTH], ids[row, :DEPTH] = similarity[row, order], ids[row, order]
    return similarity[:, :k], ids[:, :k]


def _order(
    index: GalleryIndex,
    overlay: Overlay,
    query: np.ndarray,
    similarity: np.ndarray,
    ids: np.ndarray,
    lowest: float,
) -> np.ndarray:
    nearest = rows_of(index, overlay, ids[:NEIGHBOURS], mixed=False)
    kept = nearest_distinct(similarity[:NEIGHBOURS], nearest, index.info.mixed_neighbours)
    score = refined_score(query, similarity, rows_of(index, overlay, ids, mixed=True), kept)
    return refined_order(similarity, score, lowest)


def mixtures_of_added(index: GalleryIndex, overlay: Overlay, vectors: np.ndarray) -> np.ndarray:
    """Vectors of images that are being added, mixed with the mixtures there: float32 [n, d], unit rows."""
    k = index.info.mixed_neighbours
    if index.mixed is None or len(vectors) == 0 or not _images(index, overlay):
        return vectors
    similarity, ids = search_overlaid(index, overlay, vectors, NEIGHBOURS)
    mixed = np.empty_like(vectors)
    for row, vector in enumerate(vectors):
        plain = rows_of(index, overlay, ids[row], mixed=False)
        kept = nearest_distinct(similarity[row], plain, k)
        nearest = rows_of(index, overlay, ids[row, kept], mixed=True)
        mixed[row] = mix_one(vector, similarity[row, kept], nearest)
    return mixed


def _images(index: GalleryIndex, overlay: Overlay) -> int:
    return index.info.count - len(overlay.hidden) + len(overlay.ids)


def rows_of(index: GalleryIndex, overlay: Overlay, ids: np.ndarray, mixed: bool) -> np.ndarray:
    """Vectors or mixtures of images that a search has found, float32 [n, d]; zeros for one that is gone."""
    rows = np.zeros((len(ids), index.info.dim), np.float32)
    positions = positions_of(index, ids)
    added = np.isin(ids, overlay.ids)
    indexed = ~added & (positions >= 0)
    inside = positions[indexed]
    if mixed and index.mixed is not None:
        rows[indexed] = index.mixed[inside]
    elif len(inside):
        rows[indexed] = index.base.reconstruct_batch(inside) if index.exact is None else index.exact[inside]
    own = overlay.mixed if mixed else overlay.vectors
    order = np.argsort(overlay.ids)
    rows[added] = own[order[np.searchsorted(overlay.ids, ids[added], sorter=order)]]
    return rows
