import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.metrics.cluster import expected_mutual_information as slow_expectation

from tests.evaluation.test_metrics import unit
from udml.evaluation.agreement import (
    adjusted_mutual_information,
    clustering_scores,
    expected_mutual_information,
)


@given(st.integers(0, 2**32 - 1), st.integers(2, 80), st.integers(1, 30), st.integers(1, 30))
def test_ami_is_that_of_scikit_learn(seed: int, images: int, classes: int, clusters: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, classes, images), rng.integers(0, clusters, images)
    expected = adjusted_mutual_info_score(first, second)
    assert adjusted_mutual_information(first, second) == pytest.approx(expected, abs=1e-6)


def test_ami_of_the_same_labels_is_one() -> None:
    for labels in (np.zeros(9, int), np.arange(9), np.arange(9) % 3):
        assert adjusted_mutual_information(labels, labels) == pytest.approx(1.0)


def test_what_chance_gives_for_large_uneven_classes() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.zipf(1.5, 3000) % 40, rng.integers(0, 60, 3000)
    sizes = [np.unique(labels, return_counts=True)[1] for labels in (first, second)]
    expected = slow_expectation(contingency_matrix(first, second, sparse=True), 3000)
    assert expected_mutual_information(*sizes) == pytest.approx(expected, rel=1e-9)


def test_clusters_that_are_the_classes_score_one_and_noise_scores_nothing():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 30)
    apart = unit(np.eye(5, 16)[labels] + rng.normal(0, 0.02, (150, 16)))
    good = clustering_scores(apart, labels, seed=3)
    assert good["nmi"] > 0.85
    assert good == clustering_scores(apart, labels, seed=3)
    noise = clustering_scores(unit(rng.standard_normal((150, 16))), labels, seed=3)
    assert abs(noise["ami"]) < 0.1


def test_as_many_classes_as_images_can_be_clustered():
    embeddings = unit(np.random.default_rng(0).standard_normal((6, 4)))
    assert clustering_scores(embeddings, np.arange(6), seed=0)["nmi"] == pytest.approx(1.0)
