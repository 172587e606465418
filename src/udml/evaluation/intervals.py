"""95 % bootstrap intervals over queries.

Queries are resampled with replacement, one by one: the interval says how much a figure would move
with another draw of queries of the same kind, from the same classes. It does not cover another
draw of classes or another training run.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from udml.errors import UdmlError

_PERCENTILES = (2.5, 97.5)
_BLOCK = 2**22  # resampled query indices held at a time: 32 MiB


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; `low` and `high` are NaN where there is none."""

    value: float
    low: float
    high: float


def bootstrap(per_query: np.ndarray, samples: int, seed: int) -> Estimate:
    """Mean over queries with its percentile interval (Efron and Tibshirani 1993, chapter 13).

    The same `samples`, `seed` and number of queries always draw the same resamples.

    Args:
        per_query: float [q], one value per query, q >= 1.
        samples: how many resamples.
        seed: of the resampling.

    Raises:
        UdmlError: if there is no query, or a value is not finite.
    """
    values = np.asarray(per_query, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise UdmlError("no query to estimate from", "the test split needs classes of two or more images")
    if not np.isfinite(values).all():
        raise UdmlError("a query's score is not a finite number", "check the embeddings that were scored")
    means = np.concatenate([values[drawn].mean(axis=1) for drawn in _resamples(len(values), samples, seed)])
    low, high = np.percentile(means, _PERCENTILES)
    return Estimate(float(values.mean()), float(low), float(high))


def paired_bootstrap(first: np.ndarray, second: np.ndarray, samples: int, seed: int) -> Estimate:
    """Mean of `second` minus `first` with its interval, both models seeing the same resampled queries.

    What the two have in common (easy and hard queries) cancels, so this is far narrower than the
    difference of two separate intervals. If `low` is above 0, `second` is better.

    Args:
        first: float [q], one model's values.
        second: float [q], the other's, of the same queries in the same order.
        samples: how many resamples.
        seed: of the resampling.

    Raises:
        UdmlError: if the two differ in length; otherwise as `bootstrap`.
    """
    if len(first) != len(second):
        raise UdmlError(
            f"cannot pair {len(first)} queries with {len(second)}", "score both models on the same queries"
        )
    return bootstrap(np.asarray(second, np.float64) - np.asarray(first, np.float64), samples, seed)


def _resamples(queries: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks of int [s, queries], `samples` rows in all, in bounded memory."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _BLOCK // queries)
    for start in range(0, samples, at_once):
        yield rng.integers(0, queries, (min(at_once, samples - start), queries))
