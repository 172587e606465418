import numpy as np
import pytest

from tests.fixtures.vectors import unit
from udml.learning.labels import number
from udml.learning.labels.number import also_together, find_clusters
from udml.learning.labels.pseudo_labels import choose_clusters


def things(classes: int, each: int, spread: float, seed: int = 0) -> np.ndarray:
    """Unit vectors [classes x each, 32] around as many centres."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(unit(rng.normal(size=(classes, 32))), each, axis=0)
    return unit(centres + spread / np.sqrt(32) * rng.normal(size=centres.shape))


@pytest.mark.parametrize(("classes", "each"), [(100, 10), (60, 12), (150, 6)])
def test_the_number_of_small_things_is_found(classes: int, each: int) -> None:
    found = find_clusters(things(classes, each, 0.6), 16, seed=0)
    assert 0.7 * classes <= found.clusters <= 1.4 * classes
    assert found.clusters > choose_clusters(classes * each, 16)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nothing_to_agree_on_stays_coarse(seed: int) -> None:
    noise = unit(np.random.default_rng(seed).normal(size=(1000, 32)))
    assert find_clusters(noise, 16, seed).clusters == choose_clusters(1000, 16)


def test_large_things_stay_coarse() -> None:
    assert find_clusters(things(12, 100, 1.0), 16, seed=0).clusters == choose_clusters(1200, 16)


def test_the_same_seed_finds_the_same() -> None:
    vectors = things(60, 10, 0.7)
    assert find_clusters(vectors, 16, seed=4) == find_clusters(vectors, 16, seed=4)


@pytest.mark.parametrize("images", [20, 33, 100])
def test_few_images_have_as_many_clusters_as_a_batch_needs(images: int) -> None:
    found = find_clusters(things(images // 2, 2, 0.5)[:images], 16, seed=0)
    assert 16 <= found.clusters <= images


def test_equal_images_are_survived() -> None:
    same = np.repeat(np.eye(1, 32, dtype=np.float32), 500, axis=0)
    assert find_clusters(same, 16, seed=0).clusters >= 16


def test_of_many_images_those_around_one_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number, "AT_MOST_IMAGES", 600)
    found = find_clusters(things(300, 10, 0.6), 16, seed=0)
    assert found.images == 600
    assert 200 <= found.clusters <= 600  # a random sample has two of each thing, and stays at 120


def test_pairs_are_counted_as_by_hand() -> None:
    predicted, own = np.array([0, 0, 0, 1, 1]), np.array([5, 5, 6, 7, 8])
    assert also_together(predicted, own) == pytest.approx(1 / 4)  # of 3 + 1 pairs
    assert also_together(own, predicted) == 1.0
    assert also_together(np.arange(4), np.arange(4)) == 0.0
