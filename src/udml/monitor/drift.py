"""The verdict on a batch of new images. Arrays in, numbers out. No torch.

Two tests are made on the same permutations: the energy distance between the embeddings (other things
are shown) and the largest gap of eight image statistics (they are shown otherwise: blur, light, colour,
size). The smaller of their p-values decides, corrected for being the smaller of two.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from udml.config import Monitor
from udml.data.statistics import STATISTICS
from udml.monitor.two_sample import (
    adjusted_for_many,
    energy_distances,
    largest_gaps,
    memberships,
    permutation_ranks,
    smallest_p,
)
from udml.retrieval.reference import Reference


class Verdict(StrEnum):
    """What a batch of new images is found to be."""

    DRIFT = "drift"
    NO_DRIFT = "no drift"
    TOO_FEW = "too few"


@dataclass(frozen=True)
class StatisticDrift:
    """One image statistic, then and now.

    Attributes:
        name: of `udml.data.statistics.STATISTICS`.
        reference_median, new_median: its middle values.
        gap: Kolmogorov-Smirnov statistic, 0..1.
        p_value: of that gap, adjusted for there being eight.
    """

    name: str
    reference_median: float
    new_median: float
    gap: float
    p_value: float


@dataclass(frozen=True)
class Drift:
    """A verdict and its numbers.

    Attributes:
        verdict: DRIFT if `p_value` is at most the alarm rate.
        p_value: of both tests together, or None for too few images.
        embedding_p_value: of the energy distance alone.
        statistics_p_value: of the image statistics alone.
        energy_distance: between the embeddings, 0 for equal distributions.
        statistics: the image statistics, most drifted first.
        reference_images, tested_images: the sizes of the two samples.
    """

    verdict: Verdict
    p_value: float | None
    embedding_p_value: float | None
    statistics_p_value: float | None
    energy_distance: float | None
    statistics: tuple[StatisticDrift, ...]
    reference_images: int
    tested_images: int


def compare(reference: Reference, vectors: np.ndarray, statistics: np.ndarray, params: Monitor) -> Drift:
    """Say whether new images, one of each burst, come from the distribution of the reference.

    Args:
        reference: m images of the collection.
        vectors: float32 [n, d], unit rows, of the new images.
        statistics: float64 [n, 8] of the same images.
        params: the section `monitor`; at most `max_images` of the new images are used, drawn with
            `seed`.
    """
    chosen = np.random.default_rng([params.seed, 1]).permutation(len(vectors))[: params.max_images]
    vectors, statistics = vectors[chosen], statistics[chosen]
    old, new = len(reference.vectors), len(vectors)
    if min(old, new) < params.min_images:
        return Drift(Verdict.TOO_FEW, None, None, None, None, (), old, new)
    is_new = memberships(old, new, params.permutations, params.seed)
    energy = energy_distances(np.concatenate([reference.vectors, vectors]), is_new)
    gaps = largest_gaps(np.concatenate([reference.statistics, statistics]), is_new)
    p_values = np.stack([permutation_ranks(energy), permutation_ranks(gaps.max(axis=1))], axis=1)
    p_value = smallest_p(p_values)
    return Drift(
        verdict=Verdict.DRIFT if p_value <= params.alarm_rate else Verdict.NO_DRIFT,
        p_value=p_value,
        embedding_p_value=float(p_values[0, 0]),
        statistics_p_value=float(p_values[0, 1]),
        energy_distance=float(energy[0]),
        statistics=_most_drifted_first(reference.statistics, statistics, gaps),
        reference_images=old,
        tested_images=new,
    )


def _most_drifted_first(old: np.ndarray, new: np.ndarray, gaps: np.ndarray) -> tuple[StatisticDrift, ...]:
    p_values = adjusted_for_many(gaps)
    medians = np.median(old, axis=0), np.median(new, axis=0)
    found = [
        StatisticDrift(name, *(float(values[column]) for values in (*medians, gaps[0], p_values)))
        for column, name in enumerate(STATISTICS)
    ]
    return tuple(sorted(found, key=lambda one: (one.p_value, -one.gap)))


def tail_shares(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """How far out values are: twice the share of reference values at least as far out on their side.

    Args:
        values: float [n].
        reference: float [m].

    Returns:
        float64 [n], 0 (beyond all of the reference) to 1 (in its middle).
    """
    ordered = np.sort(reference)
    at_most = np.searchsorted(ordered, values, side="right")
    at_least = len(ordered) - np.searchsorted(ordered, values, side="left")
    return np.minimum(1.0, 2 * np.minimum(at_most, at_least) / len(ordered))
