"""Further fixed views of an image, by which it is compared with others before it gets a pseudo-label.

What one view has by chance, how the thing is held and what is cut off, decides much of which images are near
to each other; the mean over a few has less of that. It does with one photo what search by neighbourhoods does
with several of a thing. All images are looked at in the same ways, as ways drawn at random for each would be
a difference themselves (docs/labels.md has what each is worth).
"""

import math
from dataclasses import dataclass

import numpy as np

from udml.learning.views.training import Drawn, render


@dataclass(frozen=True)
class FixedLook:
    """A way of looking at an image: a square in it, turned and perhaps mirrored.

    Attributes:
        area_share: of the largest square in the image.
        across, down: where it lies, 0 (left, top) .. 1.
        turn_degrees: counter-clockwise.
        mirrored: left for right.
    """

    area_share: float
    across: float
    down: float
    turn_degrees: float
    mirrored: bool


LOOKS = (
    FixedLook(0.64, 0.25, 0.25, turn_degrees=10.0, mirrored=False),
    FixedLook(0.64, 0.75, 0.75, turn_degrees=-10.0, mirrored=True),
)
"""Beside the view that search uses."""

VIEWS_A_ROUND = 20_000
"""At most, so that labels do not take longer than what is learnt from them."""


def looks_at(images: int) -> tuple[FixedLook, ...]:
    """The ways in which each of n images is looked at: fewer where there are many."""
    return LOOKS[: VIEWS_A_ROUND // max(images, 1)]


def fixed_look(image: np.ndarray, look: FixedLook, input_px: int) -> np.ndarray:
    """An image as it looks that way: uint8 [h, w, 3] -> uint8 [S, S, 3]."""
    height, width, _ = image.shape
    side = max(1, round(math.sqrt(look.area_share) * min(width, height)))
    left, top = round((width - side) * look.across), round((height - side) * look.down)
    box = (left, top, left + side, top + side)
    return render(image, Drawn(look.turn_degrees, box, None, look.mirrored), input_px)
