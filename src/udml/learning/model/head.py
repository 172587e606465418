"""A good start for the embedding head, learned from the features alone.

A random projection of the trunk's features is a slightly worse copy of them. Their principal
directions, centred and with variances partly evened out, already retrieve better than the features
do (Jegou & Chum, ECCV 2012), so training starts ahead and its first pseudo-labels are cleaner.
"""

import numpy as np
import torch
from torch import nn

_FLOOR = 1e-2


def principal_head(features: np.ndarray, dim: int, whitening: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights [dim, c] and bias [dim] that map features [n, c] to their principal directions.

    Direction i is divided by (its standard deviation) ** whitening. Directions beyond the rank of the
    features are zero.

    Args:
        features: float32 [n, c].
        dim: length of the embedding.
        whitening: 0 none .. 1 full.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    covariance = np.cov(features.astype(np.float64), rowvar=False)
    variance, directions = np.linalg.eigh(covariance)
    leading = np.argsort(variance)[::-1][:dim]
    deviation = np.sqrt(np.maximum(variance[leading], 0))
    present = deviation > 1e-6 * deviation.max()
    # the floor keeps directions that hold next to nothing from being blown up
    floor = max(_FLOOR * deviation.max(), 1e-300)  # of collapsed features nothing is present
    scale = np.where(present, np.maximum(deviation, floor) ** -whitening, 0.0)
    # eigenvectors have no sign of their own; this one makes the result reproducible
    chosen = directions[:, leading]
    chosen = chosen * np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(len(leading))])
    weight = np.zeros((dim, features.shape[1]))
    weight[: len(leading)] = (chosen * scale).T
    return weight.astype(np.float32), (-weight @ mean).astype(np.float32)


@torch.no_grad()
def finish_head(head: nn.Linear, features: np.ndarray, whitening: float) -> None:
    """Turn a trained `head` towards the principal directions of its own outputs on features [n, c].

    Training piles variance up in a few directions again; evening it out once more is one more linear
    map, so it disappears into the head's weights.
    """
    outputs = (torch.from_numpy(features) @ head.weight.T.cpu() + head.bias.cpu()).numpy()
    weight, bias = (torch.from_numpy(part) for part in principal_head(outputs, head.out_features, whitening))
    head.bias.copy_(weight @ head.bias.cpu() + bias)
    head.weight.copy_(weight @ head.weight.cpu())


@torch.no_grad()
def start_head(head: nn.Linear, weight: np.ndarray, bias: np.ndarray) -> None:
    """Set `head` to what `principal_head` gave, at the scale the head was initialised with.

    The embedding is normalised, so the scale means nothing to it; it decides how far one optimiser
    step turns the head.
    """
    scale = float(head.weight.norm()) / max(float(np.linalg.norm(weight)), 1e-12)
    head.weight.copy_(torch.from_numpy(weight * scale))
    head.bias.copy_(torch.from_numpy(bias * scale))
