"""From the answers on some pairs to the precision of models, with intervals.

The sample. Pair i has a lot u_i, evenly distributed, and a size s_i; pairs are asked in ascending order of
u_i / s_i (sequential Poisson sampling, Ohlsson 1998). If all before the threshold t, the first u_i / s_i
without an answer, are answered, a pair is among them with probability min(1, s_i t), as if independently of
the others (priority sampling: Duffield, Lund and Thorup, J. ACM 2007; thresholds that depend on the sample:
Ting 2017). Answers behind the threshold wait for those before it.

The estimator. A precision is the sum of w_i y_i, the answers y_i unknown for most pairs. A logistic
regression on the similarities gives a guess g_i for each, and the guesses are corrected by what the sample
says of their errors, weighted back by the probabilities (the difference estimator of Särndal, Swensson and
Wretman 1992, chapter 6; the weights are normalised, after Hájek). The guess may be poor: that widens the
interval and hardly biases anything.

Intervals are of 95 %: of a precision after Wilson with the effective number of answers (Korn and Graubard
1998), of a difference of the two normal, both with the variance of Poisson sampling. They tell of these very
test images: once all pairs are answered nothing is left to chance.

Shapes: m models, p pairs, s pairs of the sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from udml.evaluation.intervals import Estimate
from udml.judgement.pairs import DEPTHS, Pairs

_Z = 1.959964
_POWER_Z = 0.841621  # four of five
_PRIOR = 2.0  # answers' worth of doubt: no interval has no width after three equal answers
_RIDGE = 1.0
_STEPS = 8
LEAST = 20  # answers; fewer say nothing
MOST_MORE = 5000  # further answers that are still worth a number


@dataclass(frozen=True)
class Judged:
    """What is known of some models.

    Attributes:
        answers: how many were counted, "can't say" among them.
        unsure: of these, how many were "can't say".
        precision: for each model, Estimates of precision at 1 and at 5.
        differences: by (a, b), a < b, numbers of models: Estimates of b minus a, at 1 and at 5.
        more: by (a, b), about how many further answers will tell the two apart; 0 where they are, None
            where that cannot be said.
    """

    answers: int
    unsure: int
    precision: Sequence[tuple[Estimate, ...]]
    differences: Mapping[tuple[int, int], tuple[Estimate, ...]]
    more: Mapping[tuple[int, int], int | None]


@dataclass(frozen=True)
class _Sample:
    """Pairs that count: their numbers, probabilities, answers, and guesses for all pairs."""

    at: np.ndarray
    probability: np.ndarray
    answer: np.ndarray
    guess: np.ndarray

    @property
    def residual(self) -> np.ndarray:
        return self.answer - self.guess[self.at]

    @property
    def doubt(self) -> np.ndarray:
        """Squared residuals drawn towards what answers without a guess would have."""
        n = len(self.at)
        share = (self.answer.mean() * n + _PRIOR / 2) / (n + _PRIOR)
        freedom = n / max(1.0, n - _freedom(n))
        return (n * freedom * self.residual**2 + _PRIOR * share * (1 - share)) / (n + _PRIOR)


def _freedom(answers: int) -> float:
    return min(3.0, answers / 10)


def threshold(pairs: Pairs, asked: np.ndarray) -> float:
    """The turn of the first pair without an answer; infinite where all have one.

    Args:
        pairs: all of them.
        asked: bool [p], whether somebody answered, "can't say" included.
    """
    return float(np.min(pairs.turn, initial=np.inf, where=~asked))


def estimate(pairs: Pairs, asked: np.ndarray, answer: np.ndarray) -> Judged | None:
    """Precision of each model and the differences, as far as the answers tell; None below `LEAST` of them.

    Args:
        pairs: all of them.
        asked: bool [p], whether somebody answered.
        answer: float64 [p], the share of judges who said "same", 0..1; NaN for "can't say" and for no answer.
    """
    limit = threshold(pairs, asked)
    counted = pairs.turn < limit
    told = np.flatnonzero(counted & np.isfinite(answer))
    if len(told) < min(LEAST, len(pairs)) or len(told) == 0:
        return None
    probability = np.minimum(1.0, pairs.size[told] * limit) if np.isfinite(limit) else np.ones(len(told))
    guess = _guess(pairs.closeness, told, answer[told])
    sample = _Sample(told, probability, answer[told], guess)
    models = range(len(pairs.weights))
    precision = [tuple(_precision(w, sample) for w in pairs.weights[model]) for model in models]
    differences, more = {}, {}
    for a, b in combinations(models, 2):
        both = [
            _difference(pairs.weights[a, depth], pairs.weights[b, depth], sample)
            for depth in range(len(DEPTHS))
        ]
        differences[a, b] = tuple(both)
        more[a, b] = answers_to_come(both[-1], len(told), len(pairs))
    return Judged(int(counted.sum()), int(counted.sum()) - len(told), precision, differences, more)


def _precision(weights: np.ndarray, sample: _Sample) -> Estimate:
    value, influence = _corrected(weights, sample)
    value = min(1.0, max(0.0, value))
    variance = float((influence**2 * (1 - sample.probability) * sample.doubt).sum())
    if variance == 0 and not influence.any():
        return Estimate(value, 0.0, 1.0)  # the sample holds nothing that this model found
    if variance == 0:
        return Estimate(value, value, value)
    n = len(sample.at)
    inner = (value * n + _PRIOR / 2) / (n + _PRIOR)
    effective, z = inner * (1 - inner) / variance, _quantile(n)
    scale = 1 + z**2 / effective
    centre = (value + z**2 / (2 * effective)) / scale
    half = z / scale * np.sqrt(value * (1 - value) / effective + z**2 / (4 * effective**2))
    return Estimate(value, max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def _difference(first: np.ndarray, second: np.ndarray, sample: _Sample) -> Estimate:
    (one, one_influence), (two, two_influence) = (_corrected(w, sample) for w in (first, second))
    influence = two_influence - one_influence
    variance = float((influence**2 * (1 - sample.probability) * sample.doubt).sum())
    half = _quantile(len(sample.at)) * np.sqrt(variance)
    value = two - one
    return Estimate(value, float(value - half), float(value + half))


def _corrected(weights: np.ndarray, sample: _Sample) -> tuple[float, np.ndarray]:
    """Sum of the guesses, corrected by the sample; and how far it moves with each answer, float64 [s]."""
    back = weights[sample.at] / sample.probability
    total = back.sum()
    influence = back / total if total > 0 else np.zeros_like(back)
    return float(weights @ sample.guess + influence @ sample.residual), influence


def _quantile(answers: int) -> float:
    """Student's t for 95 %, nearly."""
    return _Z + (_Z**3 + _Z) / (4 * max(1, answers - 4))


