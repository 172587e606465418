"""Simple figures of single images: light, colour, focus and shape. Pixels in, numbers out."""

import numpy as np
from PIL import Image

from udml.text import readable

STATISTICS = (
    "brightness",  # mean grey level, 0..255
    "contrast",  # standard deviation of the grey levels
    "sharpness",  # variance of the Laplacian; blur brings it near 0
    "saturation",  # mean of (max - min) / max over the channels, 0 grey to 1
    "warmth",  # mean red less mean blue level, -255..255
    "tint",  # mean green level less that of red and blue, -255..255
    "megapixels",  # of the file, before any shrinking
    "aspect",  # width / height of the file, upright
)


_SMALL_MEGAPIXELS = 0.1


def shown_statistic(name: str, value: float) -> str:
    """A figure named by `STATISTICS`, or its median, for people; small pictures are counted in pixels."""
    if name == "megapixels" and 0 < value < _SMALL_MEGAPIXELS:
        return f"{value * 1e6:,.0f} pixels"
    return readable(value)


def image_statistics(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """The figures named by `STATISTICS`, in that order: float64 [8], finite.

    Args:
        pixels: uint8 [h, w, 3], RGB, as kept in the image store.
        width: px of the whole image, upright, before it was shrunk for the store.
        height: likewise.
    """
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    highest = pixels.max(axis=2).astype(np.float64)
    colourfulness = (highest - pixels.min(axis=2)) / np.maximum(highest, 1)
    red, green, blue = pixels.mean(axis=(0, 1))
    return np.array(
        [
            grey.mean(),
            grey.std(),
            sharpness(grey),
            colourfulness.mean(),
            red - blue,
            green - (red + blue) / 2,
            width * height / 1e6,
            width / height,
        ]
    )


def sharpness(grey: np.ndarray) -> float:
    """Variance of the 4-neighbour Laplacian of a grey image, uint8 [h, w]; 0 if it is under 3 px a side.

    Sums of whole numbers, exact, so every machine gets the same digits. Blur brings it
    near 0.
    """
    if min(grey.shape) < 3:
        return 0.0
    g = grey.astype(np.int16)
    laplacian = g[:-2, 1:-1] + g[2:, 1:-1]
    laplacian += g[1:-1, :-2]
    laplacian += g[1:-1, 2:]
    laplacian -= g[1:-1, 1:-1] << 2
    # not a dot product: BLAS would start threads for it, which takes several times as long as the image
    total, squares = int(laplacian.sum()), int(np.square(laplacian, dtype=np.int32).sum())
    count = laplacian.size
    return (squares * count - total * total) / (count * count)
