"""Ward's method along a sparse graph: merge what raises the sum of squared distances to the means least.

Only clusters that the graph joins are merged; where nothing joins those that are left, their means get a
graph of their own. All clusters that are each other's cheapest merge at once, in some tens of passes over the
edges: as Ward's cost is reducible, on a whole graph the tree is the one that merging one pair after the other
would give (Murtagh, "A Survey of Recent Advances in Hierarchical Clustering Algorithms", 1983). Ward,
"Hierarchical Grouping to Optimize an Objective Function" (JASA 1963).

Shapes: n images, d vector length, k neighbours, m edges, t merges.
"""

from typing import NamedTuple

import numpy as np

from udml.learning.labels.neighbours import nearest_neighbours

_NEIGHBOURS = 10  # of a mean, where the graph has fallen apart
_EDGES_AT_ONCE = 1_024  # their means should lie in the processor's cache

Pairs = tuple[np.ndarray, np.ndarray]


class Edges(NamedTuple):
    """Pairs of clusters that the graph joins, each once, and what merging them costs.

    Attributes:
        first, second: int64 [m], an image of each that stands for it, first < second.
        costs: float64 [m], by how much the sum of squared distances to the means rises.
    """

    first: np.ndarray
    second: np.ndarray
    costs: np.ndarray


def ward_clusters(vectors: np.ndarray, nearest: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """So many clusters of `vectors`: int64 [n], 0 .. clusters - 1, numbered by their first image.

    Args:
        vectors: float32 [n, d].
        nearest: int64 [n, k + 1], each image and its nearest.
        clusters: at most n.
        seed: decides between pairs that cost the same.

    Raises:
        ValueError: if a vector is not of finite numbers: no pair would ever be the cheapest.
    """
    if not np.isfinite(vectors).all():
        raise ValueError("cannot cluster vectors that are not of finite numbers")
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    if clusters == len(vectors):
        return np.arange(clusters)
    first, second = _tree(vectors, nearest, seed)
    made = len(vectors) - clusters
    edges = (np.ones(made, np.int8), (first[:made], second[:made]))
    parts = connected_components(sparse.coo_matrix(edges, shape=(len(vectors),) * 2), False)[1]
    _, starts, inverse = np.unique(parts, return_index=True, return_inverse=True)
    names = np.empty(len(starts), np.int64)
    names[np.argsort(starts)] = np.arange(len(starts))
    return names[inverse]


def _tree(vectors: np.ndarray, nearest: np.ndarray, seed: int) -> Pairs:
    """All n - 1 merges, the cheapest first: an image of each of the two clusters, int64 [t]."""
    rng = np.random.default_rng([seed, 6])
    means, sizes = vectors.copy(), np.ones(len(vectors), np.int64)
    highest = np.zeros(len(vectors))  # of the merges inside each cluster
    alive = np.arange(len(vectors))
    edges = _edges(means, sizes, _pairs(alive, nearest))
    merges: list[tuple[np.ndarray, ...]] = []
    while len(alive) > 1:
        if not len(edges.costs):
            k = min(_NEIGHBOURS, len(alive) - 1)
            edges = _edges(means, sizes, _pairs(alive, nearest_neighbours(means[alive], k, seed)))
        mutual = _mutual(len(vectors), edges, rng)
        kept, gone = edges.first[mutual], edges.second[mutual]
        # a merge along the graph may cost less than one before it, which it must not come before
        height = np.maximum(edges.costs[mutual], np.maximum(highest[kept], highest[gone]))
        merges.append((kept, gone, height))
        highest[kept] = height
        share = (sizes[gone] / (sizes[kept] + sizes[gone])).astype(np.float32)[:, None]
        means[kept] += share * (means[gone] - means[kept])
        sizes[kept] += sizes[gone]
        alive = np.setdiff1d(alive, gone, assume_unique=True)
        edges = _contracted(means, sizes, edges, kept, gone)
    first, second, height = (np.concatenate(side) for side in zip(*merges, strict=True))
    order = np.argsort(height, kind="stable")
    return first[order], second[order]


def _pairs(names: np.ndarray, nearest: np.ndarray) -> Pairs:
    """Pairs of names int64 [n] of which one is among the other's nearest."""
    return np.repeat(names, nearest.shape[1] - 1), names[nearest[:, 1:].ravel()]


def _edges(means: np.ndarray, sizes: np.ndarray, pairs: Pairs) -> Edges:
    """The edges of pairs int64 [p] of clusters, whichever of a pair comes first and however often."""
    names = np.sort(np.minimum(*pairs) * len(means) + np.maximum(*pairs))  # np.unique takes ten times as long
    names = names[np.flatnonzero(np.diff(names, prepend=-1))]
    first, second = names // len(means), names % len(means)
    squares = np.empty(len(names))
    for start in range(0, len(names), _EDGES_AT_ONCE):
        some = slice(start, start + _EDGES_AT_ONCE)
        away = means[first[some]] - means[second[some]]
        squares[some] = np.einsum("md,md->m", away, away)
    one, other = sizes[first].astype(np.float64), sizes[second]
    return Edges(first, second, squares * one * other / (one + other))


def _mutual(count: int, edges: Edges, rng: np.random.Generator) -> np.ndarray:
    """Edges between clusters that are each other's cheapest, no cluster in two of them; at least one."""
    best = np.full(count, np.inf)
    for side in (edges.first, edges.second):
        np.minimum.at(best, side, edges.costs)
    mutual = np.flatnonzero((edges.costs == best[edges.first]) & (edges.costs == best[edges.second]))
    first, second = edges.first[mutual], edges.second[mutual]
    # among equals by lot: in the order of rows, a heap of equal images would merge one after the other
    lot = rng.permutation(len(mutual))
    drawn = np.full(count, len(mutual))
    for side in (first, second):
        np.minimum.at(drawn, side, lot)
    return mutual[(drawn[first] == lot) & (drawn[second] == lot)]


def _contracted(
    means: np.ndarray, sizes: np.ndarray, edges: Edges, kept: np.ndarray, gone: np.ndarray
) -> Edges:
    """The edges with each cluster of `gone` made part of that of `kept`; costs anew where one has changed."""
    name, changed = np.arange(len(means)), np.zeros(len(means), bool)
    name[gone], changed[kept] = kept, True
    first, second = name[edges.first], name[edges.second]
    stale = changed[first] | changed[second]
    moved = stale & (first != second)
    anew = _edges(means, sizes, (first[moved], second[moved]))
    return Edges(*(np.concatenate([old[~stale], new]) for old, new in zip(edges, anew, strict=True)))
