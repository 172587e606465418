"""Which checkpoint to keep, decided without a label.

Images held out of training are looked for by a strong view of each, among all training images as
distractors, and so are their neighbours: `evaluation.labelfree.neighbours_found_again` is the score. A
loss can fall while the embedding collapses, so it is never used; a checkpoint whose effective rank has
fallen too far is refused whatever its score.
"""

from collections.abc import Sequence

import numpy as np

from udml.data.splits import unit_hash

_FEWEST = 2  # images held out


def hold_out(groups: np.ndarray, share: float, at_most: int, seed: int) -> np.ndarray:
    """Which training images to hold out: bool [n], whole duplicate groups at a time.

    A group's lot depends on the seed and its own number only, so images that arrive later move none.

    Args:
        groups: int64 [n], duplicate group of each training image.
        share: of the images, 0..1.
        at_most: images; the first groups in order of their lot are kept.
        seed: of the lots.
    """
    unique, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    # named, so that these lots are independent of those that chose the test images: without a name
    # all the low ones would be in the test split already
    lots = np.array([unit_hash(seed, f"hold out {group}") for group in unique.tolist()])
    order = np.argsort(lots)
    images = np.cumsum(counts[order])
    within = images <= at_most
    # few groups may all draw high lots; two images must be held out, or there is nothing to judge by
    chosen = (lots[order] < share) | (images - counts[order] < _FEWEST)
    held = np.zeros(len(unique), bool)
    held[order[chosen & within]] = True
    return held[inverse]


def judge(effective_rank: float, frozen_effective_rank: float, min_share: float) -> str:
    """Why an embedding is unfit to ship, or "" if it is fit.

    Args:
        effective_rank: of this checkpoint's embeddings.
        frozen_effective_rank: of the frozen backbone's features on the same images.
        min_share: of the frozen one's that must be left.
    """
    if effective_rank >= min_share * frozen_effective_rank:
        return ""
    return (
        f"the embeddings collapsed: effective rank {effective_rank:.1f}, "
        f"the frozen backbone has {frozen_effective_rank:.1f}"
    )


def picks_latest(scores: Sequence[tuple[float, float]]) -> bool:
    """Whether the latest checkpoint is to be kept instead of the one kept so far.

    The score levels off while the clusters still get better, and which checkpoint of a plateau scores
    highest is chance. So the latest is kept unless the best beats it by more than the best's standard
    error (the one-standard-error rule of Breiman et al., Classification and Regression Trees, 1984).

    Args:
        scores: score and its standard error of every healthy checkpoint, oldest first.
    """
    best, error = max(scores)
    return scores[-1][0] >= best - error
