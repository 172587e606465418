"""Which checkpoint to keep, decided without a label.

Images held out of training are looked for by a strong view of each, among all training images as
distractors. A loss can fall while the embedding collapses, so it is never used; a checkpoint whose
effective rank has fallen too far is refused whatever its score.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from udml.learning.labelfree import augmentation_retrieval, strong_view


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
    lots = np.array([_lot(int(group), seed) for group in unique])
    order = np.argsort(lots)
    within = np.cumsum(counts[order]) <= at_most
    held = np.zeros(len(unique), bool)
    held[order[within]] = lots[order[within]] < share
    return held[inverse]


def _lot(group: int, seed: int) -> float:
    """A number in 0..1 for a group, even over groups."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def strong_views(images: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """One strong view of each image, a function of the seed and the image's position alone."""
    return [strong_view(image, np.random.default_rng([seed, row])) for row, image in enumerate(images)]


def label_free_score(views: np.ndarray, held: np.ndarray, distractors: np.ndarray) -> dict[str, float]:
    """`r1` and `mrr` of finding each held-out image by its strong view.

    Args:
        views, held: float32 [h, d], embeddings of the strong views and of the images themselves.
        distractors: float32 [m, d], embeddings of the training images.
    """
    return augmentation_retrieval(views, np.concatenate([held, distractors]), np.arange(len(held)))


@dataclass(frozen=True)
class Verdict:
    """Whether a checkpoint is fit to ship, and why not."""

    healthy: bool
    reason: str


def judge(effective_rank: float, frozen_effective_rank: float, min_share: float, finite: bool) -> Verdict:
    """Refuse collapsed or broken embeddings.

    Args:
        effective_rank: of this checkpoint's embeddings.
        frozen_effective_rank: of the frozen backbone's features on the same images.
        min_share: of the frozen one's that must be left.
        finite: whether losses and embeddings are all finite numbers.
    """
    if not finite:
        return Verdict(False, "the loss or the embeddings are not finite numbers")
    if effective_rank < min_share * frozen_effective_rank:
        return Verdict(
            False,
            f"the embeddings collapsed: effective rank {effective_rank:.1f}, "
            f"the frozen backbone has {frozen_effective_rank:.1f}",
        )
    return Verdict(True, "")
