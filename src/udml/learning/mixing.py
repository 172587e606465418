"""Images mixed with their neighbours: of a gallery, for search, and of training images, for pseudo-labels.

Database-side augmentation (Arandjelovic and Zisserman, CVPR 2012) with the weights of alpha query expansion
(Radenovic, Tolias and Chum, 1711.02512): an image becomes the unit vector of itself plus its nearest others,
each weighted by the square of its similarity. Copies count once: a burst would else mix with itself alone.

Shapes: n images, d embedding length, m places of a list, k neighbours. All vectors are float32 rows of unit
length, similarities are cosines.

Products as small as these are left to `einsum`: BLAS takes a thread for each core even for 32 vectors, and
they spin while they wait for each other. Where others want the cores, too, that has taken ten times as long.
"""

from typing import Any, Protocol

import numpy as np

COPY = 0.995  # a more similar image is a copy, and tells nothing new
_POWER = 2  # chosen on classes left out of training; docs/search.md has the table
STRETCH_ROWS = 4096  # images looked at together; how many bears on the last bits
_LISTS_AT_ONCE = 512  # of 32 vectors each: 33 MB at a length of 512


class Rows(Protocol):
    """Vectors by position: an array, memory-mapped perhaps, or something that is asked like one."""

    def __getitem__(self, positions: Any) -> np.ndarray:
        """float32 [len(positions), d]."""
        ...


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows of [n, d] scaled to length 1; those of zeros, as a collapsed network makes them, are left."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def without_copies(
    positions: np.ndarray, similarity: np.ndarray, vectors: Rows
) -> tuple[np.ndarray, np.ndarray]:
    """Lists of neighbours less the copies of the image itself, and of copies of each other all but the first.

    Args:
        positions: int32 [n, m], -1 for none.
        similarity: float32 [n, m], to the image whose list it is.
        vectors: of the neighbours, by position.

    Returns:
        Both lists anew, what is left moved to the front; -1 and 0 behind the last one.
    """
    positions, similarity = positions.copy(), similarity.copy()
    for start in range(0, len(positions), _LISTS_AT_ONCE):
        rows = slice(start, start + _LISTS_AT_ONCE)
        listed = np.asarray(vectors[np.maximum(positions[rows], 0).ravel()], np.float32)
        kept = (positions[rows] >= 0) & (similarity[rows] <= COPY)
        kept = distinct(kept, listed.reshape(*kept.shape, listed.shape[1]))
        positions[rows], similarity[rows] = kept_first(kept, positions[rows], similarity[rows])
    return positions, similarity


def distinct(kept: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Which entries of lists remain if none may be a copy of an earlier one that remains.

    Args:
        kept: bool [n, m], False for those that are out already.
        vectors: float32 [n, m, d].

    Returns:
        bool [n, m].
    """
    kept = kept.copy()
    for place in range(kept.shape[1] - 1):
        alike = np.einsum("nd,nld->nl", vectors[:, place], vectors[:, place + 1 :]) > COPY
        kept[:, place + 1 :] &= ~(kept[:, place, None] & alike)
    return kept


def kept_first(
    kept: np.ndarray, positions: np.ndarray, similarity: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lists with the entries that are kept moved to the front, in order; -1 and 0 behind them."""
    order = np.argsort(~kept, axis=1, kind="stable")
    there = np.take_along_axis(kept, order, axis=1)
    return (
        np.where(there, np.take_along_axis(positions, order, axis=1), np.int32(-1)),
        np.where(there, np.take_along_axis(similarity, order, axis=1), np.float32(0)),
    )


def mix(vectors: np.ndarray, similarity: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Mixtures of vectors with their neighbours.

    Args:
        vectors: float32 [n, d].
        similarity: float32 [n, k]; what is 0 or less counts nothing.
        neighbours: float32 [n, k, d].

    Returns:
        float32 [n, d], unit rows, or of zeros: see `unit_rows`.
    """
    weights = np.maximum(similarity, 0) ** _POWER
    mixed = vectors + np.einsum("nk,nkd->nd", weights, neighbours)
    return unit_rows(mixed)


def mix_all(vectors: Rows, positions: np.ndarray, similarity: np.ndarray, out: np.ndarray) -> None:
    """Write every image's mixture with its neighbours' to `out`: one round.

    Args:
        vectors: of the n images, by position; what the round before made of them.
        positions: int32 [n, k], -1 for none.
        similarity: float32 [n, k], 0 for none.
        out: float16 or float32 [n, d].
    """
    for start in range(0, len(positions), STRETCH_ROWS):
        rows = np.arange(start, min(len(positions), start + STRETCH_ROWS))
        places = np.maximum(positions[rows], 0)
        own = np.asarray(vectors[rows], np.float32)
        neighbours = np.asarray(vectors[places.ravel()], np.float32).reshape(*places.shape, own.shape[1])
        out[rows] = mix(own, similarity[rows], neighbours)
