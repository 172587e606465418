import io

import numpy as np
import pytest
from PIL import Image

from udml.cropping import Crop, decode_crop
from udml.errors import UdmlError
from udml.pixels import Undecodable, decode


def quarters(width=400, height=200):
    """A picture whose quarters are red, green, blue and white."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    pixels[: height // 2, width // 2 :] = (0, 255, 0)
    pixels[height // 2 :, : width // 2] = (0, 0, 255)
    pixels[height // 2 :, width // 2 :] = 255
    return Image.fromarray(pixels)


def file(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


CORNERS = {
    (255, 0, 0): Crop(0, 0, 0.5, 0.5),
    (0, 255, 0): Crop(0.5, 0, 0.5, 0.5),
    (0, 0, 255): Crop(0, 0.5, 0.5, 0.5),
    (255, 255, 255): Crop(0.5, 0.5, 0.5, 0.5),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_is_cut_out_is_what_was_named(kind):
    data = file(quarters(), kind, **({} if kind == "PNG" else {"quality": 95}))
    for colour, crop in CORNERS.items():
        cut = decode_crop(data, 40, crop)
        assert cut.shape == (40, 80, 3)
        np.testing.assert_allclose(cut[4:-4, 4:-4].mean(axis=(0, 1)), colour, atol=12)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_fractions_are_of_the_upright_picture(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file(quarters(), "JPEG", quality=95, exif=exif)
    whole = decode(data, 40).pixels
    height, width = whole.shape[:2]
    for crop in CORNERS.values():
        y, x = round((crop.y + 0.25) * height), round((crop.x + 0.25) * width)
        cut = decode_crop(data, 40, crop)
        np.testing.assert_allclose(cut.mean(axis=(0, 1)), whole[y, x], atol=16)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_whole_picture_is_the_picture(kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8))
    data = file(noise, kind)
    for short_side_px in (20, 90, 300):
        np.testing.assert_array_equal(
            decode_crop(data, short_side_px, Crop(0, 0, 1, 1)), decode(data, short_side_px).pixels
        )


def test_a_small_part_of_a_large_picture_is_not_shrunk_before_it_is_cut():
    fine = np.zeros((1000, 1500, 3), np.uint8)
    fine[::2] = 255  # lines that any shrinking would turn grey
    cut = decode_crop(file(Image.fromarray(fine)), 40, Crop(0.5, 0.5, 0.04, 0.04))
    assert cut.shape == (40, 60, 3)
    assert set(np.unique(cut)) == {0, 255}


@pytest.mark.parametrize("crop", [Crop(0.999, 0.999, 1e-300, 1e-300), Crop(1 - 1e-9, 0, 1e-9, 1)])
def test_a_pixel_is_left_at_the_least(crop):
    cut = decode_crop(file(quarters()), 40, crop)
    assert min(cut.shape[:2]) == 1


@pytest.mark.parametrize(
    "text",
    ["", "1", "0,0,1", "0,0,1,1,1", "a,b,c,d", "0,0,0,1", "0,0,1,-1", "-0.1,0,0.5,0.5", "0.6,0,0.5,0.5",
     "0,0.6,0.5,0.5", "nan,0,1,1", "0,0,nan,1", "0,0,inf,1", "1,1,1,1", "0;0;1;1"],
)  # fmt: skip
def test_what_is_no_part_of_a_picture_is_refused(text):
    with pytest.raises(UdmlError, match="is no part of a picture"):
        Crop.parse(text)


def test_decimals_that_add_up_to_a_little_more_than_one_are_fine():
    assert Crop.parse("0.7, 0.1,0.3,0.9") == Crop(0.7, 0.1, 0.3, 0.9)
    assert Crop.parse("0.1,0.2,0.9,0.8").width == 0.9


def test_limits_are_those_of_the_whole_picture():
    with pytest.raises(Undecodable, match="400 x 200 px"):
        decode_crop(file(quarters()), 40, Crop(0, 0, 0.1, 0.1), max_pixels=79_999)
    with pytest.raises(Undecodable):
        decode_crop(file(quarters())[:-300], 40, Crop(0, 0, 0.1, 0.1))
