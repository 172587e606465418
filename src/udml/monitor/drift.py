"""The verdict on a batch of new images. Arrays in, numbers out. No torch.

Two tests are made on the same permutations: the energy distance between the embeddings (other things
are shown) and the largest gap of eight image statistics (they are shown otherwise: blur, light, colour,
size). The smaller of their p-values decides, corrected for being the smaller of two.

The energy distance sees every repeated image: in many dimensions the distances of independent images
are nearly all alike, and a few pairs at almost none stand out. So two images that are more similar than
all but one in 100,000 pairs of the collection count as shots of one thing, and one of them is tested.
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
from udml.search.reference import Reference

_SAME_THING_SHARE = 1e-5  # of the reference's pairs are more similar than two shots of one thing


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
        reference_images, tested_images: the sizes of the two samples, shots of one thing counted once.
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
    """Say whether new images come from the distribution of the reference.

    Args:
        reference: m images of the collection.
        vectors: float32 [n, d], unit rows, of the new images.
        statistics: float64 [n, 8] of the same images.
        params: the section `monitor`; at most `max_images` of the new images, and no more than m, are
            used, drawn with `seed`.
    """
    if min(len(reference.vectors), len(vectors)) < params.min_images:
        return _too_few(len(reference.vectors), len(vectors))
    at_most = min(params.max_images, len(reference.vectors))
    chosen = np.random.default_rng([params.seed, 1]).permutation(len(vectors))[:at_most]
    limit = _same_thing_similarity(reference.vectors)
    chosen = chosen[one_of_each(vectors[chosen], limit)]
    kept = one_of_each(reference.vectors, limit)
    old, new = len(kept), len(chosen)
    if min(old, new) < params.min_images:
        return _too_few(old, new)
    is_new = memberships(old, new, params.permutations, params.seed)
    energy = energy_distances(np.concatenate([reference.vectors[kept], vectors[chosen]]), is_new)
    before, now = reference.statistics[kept], statistics[chosen]
    gaps = largest_gaps(np.concatenate([before, now]), is_new)
    p_values = np.stack([permutation_ranks(energy), permutation_ranks(gaps.max(axis=1))], axis=1)
    p_value = smallest_p(p_values)
    return Drift(
        verdict=Verdict.DRIFT if p_value <= params.alarm_rate else Verdict.NO_DRIFT,
        p_value=p_value,
        embedding_p_value=float(p_values[0, 0]),
        statistics_p_value=float(p_values[0, 1]),
        energy_distance=float(energy[0]),
        statistics=_most_drifted_first(before, now, gaps),
        reference_images=old,
        tested_images=new,
    )


def _too_few(old: int, new: int) -> Drift:
    return Drift(Verdict.TOO_FEW, None, None, None, None, (), old, new)


def _same_thing_similarity(vectors: np.ndarray) -> float:
    """The cosine that all but `_SAME_THING_SHARE` of the pairs of unit rows [m, d] stay below."""
    pairs = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    return float(np.quantile(pairs, 1 - _SAME_THING_SHARE, method="higher"))


def one_of_each(vectors: np.ndarray, limit: float) -> np.ndarray:
    """Rows no two of which are more similar than `limit`: int64, ascending; the first of each set is kept.

    Args:
        vectors: float32 [n, d], unit rows.
        limit: cosine.
    """
    alike = vectors @ vectors.T > limit
    kept: list[int] = []
    for row in range(len(vectors)):
        if not alike[row, kept].any():
            kept.append(row)
    return np.array(kept, np.int64)


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
