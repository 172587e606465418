import functools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udml.learning.views.training import (
    Variation,
    crop_box,
    draw_light,
    fixed_view,
    light_tables,
    prefetch,
    random_views,
    write_views,
)

EVERYTHING = Variation((0.16, 1.0), turn_degrees=15, light_stops=0.5, cast_stops=0.1)


def pictures(count: int = 6, side: int = 50) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (side, side + 7 * i, 3), np.uint8) for i in range(count)]


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 10_000))
def test_crops_lie_inside_the_picture(width: int, height: int, seed: int) -> None:
    left, top, right, bottom = crop_box(width, height, (0.16, 1.0), np.random.default_rng(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_crops_cover_the_share_asked_for() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(2000):
        left, top, right, bottom = crop_box(200, 200, (0.16, 1.0), rng)
        shares.append((right - left) * (bottom - top) / 200**2)
    assert 0.15 < min(shares) < 0.2
    assert max(shares) > 0.9
    assert np.mean(shares) == pytest.approx(0.53, abs=0.05)  # near the middle of 0.16..1, large ones rejected


def test_views_depend_on_seed_and_position_alone() -> None:
    images = pictures()
    whole = random_views(images, 32, EVERYTHING, [1, 2])
    assert whole.shape == (6, 32, 32, 3)
    assert whole.dtype == np.uint8
    second_half = random_views(images[3:], 32, EVERYTHING, [1, 2], first=3)
    assert np.array_equal(whole[3:], second_half)
    assert not np.array_equal(whole, random_views(images, 32, EVERYTHING, [1, 3]))


def test_some_views_are_mirrored() -> None:
    ramp = np.broadcast_to(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], (100, 100, 3)).copy()
    views = random_views([ramp] * 60, 16, Variation((0.9, 1.0), 0, 0, 0), [0])
    falling = sum(view[8, 0, 0] > view[8, -1, 0] for view in views)
    assert 15 < falling < 45


def test_views_are_turned_by_no_more_than_asked() -> None:
    halves = np.zeros((101, 101, 3), np.uint8)
    halves[:, 51:] = 255  # the edge's direction tells the turn

    def turns(degrees: float) -> np.ndarray:
        views = (
            random_views([halves] * 60, 64, Variation((0.5, 0.9), degrees, 0, 0), [0])[:, 20:44, :, 0] > 127
        )
        edges = np.abs(np.diff(views.astype(int), axis=2)).argmax(axis=2)
        return np.degrees(np.arctan((edges[:, -1] - edges[:, 0]) / (views.shape[1] - 1)))

    assert np.abs(turns(0.0)).max() == 0
    # the crop may slant the edge further or leave it out
    assert 4 < np.median(np.abs(turns(15.0))) < 12


def test_light_changes_by_no_more_stops_than_asked() -> None:
    lights = [
        draw_light(Variation((1, 1), 0, light, cast), np.random.default_rng(seed))
        for light, cast in ((0.5, 0.0), (0.0, 0.25))
        for seed in range(300)
    ]
    exposure, cast = np.log2(light_tables(np.stack(lights))[:, :, 128] / 128).reshape(2, 300, 3)
    assert np.ptp(exposure, axis=1).max() == 0  # the same for all colours
    # a mid grey moves by the exposure and, about a quarter as far, by the tone curve
    assert 0.5 < np.abs(exposure).max() < 0.7
    assert 0.2 < np.abs(cast).max() < 0.26
    assert np.ptp(cast, axis=1).max() > 0.2  # each colour on its own


def test_no_light_asked_for_is_the_same_light() -> None:
    flat = np.full((40, 40, 3), (10, 120, 250), np.uint8)
    assert (random_views([flat] * 20, 16, Variation((0.2, 1.0), 0, 0, 0), [0]) == flat[0, 0]).all()


def test_the_fixed_view_of_a_flat_picture_is_flat() -> None:
    flat = np.full((41, 60, 3), 77, np.uint8)
    assert (fixed_view(flat, 32, 0.9) == 77).all()


def test_fixed_views_are_made_once(tmp_path: Path) -> None:
    images = pictures()
    path = tmp_path / "views.u8"
    view = functools.partial(fixed_view, input_px=32, crop_share=1.0)
    first = write_views(path, images, 32, view)
    assert np.array_equal(first[4], fixed_view(images[4], 32, 1.0))
    again = write_views(path, [np.zeros_like(i) for i in images], 32, view)
    assert np.array_equal(first, again)


def test_prefetch_keeps_order_and_hands_on_errors() -> None:
    assert list(prefetch(lambda k: k * k, range(7))) == [0, 1, 4, 9, 16, 25, 36]
    assert list(prefetch(lambda k: k, [])) == []

    def fail(key: int) -> int:
        if key == 3:
            raise ValueError("three")
        return key

    with pytest.raises(ValueError, match="three"):
        list(prefetch(fail, range(6)))
