import numpy as np
import pytest

from tests.fixtures.vectors import unit
from udml.learning.labels import graph
from udml.learning.labels.graph import graph_labels
from udml.learning.labels.pseudo_labels import cluster, nmi


def things(classes: int, each: int, spread: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors [classes x each, 32] around as many centres, and which."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(unit(rng.normal(size=(classes, 32))), each, axis=0)
    labels = np.repeat(np.arange(classes), each)
    return unit(centres + spread / np.sqrt(32) * rng.normal(size=centres.shape)), labels


@pytest.mark.parametrize(("classes", "each"), [(40, 25), (60, 10), (25, 40), (5, 80)])
def test_things_are_told_apart(classes: int, each: int) -> None:
    vectors, labels = things(classes, each)
    assert nmi(labels, graph_labels(vectors, classes, 0)) > 0.99


def test_things_are_told_apart_better_than_by_k_means() -> None:
    drawn = [(*things(60, 10, spread, seed), seed) for spread in (1.0, 1.4, 1.6) for seed in range(3)]
    by_graph = [nmi(labels, graph_labels(vectors, 60, seed)) for vectors, labels, seed in drawn]
    by_k_means = [
        nmi(labels, cluster(vectors, 60, 20, 256, seed).assignment) for vectors, labels, seed in drawn
    ]
    assert np.mean(by_graph) > np.mean(by_k_means) + 0.005


@pytest.mark.parametrize("asked", [1, 10, 80, 160, 800])
def test_there_are_as_many_as_asked_for(asked: int) -> None:
    vectors, _ = things(40, 20, spread=1.0)
    assert set(graph_labels(vectors, asked, 0).tolist()) == set(range(asked))


@pytest.mark.parametrize("spread", [1.0, 2.0])
def test_a_wide_heap_is_cut_up_and_swallows_nothing(spread: float) -> None:
    """By average linkage, a chain would."""
    vectors, _ = things(30, 10)
    heap, _ = things(1, 600, spread, seed=3)
    sizes = np.bincount(graph_labels(np.concatenate([vectors, heap]), 60, 0))
    assert sizes.max() < 0.1 * 900


def test_of_many_a_sample_is_labelled_and_the_rest_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "AT_MOST_IMAGES", 700)
    monkeypatch.setattr(graph, "_ROWS_AT_ONCE", 64)
    vectors, labels = things(40, 30)
    assert nmi(labels, graph_labels(vectors, 40, 0)) > 0.99


@pytest.mark.parametrize("images", [1, 2, 3, 7, 12])
def test_a_handful_is_survived(images: int) -> None:
    vectors, _ = things(images, 1)
    for clusters in {1, images}:
        assert set(graph_labels(vectors, clusters, 0).tolist()) == set(range(clusters))


def test_equal_images_are_one_another_s_company() -> None:
    same = np.repeat(np.eye(30, 32, dtype=np.float32), 20, axis=0)
    found = graph_labels(same, 30, 0)
    assert nmi(np.repeat(np.arange(30), 20), found) == pytest.approx(1)


def test_the_same_seed_labels_the_same() -> None:
    vectors, _ = things(50, 12, spread=1.0)
    assert np.array_equal(graph_labels(vectors, 50, 2), graph_labels(vectors, 50, 2))


@pytest.mark.parametrize("collapsed", [400, 399, 200, 1])
@pytest.mark.parametrize("value", [0.0, 0.25])
def test_what_a_collapsed_network_makes_is_clustered(collapsed: int, value: float) -> None:
    """All rows alike, or of zeros: labels come of it, and the loop then says what has happened."""
    vectors, _ = things(40, 10)
    vectors[:collapsed] = value / np.sqrt(2)
    assert set(graph_labels(vectors, 16, 0).tolist()) == set(range(16))
