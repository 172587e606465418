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
    twice only if its cluster has fewer than `images_per_cluster`; its two crops then differ.

    Args:
        members: rows of each usable cluster.
        clusters_per_batch: how many clusters.
        images_per_cluster: how many images of each.
        seed: of everything drawn here.

    Raises:
        UdmlError: if there are fewer usable clusters than a batch needs.
    """
    if len(members) < clusters_per_batch:
        raise UdmlError(
            f"only {len(members)} clusters have enough images, a batch needs {clusters_per_batch}",
            "lower train.clusters_per_batch or train.min_points_per_cluster, or import more images",
        )
    rng = np.random.default_rng(seed)
    chosen = rng.choice(np.array(list(members)), clusters_per_batch, replace=False)
    places = np.arange(images_per_cluster)
    shuffled = [rng.permutation(members[c]) for c in chosen.tolist()]
    return np.concatenate([rows[places % len(rows)] for rows in shuffled])


def rotation_positions(batch: int, rotation_images: int) -> np.ndarray:
    """Positions int [rotation_images] in a batch whose images are shown in four rotations, spread evenly."""
    return np.arange(rotation_images) * batch // rotation_images
