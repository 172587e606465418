import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from udml.learning.model.preprocess import centre_square, crop_share_steps, preprocess

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def reference_resize(square: np.ndarray, side_px: int) -> np.ndarray:
    """Antialiased bilinear resize of float [s, s, 3] by the textbook: a triangle as wide as the shrink."""
    size = len(square)
    scale = size / side_px
    reach = max(scale, 1.0)
    weights = np.zeros((side_px, size))
    for row in range(side_px):
        centre = (row + 0.5) * scale
        for column in range(size):
            weights[row, column] = max(0.0, 1 - abs(column + 0.5 - centre) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("ij,jkc,lk->ilc", weights, square, weights)


@pytest.mark.parametrize(("height", "width"), [(40, 57), (31, 30), (9, 9), (7, 20), (1, 1)])
@pytest.mark.parametrize("input_px", [8, 15])
def test_agrees_with_the_textbook_when_shrinking_and_enlarging(
    height: int, width: int, input_px: int
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    top, left, side = centre_square(height, width, 0.9)
    expected = reference_resize(image[top : top + side, left : left + side].astype(float), input_px)
    got = preprocess(torch.from_numpy(image)[None], input_px, 0.9, **PLAIN)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-3)


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
    top, left, side = centre_square(height, width, thousandths / 1000)
    assert 1 <= side <= min(height, width)
    assert side == max(1, math.floor(min(height, width) * thousandths / 1000 + 1e-9))
    for start, length in ((top, height), (left, width)):
        assert 0 <= (length - side - start) - start <= 1


@settings(max_examples=20)
@given(st.integers(1, 1000))
def test_a_share_survives_the_trip_through_text(thousandths: int) -> None:
    assert crop_share_steps(float(str(thousandths / 1000))) == thousandths


@pytest.mark.parametrize("share", [0.0, 0.0004, 1.001, -0.5])
def test_refuses_a_share_that_leaves_nothing_or_more_than_all(share: float) -> None:
    with pytest.raises(ValueError, match="crop_share"):
        crop_share_steps(share)
