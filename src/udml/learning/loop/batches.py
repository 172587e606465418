"""Which images a step sees: a few pseudo-classes, a few images of each.

A batch is a function of (seed, step, assignment) and nothing else. There is no sampler state to
lose: a run that is killed and resumed, or spread over several processes, draws the same batches.
"""

from collections.abc import Sequence

import numpy as np

from udml.errors import UdmlError


def members_by_cluster(assignment: np.ndarray, min_points: int) -> dict[int, np.ndarray]:
    """Rows of every cluster with at least `min_points` (1 or more) members; empty ones never get in."""
    order = np.argsort(assignment, kind="stable")
    clusters, starts = np.unique(assignment[order], return_index=True)
    parts = np.split(order, starts[1:])
    return {int(c): rows for c, rows in zip(clusters, parts, strict=True) if len(rows) >= min_points}


def draw_batch(
    members: dict[int, np.ndarray], clusters_per_batch: int, images_per_cluster: int, seed: Sequence[int]
) -> np.ndarray:
    """Rows int64 [clusters_per_batch * images_per_cluster] of one batch, cluster after cluster.

    Clusters are drawn uniformly, as DeepCluster does, so that large ones don't rule. An image comes
    twice only if its cluster has fewer than are drawn of it; its two crops then differ. Where there are fewer
    clusters than a batch has room for, as among a hundred pictures with a few odd ones, all are drawn, some
    with more images than others.

    Args:
        members: rows of each usable cluster.
        clusters_per_batch: how many clusters.
        images_per_cluster: how many images of each.
        seed: of everything drawn here.

    Raises:
        UdmlError: if there are fewer than two usable clusters.
    """
    if len(members) < 2:
        raise UdmlError(
            f"clusters with enough images to learn from: {len(members)}; it takes two",
            "import more images that have others of their kind, or lower train.min_points_per_cluster",
        )
    rng = np.random.default_rng(seed)
    count = min(clusters_per_batch, len(members))
    chosen = rng.choice(np.array(list(members)), count, replace=False)
    times = clusters_per_batch // count + (np.arange(count) < clusters_per_batch % count)
    shuffled = [rng.permutation(members[c]) for c in chosen.tolist()]
    counts = (times * images_per_cluster).tolist()
    return np.concatenate([np.resize(rows, n) for n, rows in zip(counts, shuffled, strict=True)])


def rotation_positions(batch: int, rotation_images: int) -> np.ndarray:
    """Positions int [rotation_images] in a batch whose images are shown in four rotations, spread evenly."""
    return np.arange(rotation_images) * batch // rotation_images
