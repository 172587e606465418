import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udml.errors import UdmlError
from udml.search.mixed_query import mixed_query


def unit(rng, count, dim=8):
    vectors = rng.standard_normal((count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def slow(like, unlike):
    """By definition, one number after the other."""
    dim = len(like[0])
    mixed = [sum(float(v[at]) for v in like) / len(like) for at in range(dim)]
    if len(unlike):
        mixed = [m - sum(float(v[at]) for v in unlike) / len(unlike) for at, m in enumerate(mixed)]
    length = sum(m * m for m in mixed) ** 0.5
    return [m / length for m in mixed]


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(0, 6))
def test_it_is_the_mean_less_the_mean_of_the_others(seed, like, unlike):
    rng = np.random.default_rng(seed)
    wanted, away = unit(rng, like), unit(rng, unlike)
    mixed = mixed_query(wanted, away)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, slow(wanted, away), atol=1e-5)
    assert np.linalg.norm(mixed) == pytest.approx(1, abs=1e-6)
    again = mixed_query(rng.permutation(wanted), rng.permutation(away))  # order does not matter
    np.testing.assert_allclose(mixed, again, atol=1e-6)
    np.testing.assert_allclose(mixed_query([*wanted, *wanted], away), mixed, atol=1e-6)


@given(st.integers(0, 2**31))
def test_it_moves_towards_the_ones_and_away_from_the_others(seed):
    rng = np.random.default_rng(seed)
    (one, other), (away,) = unit(rng, 2, 16), unit(rng, 1, 16)
    mixed = mixed_query([one], [away])
    assert mixed @ away < one @ away + 1e-6
    assert mixed_query([one, other]) @ other >= one @ other - 1e-6


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_same_pictures_on_both_sides_leave_nothing(count):
    vectors = unit(np.random.default_rng(count), count, 512)
    with pytest.raises(UdmlError, match="nothing is left"):
        mixed_query(vectors, vectors[::-1])
    with pytest.raises(UdmlError, match="nothing is left"):
        mixed_query([vectors[0], -vectors[0]])


@pytest.mark.parametrize("unlike", [[], np.eye(2, 4, dtype=np.float32)])
def test_there_has_to_be_something_to_be_like(unlike):
    with pytest.raises(UdmlError, match="no picture to be like"):
        mixed_query([], unlike)
