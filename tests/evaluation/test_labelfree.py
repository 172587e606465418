import numpy as np
import pytest

from tests.fixtures.vectors import unit
from udml.evaluation.labelfree import (
    augmentation_retrieval,
    effective_rank,
    hubness,
    neighbours_found_again,
    spread,
)


def test_augmentation_retrieval_against_a_slow_reference() -> None:
    rng = np.random.default_rng(1)
    gallery = unit(rng.normal(size=(700, 16)))
    positive = rng.permutation(700)[:400]
    views = unit(gallery[positive] + 0.3 * rng.normal(size=(400, 16)))
    ranks = []
    for view, own in zip(views, positive, strict=True):
        similarity = gallery @ view
        ranks.append(1 + sum(s >= similarity[own] for i, s in enumerate(similarity) if i != own))
    found = augmentation_retrieval(views, gallery, positive)
    assert found["r1"] == pytest.approx(np.mean(np.array(ranks) == 1))
    assert found["mrr"] == pytest.approx(np.mean(1 / np.array(ranks)))
    resampled = [np.mean(1 / rng.choice(ranks, len(ranks))) for _ in range(2000)]
    assert found["mrr_error"] == pytest.approx(np.std(resampled), rel=0.1)


def slow_neighbours_found_again(views: np.ndarray, gallery: np.ndarray, positive: np.ndarray) -> list[float]:
    k = min(10, len(gallery) - 1)

    def nearest(vector: np.ndarray, left_out: int) -> set[int]:
        order = [int(row) for row in np.argsort(-(gallery @ vector)) if row != left_out]
        return set(order[:k])

    near = [nearest(vector, row) for row, vector in enumerate(gallery)]
    return [
        sum(own in near[other] and other in nearest(view, own) for other in near[own]) / k
        for view, own in zip(views, positive.tolist(), strict=True)
    ]


@pytest.mark.parametrize(
    ("images", "asked", "noise"), [(700, 40, 0.3), (300, 300, 1.0), (8, 8, 0.2), (2, 2, 0.1)]
)
def test_neighbours_found_again_against_a_slow_reference(images: int, asked: int, noise: float) -> None:
    rng = np.random.default_rng(3)
    gallery = unit(rng.normal(size=(images, 16)))
    positive = rng.permutation(images)[:asked]
    views = unit(gallery[positive] + noise * rng.normal(size=(asked, 16)))
    found = neighbours_found_again(views, gallery, positive)
    assert found.tolist() == pytest.approx(slow_neighbours_found_again(views, gallery, positive))


def test_neither_likeness_nor_spread_alone_finds_neighbours_again() -> None:
    rng = np.random.default_rng(4)
    things = unit(rng.normal(size=(40, 32))).repeat(11, axis=0)
    good = unit(things + 0.1 * rng.normal(size=things.shape))
    seen = unit(good + 0.1 * rng.normal(size=things.shape))
    every = np.arange(len(good))
    line = unit(good[:, :1] * np.eye(1, 32)), unit(seen[:, :1] * np.eye(1, 32))
    scattered = unit(rng.normal(size=good.shape))
    best = neighbours_found_again(seen, good, every).mean()
    assert best > 0.9
    assert neighbours_found_again(line[1], line[0], every).mean() < 0.2
    assert neighbours_found_again(scattered, scattered, every).mean() < best  # reciprocity alone
    assert neighbours_found_again(scattered, good, every).mean() < 0.1


def test_a_collapsed_embedding_scores_nothing() -> None:
    same = unit(np.ones((50, 8)))
    assert augmentation_retrieval(same, same, np.arange(50))["r1"] == 0.0
    assert (
        neighbours_found_again(same, same, np.arange(50)).mean() < 0.25
    )  # ten of them hold all to be nearest
    assert effective_rank(same) == pytest.approx(1.0, abs=1e-4)
    assert spread(same)["embedding_std"] == pytest.approx(0.0, abs=1e-6)
    assert spread(same)["mean_cosine"] == pytest.approx(1.0)


def test_effective_rank_of_known_matrices() -> None:
    assert effective_rank(np.eye(7, dtype=np.float32)) == pytest.approx(7.0)
    two = np.repeat(np.eye(2, 5, dtype=np.float32), 10, axis=0)
    assert effective_rank(two) == pytest.approx(2.0)


def test_mean_cosine_is_the_mean_over_pairs() -> None:
    e = unit(np.random.default_rng(2).normal(size=(9, 4)) + 0.5)
    pairs = [float(e[i] @ e[j]) for i in range(9) for j in range(9) if i != j]
    assert spread(e)["mean_cosine"] == pytest.approx(np.mean(pairs), abs=1e-6)


def test_hubness_is_zero_when_fair_and_large_with_one_hub() -> None:
    assert hubness(np.arange(10)[:, None], 10) == 0.0
    assert hubness(np.zeros((100, 1), np.int64), 100) > 9
