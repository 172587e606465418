import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udml.errors import UdmlError
from udml.learning.loop.batches import draw_batch, members_by_cluster, rotation_positions


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 4))
def test_members_are_exactly_the_rows_of_large_enough_clusters(
    assignment: list[int], min_points: int
) -> None:
    found = {
        c: set(rows.tolist()) for c, rows in members_by_cluster(np.array(assignment), min_points).items()
    }
    expected = {
        c: {i for i, a in enumerate(assignment) if a == c}
        for c in set(assignment)
        if assignment.count(c) >= min_points
    }
    assert found == expected


def test_a_batch_is_a_function_of_its_seed() -> None:
    members = members_by_cluster(np.arange(200) % 20, 1)
    first = draw_batch(members, 4, 5, [1, 7])
    assert np.array_equal(first, draw_batch(members, 4, 5, [1, 7]))
    assert not np.array_equal(first, draw_batch(members, 4, 5, [1, 8]))
    assert not np.array_equal(first, draw_batch(members, 4, 5, [2, 7]))


def test_images_repeat_only_in_clusters_that_are_too_small() -> None:
    assignment = np.array([0] * 3 + [1] * 10 + [2] * 10)
    rows = draw_batch(members_by_cluster(assignment, 1), 3, 5, [0])
    by_cluster = {c: rows[assignment[rows] == c] for c in range(3)}
    assert all(len(found) == 5 for found in by_cluster.values())
    assert len(set(by_cluster[0])) == 3
    assert len(set(by_cluster[1])) == 5


@given(st.integers(2, 40), st.integers(2, 16), st.integers(1, 5))
def test_a_batch_has_its_size_however_few_clusters_there_are(
    clusters: int, clusters_per_batch: int, images_per_cluster: int
) -> None:
    assignment = np.repeat(np.arange(clusters), 2)
    members = members_by_cluster(assignment, 2)
    rows = draw_batch(members, clusters_per_batch, images_per_cluster, [0])
    assert len(rows) == clusters_per_batch * images_per_cluster
    drawn, counts = np.unique(assignment[rows], return_counts=True)
    assert len(drawn) == min(clusters, clusters_per_batch)
    assert counts.max() - counts.min() <= images_per_cluster
    assert (np.diff(assignment[rows]) != 0).sum() == len(drawn) - 1, "cluster after cluster"


@pytest.mark.parametrize("assignment", [[0, 0, 0], [0, 0, 1, 2]], ids=["one", "alone"])
def test_nothing_to_tell_apart_is_said_plainly(assignment: list[int]) -> None:
    with pytest.raises(UdmlError, match="clusters with enough images to learn from: 1; it takes two"):
        draw_batch(members_by_cluster(np.array(assignment), 2), 16, 5, [0])


def test_every_cluster_gets_its_turn() -> None:
    members = members_by_cluster(np.arange(120) % 30, 1)
    seen = np.concatenate([draw_batch(members, 5, 2, [3, step]) for step in range(100)])
    counts = np.bincount(seen % 30, minlength=30)
    assert counts.min() > 10  # 1,000 draws over 30 clusters: 33 expected each


@given(st.integers(1, 200), st.integers(0, 200))
def test_rotated_images_are_distinct_positions_of_the_batch(batch: int, rotated: int) -> None:
    positions = rotation_positions(batch, min(rotated, batch))
    assert len(set(positions.tolist())) == min(rotated, batch)
    assert all(0 <= p < batch for p in positions)