def _guess(closeness: np.ndarray, told: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Chance of "same" for every pair, float64 [p]: ridge logistic regression on the models' similarities."""
    features = np.concatenate([np.ones((1, closeness.shape[1])), closeness - 0.5]).T
    seen = features[told]
    penalty = np.diag([1e-3, *([_RIDGE] * len(closeness))])
    beta = np.zeros(features.shape[1])
    for _ in range(_STEPS):
        chance = _logistic(seen @ beta)
        curvature = (seen * (chance * (1 - chance))[:, None]).T @ seen + penalty
        beta = beta + np.linalg.solve(curvature, seen.T @ (answer - chance) - penalty @ beta)
    return _logistic(features @ beta)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -6, 6)))


def answers_to_come(difference: Estimate, answers: int, pairs: int) -> int | None:
    """About how many further answers will tell two models apart in four of five cases, if they differ so.

    Args:
        difference: as it stands.
        answers: that it rests on.
        pairs: that could be asked in all.
    """
    if difference.low > 0 or difference.high < 0:
        return 0
    half = (difference.high - difference.low) / 2
    if half == 0 or difference.value == 0:
        return None
    # an interval narrows with the root of the answers, and has no width once all pairs are answered
    spread = (half / _Z) ** 2 / (1 / answers - 1 / pairs) if answers < pairs else 0.0
    wanted = (abs(difference.value) / (_Z + _POWER_Z)) ** 2
    needed = spread / (wanted + spread / pairs)
    more = int(np.ceil(needed - answers))
    return max(1, more) if more <= MOST_MORE else None
