"""Views of training images, made where training computes: random ones, and one that is the same for all.

Shapes: n images, b of them at once, S = input_px.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from udml.learning.loop.run import Run
from udml.learning.views.device import resident_views, send
from udml.learning.views.training import Drawn, Variation, draw_all, render


def random_views_of(
    run: Run, rows: np.ndarray, variation: Variation, seed: Sequence[int], first: int = 0
) -> torch.Tensor:
    """A random view of each of the images `rows`, int [b]: uint8 [b, S, S, 3] on the device.

    `seed` and `first` are those of `draw_all`.
    """
    return _made(run, rows, draw_all(_sizes(run, rows), variation, seed, first))


@dataclass(frozen=True)
class Look:
    """A way of looking at an image.

    Attributes:
        area_share: of its greatest square, which a square in it covers.
        across, down: where that lies, 0 (left, top) .. 1.
        turn_degrees: counter-clockwise.
        mirrored: left for right.
    """

    area_share: float
    across: float
    down: float
    turn_degrees: float
    mirrored: bool

    def at(self, width: int, height: int) -> Drawn:
        """The view of an image of that size, in px."""
        side = max(1, round(math.sqrt(self.area_share) * min(width, height)))
        left, top = round((width - side) * self.across), round((height - side) * self.down)
        return Drawn(self.turn_degrees, (left, top, left + side, top + side), None, self.mirrored)


@dataclass(frozen=True)
class Looked:
    """Every training image as one look shows it, made when it is asked for."""

    run: Run
    look: Look

    def __len__(self) -> int:
        return len(self.run.data.images)

    def __getitem__(self, rows: slice) -> torch.Tensor:
        """Views uint8 [m, S, S, 3] of a slice, on the device."""
        asked = np.arange(len(self))[rows]
        return _made(self.run, asked, [self.look.at(*size) for size in _sizes(self.run, asked)])


def _sizes(run: Run, rows: np.ndarray) -> list[tuple[int, int]]:
    """Width and height of images."""
    resident = run.device.resident
    if resident is not None:
        return [(width, height) for width, height in resident.size[rows].tolist()]
    shapes = [run.data.images[int(row)].shape for row in rows]
    return [(width, height) for height, width, _ in shapes]


def _made(run: Run, rows: np.ndarray, drawn: Sequence[Drawn]) -> torch.Tensor:
    size, resident = run.params.input_px, run.device.resident
    if resident is not None:
        return resident_views(resident, rows, drawn, size)
    views = [render(run.data.images[int(row)], one, size) for row, one in zip(rows, drawn, strict=True)]
    return send(np.stack(views), run.device.accelerator.device)
