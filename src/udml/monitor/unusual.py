"""Which of the new images differ most from the collection, and in what."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from udml.data.statistics import STATISTICS, shown_statistic
from udml.monitor.drift import tail_shares
from udml.search.gallery import GalleryIndex, search
from udml.search.reference import Reference

SHOWN = 24
_FAR_OUT = 0.02  # a statistic is worth a remark outside the middle 98 % of the collection


@dataclass(frozen=True)
class UnusualImage:
    """A new image that differs from the collection.

    Attributes:
        path: the file.
        similarity: cosine to the most similar image of the collection.
        lonelier_share: share of the collection's own images that have a nearer neighbour, 0..1.
        remarks: what else is far out, such as "sharpness 2.1, usually 35 to 900".
    """

    path: Path
    similarity: float
    lonelier_share: float
    remarks: tuple[str, ...]


def most_unusual(
    paths: Sequence[Path],
    vectors: np.ndarray,
    statistics: np.ndarray,
    reference: Reference,
    index: GalleryIndex,
) -> list[UnusualImage]:
    """At most 24 images: first those least like any of the collection or with statistics far outside it.

    Args:
        paths: n files.
        vectors: float32 [n, d], unit rows.
        statistics: float64 [n, 8].
        reference: the sample of the collection.
        index: the whole of it.
    """
    if not paths:
        return []
    nearest = search(index, vectors, 1)[0][:, 0]
    usual = _own_nearest(reference, index)
    loneliness = np.searchsorted(np.sort(usual), nearest, side="left") / len(usual)
    tails = np.stack(
        [tail_shares(statistics[:, s], reference.statistics[:, s]) for s in range(len(STATISTICS))], axis=1
    )
    surprise = np.minimum(loneliness, tails.min(axis=1) * len(STATISTICS))
    order = np.lexsort((-_spreads_away(statistics, reference.statistics), surprise))[:SHOWN]
    low, high = np.percentile(reference.statistics, (1, 99), axis=0)
    return [
        UnusualImage(
            path=paths[row],
            similarity=float(nearest[row]),
            lonelier_share=float(1 - loneliness[row]),
            remarks=tuple(
                _remark(name, statistics[row, s], low[s], high[s])
                for s, name in enumerate(STATISTICS)
                if tails[row, s] <= _FAR_OUT
            ),
        )
        for row in order
    ]


def _remark(name: str, value: float, low: float, high: float) -> str:
    usual = f"usually {shown_statistic(name, low)} to {shown_statistic(name, high)}"
    return f"{name} {shown_statistic(name, value)}, {usual}"


def _spreads_away(statistics: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Largest distance of a statistic from its median, in reference spreads: float64 [n].

    The spread is half of what the middle 68 % span; where they span nothing, any distance is infinite.
    """
    low, middle, high = np.percentile(reference, (16, 50, 84), axis=0)
    distance = np.abs(statistics - middle)
    far = np.where(distance > 0, np.inf, 0.0)
    return np.divide(distance, (high - low) / 2, out=far, where=high > low).max(axis=1)


def _own_nearest(reference: Reference, index: GalleryIndex) -> np.ndarray:
    """Similarity of each reference image to its nearest neighbour but itself: float32 [m]."""
    similarity, ids = search(index, reference.vectors, 2)
    if similarity.shape[1] < 2:
        return similarity[:, 0]
    return np.where(ids[:, 0] == reference.image_ids, similarity[:, 1], similarity[:, 0])
