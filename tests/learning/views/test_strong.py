import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from udml.learning.views.strong import strong_view, strong_views


def test_strong_view_is_a_smaller_picture_and_depends_on_the_seed_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    first = strong_view(image, np.random.default_rng(5))
    again = strong_view(image, np.random.default_rng(5))
    other = strong_view(image, np.random.default_rng(6))
    assert first.dtype == np.uint8
    assert first.shape[2] == 3
    assert first.shape[0] * first.shape[1] < 60 * 90
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_strong_view_never_fails_on_tiny_pictures(height: int, width: int, seed: int) -> None:
    view = strong_view(np.zeros((height, width, 3), np.uint8), np.random.default_rng(seed))
    assert 1 <= view.shape[0] <= height
    assert 1 <= view.shape[1] <= width


def test_strong_views_do_not_depend_on_each_other() -> None:
    images = [np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8) for i in range(4)]
    assert np.array_equal(strong_views(images, 3)[2], strong_views([*images[:2], images[2]], 3)[2])
