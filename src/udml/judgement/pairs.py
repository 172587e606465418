"""The pairs of pictures that models' results are made of: each is one question, whoever found it.

Shapes: q queries, m models, p pairs. Precision at K of a model is the mean over queries of the share of its
first K results that are the same kind of thing as the query. It is a weighted sum over pairs, with weights
that are known, of answers that are not; so a sample of the pairs tells it. See `udml.judgement.estimate`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

DEPTHS = (1, 5)
# Of the squared sizes of a pair: differences between models, and at depth 5, count most. Chosen by how few
# answers tell models apart (benchmarks/judging.py); any others would leave the estimates unbiased.
_LEVEL_WEIGHT = 0.03
_DEPTH_WEIGHT = (0.1, 1.0)


@dataclass(frozen=True)
class Pairs:
    """What there is to be asked about some models.

    Attributes:
        keys: the two sha256 of each pair, the smaller one first; p of them.
        weights: float64 [m, 2, p], what a pair adds to precision at 1 and at 5 of each model if the answer is
            "same"; sums to 1 over the pairs.
        closeness: float64 [m, p], similarity by each model as a rank among the pairs, 0..1.
        number: float64 [p], above 0 and below 1: a pair's lot. It follows from the two pictures alone.
        size: float64 [p], how much an answer is worth.
    """

    keys: Sequence[tuple[str, str]]
    weights: np.ndarray
    closeness: np.ndarray
    number: np.ndarray
    size: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def turn(self) -> np.ndarray:
        """float64 [p]: pairs are asked in ascending order of this."""
        return self.number / self.size


def key_of(first: str, second: str) -> tuple[str, str]:
    """The name of a pair: which of the two is the query does not matter."""
    return (first, second) if first <= second else (second, first)


def pool(found: Sequence[np.ndarray], vectors: Sequence[np.ndarray], shas: Sequence[str]) -> Pairs:
    """What several models found for the same queries, as pairs.

    Args:
        found: of each model int64 [n, k], positions of each image's nearest others, best first, its copies
            left out; -1 behind the last one. An image without any is no query.
        vectors: of each model float32 [n, d], unit rows.
        shas: of the n files. Equal files are one picture.
    """
    codes = np.unique(np.asarray(shas), return_inverse=True)[1].reshape(-1)
    ends, weights = [], []
    for positions in found:
        query, place = np.nonzero(positions[:, : DEPTHS[-1]] >= 0)
        other = positions[query, place]
        ends.append(np.sort(np.stack([codes[query], codes[other]], 1), axis=1))
        weights.append(_weights(positions, query, place))
    unique, which = np.unique(np.concatenate(ends), axis=0, return_inverse=True)
    starts = np.cumsum([0, *(len(one) for one in ends)])
    summed = np.zeros((len(found), len(DEPTHS), len(unique)))
    for model, (start, end) in enumerate(pairwise(starts)):
        for depth in range(len(DEPTHS)):
            np.add.at(summed[model, depth], which.reshape(-1)[start:end], weights[model][depth])
    first = np.zeros(int(codes.max(initial=-1)) + 1, np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    names = np.asarray(shas)
    keys = [key_of(str(a), str(b)) for a, b in names[first[unique]]]
    closeness = np.stack([_ranks(_similarity(one, *first[unique].T)) for one in vectors])
    return Pairs(keys, summed, closeness, np.array([lot(*key) for key in keys]), sizes(summed))


def _weights(positions: np.ndarray, query: np.ndarray, place: np.ndarray) -> np.ndarray:
    """float64 [2, r]: what each result adds to precision at 1 and at 5."""
    there = positions[:, : DEPTHS[-1]] >= 0
    queries = max(1, int(there.any(axis=1).sum()))
    shown = [there[:, :depth].sum(axis=1)[query] for depth in DEPTHS]
    return np.stack(
        [(place < depth) / (queries * np.maximum(1, n)) for depth, n in zip(DEPTHS, shown, strict=True)]
    )


def _similarity(vectors: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    similarity = np.empty(len(first))
    for start in range(0, len(first), 8192):
        rows = slice(start, start + 8192)
        similarity[rows] = np.einsum("pd,pd->p", vectors[first[rows]], vectors[second[rows]])
    return similarity


def _ranks(values: np.ndarray) -> np.ndarray:
    return values.argsort(kind="stable").argsort(kind="stable") / max(1, len(values) - 1)


def lot(first: str, second: str) -> float:
    """A number above 0 and below 1 that two pictures draw once and for all, evenly distributed.

    So the same pairs come up early whichever models are compared: a later one needs few new answers
    (permanent random numbers, Ohlsson 1995).
    """
    digest = hashlib.sha256("\n".join(key_of(first, second)).encode()).digest()
    return ((int.from_bytes(digest[:8], "big") >> 12) + 0.5) / 2**52


def sizes(weights: np.ndarray) -> np.ndarray:
    """How much the answer on each pair is worth, float64 [p] above 0: most where the models differ.

    Args:
        weights: float64 [m, 2, p].
    """
    squared = np.zeros(weights.shape[2])
    for depth, importance in enumerate(_DEPTH_WEIGHT):
        of_depth = weights[:, depth]
        for model, one in enumerate(of_depth):
            squared += importance * _LEVEL_WEIGHT * _share(one)
            for other in of_depth[:model]:
                squared += importance * _share(one - other)
    return np.sqrt(squared)


def _share(values: np.ndarray) -> np.ndarray:
    total = np.abs(values).sum()
    return (values / total) ** 2 if total > 0 else np.zeros_like(values)
