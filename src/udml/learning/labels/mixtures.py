"""Training images mixed with their nearest, so that clusters follow neighbourhoods and not single views.

What search does to a gallery (`udml.learning.mixing`), done to what is clustered, and again with what came of
it. Light, pose and crop average out; what a neighbourhood has in common stays.

Shapes: n images, d vector length, k neighbours.
"""

import numpy as np

from udml.learning.mixing import mix_all, without_copies

MIXED = 4  # neighbours
ROUNDS = 3
_ROWS_AT_ONCE = 4_096


def mixtures(vectors: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Every image mixed with its nearest that are no copies, of it or of one another.

    Args:
        vectors: float32 [n, d], unit rows.
        nearest: int64 [n, k + 1], each image and its nearest, nearest first.

    Returns:
        float32 [n, d], unit rows.
    """
    others = nearest[:, 1:].astype(np.int32)
    similarity = np.empty(others.shape, np.float32)
    for first in range(0, len(vectors), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        similarity[rows] = np.einsum("nd,nkd->nk", vectors[rows], vectors[others[rows]])
    others, similarity = without_copies(others, similarity, vectors)
    mixed = vectors
    for _ in range(ROUNDS):
        before, mixed = mixed, np.empty_like(vectors)
        mix_all(before, others[:, :MIXED], similarity[:, :MIXED], mixed)
    return mixed
