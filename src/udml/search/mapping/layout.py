"""A layout of a neighbour graph on a plane: near images stay near.

t-SNE (van der Maaten and Hinton, JMLR 2008) with equal affinities over each image's nearest others instead of
a perplexity, and a start by PCA, which keeps the large picture (Kobak and Linderman, Nature Biotechnology
2021). No draw is made after the start: equal input gives an equal layout on the same machine.
"""

import numpy as np

from udml.progress import progress
from udml.search.mapping.repulsion import repulsion

NEIGHBOURS = 15  # of each image that pull it
_EARLY, _LATE = 12.0, 1.0  # how much stronger attraction is; groups form early, then come apart
_EARLY_ROUNDS, _ROUNDS = 80, 250
_MOMENTUM = 0.5, 0.8
_LONGEST_STEP = 5.0
_SHOWN_FROM = 5_000  # points; fewer are a matter of moments
_START_SPREAD = 1e-2
_ROOM = 0.003  # of an image among equal ones
_SEED = 0


def lay_out(near: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Places for n images.

    Args:
        near: int [n, k], positions of each image's nearest others, nearest first; the first 15 are used.
        vectors: float32 [n, d], where the layout starts from.

    Returns:
        float32 [n, 2] within -1..1, centred; the first axis is the one along which they differ most.
    """
    near = near[:, :NEIGHBOURS]
    points = _start(vectors)
    if len(points) > 2 and near.shape[1]:
        points = _settle(points, near)
    return _framed(points)


def _start(vectors: np.ndarray) -> np.ndarray:
    """The first two principal components, small, and a little noise, so that equal vectors come apart."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    plane = centred @ axes[:, : -min(2, axes.shape[1]) - 1 : -1]
    plane = np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))
    noise = np.random.default_rng(_SEED).normal(0, 0.01, plane.shape)
    return (_START_SPREAD * (plane / max(plane[:, 0].std(), 1e-6) + noise)).astype(np.float32)


def _settle(points: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Gradient descent with momentum and a gain for each coordinate (Jacobs 1988), as t-SNE has it."""
    count = len(points)
    speed, gains = np.zeros_like(points), np.ones_like(points)
    rounds = range(_EARLY_ROUNDS + _ROUNDS)
    for number in progress(rounds, "lay out the map", unit="round") if count >= _SHOWN_FROM else rounds:
        is_early = number < _EARLY_ROUNDS
        exaggeration, momentum = (_EARLY, _MOMENTUM[0]) if is_early else (_LATE, _MOMENTUM[1])
        away, total = repulsion(points)
        force = exaggeration * attraction(points, near) + away / np.float32(max(total, 1e-12))
        turned = force * speed < 0
        gains = np.maximum(np.where(turned, gains * 0.8, gains + 0.2), 0.01)
        speed = momentum * speed + (count / exaggeration) * gains * force
        length = np.linalg.norm(speed, axis=1, keepdims=True)
        speed *= np.minimum(1, _LONGEST_STEP / np.maximum(length, 1e-12))
        points = points + speed
        points -= points.mean(axis=0)
    return points


def attraction(points: np.ndarray, near: np.ndarray) -> np.ndarray:
    """What pulls each point: along every edge of the graph, both ends, float32 [n, 2]."""
    count, k = near.shape
    ends = np.maximum(near, 0)
    apart = points[ends] - points[:, None, :]
    weight = np.where(near >= 0, 1 / (1 + np.einsum("nkc,nkc->nk", apart, apart)), 0)
    pull = apart * weight[..., None] / (2 * count * k)
    back = np.stack([np.bincount(ends.ravel(), pull[..., axis].ravel(), count) for axis in (0, 1)], axis=1)
    return (pull.sum(axis=1) - back).astype(np.float32)


def _framed(points: np.ndarray) -> np.ndarray:
    """Centred, turned so that the longest axis comes first, and scaled to -1..1; signs are settled."""
    points = points.astype(np.float64) - points.mean(axis=0)
    _, axes = np.linalg.eigh(points.T @ points)
    points = points @ axes[:, ::-1]
    points *= np.where((points**3).sum(axis=0) < 0, -1, 1)
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    points = points - middle
    return _apart(points / max(np.abs(points).max(), 1e-12)).astype(np.float32)


def _apart(points: np.ndarray) -> np.ndarray:
    """Points in one place, as of equal images with the same neighbours, become a small disc around it."""
    _, place, sizes = np.unique(np.round(points, 4), axis=0, return_inverse=True, return_counts=True)
    place = place.ravel()
    order = np.argsort(place, kind="stable")
    rank = np.empty(len(points))
    rank[order] = np.arange(len(points)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    reach, angle = _ROOM * np.sqrt(rank), rank * np.pi * (3 - np.sqrt(5))
    spread = points + np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)
    return spread / max(np.abs(spread).max(), 1.0)
