"""The nearest neighbours of every vector among all, at a cost that grows as their number does.

Up to `EXACT_BELOW` vectors all pairs are compared. Above, halving again and again puts them into cells of
equal size, and a vector is compared with those of the few cells whose means are nearest to it. Cells are of
one size whatever the vectors are, so a heap of equal images costs no more than anything else.

Shapes: n vectors, d their length, k neighbours, c cells.
"""

import numpy as np

EXACT_BELOW = 8_000
_CELL = 500  # vectors of a cell, at most
_CELLS_LOOKED_AT = 16
_ROWS_AT_ONCE = 2_048
_DIRECTION_FROM = 256  # vectors that say which way a part is halved
_DIRECTION_ROUNDS = 4


def nearest_neighbours(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    """The k + 1 nearest of each vector, itself first: int64 [n, k + 1].

    Args:
        vectors: float32 [n, d], unit rows, n > k.
        k: at most 100 or so; smaller where n is.
        seed: of the cells.
    """
    every = np.arange(len(vectors))
    cells = [every] if len(vectors) <= EXACT_BELOW else _halved(vectors, seed)
    means = np.stack([vectors[rows].mean(axis=0) for rows in cells])
    looked_at = min(_CELLS_LOOKED_AT, len(cells))
    probed = np.argpartition(-(vectors @ means.T), looked_at - 1, axis=1)[:, :looked_at]
    nearest = np.full((len(vectors), k), -1, np.int64)
    similarity = np.full((len(vectors), k), -np.inf, np.float32)
    for members, asking in zip(cells, _askers(probed, len(cells)), strict=True):
        for first in range(0, len(asking), _ROWS_AT_ONCE):
            _look_at(vectors, asking[first : first + _ROWS_AT_ONCE], members, nearest, similarity)
    return np.concatenate([every[:, None], nearest], axis=1)


def _askers(probed: np.ndarray, cells: int) -> list[np.ndarray]:
    """Rows of `probed`, int64 [n, p], in which each cell occurs, ascending."""
    order = np.argsort(probed, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(probed.ravel(), minlength=cells))
    return np.split(order // probed.shape[1], ends[:-1])


def _look_at(
    vectors: np.ndarray,
    rows: np.ndarray,
    members: np.ndarray,
    nearest: np.ndarray,
    similarity: np.ndarray,
) -> None:
    """Put those of `members` that are nearer than what some rows have into their lists, nearest first."""
    found = vectors[rows] @ vectors[members].T
    found[rows[:, None] == members] = -np.inf  # itself
    k = nearest.shape[1]
    if len(members) > k:
        best = np.argpartition(-found, k - 1, axis=1)[:, :k]
        found, names = np.take_along_axis(found, best, axis=1), members[best]
    else:
        names = np.broadcast_to(members, found.shape)
    both = np.concatenate([similarity[rows], found], axis=1)
    names = np.concatenate([nearest[rows], names], axis=1)
    order = np.lexsort((names, -both), axis=1)[:, :k]
    similarity[rows] = np.take_along_axis(both, order, axis=1)
    nearest[rows] = np.take_along_axis(names, order, axis=1)


def _halved(vectors: np.ndarray, seed: int) -> list[np.ndarray]:
    """Rows int64 of cells of at most `_CELL` vectors, sorted; their sizes differ by one."""
    rng = np.random.default_rng([seed, 5])
    cells = [np.arange(len(vectors))]
    while len(cells[0]) > _CELL:
        cells = [half for rows in cells for half in _halves(vectors, rows, rng)]
    return cells


def _halves(vectors: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two halves along the line between the means of two clusters of a few of the vectors."""
    some = vectors[rng.choice(rows, min(_DIRECTION_FROM, len(rows)), replace=False)]
    direction = some[0] - some[1]
    for _ in range(_DIRECTION_ROUNDS):
        along = some @ direction
        upper = along > np.median(along)
        if upper.all() or not upper.any():  # all alike
            break
        direction = some[upper].mean(axis=0) - some[~upper].mean(axis=0)
    order = np.argsort(vectors[rows] @ direction, kind="stable")
    middle = (len(rows) + 1) // 2
    return np.sort(rows[order[:middle]]), np.sort(rows[order[middle:]])
