"""Do two samples come from one distribution? Permutation tests: arrays in, numbers out. No torch.

The null distribution is made by drawing again, from both samples *pooled*, which images are the new
ones (Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 2005). If old and new images
are exchangeable, every such draw is as likely as what was observed, so the test alarms at its level,
whatever the distribution and however small the samples. A null that is drawn from the old images
alone has no such property: it forgets that the new sample varies too.

Shapes: m old and n new images, N = m + n, old ones first; P permutations, row 0 of P + 1 being what
was observed; s statistics of an image.
"""

import numpy as np

_TIE = 1e-9  # relative; sums in another order are the same number
_ROWS_AT_ONCE = 128  # permutations that stay in the processor's cache together


def memberships(old: int, new: int, permutations: int, seed: int) -> np.ndarray:
    """Who is new: bool [permutations + 1, old + new]; row 0 is the truth, the others are drawn."""
    rng = np.random.default_rng(seed)
    drawn = np.tile(np.arange(old + new) >= old, (permutations + 1, 1))
    rng.permuted(drawn[1:], axis=1, out=drawn[1:])
    return drawn


def energy_distances(vectors: np.ndarray, is_new: np.ndarray) -> np.ndarray:
    """Energy distance between new and old for every membership: float64 [P + 1], at least 0.

    2 E|X - Y| - E|X - X'| - E|Y - Y'| with Euclidean distances, means over all pairs (Szekely and
    Rizzo, "Energy statistics", 2013). It is 0 only if the distributions are equal, and it is the
    maximum mean discrepancy (MMD) with the distance as kernel, so there is no bandwidth to choose.

    Args:
        vectors: float [N, d].
        is_new: bool [P + 1, N], the same number of new ones in every row.
    """
    distances = _euclidean(vectors)
    new = is_new.astype(np.float64)
    n = new[0].sum()
    m = len(vectors) - n
    to_new = new @ distances  # [P + 1, N]: of each image to all new ones
    among_new = np.einsum("pi,pi->p", to_new, new)
    across = to_new.sum(axis=1) - among_new
    among_old = distances.sum() - 2 * across - among_new
    return np.maximum(2 * across / (m * n) - among_old / m**2 - among_new / n**2, 0.0)


def _euclidean(vectors: np.ndarray) -> np.ndarray:
    """Distances of all pairs, float64 [N, N]; exactly 0 on the diagonal."""
    values = vectors.astype(np.float64)
    squares = (values**2).sum(axis=1)
    squared = squares[:, None] + squares[None, :] - 2 * values @ values.T
    np.fill_diagonal(squared, 0.0)
    return np.sqrt(np.maximum(squared, 0.0))


def largest_gaps(values: np.ndarray, is_new: np.ndarray) -> np.ndarray:
    """Kolmogorov-Smirnov statistic of each column for every membership: float64 [P + 1, s], 0..1.

    The largest gap between the shares of new and of old images that lie at or below a value.

    Args:
        values: float [N, s].
        is_new: bool [P + 1, N], the same number of new ones in every row.
    """
    total, n = len(values), int(is_new[0].sum())
    gaps = np.empty((len(is_new), values.shape[1]))
    for column in range(values.shape[1]):
        order = np.argsort(values[:, column], kind="stable")
        ordered = values[order, column]
        last_of_equal = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        expected = (last_of_equal + 1) * n
        for start in range(0, len(is_new), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            below = np.cumsum(is_new[rows][:, order], axis=1, dtype=np.int64)[:, last_of_equal]
            # below / n - (position - below) / (total - n), times n (total - n): whole numbers, exact
            gaps[rows, column] = np.abs(below * total - expected).max(axis=1)
    return gaps / (n * (total - n))


def permutation_ranks(statistics: np.ndarray) -> np.ndarray:
    """p-value of every row among all rows: the share of rows at least as large, float64 [P + 1].

    Args:
        statistics: float [P + 1]; larger means more different.
    """
    ordered = np.sort(statistics)
    below = np.searchsorted(ordered, statistics - _TIE * np.abs(statistics), side="left")
    return (len(statistics) - below) / len(statistics)


def smallest_p(p_values: np.ndarray) -> float:
    """One p-value from several tests, exact however they depend on each other.

    Westfall and Young, "Resampling-Based Multiple Testing" (1993), min-P: how often the smallest of
    the p-values would be as small as observed. The tests must have been made on the same draws. Never
    larger than Bonferroni's, and smaller where the tests agree.

    Args:
        p_values: float [P + 1, tests], of `permutation_ranks`.
    """
    smallest = p_values.min(axis=1)
    return float((smallest <= smallest[0] * (1 + _TIE)).mean())


def adjusted_for_many(statistics: np.ndarray) -> np.ndarray:
    """p-value of each column, adjusted for there being several: float64 [s].

    Westfall and Young's single-step max-T: how often the largest of all columns would reach what was
    observed in this one.

    Args:
        statistics: float [P + 1, s], on one scale.
    """
    largest = statistics.max(axis=1)
    return (largest[:, None] >= statistics[0] * (1 - _TIE)).mean(axis=0)
