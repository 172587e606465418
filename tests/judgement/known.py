"""Models whose truth is known: vectors of labelled images, more or less noisy; judges who see the labels."""

from dataclasses import dataclass, replace

import numpy as np

from udml.judgement.estimate import Judged, estimate
from udml.judgement.pairs import Pairs, pool
from udml.judgement.results import results

NOISE = (2.9, 2.65, 2.5)  # the first model is the worst


@dataclass(frozen=True)
class Known:
    """Pairs with their true answers, and the truth: precision [m, 2]."""

    pairs: Pairs
    same: np.ndarray
    truth: np.ndarray


def known(images: int = 600, classes: int = 30, models: int = 3, seed: int = 0) -> Known:
    """Models of the same images, of which some are copies of each other."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    groups = np.where(np.arange(images) % 10 == 1, np.arange(images) - 1, np.arange(images))
    labels = labels[groups]
    centres, own = rng.standard_normal((classes, 24)), rng.standard_normal((images, 24))
    found, vectors = [], []
    for noise in NOISE[-models:]:
        raw = centres[labels] + 0.35 * noise * own + 0.2 * noise * rng.standard_normal(own.shape)
        vectors.append((raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32))
        found.append(results(vectors[-1], groups, np.arange(images), refined=False))
    shas = [f"{at:064x}" for at in range(images)]
    pairs = pool(found, vectors, shas)
    same = np.array([float(labels[int(a, 16)] == labels[int(b, 16)]) for a, b in pairs.keys])
    truth = np.array([[(labels[f[:, :k]] == labels[:, None]).mean() for k in (1, 5)] for f in found])
    return Known(pairs, same, truth)


def judge(known: Known, answers: int, seed: int, errs: float = 0.0, unsure: float = 0.0) -> Judged | None:
    """What one simulated judge finds out: other lots, so other pairs, for each seed."""
    rng = np.random.default_rng(seed)
    pairs = replace(known.pairs, number=rng.random(len(known.pairs)))
    asked = np.zeros(len(pairs), bool)
    asked[np.argsort(pairs.turn)[:answers]] = True
    said = np.where(rng.random(len(pairs)) < errs, 1 - known.same, known.same)
    said[~asked | (rng.random(len(pairs)) < unsure)] = np.nan
    return estimate(pairs, asked, said)
