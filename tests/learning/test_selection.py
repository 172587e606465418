import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from udml.data.splits import assign_splits
from udml.learning.selection import hold_out, judge, picks_latest


@given(st.lists(st.integers(0, 40), min_size=1, max_size=200), st.floats(0, 1), st.integers(1, 50))
def test_whole_groups_are_held_out_and_no_more_than_allowed(
    groups: list[int], share: float, at_most: int
) -> None:
    array = np.array(groups)
    held = hold_out(array, share, at_most, seed=0)
    assert held.sum() <= at_most
    assert not set(array[held]) & set(array[~held])


def test_about_the_share_asked_for_is_held_out() -> None:
    held = hold_out(np.arange(10_000), 0.1, 10_000, seed=0)
    assert 850 < held.sum() < 1150


@given(st.integers(2, 300), st.integers(0, 50))
def test_there_are_always_two_images_to_judge_by(count: int, seed: int) -> None:
    assert hold_out(np.arange(count), 0.05, 1000, seed).sum() >= 2


def test_images_that_arrive_later_move_nobody() -> None:
    few, many = np.arange(500), np.arange(800)
    before, after = (hold_out(groups, 0.2, 10_000, seed=1) for groups in (few, many))
    assert np.array_equal(before, after[:500])


def test_another_seed_holds_out_others() -> None:
    first, second = (hold_out(np.arange(500), 0.2, 500, seed) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_collapse_is_told_from_health() -> None:
    assert judge(30.0, 100.0, 0.2) == ""
    assert "collapsed: effective rank 3.0, the frozen backbone has 100.0" in judge(3.0, 100.0, 0.2)


def test_held_out_images_are_drawn_independently_of_the_test_split() -> None:
    groups, nothing = np.arange(4000), np.full(4000, None, object)
    train = assign_splits(nothing, nothing, groups, 0.25, 0) == "train"
    held = hold_out(groups[train], 0.1, 4000, seed=0)
    assert 0.07 < held.mean() < 0.13


def test_the_latest_of_a_plateau_is_picked() -> None:
    rising = [(0.3, 0.02), (0.5, 0.02)]
    assert picks_latest(rising[:1])
    assert picks_latest(rising)
    assert picks_latest([*rising, (0.485, 0.02)])
    assert not picks_latest([*rising, (0.475, 0.02)])
    # measured against the best there ever was: small steps down do not add up
    assert not picks_latest([*rising, (0.485, 0.02), (0.475, 0.02)])
