"""How points of a layout push each other apart: all pairs, by interpolation on a grid and FFT.

The kernel of t-SNE, 1 / (1 + d^2), is smooth: charges of the points are spread over three nodes a box and
direction, convolved with the kernel there, and read back the same way (Linderman et al., Nat. Methods 2019).
Time is n + m log m, m the nodes of the grid. Few points are summed pair by pair.
"""

from functools import lru_cache

import numpy as np

_PAIRWISE_BELOW = 400  # points; a grid costs more than their pairs
_NODES = 3  # a box and direction: quadratic interpolation
_BOX = 1.0  # side at most, in units of the kernel's width
_FEWEST_BOXES, _MOST_BOXES = 12, 128
_BOXES_STEP = 8  # grids grow in steps, so that a kernel serves many rounds


def repulsion(points: np.ndarray) -> tuple[np.ndarray, float]:
    """What pushes each point away from all others, and the sum of the kernel over all pairs.

    Args:
        points: float32 [n, 2].

    Returns:
        float32 [n, 2], the sum over others j of (y_i - y_j) / (1 + d_ij^2)^2, and the sum over i != j of
        1 / (1 + d_ij^2).
    """
    return _by_pairs(points) if len(points) < _PAIRWISE_BELOW else _by_grid(points)


def _by_pairs(points: np.ndarray) -> tuple[np.ndarray, float]:
    apart = points[:, None, :] - points[None, :, :]
    kernel = 1 / (1 + np.einsum("ijk,ijk->ij", apart, apart))
    np.fill_diagonal(kernel, 0)
    return np.einsum("ij,ijk->ik", kernel * kernel, apart), float(kernel.sum(dtype=np.float64))


def _by_grid(points: np.ndarray) -> tuple[np.ndarray, float]:
    low, extent = points.min(axis=0), float(np.ptp(points, axis=0).max())
    boxes = -(-max(_FEWEST_BOXES, int(extent / _BOX) + 1) // _BOXES_STEP) * _BOXES_STEP
    boxes = min(boxes, _MOST_BOXES)
    is_full = (boxes - _BOXES_STEP) * _BOX < extent < boxes * _BOX  # the kernel then stays as it was
    side = _BOX if is_full else max(extent, 1e-3) / (boxes - 0.01)
    nodes, spacing = boxes * _NODES, side / _NODES
    rows, weights = _spread((points - low) / side, boxes)
    charges = np.stack([np.ones(len(points), np.float32), points[:, 0] - low[0], points[:, 1] - low[1]])
    grid = np.stack(
        [np.bincount(rows.ravel(), (weights * one[:, None]).ravel(), nodes * nodes) for one in charges]
    ).reshape(3, nodes, nodes)
    plain, squared = _kernels(nodes, spacing)
    spectra = np.fft.rfft2(grid.astype(np.float32), (2 * nodes, 2 * nodes))
    products = np.concatenate([spectra * squared, spectra[:1] * plain])
    potentials = np.fft.irfft2(products)[:, :nodes, :nodes].reshape(4, -1)
    count, by_x, by_y, total = (np.einsum("nk,nk->n", one[rows], weights) for one in potentials)
    away = np.stack([charges[1] * count - by_x, charges[2] * count - by_y], axis=1)
    return away.astype(np.float32), float(total.sum(dtype=np.float64)) - len(points)


def _spread(points: np.ndarray, boxes: int) -> tuple[np.ndarray, np.ndarray]:
    """The nine nodes around each point, int64 [n, 9], and its weights there, float32 [n, 9]."""
    box = np.clip(points.astype(np.int64), 0, boxes - 1)
    inside = points - box  # 0..1
    at = (np.arange(_NODES, dtype=np.float32) + 0.5) / _NODES
    weights = np.ones((*points.shape, _NODES), np.float32)
    for node in range(_NODES):
        for other in range(_NODES):
            if other != node:
                weights[..., node] *= (inside - at[other]) / (at[node] - at[other])
    nodes = box[..., None] * _NODES + np.arange(_NODES)
    rows = nodes[:, 0, :, None] * (boxes * _NODES) + nodes[:, 1, None, :]
    both = weights[:, 0, :, None] * weights[:, 1, None, :]
    return rows.reshape(len(points), -1), both.reshape(len(points), -1)


@lru_cache(maxsize=2)
def _kernels(nodes: int, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Spectra of the kernel and of its square on a periodic grid of twice as many nodes."""
    steps = np.arange(2 * nodes)
    apart = (np.minimum(steps, 2 * nodes - steps) * spacing).astype(np.float32)
    kernel = 1 / (1 + apart[:, None] ** 2 + apart[None, :] ** 2)
    return np.fft.rfft2(kernel), np.fft.rfft2(kernel * kernel)
