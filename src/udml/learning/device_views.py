"""Training views made on the device, from images that stay there: what a GPU would else wait for.

A view is drawn on the CPU as in `views`, a dozen numbers; its pixels are sampled on the device, for a
whole batch at once. Where Pillow turns, crops and shrinks one after the other, one affine map does it all,
so a view differs from Pillow's by a few grey levels along edges, and by nothing where the image is smooth.

Shapes: n images, b of them in a batch, S = input_px, t samples per output pixel and direction.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from udml.learning.views import Drawn
from udml.progress import progress

_SHARE_OF_FREE_MEMORY = 0.5  # the rest is for the network
_SAME_LIGHT = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 256))


@dataclass(frozen=True)
class ResidentImages:
    """Decoded images in the memory of a device.

    Attributes:
        pixels: uint8 [total], all images one after the other, each [height, width, 3].
        offset: int64 [n] on the device, where each begins.
        size: int64 [n, 2] on the CPU, width and height.
    """

    pixels: torch.Tensor
    offset: torch.Tensor
    size: np.ndarray


def upload(images: Sequence[np.ndarray], device: torch.device) -> ResidentImages | None:
    """Copy images, uint8 [h, w, 3] each, to the device; None where they would take over half of a GPU."""
    shapes = np.array([image.shape for image in images], np.int64)
    ends = np.cumsum(shapes.prod(axis=1))
    if device.type == "cuda" and ends[-1] > _SHARE_OF_FREE_MEMORY * torch.cuda.mem_get_info(device)[0]:
        return None
    pixels = torch.empty(int(ends[-1]), dtype=torch.uint8, device=device)
    for position, end in progress(list(enumerate(ends.tolist())), "images to the device", unit="image"):
        flat = torch.from_numpy(np.array(images[position]).ravel())
        pixels[end - len(flat) : end] = flat
    starts = np.concatenate([[0], ends[:-1]])
    return ResidentImages(pixels, torch.from_numpy(starts).to(device), shapes[:, 1::-1])


def resident_views(
    images: ResidentImages, rows: np.ndarray, drawn: Sequence[Drawn], input_px: int
) -> torch.Tensor:
    """The views `drawn` of the images `rows`: uint8 [b, S, S, 3] on the device.

    Args:
        images: all of them.
        rows: int [b].
        drawn: b views.
        input_px: S.
    """
    device = images.pixels.device
    size = images.size[rows]
    maps = np.stack([affine_map(d, w, h, input_px) for d, (w, h) in zip(drawn, size.tolist(), strict=True)])
    tables = np.stack([_SAME_LIGHT if d.table is None else d.table for d in drawn])
    # as many samples as source pixels fall to an output pixel; a power of 2, to compile few programs
    shrunk = max(max(d.box[2] - d.box[0], d.box[3] - d.box[1]) for d in drawn) / input_px
    taps = 2 ** math.ceil(math.log2(max(1.0, shrunk)))
    at = torch.from_numpy(rows).to(device)
    return _sampler(device.type)(
        images.pixels,
        images.offset[at],
        *(torch.from_numpy(values).to(device) for values in (size, maps.astype(np.float32), tables)),
        input_px,
        taps,
    )


def affine_map(drawn: Drawn, width: int, height: int, input_px: int) -> np.ndarray:
    """Where in the image a point of the view comes from: float64 [2, 3], source = map @ (x, y, 1).

    Both in px, with pixel centres at halves.
    """
    left, top, right, bottom = drawn.box
    across, down = (right - left) / input_px, (bottom - top) / input_px
    to_crop = np.array([[across, 0, left], [0, down, top], [0, 0, 1]])
    if drawn.mirrored:
        to_crop = to_crop @ np.array([[-1, 0, input_px], [0, 1, 0], [0, 0, 1]])
    angle = math.radians(drawn.turn_degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    middle = np.array([width / 2, height / 2])
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.hstack([turn, (middle - turn @ middle)[:, None]]) @ to_crop


def _sample(
    pixels: torch.Tensor,
    offset: torch.Tensor,
    size: torch.Tensor,
    maps: torch.Tensor,
    tables: torch.Tensor,
    input_px: int,
    taps: int,
) -> torch.Tensor:
    """The mean of t x t bilinear samples per output pixel, in the view's light: uint8 [b, S, S, 3]."""
    device = pixels.device
    steps = (torch.arange(input_px * taps, device=device, dtype=torch.float32) + 0.5) / taps
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1)
    source = (maps @ points).reshape(-1, 2, len(steps), len(steps))
    column, row = source[:, 0], source[:, 1]
    width, height = (size[:, axis, None, None] for axis in (0, 1))
    seen = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column, row = column - 0.5, row - 0.5
    first_column, first_row = column.floor(), row.floor()
    right, below = (column - first_column)[..., None], (row - first_row)[..., None]
    channel = torch.arange(3, device=device)

    def pixel(down: int, across: int) -> torch.Tensor:
        x = torch.minimum((first_column.long() + across).clamp_min(0), width - 1)
        y = torch.minimum((first_row.long() + down).clamp_min(0), height - 1)
        start = offset[:, None, None] + (y * width + x) * 3
        return pixels[start[..., None] + channel].float()

    upper = pixel(0, 0).lerp(pixel(0, 1), right)
    lower = pixel(1, 0).lerp(pixel(1, 1), right)
    values = torch.where(seen[..., None], upper.lerp(lower, below), 0.0)
    values = values.reshape(len(maps), input_px, taps, input_px, taps, 3).mean((2, 4))
    levels = values.round().long()
    view = torch.arange(len(maps), device=device)[:, None, None, None]
    return tables[view, channel, levels]


@functools.cache
def _sampler(device_type: str) -> Callable[..., torch.Tensor]:
    """Compiled on a GPU: without it, every gather would write its result to memory."""
    return torch.compile(_sample, dynamic=False) if device_type == "cuda" else _sample
