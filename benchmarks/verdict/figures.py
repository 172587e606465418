"""Candidates for a figure that tells without labels how good an embedding is.

Shapes: n images, d embedding length. Every candidate is one number an image, so that two models are compared
by the paired bootstrap over images, as everything else is.
"""

import numpy as np

NEIGHBOURS = 10
_FEW, _FROM, _TO = 5, 50, 100  # contrast: of the nearest few to those of these ranks


def candidates(
    images: np.ndarray, views: tuple[np.ndarray, np.ndarray], groups: np.ndarray
) -> dict[str, np.ndarray]:
    """Every candidate on images whose labels nobody looks at.

    Args:
        images: float32 [n, d], unit rows.
        views: of two strong views of each, float32 [n, d] each, unit rows.
        groups: int64 [n]; images of one group are copies of each other and not counted as neighbours.

    Returns:
        float64 [n] by name:
        "found again", reciprocal rank of an image among all, asked for by a strong view;
        "agreement", share of its ten nearest that a strong view of it has too;
        "agreement of two views", the same of two strong views;
        "reciprocity", share of its ten nearest that have the image among their own;
        "neighbours found again", share that is reciprocal and agreed on by the first view: what udml uses;
        "contrast", mean similarity to the five nearest less that to ranks 50 to 100;
        "transitivity", share of its neighbours' neighbours that are its own.
    """
    copies = groups[:, None] == groups
    similar = np.where(copies, -2.0, images @ images.T)
    near = _nearest(similar)
    seen = [np.where(copies, -2.0, view @ images.T) for view in views]
    near_views = [_nearest(one) for one in seen]
    own = (views[0] * images).sum(axis=1)
    ranks = 1 + (seen[0] >= own[:, None] - 1e-6).sum(axis=1)
    mutual = near & near.T
    ordered = -np.sort(-similar, axis=1)
    shared = near.astype(np.float32) @ near.T.astype(np.float32) / NEIGHBOURS
    found = {
        "found again": 1 / ranks,
        "agreement": (near & near_views[0]).sum(axis=1) / NEIGHBOURS,
        "agreement of two views": (near_views[0] & near_views[1]).sum(axis=1) / NEIGHBOURS,
        "reciprocity": mutual.sum(axis=1) / NEIGHBOURS,
        "neighbours found again": (mutual & near_views[0]).sum(axis=1) / NEIGHBOURS,
        "contrast": ordered[:, :_FEW].mean(axis=1) - ordered[:, _FROM:_TO].mean(axis=1),
        "transitivity": (shared * near).sum(axis=1) / NEIGHBOURS,
    }
    return {name: values.astype(np.float64) for name, values in found.items()}


def _nearest(similarity: np.ndarray) -> np.ndarray:
    """Which are each row's ten nearest: bool [n, n]."""
    near = np.zeros(similarity.shape, bool)
    chosen = np.argpartition(-similarity, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    near[np.arange(len(near))[:, None], chosen] = True
    return near
