import faiss
import numpy as np
import pytest
import torch

from tests.fixtures.vectors import unit
from udml.learning.labels.pseudo_labels import (
    MAX_CLUSTERS,
    choose_clusters,
    churn,
    cluster,
    cluster_health,
    nmi,
    unit_means,
)
from udml.learning.labels.telling import found_on_a_part


def blobs(centres: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    points = np.repeat(rng.normal(size=(centres, 16)), each, axis=0) + 0.05 * rng.normal(
        size=(centres * each, 16)
    )
    labels = np.repeat(np.arange(centres), each)
    return unit(points), labels


def test_well_separated_groups_are_found() -> None:
    vectors, labels = blobs(5, 40)
    found = cluster(vectors, 5, 20, 256, seed=0, start=vectors[::40])
    assert nmi(labels, found.assignment) == pytest.approx(1.0)
    assert np.allclose(np.linalg.norm(found.centroids, axis=1), 1, atol=1e-5)
    expected = (vectors * found.centroids[found.assignment]).sum(axis=1)
    assert np.allclose(found.similarity, expected, atol=1e-5)


def test_threads_are_as_many_as_before_whoever_uses_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    train = faiss.Kmeans.train
    monkeypatch.setattr(
        faiss.Kmeans, "train", lambda *a, **k: (seen.append(faiss.omp_get_max_threads()), train(*a, **k))[1]
    )
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    monkeypatch.setattr("udml.learning.labels.pseudo_labels.usable_cores", lambda: before[1] + 1)
    cluster(blobs(5, 10)[0], 5, 3, 256, seed=0)
    assert seen == [before[1] + 1]
    assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == before


def test_the_same_seed_gives_the_same_clusters() -> None:
    vectors, _ = blobs(20, 10)
    first, again = (cluster(vectors, 8, 10, 256, seed=3) for _ in range(2))
    assert np.array_equal(first.assignment, again.assignment)
    assert np.array_equal(first.centroids, again.centroids)


def test_a_warm_start_keeps_cluster_numbers() -> None:
    vectors, _ = blobs(6, 30)
    first = cluster(vectors, 6, 20, 256, seed=0)
    moved = vectors + 0.01
    warm = cluster(moved / np.linalg.norm(moved, axis=1, keepdims=True), 6, 20, 256, 0, first.centroids)
    assert np.array_equal(first.assignment, warm.assignment)


def test_more_clusters_than_kinds_of_vectors_is_survived_and_counted() -> None:
    vectors = np.repeat(np.eye(3, 8, dtype=np.float32), 10, axis=0)
    found = cluster(vectors, 10, 5, 256, seed=0)
    health = cluster_health(found, vectors, min_points=2, seed=0)
    assert health["images"] == len(vectors)
    assert found_on_a_part(health | {"clusters_found_on_images": len(vectors)}) == ""
    assert f"on 7 of {len(vectors)} images" in found_on_a_part(health | {"clusters_found_on_images": 7})
    assert health["clusters"] == 10
    assert health["empty"] == 10 - len(np.unique(found.assignment))
    assert sum(health["cluster_sizes_histogram"]["counts"]) == 10  # type: ignore[index]


def test_health_counts_by_hand() -> None:
    vectors, _ = blobs(3, 4)
    found = cluster(vectors, 3, 10, 256, seed=0)
    one_moved = found.assignment.copy()
    one_moved[:] = [0] * 7 + [1] * 4 + [2]
    health = cluster_health(type(found)(one_moved, found.similarity, found.centroids), vectors, 4, seed=0)
    assert (health["empty"], health["singletons"], health["largest"]) == (0, 1, 7)


def test_churn_is_zero_for_renamed_clusters_and_one_for_unrelated() -> None:
    before = np.repeat(np.arange(4), 25)
    assert churn(before, (before + 1) % 4) == pytest.approx(0.0)
    assert churn(before, np.tile(np.arange(25), 4)) == pytest.approx(1.0)


def test_the_number_of_clusters_follows_the_number_of_images_within_bounds() -> None:
    assert choose_clusters(100, at_least=16) == 16
    assert choose_clusters(10**9, at_least=16) == MAX_CLUSTERS
    chosen = [choose_clusters(n, 16) for n in (500, 5_000, 50_000, 500_000)]
    assert chosen == sorted(chosen)


def test_means_are_unit_means_and_empty_clusters_get_an_image() -> None:
    vectors, _ = blobs(4, 5)
    assignment = np.repeat([0, 1, 3, 3], 5)
    means = unit_means(vectors, assignment, 5)
    for c in (0, 1, 3):
        mean = vectors[assignment == c].mean(axis=0)
        assert np.allclose(means[c], mean / np.linalg.norm(mean), atol=1e-6)
    for c in (2, 4):
        assert (np.abs(vectors - means[c]).max(axis=1) < 1e-6).any()
