"""A rectangle of a picture: how it is written, and how it is cut out."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

from udml.errors import UdmlError

_ROUNDING = 1e-6  # of fractions written in decimals: 0.7 + 0.3 may be a little more than 1
_LEAST_SHARE = 1e-4  # a smaller one is cut from the whole picture, too


@dataclass(frozen=True)
class Crop:
    """A rectangle of an upright picture, in fractions of its width and height.

    Attributes:
        x, y: of its left upper corner, 0..1.
        width, height: above 0; x + width and y + height are at most 1.
    """

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        inside = self.x >= 0 and self.y >= 0 and self.width > 0 and self.height > 0
        if not (inside and self.x + self.width <= 1 + _ROUNDING and self.y + self.height <= 1 + _ROUNDING):
            raise _not_a_crop(f"{self.x:g},{self.y:g},{self.width:g},{self.height:g}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """A crop written as `x,y,width,height`.

        Raises:
            UdmlError: if it is anything else, or leaves the picture.
        """
        try:
            x, y, width, height = map(float, text.split(","))
        except ValueError as error:
            raise _not_a_crop(text) from error
        return cls(x, y, width, height)


def side_to_decode(short_side_px: int | None, crop: Crop | None) -> int | None:
    """Largest shorter side, px, to decode a picture at, so that the part that is wanted is large enough."""
    if crop is None or short_side_px is None:
        return short_side_px
    return math.ceil(short_side_px / max(min(crop.width, crop.height), _LEAST_SHARE))


def cut(pixels: np.ndarray, crop: Crop, short_side_px: int | None) -> np.ndarray:
    """A part of a picture, uint8 [h, w, 3], its shorter side at most `short_side_px`."""
    rows = _span(crop.y, crop.height, pixels.shape[0])
    columns = _span(crop.x, crop.width, pixels.shape[1])
    part = np.ascontiguousarray(pixels[rows, columns])
    height, width = part.shape[:2]
    short = min(width, height)
    if short_side_px is None or short <= short_side_px:
        return part
    size = round(width * short_side_px / short), round(height * short_side_px / short)
    return np.array(Image.fromarray(part).resize(size, Image.Resampling.BICUBIC))


def _span(start: float, length: float, side_px: int) -> slice:
    """The pixels of a side that a stretch of it covers to the half at least; one at the least."""
    first = min(round(start * side_px), side_px - 1)
    return slice(first, max(first + 1, min(side_px, round((start + length) * side_px))))


def _not_a_crop(text: str) -> UdmlError:
    return UdmlError(
        f"{text} is no part of a picture",
        "give x,y,width,height in fractions of its width and height, such as 0.25,0.25,0.5,0.5",
    )
