"""Random views of training images, made where training computes.

Shapes: n images, b of them at once, S = input_px.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from udml.learning.loop.run import Run
from udml.learning.views.device import resident_views, send
from udml.learning.views.training import Variation, draw_all, random_views


def drawn_views(
    run: Run, rows: np.ndarray, variation: Variation, seed: Sequence[int], first: int = 0
) -> torch.Tensor:
    """A random view of each of the images `rows`, int [b]: uint8 [b, S, S, 3] on the device.

    `seed` and `first` are those of `draw_all`.
    """
    size, resident = run.params.input_px, run.device.resident
    if resident is not None:
        drawn = draw_all(resident.size[rows].tolist(), variation, seed, first)
        return resident_views(resident, rows, drawn, size)
    images = [run.data.images[int(row)] for row in rows]
    return send(random_views(images, size, variation, seed, first), run.device.accelerator.device)


@dataclass(frozen=True)
class DrawnViews:
    """One random view of every training image, made when it is asked for; a function of `seed`."""

    run: Run
    variation: Variation
    seed: Sequence[int]

    def __len__(self) -> int:
        return len(self.run.data.images)

    def __getitem__(self, rows: slice) -> torch.Tensor:
        """Views uint8 [m, S, S, 3] of a slice, on the device."""
        first, until, _ = rows.indices(len(self))
        return drawn_views(self.run, np.arange(first, until), self.variation, self.seed, first)
