"""Closed forms, slow references, and the level of the tests."""

import itertools

import numpy as np
import pytest
from scipy.stats import ks_2samp

from udml.monitor.two_sample import (
    adjusted_for_many,
    energy_distances,
    largest_gaps,
    memberships,
    permutation_ranks,
    smallest_p,
)


def slow_energy(old: np.ndarray, new: np.ndarray) -> float:
    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean([np.linalg.norm(x - y) for x, y in itertools.product(a, b)]))

    return 2 * mean(old, new) - mean(old, old) - mean(new, new)


def test_energy_distance_of_two_points_is_twice_their_distance() -> None:
    old, new = np.zeros((3, 2)), np.tile([3.0, 4.0], (5, 1))
    found = energy_distances(np.concatenate([old, new]), memberships(3, 5, 4, 0))
    assert found[0] == pytest.approx(10.0)


def test_energy_distance_is_that_of_the_definition_for_every_membership() -> None:
    values = np.random.default_rng(0).standard_normal((17, 5))
    is_new = memberships(11, 6, 8, 0)
    expected = [slow_energy(values[~row], values[row]) for row in is_new]
    np.testing.assert_allclose(energy_distances(values, is_new), expected, atol=1e-9)


def test_largest_gap_is_the_kolmogorov_smirnov_statistic_with_ties_too() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.standard_normal(60), rng.integers(0, 4, 60), np.ones(60)], axis=1)
    is_new = memberships(40, 20, 10, 0)
    found = largest_gaps(values, is_new)
    for row, new in enumerate(is_new):
        for column in range(3):
            slow = ks_2samp(values[new, column], values[~new, column]).statistic
            assert found[row, column] == pytest.approx(slow)


def test_memberships_keep_the_sizes_and_the_truth_is_first() -> None:
    drawn = memberships(30, 10, 50, 0)
    assert drawn[0].tolist() == [False] * 30 + [True] * 10
    assert (drawn.sum(axis=1) == 10).all()
    assert drawn.mean(axis=0).max() < 0.6  # everyone is new now and then, nobody always
    assert (drawn == memberships(30, 10, 50, 0)).all()
    assert not (drawn == memberships(30, 10, 50, 1)).all()


def test_what_is_called_old_and_what_new_makes_no_difference() -> None:
    values = np.random.default_rng(0).standard_normal((30, 4))
    is_new = memberships(18, 12, 20, 0)
    np.testing.assert_allclose(
        energy_distances(values, is_new), energy_distances(values, ~is_new), atol=1e-12
    )
    np.testing.assert_allclose(largest_gaps(values, is_new), largest_gaps(values, ~is_new))


def test_identical_images_are_no_drift() -> None:
    is_new = memberships(20, 20, 99, 0)
    same = np.ones((40, 3))
    assert permutation_ranks(energy_distances(same, is_new))[0] == 1.0
    assert permutation_ranks(largest_gaps(same, is_new).max(axis=1))[0] == 1.0


def test_ranks_count_ties_as_at_least_as_large() -> None:
    assert permutation_ranks(np.array([5.0, 5.0, 1.0, 7.0])).tolist() == [0.75, 0.75, 1.0, 0.25]


def test_the_smallest_p_is_corrected_for_being_the_smallest() -> None:
    rng = np.random.default_rng(0)
    apart = np.stack([permutation_ranks(rng.standard_normal(1000)) for _ in range(2)], axis=1)
    together = np.stack([apart[:, 0]] * 2, axis=1)
    for p_values in (apart, together):
        assert smallest_p(p_values) <= 2 * p_values[0].min()  # Bonferroni
    assert smallest_p(together) == pytest.approx(together[0, 0])  # the same test twice is one test


def test_p_values_of_many_statistics_are_those_of_the_largest() -> None:
    statistics = np.array([[0.5, 0.1], [0.4, 0.2], [0.1, 0.6], [0.3, 0.3]])
    assert adjusted_for_many(statistics).tolist() == [0.5, 1.0]


@pytest.mark.parametrize("sizes", [(40, 15), (15, 40)])
def test_samples_of_one_distribution_alarm_at_the_level(sizes: tuple[int, int]) -> None:
    """400 times: with level 0.1, 40 alarms are expected, and 24 to 57 in all but 0.5 % of runs."""
    rng, alarms = np.random.default_rng(0), 0
    for seed in range(400):
        values = rng.standard_exponential((sum(sizes), 3))
        is_new = memberships(*sizes, 99, seed)
        gaps = largest_gaps(values, is_new).max(axis=1)
        ranks = [permutation_ranks(one) for one in (energy_distances(values, is_new), gaps)]
        alarms += smallest_p(np.stack(ranks, axis=1)) <= 0.1
    assert 24 <= alarms <= 57
