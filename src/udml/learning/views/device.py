"""Training views made on the device, from images that stay there: what a GPU would else wait for.

A view is drawn on the CPU as in `views`, a dozen numbers; its pixels are sampled on the device, for a
whole batch at once. Where Pillow turns, crops and shrinks one after the other, one affine map does it all,
so a view differs from Pillow's by a few grey levels along edges, and by nothing where the image is smooth.

Shapes: n images, b of them in a batch, S = input_px.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from udml.learning.views.training import Drawn, light_tables
from udml.progress import progress

_SHARE_OF_FREE_MEMORY = 0.5  # the rest is for the network
_SAME_LIGHT = np.ones(4)


@dataclass(frozen=True)
class ResidentImages:
    """Decoded images in the memory of a device.

    Attributes:
        pixels: uint8 [total], all images one after the other, each [height, width, 3].
        offset: int64 [n], where each begins.
        size: int64 [n, 2], width and height.
    """

    pixels: torch.Tensor
    offset: np.ndarray
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
    return ResidentImages(pixels, starts, shapes[:, 1::-1])


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
    device, size = images.pixels.device, images.size[rows]
    tables = light_tables(np.stack([_SAME_LIGHT if d.light is None else d.light for d in drawn]))
    # as many samples, in either direction, as source pixels fall to an output pixel
    taps = math.ceil(max(max(d.box[2] - d.box[0], d.box[3] - d.box[1]) for d in drawn) / input_px)
    maps = _maps_of_samples(affine_maps(drawn, size, input_px), taps).astype(np.float32)
    where, maps_there = send(np.column_stack([images.offset[rows], size]), device), send(maps, device)
    total = torch.zeros(3, len(rows), input_px, input_px, device=device)
    add_sample = _compiled(_add_sample, device.type)
    for maps_of_one in maps_there:
        total = add_sample(total, images.pixels, where, maps_of_one)
    return _compiled(_relight, device.type)(total / taps**2, send(tables, device))


def send(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array as a tensor on the device, without waiting for what a GPU has still to do."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def affine_maps(drawn: Sequence[Drawn], size: np.ndarray, input_px: int) -> np.ndarray:
    """Where in its image a point of each view comes from: float64 [b, 2, 3], source = map @ (x, y, 1).

    Both in px, with pixel centres at halves.

    Args:
        drawn: b views.
        size: int [b, 2], width and height of their images.
        input_px: S.
    """
    left, top, right, bottom = np.array([d.box for d in drawn], np.float64).T
    mirrored = np.array([d.mirrored for d in drawn])
    across, down = np.where(mirrored, left - right, right - left) / input_px, (bottom - top) / input_px
    start = np.stack([np.where(mirrored, right, left), top], 1)
    angle = np.radians([d.turn_degrees for d in drawn])
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.stack([cosine, -sine, sine, cosine], 1).reshape(-1, 2, 2)
    middle = size / 2
    shift = middle + (turn @ (start - middle)[:, :, None])[:, :, 0]
    return np.concatenate([turn * np.stack([across, down], 1)[:, None], shift[:, :, None]], axis=2)


def _maps_of_samples(maps: np.ndarray, taps: int) -> np.ndarray:
    """Maps from an output pixel's top left corner to each of its samples: [b, 2, 3] -> [taps**2, b, 2, 3]."""
    across, down = np.meshgrid((np.arange(taps) + 0.5) / taps, (np.arange(taps) + 0.5) / taps)
    inside = np.stack([across.ravel(), down.ravel()], 1)
    shifted = np.repeat(maps[None], taps**2, 0)
    shifted[..., 2] += np.einsum("bij,tj->tbi", maps[:, :, :2], inside)
    return shifted


def _add_sample(
    total: torch.Tensor, pixels: torch.Tensor, where: torch.Tensor, maps: torch.Tensor
) -> torch.Tensor:
    """`total` and one bilinear sample per output pixel, black outside the images: float32 [3, b, S, S].

    Args:
        total: float32 [3, b, S, S], the sum so far.
        pixels: of all images.
        where: int64 [b, 3], offset, width and height of each view's image.
        maps: float32 [b, 2, 3]; see `_maps_of_samples`.
    """
    offset, width, height = (where[:, part, None, None] for part in range(3))
    x = torch.arange(total.shape[3], device=pixels.device, dtype=torch.float32)
    y = torch.arange(total.shape[2], device=pixels.device, dtype=torch.float32)[:, None]
    column, row = (
        maps[:, axis, 0, None, None] * x
        + maps[:, axis, 1, None, None] * y
        + maps[:, axis, 2, None, None]
        - 0.5
        for axis in (0, 1)
    )
    seen = (column >= -0.5) & (column < width - 0.5) & (row >= -0.5) & (row < height - 0.5)
    left, upper = column.floor(), row.floor()
    right_share, lower_share = column - left, row - upper
    columns = [torch.minimum((left.long() + step).clamp_min(0), width - 1) for step in (0, 1)]
    rows = [torch.minimum((upper.long() + step).clamp_min(0), height - 1) for step in (0, 1)]

    def pixel(down: int, across: int, channel: int) -> torch.Tensor:
        return pixels[offset + (rows[down] * width + columns[across]) * 3 + channel].float()

    def colour(channel: int) -> torch.Tensor:
        above = pixel(0, 0, channel).lerp(pixel(0, 1, channel), right_share)
        below = pixel(1, 0, channel).lerp(pixel(1, 1, channel), right_share)
        return torch.where(seen, above.lerp(below, lower_share), 0.0)

    return total + torch.stack([colour(channel) for channel in range(3)])


def _relight(colours: torch.Tensor, tables: torch.Tensor) -> torch.Tensor:
    """Grey levels float32 [3, b, S, S] in the light of tables uint8 [b, 3, 256]: uint8 [b, S, S, 3]."""
    levels = colours.round().long().permute(1, 2, 3, 0)
    view = torch.arange(len(tables), device=tables.device)[:, None, None, None]
    return tables[view, torch.arange(3, device=tables.device), levels]


@functools.cache
def _compiled(function: Callable[..., torch.Tensor], device_type: str) -> Callable[..., torch.Tensor]:
    """Compiled on a GPU: without it, every gather would write its result to memory.

    One sample is compiled and not the mean of all of them, which takes a minute.
    """
    return torch.compile(function, dynamic=False) if device_type == "cuda" else function
