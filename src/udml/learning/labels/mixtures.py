"""Training images mixed with their nearest, so that clusters follow neighbourhoods and not single views.

What search by neighbourhoods does to a gallery (`udml.search.neighbourhood`: database-side augmentation,
Arandjelovic and Zisserman, CVPR 2012), done to what is clustered: an image becomes the unit vector of itself
and its nearest others, weighted by the square of their similarity, and again with what came of it.
Light, pose and crop average out; what a neighbourhood has in common stays.

Shapes: n images, d vector length, k neighbours.
"""

import numpy as np

MIXED = 4  # neighbours
ROUNDS = 3
COPY = 0.995  # a more similar image is a copy, and tells nothing new
_ROWS_AT_ONCE = 1_024  # with their neighbours, 20 MB at a length of 512


def mixtures(vectors: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Every image mixed with its nearest.

    Args:
        vectors: float32 [n, d], unit rows.
        nearest: int64 [n, k + 1], each image and its nearest, nearest first.

    Returns:
        float32 [n, d], unit rows.
    """
    others = nearest[:, 1:]
    weights = np.concatenate(
        [_weights(vectors[rows], vectors[others[rows]]) for rows in _stretches(len(vectors))]
    )
    mixed = vectors
    for _ in range(ROUNDS):
        mixed = np.concatenate(
            [
                _unit(mixed[rows] + np.einsum("nk,nkd->nd", weights[rows], mixed[others[rows]]))
                for rows in _stretches(len(vectors))
            ]
        )
    return mixed


def _weights(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared similarities, float32 [m, k], of the first few others [m, k, d] that are no copies; else 0.

    Neither of the image itself nor of one another: a burst would count for as many as it has.
    """
    similarity = np.einsum("nd,nkd->nk", own, others)
    told = similarity <= COPY
    alike = others @ others.swapaxes(1, 2) > COPY
    for place in range(told.shape[1]):
        told[:, place + 1 :] &= ~(told[:, place, None] & alike[:, place, place + 1 :])
    told &= np.cumsum(told, axis=1) <= MIXED
    return np.where(told, np.maximum(similarity, 0) ** 2, 0).astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _stretches(count: int) -> list[slice]:
    return [slice(first, first + _ROWS_AT_ONCE) for first in range(0, count, _ROWS_AT_ONCE)]
