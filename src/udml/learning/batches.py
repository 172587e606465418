"""Which images a step sees: a few pseudo-classes, a few images of each.

A batch is a function of (seed, step, assignment) and nothing else. There is no sampler state to
lose: a run that is killed and resumed, or spread over several processes, draws the same batches.
"""

import numpy as np

from udml.errors import UdmlError


def members_by_cluster(assignment: np.ndarray, min_points: int) -> list[np.ndarray]:
    """Rows of every cluster with at least `min_points` (1 or more) members; empty ones never get in."""
    order = np.argsort(assignment, kind="stable")
    starts = np.unique(assignment[order], return_index=True)[1]
    return [rows for rows in np.split(order, starts[1:]) if len(rows) >= min_points]


def draw_batch(
    members: list[np.ndarray], clusters_per_batch: int, images_per_cluster: int, seed: int, step: int
) -> np.ndarray:
    """Rows int64 [clusters_per_batch * images_per_cluster] of one batch, cluster after cluster.

    Clusters are drawn uniformly, as DeepCluster does, so that large ones don't rule. An image comes
    twice only if its cluster has fewer than `images_per_cluster`; its two crops then differ.

    Raises:
        UdmlError: if there are fewer usable clusters than a batch needs.
    """
    if len(members) < clusters_per_batch:
        raise UdmlError(
            f"only {len(members)} clusters have enough images, a batch needs {clusters_per_batch}",
            "lower train.clusters_per_batch or train.min_points_per_cluster, or import more images",
        )
    rng = np.random.default_rng([seed, step])
    chosen = rng.choice(len(members), clusters_per_batch, replace=False)
    # np.resize repeats a short pool from its start
    return np.concatenate([np.resize(rng.permutation(members[c]), images_per_cluster) for c in chosen])


def rotation_positions(batch: int, rotation_images: int) -> np.ndarray:
    """Positions int [rotation_images] in a batch whose images are shown in four rotations, spread evenly."""
    return np.arange(rotation_images) * batch // rotation_images
