"""When to answer "no match": below a similarity that pictures of this kind rarely stay under.

Nobody has said which pictures belong together, but the collection itself shows how near a new picture
of its kind comes: as near as each of its images to the nearest other one. The threshold is set where at
most a stated share of such pictures stays below. This is split conformal prediction: the share holds
for new pictures from where the collection's came from, whatever the model, exactly and not just for
many. It says nothing of how many foreign pictures stay below; that depends on how foreign they are.
"""

import math
from typing import Any

import numpy as np

from udml.learning.mixing import Rows
from udml.search.gallery import search_base

MAX_IMAGES = 2000  # with 2000 the true share is within 0.01 of a stated 0.05


def nearest_others(
    base: Any, vectors: np.ndarray, groups: np.ndarray, rows: np.ndarray, exact: Rows | None = None
) -> np.ndarray:
    """Similarity of images to the nearest image that is not a duplicate of them.

    Args:
        base: a FAISS index of all n images, as it will be searched.
        vectors: float32 [q, d], of the images asked for.
        groups: int64 [n], equal for duplicates, at the index's positions.
        rows: int [q], positions of the images asked for.
        exact: as for `search_base`.

    Returns:
        float32 [q], -1..1; images that have nothing but duplicates are left out, so it may be shorter.
    """
    _, members = np.unique(groups, return_inverse=True)
    sizes = np.bincount(members)
    k = min(len(groups), 1 + int(sizes[members[rows]].max()))
    similarity, found = search_base(base, vectors, k, exact)
    similarity[groups[found] == groups[rows][:, None]] = -np.inf
    nearest = similarity.max(axis=1)
    return nearest[np.isfinite(nearest)]


def threshold_at(nearest: np.ndarray, error: float) -> float | None:
    """The similarity under which a new picture of the same kind stays with probability `error` at most.

    Args:
        nearest: float [n], what `nearest_others` gave.
        error: 0..1.

    Returns:
        -1..1, or None where so few images can't state so small an error.
    """
    rank = math.floor(error * (len(nearest) + 1))
    return float(np.sort(nearest)[rank - 1]) if rank >= 1 else None


def spread_rows(count: int) -> np.ndarray:
    """At most MAX_IMAGES of `count` rows at even distances, int64."""
    return np.unique(np.linspace(0, count - 1, min(count, MAX_IMAGES)).round().astype(np.int64))
