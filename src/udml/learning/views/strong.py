"""Strong views: another look at the same thing, to see whether an embedding finds it again. No torch."""

import numpy as np
from PIL import Image, ImageEnhance

_CROP_AREA = (0.3, 0.7)
_CROP_RATIO = (0.75, 4 / 3)
_TURN_DEGREES = 15.0
_LIGHT = (0.6, 1.4)


def strong_view(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another look at the same thing: a turned, mirrored crop in other light.

    Args:
        image: uint8 [height, width, 3].
        rng: source of all randomness.

    Returns:
        uint8 [h, w, 3], smaller than `image`; at least 8 px on each side where the image has that.
    """
    picture = Image.fromarray(image)
    width, height = picture.size
    turned = picture.rotate(rng.uniform(-_TURN_DEGREES, _TURN_DEGREES), Image.Resampling.BILINEAR)
    area = rng.uniform(*_CROP_AREA) * width * height
    ratio = np.exp(rng.uniform(*np.log(_CROP_RATIO)))
    crop_width = int(np.clip(round(np.sqrt(area * ratio)), min(8, width), width))
    crop_height = int(np.clip(round(np.sqrt(area / ratio)), min(8, height), height))
    left = int(rng.integers(0, width - crop_width + 1))
    top = int(rng.integers(0, height - crop_height + 1))
    view = turned.crop((left, top, left + crop_width, top + crop_height))
    if rng.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        view = enhance(view).enhance(rng.uniform(*_LIGHT))
    return np.asarray(view)


def strong_views(images: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """One strong view of each image, a function of the seed and the image's position alone."""
    return [strong_view(image, np.random.default_rng([seed, row])) for row, image in enumerate(images)]
