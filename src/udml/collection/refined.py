"""Search by neighbourhoods over an index and its overlay; see `udml.search.neighbourhood`.

Plain search finds the candidates, their mixtures decide the order. Images of the index have the mixtures
they were indexed with, which lose what was removed when the collection is compacted; an added image is
mixed with what was there when it came. Only an image's order depends on this, never whether it is shown.
"""

import numpy as np

from udml.collection.overlay import Overlay, search_overlaid
from udml.search.gallery import GalleryIndex, positions_of
from udml.search.neighbourhood import COPY, mix, refined_order

DEPTH = 100  # candidates that are put in order; further ones stay in plain order
_SPARE = 8  # places for copies among the nearest


def search_refined(
    index: GalleryIndex, overlay: Overlay, queries: np.ndarray, k: int, lowest: float
) -> tuple[np.ndarray, np.ndarray]:
    """The k best images of each query in the order of their neighbourhoods.

    Args:
        index: an open index; one without mixtures is searched plainly.
        overlay: what lies over it.
        queries: float32 [n, d], unit rows.
        k: at least 1.
        lowest: less similar candidates come last.

    Returns:
        Plain cosine similarities float32 [n, min(k, images)], which need not descend, and image_ids int64.
    """
    if index.mixed is None:
        return search_overlaid(index, overlay, queries, k)
    similarity, ids = search_overlaid(index, overlay, queries, max(k, DEPTH))
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
    copies = int((similarity > COPY).sum())
    first = ids[copies : copies + index.info.mixed_neighbours]
    mixtures = _rows_of(index, overlay, ids, mixed=True)
    return refined_order(query, similarity, mixtures, _rows_of(index, overlay, first, mixed=False), lowest)


def mixtures_of_added(index: GalleryIndex, overlay: Overlay, vectors: np.ndarray) -> np.ndarray:
    """Vectors of images that are being added, mixed with the mixtures there: float32 [n, d], unit rows."""
    k = index.info.mixed_neighbours
    if index.mixed is None or len(vectors) == 0 or not _images(index, overlay):
        return vectors
    similarity, ids = search_overlaid(index, overlay, vectors, k + _SPARE)
    mixed = np.empty_like(vectors)
    for row, vector in enumerate(vectors):
        others = similarity[row] <= COPY
        nearest = _rows_of(index, overlay, ids[row, others][:k], mixed=True)
        mixed[row] = mix(vector[None], similarity[row, others][:k][None], nearest[None])[0]
    return mixed


def _images(index: GalleryIndex, overlay: Overlay) -> int:
    return index.info.count - len(overlay.hidden) + len(overlay.ids)


def _rows_of(index: GalleryIndex, overlay: Overlay, ids: np.ndarray, mixed: bool) -> np.ndarray:
    """Vectors or mixtures of images that a search has found, float32 [n, d]."""
    rows = np.empty((len(ids), index.info.dim), np.float32)
    positions = positions_of(index, ids)
    added = np.isin(ids, overlay.ids)
    inside = positions[~added]
    if mixed and index.mixed is not None:
        rows[~added] = index.mixed[inside]
    else:
        rows[~added] = index.base.reconstruct_batch(inside) if index.exact is None else index.exact[inside]
    own = overlay.mixed if mixed else overlay.vectors
    for place in np.flatnonzero(added):
        rows[place] = own[np.flatnonzero(overlay.ids == ids[place])[0]]
    return rows
