"""Further fixed views of an image, by which it is compared with others before it gets a pseudo-label.

What one view has by chance, how the thing is held and what is cut off, decides much of which images are near
to each other; the mean over a few has less of that. It does with one photo what search by neighbourhoods does
with several of a thing. All images are shown in the same ways, as ways drawn at random for each would be a
difference themselves (docs/labels.md has what each is worth).
"""

import math
from dataclasses import dataclass

import numpy as np

from udml.learning.views.training import Drawn, render


@dataclass(frozen=True)
class FurtherView:
    """A way of showing an image: a square in it, turned and perhaps mirrored.

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


FURTHER_VIEWS = (
    FurtherView(0.64, 0.25, 0.25, turn_degrees=10.0, mirrored=False),
    FurtherView(0.64, 0.75, 0.75, turn_degrees=-10.0, mirrored=True),
)
"""Beside the fixed view by which images are judged."""

VIEWS_A_ROUND = 20_000
"""At most, so that labels do not take longer than what is learnt from them."""


def further_views(images: int) -> tuple[FurtherView, ...]:
    """The ways in which each of n images is shown: fewer where there are many."""
    return FURTHER_VIEWS[: VIEWS_A_ROUND // max(images, 1)]


def further_view(image: np.ndarray, way: FurtherView, input_px: int) -> np.ndarray:
    """An image shown that way: uint8 [h, w, 3] -> uint8 [S, S, 3]."""
    height, width, _ = image.shape
    side = max(1, round(math.sqrt(way.area_share) * min(width, height)))
    left, top = round((width - side) * way.across), round((height - side) * way.down)
    box = (left, top, left + side, top + side)
    return render(image, Drawn(way.turn_degrees, box, None, way.mirrored), input_px)
