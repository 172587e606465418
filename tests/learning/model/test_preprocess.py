import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from udml.learning.model.preprocess import crop_share_steps, middle_of, preprocess, view_ratio_steps

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def resize_weights(size: int, side_px: int) -> np.ndarray:
    """What each of `size` pixels gives to each of `side_px`: a triangle as wide as the shrink."""
    scale = size / side_px
    reach = max(scale, 1.0)
    weights = np.zeros((side_px, size))
    for row in range(side_px):
        centre = (row + 0.5) * scale
        for column in range(size):
            weights[row, column] = max(0.0, 1 - abs(column + 0.5 - centre) / reach)
    return weights / weights.sum(axis=1, keepdims=True)


def reference_resize(part: np.ndarray, side_px: int) -> np.ndarray:
    """Antialiased bilinear resize of float [h, w, 3] to a square by the textbook."""
    down, across = (resize_weights(size, side_px) for size in part.shape[:2])
    return np.einsum("ij,jkc,lk->ilc", down, part, across)


@pytest.mark.parametrize(("height", "width"), [(40, 57), (31, 30), (9, 9), (7, 20), (1, 1)])
@pytest.mark.parametrize("input_px", [8, 15])
@pytest.mark.parametrize("view_ratio", [1.0, 1.33, 3.0])
def test_agrees_with_the_textbook_when_shrinking_and_enlarging(
    height: int, width: int, input_px: int, view_ratio: float
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    top, left, high, wide = middle_of(height, width, 0.9, view_ratio)
    expected = reference_resize(image[top : top + high, left : left + wide].astype(float), input_px)
    got = preprocess(torch.from_numpy(image)[None], input_px, 0.9, **PLAIN, view_ratio=view_ratio)
    np.testing.assert_allclose(got[0].permute(1, 2, 0).numpy(), expected, atol=1e-3)


def test_keeps_pixels_that_need_no_resize_and_normalises_each_channel() -> None:
    image = torch.arange(4 * 6 * 3, dtype=torch.uint8).reshape(1, 4, 6, 3)
    got = preprocess(image, 4, 1.0, mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0))
    expected = (image[0, :, 1:5].float() - torch.tensor([1.0, 2.0, 3.0])) / torch.tensor([2.0, 4.0, 8.0])
    torch.testing.assert_close(got[0], expected.permute(2, 0, 1))
    assert got.dtype == torch.float32


def test_takes_views_with_any_strides() -> None:
    image = torch.randint(0, 256, (2, 30, 40, 3), dtype=torch.uint8)
    mirrored = image.transpose(1, 2)
    torch.testing.assert_close(
        preprocess(mirrored, 16, 0.9, **PLAIN), preprocess(mirrored.contiguous(), 16, 0.9, **PLAIN)
    )


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(1, 1000))
def test_the_square_lies_inside_and_in_the_middle(height: int, width: int, thousandths: int) -> None:
    top, left, side, as_wide = middle_of(height, width, thousandths / 1000)
    assert side == as_wide
    assert 1 <= side <= min(height, width)
    assert side == max(1, math.floor(min(height, width) * thousandths / 1000 + 1e-9))
    for start, length in ((top, height), (left, width)):
        assert 0 <= (length - side - start) - start <= 1


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(1000, 5000))
def test_as_much_is_seen_of_the_longer_side_as_the_ratio_allows(
    height: int, width: int, thousandths: int
) -> None:
    top, left, *seen = middle_of(height, width, 1.0, thousandths / 1000)
    short, long = sorted((height, width))
    assert sorted(seen) == [short, min(long, math.floor(short * thousandths / 1000 + 1e-9))]
    assert (seen[0] <= seen[1]) == (height <= width) or seen[0] == seen[1]
    for start, length, part in ((top, height, seen[0]), (left, width, seen[1])):
        assert 0 <= (length - part - start) - start <= 1


@pytest.mark.parametrize(
    ("size", "seen"), [((120, 160), (120, 159)), ((160, 120), (159, 120)), ((160, 300), (160, 212))]
)
def test_a_phones_photo_is_seen_as_a_whole(size: tuple[int, int], seen: tuple[int, int]) -> None:
    assert middle_of(*size, 1.0, 1.33)[2:] == seen


@pytest.mark.parametrize("ratio", [0.0, 0.999, -2.0])
def test_refuses_a_ratio_below_a_squares(ratio: float) -> None:
    with pytest.raises(ValueError, match="view_ratio"):
        view_ratio_steps(ratio)


@settings(max_examples=20)
@given(st.integers(1, 1000))
def test_a_share_survives_the_trip_through_text(thousandths: int) -> None:
    assert crop_share_steps(float(str(thousandths / 1000))) == thousandths


@pytest.mark.parametrize("share", [0.0, 0.0004, 1.001, -0.5])
def test_refuses_a_share_that_leaves_nothing_or_more_than_all(share: float) -> None:
    with pytest.raises(ValueError, match="crop_share"):
        crop_share_steps(share)
