import numpy as np
import pytest
import torch

from udml.learning.views.device import ResidentImages, affine_maps, resident_views, upload
from udml.learning.views.training import Drawn, Variation, draw_all, random_views, render

CPU = torch.device("cpu")
EVERYTHING = Variation((0.16, 1.0), turn_degrees=15, light_stops=1.0, cast_stops=0.3)


def smooth_pictures() -> list[np.ndarray]:
    """Waves of different colours and sizes, some 20 px long: no edge that methods could disagree on."""
    pictures = []
    for number, (height, width) in enumerate([(60, 80), (90, 60), (64, 64), (120, 100)]):
        y, x = np.mgrid[:height, :width]
        waves = [np.sin((x * (c + 1) + y * (number + 1)) / 12 + c) for c in range(3)]
        pictures.append((127 + 100 * np.stack(waves, axis=2)).astype(np.uint8))
    return pictures


def on_device(images: list[np.ndarray], drawn: list[Drawn], input_px: int) -> np.ndarray:
    resident = upload(images, CPU)
    assert isinstance(resident, ResidentImages)
    return resident_views(resident, np.arange(len(images)), drawn, input_px).numpy()


@pytest.mark.parametrize("input_px", [32, 48, 96])
def test_views_are_those_of_the_cpu(input_px: int) -> None:
    images = smooth_pictures() * 5
    drawn = draw_all([image.shape[1::-1] for image in images], EVERYTHING, [3])
    got = on_device(images, drawn, input_px).astype(int)
    expected = random_views(images, input_px, EVERYTHING, [3]).astype(int)
    assert got.shape == expected.shape
    off = np.abs(got - expected)
    assert off.mean() < 2.0
    assert np.quantile(off, 0.99) < 16  # at the border of what was photographed
    for one, other in zip(got, expected, strict=True):  # each is its own image's view, not another's
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98


def test_an_untouched_image_comes_back_to_the_bit() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    plain = Drawn(0.0, (0, 0, 40, 40), None, mirrored=False)
    mirrored = Drawn(0.0, (0, 0, 40, 40), None, mirrored=True)
    assert np.array_equal(on_device([image], [plain], 40)[0], image)
    assert np.array_equal(on_device([image], [mirrored], 40)[0], image[:, ::-1])


def test_what_nobody_photographed_is_black() -> None:
    white = np.full((50, 50, 3), 255, np.uint8)
    turned = Drawn(45.0, (0, 0, 50, 50), None, mirrored=False)
    view = on_device([white], [turned], 50)[0]
    assert view[0, 0].max() == view[-1, -1].max() == 0
    assert np.array_equal(view[25, 25], [255, 255, 255])
    assert np.abs((view > 127).mean() - (render(white, turned, 50) > 127).mean()) < 0.01


def test_noise_is_averaged_when_a_view_shrinks_it() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    view = on_device([noise], [Drawn(0.0, (0, 0, 256, 256), None, mirrored=False)], 64)[0]
    assert view.std() < 0.35 * noise.std()  # single samples would keep all of it


def test_the_map_takes_corners_to_corners() -> None:
    box = (10, 20, 50, 80)
    views = [Drawn(0.0, box, None, mirrored=True), Drawn(90.0, box, None, mirrored=False)]
    mirrored, turned = affine_maps(views, np.array([[100, 100], [100, 120]]), 32)
    assert np.allclose(mirrored @ [0, 0, 1], [50, 20])
    assert np.allclose(mirrored @ [32, 32, 1], [10, 80])
    # counter-clockwise: what is left in the view was at the top, 120 px high, about the middle (50, 60)
    assert np.allclose(turned @ [0, 0, 1], [50 + (60 - 20), 60 + (10 - 50)])
    assert np.allclose(turned @ [32, 32, 1], [50 + (60 - 80), 60 + (50 - 50)])
