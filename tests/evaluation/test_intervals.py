import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udml.errors import UdmlError
from udml.evaluation import intervals
from udml.evaluation.intervals import bootstrap, paired_bootstrap


def test_agrees_with_the_normal_approximation():
    values = np.random.default_rng(0).normal(0.5, 0.2, 2000)
    estimate = bootstrap(values, 2000, seed=1)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(200):
        estimate = bootstrap(rng.random(150) < 0.7, 300, seed)
        covered += estimate.low <= 0.7 <= estimate.high
    assert 180 <= covered <= 199


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(0, 1000))
def test_the_interval_is_reproducible_and_lies_within_the_values(values, seed):
    values = np.array(values)
    estimate = bootstrap(values, 50, seed)
    assert estimate == bootstrap(values, 50, seed)
    assert values.min() - 1e-12 <= estimate.low <= estimate.high <= values.max() + 1e-12


def test_does_not_depend_on_how_much_is_drawn_at_a_time(monkeypatch):
    values = np.random.default_rng(0).random(37)
    whole = bootstrap(values, 200, seed=4)
    monkeypatch.setattr(intervals, "_BLOCK", 100)
    assert bootstrap(values, 200, seed=4) == whole


def test_pairing_is_narrower_than_two_intervals_and_changes_sign_with_the_order():
    rng = np.random.default_rng(3)
    first = rng.random(500)
    second = first + rng.normal(0.02, 0.05, 500)
    paired = paired_bootstrap(first, second, 1000, seed=0)
    apart = bootstrap(second, 1000, seed=0)
    assert 0 < paired.low < paired.value < paired.high
    assert paired.high - paired.low < 0.5 * (apart.high - apart.low)
    turned = paired_bootstrap(second, first, 1000, seed=0)
    assert (turned.value, turned.low) == (pytest.approx(-paired.value), pytest.approx(-paired.high))


def test_refuses_what_has_no_mean():
    with pytest.raises(UdmlError, match="no query"):
        bootstrap(np.empty(0), 10, 0)
    with pytest.raises(UdmlError, match="finite"):
        bootstrap(np.array([0.5, np.nan]), 10, 0)
    with pytest.raises(UdmlError, match="cannot pair 2 queries with 3"):
        paired_bootstrap(np.zeros(2), np.zeros(3), 10, 0)
