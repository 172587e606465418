import numpy as np
import pytest

from tests.fixtures.vectors import unit
from udml.learning.labels.exchange import cluster_sums, exchange
from udml.learning.labels.pseudo_labels import cluster


def inertia(vectors: np.ndarray, assignment: np.ndarray) -> float:
    """By the definition, one cluster at a time."""
    wide = vectors.astype(np.float64)
    members = [wide[assignment == c] for c in np.unique(assignment)]
    return sum(float(((own - own.mean(axis=0)) ** 2).sum()) for own in members)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return unit(np.random.default_rng(0).standard_normal((600, 64)))


def nearest(vectors: np.ndarray, clusters: int) -> np.ndarray:
    """Where a start from the first vectors assigns each."""
    return (vectors @ vectors[:clusters].T).argmax(axis=1)


def test_no_single_move_betters_the_end(vectors: np.ndarray) -> None:
    few = vectors[:60]
    found = exchange(few, nearest(few, 8), 8, seed=0)
    reached = inertia(few, found)
    for row in range(len(few)):
        if np.count_nonzero(found == found[row]) == 1:
            continue
        for other in range(8):
            moved = found.copy()
            moved[row] = other
            assert inertia(few, moved) > reached - 2e-5


def near(vectors: np.ndarray, count: int) -> np.ndarray:
    """Each vector and its nearest, int64 [n, count + 1]."""
    return np.argsort(-(vectors @ vectors.T), axis=1, kind="stable")[:, : count + 1]


def test_given_everybody_near_it_is_the_same(vectors: np.ndarray) -> None:
    few = vectors[:60]
    start = nearest(few, 8)
    found = exchange(few, start, 8, seed=0, nearest=near(few, 59))
    assert np.array_equal(found, exchange(few, start, 8, seed=0))
    assert not np.array_equal(found, start)


def test_a_vector_joins_none_but_clusters_of_those_near_it(vectors: np.ndarray) -> None:
    few = vectors[:60]
    start, some = nearest(few, 8), near(few, 3)
    found = exchange(few, start, 8, seed=0, nearest=some)
    assert inertia(few, found) < inertia(few, start)
    for row in range(len(few)):
        if np.count_nonzero(found == found[row]) == 1:
            continue
        for other in set(found[some[row]].tolist()):
            moved = found.copy()
            moved[row] = other
            assert inertia(few, moved) > inertia(few, found) - 2e-5
    alone = exchange(few, start, 8, seed=0, nearest=some[:, :1])
    assert np.array_equal(alone, start)  # nobody near


def test_it_betters_where_lloyd_has_stopped(vectors: np.ndarray) -> None:
    assignment = nearest(vectors, 100)
    for _ in range(100):
        sums, sizes = cluster_sums(vectors, assignment, 100)
        means = sums / sizes[:, None]
        distances = (means**2).sum(axis=1) - 2 * vectors @ means.T
        assignment, before = distances.argmin(axis=1), assignment
        if np.array_equal(assignment, before):
            break
    else:
        pytest.fail("Lloyd's algorithm did not stop")
    found = exchange(vectors, assignment, 100, seed=0)
    assert inertia(vectors, found) < 0.98 * inertia(vectors, assignment)


def test_clusters_keep_their_last_vector_and_the_input_stays(vectors: np.ndarray) -> None:
    assignment = nearest(vectors, 300)
    before = assignment.copy()
    found = exchange(vectors, assignment, 300, seed=0)
    assert np.array_equal(assignment, before)
    assert set(np.unique(found)) >= set(np.unique(assignment))


def test_an_empty_cluster_is_filled(vectors: np.ndarray) -> None:
    found = exchange(vectors, np.zeros(len(vectors), np.int64), 3, seed=0)
    assert np.bincount(found, minlength=3).min() > 0


def test_equal_vectors_do_not_move_for_ever() -> None:
    same = np.repeat(np.eye(1, 8, dtype=np.float32), 50, axis=0)
    assignment = np.arange(50) % 5
    assert np.array_equal(exchange(same, assignment, 5, seed=0), assignment)


def test_the_clusters_of_a_round_have_been_exchanged(vectors: np.ndarray) -> None:
    found = cluster(vectors, 100, 20, 256, seed=0)
    again = exchange(vectors, found.assignment, 100, seed=1)
    assert inertia(vectors, again) > 0.995 * inertia(vectors, found.assignment)
    means = unit(cluster_sums(vectors, found.assignment, 100)[0])
    assert np.allclose(found.centroids, means, atol=1e-5)
    assert np.allclose(found.similarity, (vectors * means[found.assignment]).sum(axis=1), atol=1e-5)
