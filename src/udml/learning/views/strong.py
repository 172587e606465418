"""Strong views: another look at the same thing, to see whether an embedding finds it again. No torch."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

_CROP_AREA = (0.3, 0.7)
_CROP_RATIO = (0.75, 4 / 3)
_TURN_DEGREES = 15.0
_LIGHT = (0.6, 1.4)


@dataclass(frozen=True)
class Look:
    """How one strong view differs from its image.

    Attributes:
        turn_degrees: counter-clockwise, about the middle of the image.
        box: the crop of the turned image: left, top, right, bottom in px.
        mirrored: left for right.
        light: factors of brightness, contrast and colour.
    """

    turn_degrees: float
    box: tuple[int, int, int, int]
    mirrored: bool
    light: tuple[float, float, float]


def draw_look(width: int, height: int, rng: np.random.Generator) -> Look:
    """A random look at an image of that size, in px."""
    turn = rng.uniform(-_TURN_DEGREES, _TURN_DEGREES)
    area = rng.uniform(*_CROP_AREA) * width * height
    ratio = np.exp(rng.uniform(*np.log(_CROP_RATIO)))
    crop_width = int(np.clip(round(np.sqrt(area * ratio)), min(8, width), width))
    crop_height = int(np.clip(round(np.sqrt(area / ratio)), min(8, height), height))
    left = int(rng.integers(0, width - crop_width + 1))
    top = int(rng.integers(0, height - crop_height + 1))
    mirrored = bool(rng.random() < 0.5)
    brightness, contrast, colour = (float(rng.uniform(*_LIGHT)) for _ in range(3))
    box = (left, top, left + crop_width, top + crop_height)
    return Look(float(turn), box, mirrored, (brightness, contrast, colour))


def look_at(image: np.ndarray, look: Look) -> np.ndarray:
    """An image, uint8 [height, width, 3], as `look` shows it: uint8 [h, w, 3], a copy."""
    turned = Image.fromarray(image).rotate(look.turn_degrees, Image.Resampling.BILINEAR)
    view = turned.crop(look.box)
    if look.mirrored:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for enhance, factor in zip(kinds, look.light, strict=True):
        view = enhance(view).enhance(factor)
    return np.asarray(view)


def strong_view(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another look at the same thing: a turned, mirrored crop in other light.

    Args:
        image: uint8 [height, width, 3].
        rng: source of all randomness.

    Returns:
        uint8 [h, w, 3], smaller than `image`; at least 8 px on each side where the image has that.
    """
    height, width, _ = image.shape
    return look_at(image, draw_look(width, height, rng))


def strong_views(images: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """One strong view of each image, a function of the seed and the image's position alone."""
    return [strong_view(image, np.random.default_rng([seed, row])) for row, image in enumerate(images)]
