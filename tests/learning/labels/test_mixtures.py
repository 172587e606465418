import numpy as np
import pytest

from tests.fixtures.vectors import unit
from udml.learning import mixing
from udml.learning.labels import mixtures as module
from udml.learning.labels.mixtures import MIXED, ROUNDS, mixtures


def lists(vectors: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-(vectors @ vectors.T), axis=1, kind="stable")[:, : k + 1]


def by_hand(vectors: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """One image at a time."""
    mixed = vectors.astype(np.float64)
    for _ in range(ROUNDS):
        before = mixed.copy()
        for row, (own, *others) in enumerate(nearest.tolist()):
            told: list[int] = []
            for other in others:
                if all(vectors[one] @ vectors[other] <= mixing.COPY for one in (own, *told)):
                    told.append(other)
            total = before[own].copy()
            for other in told[:MIXED]:
                total += max(0.0, float(vectors[own] @ vectors[other])) ** 2 * before[other]
            mixed[row] = total / np.linalg.norm(total)
    return mixed


@pytest.mark.parametrize("rows_at_once", [7, 4_096])
def test_an_image_becomes_what_it_and_its_nearest_have_in_common(
    rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", rows_at_once)
    monkeypatch.setattr(mixing, "STRETCH_ROWS", rows_at_once)
    monkeypatch.setattr(mixing, "_LISTS_AT_ONCE", rows_at_once)
    vectors = unit(np.random.default_rng(0).normal(size=(60, 12)))
    nearest = lists(vectors, 8)
    found = mixtures(vectors, nearest)
    assert found.dtype == np.float32
    assert np.allclose(found, by_hand(vectors, nearest), atol=1e-5)


@pytest.mark.parametrize("copies", [1, 4])
def test_copies_count_nothing_and_take_nobody_s_place(copies: int) -> None:
    rng = np.random.default_rng(1)
    vectors = unit(rng.normal(size=(40, 12)))
    burst = unit(vectors[:1] + 1e-4 * rng.normal(size=(copies, 12)))
    every = np.concatenate([vectors, burst])
    found = mixtures(every, lists(every, 12))
    assert np.allclose(found[:40], mixtures(vectors, lists(vectors, 12)), atol=2e-3)
    assert np.allclose(found[40:], found[:1], atol=2e-3)


def test_what_is_unlike_everything_stays_as_it_is() -> None:
    vectors = np.eye(6, dtype=np.float32)
    assert np.array_equal(mixtures(vectors, lists(vectors, 4)), vectors)


def test_things_draw_together() -> None:
    rng = np.random.default_rng(2)
    centres = np.repeat(unit(rng.normal(size=(10, 16))), 12, axis=0)
    vectors = unit(centres + 0.2 * rng.normal(size=centres.shape))
    mixed = mixtures(vectors, lists(vectors, 10))
    assert np.einsum("nd,nd->n", mixed, centres).mean() > np.einsum("nd,nd->n", vectors, centres).mean() + 0.1
