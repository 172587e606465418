"""The exchange method: better clusters than Lloyd's k-means ends with, for a few more passes.

Lloyd's algorithm stops when every vector is nearest to its own cluster's mean. In small clusters that is
soon so, as a vector pulls the mean it is compared with towards itself. Hartigan's method compares what the
sum of squared distances would be if the vector moved, both means moving with it; where it stops, Lloyd's
would too, but not the other way round. Hartigan, "Clustering Algorithms" (1975); Telgarsky and Vattani,
"Hartigan's Method: k-means Clustering without Voronoi" (AISTATS 2010).

Shapes: n vectors, d their length, k clusters, m clusters that a vector may join.
"""

import numpy as np

MAX_PASSES = 8
SETTLED_SHARE = 0.005  # a pass that moves fewer is the last
_AT_ONCE = 256  # vectors compared with the means as they are, then moved one by one ...
_CLUSTERS_PER_VECTOR = 8  # ... or more: preparing k means should cost little beside comparing with them
_MIN_GAIN = 1e-5  # squared distance; above what rounding can feign, so that no vector moves for ever


def exchange(
    vectors: np.ndarray, assignment: np.ndarray, clusters: int, seed: int, nearest: np.ndarray | None = None
) -> np.ndarray:
    """Move single vectors between clusters while that lowers the sum of squared distances to the means.

    A pass over all vectors costs as much as an iteration of Lloyd's algorithm, or as m comparisons of each
    where `nearest` is given; at most `MAX_PASSES`. The last vector of a cluster stays, and an empty cluster
    takes the first that gains by it.

    Args:
        vectors: float32 [n, d], unit rows.
        assignment: int64 [n], 0 .. k - 1, to begin with; left as it is.
        clusters: k.
        seed: of the order in which vectors are looked at.
        nearest: int64 [n, m], each vector and others whose clusters it may join; without, it may join all.

    Returns:
        int64 [n].
    """
    found, order = assignment.copy(), np.random.default_rng(seed).permutation(len(vectors))
    at_once = max(_AT_ONCE, clusters // _CLUSTERS_PER_VECTOR)
    for _ in range(MAX_PASSES):
        sums, sizes = cluster_sums(vectors, found, clusters)  # afresh: sums that are updated drift
        moved = 0
        for first in range(0, len(order), at_once):
            rows = order[first : first + at_once]
            joinable = None if nearest is None else found[nearest[rows]]
            moved += _exchange_some(vectors, rows, found, sums, sizes, joinable)
        if moved < SETTLED_SHARE * len(vectors):
            break
    return found


def cluster_sums(vectors: np.ndarray, assignment: np.ndarray, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum of each cluster's vectors, float32 [k, d], and how many they are, float32 [k]."""
    sums = np.zeros((clusters, vectors.shape[1]), np.float32)
    np.add.at(sums, assignment, vectors)
    return sums, np.bincount(assignment, minlength=clusters).astype(np.float32)


def _exchange_some(
    vectors: np.ndarray,
    rows: np.ndarray,
    assignment: np.ndarray,
    sums: np.ndarray,
    sizes: np.ndarray,
    joinable: np.ndarray | None,
) -> int:
    """Look at some rows, each at all clusters or at those of `joinable`, int64 [rows, m], its own first.

    Updates `assignment`, `sums` and `sizes`, and returns how many moved.
    """
    chosen, own = vectors[rows], assignment[rows]
    joining, leaving = _costs(chosen, own, sums, sizes, joinable)
    best = joining.argmin(axis=1)
    gains = joining[np.arange(len(rows)), best] < leaving - _MIN_GAIN
    moved = 0
    for offset in np.flatnonzero(gains & (sizes[own] > 1)):
        vector, here = chosen[offset], own[offset]
        there = best[offset] if joinable is None else joinable[offset, best[offset]]
        if sizes[here] > 1 and _gain(vector, sums, sizes, here, there) > _MIN_GAIN:
            sums[here] -= vector
            sums[there] += vector
            sizes[here] -= 1
            sizes[there] += 1
            assignment[rows[offset]] = there
            moved += 1
    return moved


def _costs(
    chosen: np.ndarray, own: np.ndarray, sums: np.ndarray, sizes: np.ndarray, joinable: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """What joining each other cluster adds to the sum of squared distances, and what leaving one's own takes.

    With c vectors of sum s in a cluster, the squared distance of a unit vector x to their mean is
    q = 1 - 2 x.s / c + |s|^2 / c^2. Joining adds q c / (c + 1), leaving takes q c / (c - 1).

    Returns:
        float32 [rows, k or m], infinite for one's own; float32 [rows].
    """
    squares = np.einsum("kd,kd->k", sums, sums)
    fixed = (sizes + squares / np.maximum(sizes, 1)) / (sizes + 1)
    scale = -2 / (sizes + 1)
    if joinable is None:
        at = np.arange(len(chosen))
        joining = chosen @ (sums * scale[:, None]).T
        joining += fixed
        staying = joining[at, own]
        joining[at, own] = np.inf
    else:
        joining = np.einsum("rd,rmd->rm", chosen, sums[joinable]) * scale[joinable] + fixed[joinable]
        staying = joining[:, 0].copy()
        joining[joinable == own[:, None]] = np.inf
    return joining, staying * (sizes[own] + 1) / np.maximum(sizes[own] - 1, 1)


def _gain(vector: np.ndarray, sums: np.ndarray, sizes: np.ndarray, here: int, there: int) -> float:
    """By how much the sum of squared distances falls if `vector` moves, others having moved before it."""
    away = vector - sums[here] / sizes[here]
    towards = vector - sums[there] / max(sizes[there], 1)
    leaving = (away @ away) * sizes[here] / (sizes[here] - 1)
    return float(leaving - (towards @ towards) * sizes[there] / (sizes[there] + 1))
