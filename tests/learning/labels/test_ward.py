import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from tests.fixtures.vectors import unit
from udml.learning.labels.neighbours import nearest_neighbours
from udml.learning.labels.ward import ward_clusters


def drawn(images: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(9, 16)))[rng.integers(0, 9, images)]
    return unit(centres + 0.2 * rng.normal(size=centres.shape))


def partition(assignment: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(assignment == one).tolist()) for one in np.unique(assignment)}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("clusters", [1, 2, 9, 40, 120])
def test_where_everything_is_joined_it_is_the_dense_method(clusters: int, seed: int) -> None:
    vectors = drawn(120, seed)
    dense = fcluster(linkage(vectors.astype(np.float64), "ward"), clusters, "maxclust")
    found = ward_clusters(vectors, nearest_neighbours(vectors, 119, 0), clusters, 0)
    assert partition(found) == partition(dense)


@pytest.mark.parametrize("clusters", [1, 3, 9, 100])
def test_a_graph_in_parts_gives_as_many_as_asked(clusters: int) -> None:
    vectors = drawn(200, 0)
    found = ward_clusters(vectors, nearest_neighbours(vectors, 2, 0), clusters, 0)
    assert found.dtype == np.int64
    assert set(found.tolist()) == set(range(clusters))
    firsts = [int(np.flatnonzero(found == one)[0]) for one in range(clusters)]
    assert firsts == sorted(firsts)


def inertia(vectors: np.ndarray, assignment: np.ndarray) -> float:
    members = [vectors[assignment == one] for one in np.unique(assignment)]
    return sum(float(((own - own.mean(axis=0)) ** 2).sum()) for own in members)


def test_along_a_sparse_graph_it_is_nearly_as_tight() -> None:
    vectors = drawn(600, 1)
    dense = fcluster(linkage(vectors.astype(np.float64), "ward"), 30, "maxclust")
    found = ward_clusters(vectors, nearest_neighbours(vectors, 10, 0), 30, 0)
    assert inertia(vectors, found) < 1.03 * inertia(vectors, dense)


@pytest.mark.parametrize("images", [1, 2, 700])
def test_equal_images_are_merged_without_end_or_order(images: int) -> None:
    same = np.repeat(np.eye(1, 8, dtype=np.float32), images, axis=0)
    k = min(10, images - 1)
    found = ward_clusters(same, nearest_neighbours(same, k, 0), 1, 0)
    assert found.tolist() == [0] * images


def test_the_same_seed_gives_the_same() -> None:
    vectors = drawn(300, 2)
    nearest = nearest_neighbours(vectors, 6, 0)
    assert np.array_equal(ward_clusters(vectors, nearest, 20, 5), ward_clusters(vectors, nearest, 20, 5))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused_and_not_waited_for(value: float) -> None:
    vectors = drawn(30, 0)
    nearest = nearest_neighbours(vectors, 3, 0)
    vectors[4, 2] = value
    with pytest.raises(ValueError, match="finite"):
        ward_clusters(vectors, nearest, 5, 0)
