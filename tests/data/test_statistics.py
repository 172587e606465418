import numpy as np
import pytest

from udml.data.statistics import STATISTICS, image_statistics, shown_statistic


def statistics(pixels: np.ndarray, width: int = 2000, height: int = 1000) -> dict[str, float]:
    return dict(zip(STATISTICS, image_statistics(pixels, width, height), strict=True))


def test_a_plain_colour_has_the_figures_worked_out_by_hand() -> None:
    orange = np.full((6, 8, 3), (200, 100, 50), np.uint8)
    found = statistics(orange)
    assert found["brightness"] == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50, abs=1)
    assert (found["contrast"], found["sharpness"]) == (0, 0)
    assert found["saturation"] == pytest.approx(150 / 200)
    assert found["warmth"] == 150
    assert found["tint"] == 100 - 125
    assert (found["megapixels"], found["aspect"]) == (2.0, 2.0)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 9, 3), (40, 30, 3)])
@pytest.mark.parametrize("value", [0, 255])
def test_black_white_and_tiny_images_have_finite_figures(shape: tuple[int, ...], value: int) -> None:
    assert np.isfinite(image_statistics(np.full(shape, value, np.uint8), 1, 1)).all()


def test_blur_takes_sharpness_and_a_filter_takes_its_colour() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 200, (32, 32, 3), np.uint8)
    blurred = ((picture.astype(int) + np.roll(picture, 1, 0) + np.roll(picture, 1, 1)) // 3).astype(np.uint8)
    yellow = (picture * np.array([1, 1, 0.5])).astype(np.uint8)
    before, after = statistics(picture), statistics(blurred)
    assert after["sharpness"] < before["sharpness"] / 2
    assert after["brightness"] == pytest.approx(before["brightness"], abs=1)
    assert statistics(yellow)["warmth"] > before["warmth"] + 40


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("megapixels", 0.009216, "9,216 pixels"),
        ("megapixels", 0.0999, "99,900 pixels"),
        ("megapixels", 0.1, "0.1"),
        ("megapixels", 12.19, "12.2"),
        ("megapixels", 0.0, "0"),
        ("sharpness", 3.09e3, "3,090"),
        ("warmth", -12.34, "-12.3"),
        ("aspect", 0.05, "0.05"),
    ],
)
def test_figures_are_shown_as_people_say_them(name: str, value: float, shown: str) -> None:
    assert shown_statistic(name, value) == shown
