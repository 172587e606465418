"""What the network is shown: random crops to train on, one fixed view to cluster by.

Shapes: n images, S = input_px. Everything here is uint8 RGB on the CPU; normalisation and rotation
happen on the device.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from udml.config import Train
from udml.files import atomic_path
from udml.learning.model.preprocess import preprocess
from udml.machine import usable_cores
from udml.progress import progress

K = TypeVar("K")
V = TypeVar("V")
_LOG_CROP_RATIO = np.log((3 / 4, 4 / 3)).tolist()
_TRIES = 10
_LEVELS = np.arange(256) / 255


@dataclass(frozen=True)
class Variation:
    """How far a training view may differ from its image, besides being mirrored.

    Attributes:
        area_share: least and greatest share of the image that a crop covers.
        turn_degrees: turned by up to this much, either way.
        light_stops: brighter or darker by up to this many stops (factors of 2), and half as many in
            the exponent of the tone curve.
        cast_stops: each colour channel by up to this many stops more, on its own.
    """

    area_share: tuple[float, float]
    turn_degrees: float
    light_stops: float
    cast_stops: float


def variation_of(params: Train) -> Variation:
    """How far the settings let a training view differ."""
    return Variation(
        (params.crop_area_min, params.crop_area_max),
        params.turn_degrees,
        params.light_stops,
        params.cast_stops,
    )


def crop_box(
    width: int, height: int, area_share: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A random crop (left, top, right, bottom) in px, as torchvision's RandomResizedCrop draws it."""
    area = width * height
    for _ in range(_TRIES):
        target = area * rng.uniform(*area_share)
        ratio = np.exp(rng.uniform(*_LOG_CROP_RATIO))
        crop_width, crop_height = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            left = int(rng.integers(0, width - crop_width + 1))
            top = int(rng.integers(0, height - crop_height + 1))
            return left, top, left + crop_width, top + crop_height
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


@dataclass(frozen=True)
class Drawn:
    """How one training view differs from its image.

    Attributes:
        turn_degrees: counter-clockwise, about the middle of the image.
        box: the crop of the turned image: left, top, right, bottom in px.
        light: see `draw_light`, or None for the light there was.
        mirrored: left for right, at the end.
    """

    turn_degrees: float
    box: tuple[int, int, int, int]
    light: np.ndarray | None
    mirrored: bool


def draw(width: int, height: int, variation: Variation, rng: np.random.Generator) -> Drawn:
    """A random view of an image of that size, mirrored half the time."""
    turn = variation.turn_degrees
    turned = rng.uniform(-turn, turn) if turn else 0.0
    box = crop_box(width, height, variation.area_share, rng)
    relit = variation.light_stops or variation.cast_stops
    return Drawn(turned, box, draw_light(variation, rng) if relit else None, rng.random() < 0.5)


def render(image: np.ndarray, drawn: Drawn, input_px: int) -> np.ndarray:
    """The view `drawn` of an image: uint8 [h, w, 3] -> [S, S, 3]. What nobody photographed is black."""
    picture = Image.fromarray(image)
    if drawn.turn_degrees:
        picture = picture.rotate(drawn.turn_degrees, Image.Resampling.BILINEAR)
    resized = picture.crop(drawn.box).resize((input_px, input_px), Image.Resampling.BILINEAR)
    if drawn.light is not None:
        resized = resized.point(light_tables(drawn.light[None]).ravel().tolist())
    view = np.asarray(resized)
    return view[:, ::-1] if drawn.mirrored else view


def draw_light(variation: Variation, rng: np.random.Generator) -> np.ndarray:
    """Another light: a gain of each channel, and the exponent of the tone curve; float64 [4]."""
    light, cast = variation.light_stops, variation.cast_stops
    stops = rng.uniform(-light, light) + rng.uniform(-cast, cast, 3)
    return 2.0 ** np.append(stops, rng.uniform(-light / 2, light / 2))


def light_tables(lights: np.ndarray) -> np.ndarray:
    """Each light of [n, 4] as a table of grey levels: uint8 [n, 3, 256]."""
    gain, exponent = lights[:, :3, None], lights[:, 3:]
    tone = (_LEVELS**exponent)[:, None]
    return np.clip(255 * gain * tone, 0, 255).round().astype(np.uint8)


def random_views(
    images: Sequence[np.ndarray],
    input_px: int,
    variation: Variation,
    seed: Sequence[int],
    first: int = 0,
) -> np.ndarray:
    """Random views of a list of images, turned, cropped, relit: uint8 [n, S, S, 3]; see `draw_all`."""
    drawn = draw_all([image.shape[1::-1] for image in images], variation, seed, first)
    out = np.empty((len(images), input_px, input_px, 3), np.uint8)
    for position, (image, view) in enumerate(zip(images, drawn, strict=True)):
        out[position] = render(image, view, input_px)
    return out


def draw_all(
    sizes: Sequence[Sequence[int]], variation: Variation, seed: Sequence[int], first: int = 0
) -> list[Drawn]:
    """A random view for each (width, height).

    View i is a function of `seed`, `first` + i and its image's size alone, so that processes which
    share a batch, and devices that render it another way, see the same views.
    """
    return [
        draw(width, height, variation, np.random.default_rng([*seed, first + position]))
        for position, (width, height) in enumerate(sizes)
    ]


def fixed_view(image: np.ndarray, input_px: int, crop_share: float, view_ratio: float = 1.0) -> np.ndarray:
    """The view that search uses, before normalisation: uint8 [h, w, 3] -> uint8 [S, S, 3]."""
    writable = np.array(image)  # torch warns of read-only arrays
    plain = ((0.0,) * 3, (1.0,) * 3)
    pixels = preprocess(torch.from_numpy(writable)[None], input_px, crop_share, *plain, view_ratio)
    return pixels[0].permute(1, 2, 0).round_().clamp_(0, 255).to(torch.uint8).numpy()


def write_views(
    path: Path, images: Sequence[np.ndarray], input_px: int, view: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Make a view of every image once, into a memory-mapped uint8 [n, S, S, 3] file.

    Every clustering round reads it. A finished file at `path` is used as it is.
    """
    shape = (len(images), input_px, input_px, 3)
    if not path.exists():
        with atomic_path(path) as temporary, ThreadPoolExecutor(usable_cores()) as pool:
            views = np.memmap(temporary, np.uint8, "w+", shape=shape)

            def make(row: int) -> None:
                views[row] = view(images[row])

            for _ in progress(pool.map(make, range(len(images))), path.stem, len(images), "image"):
                pass
            views.flush()
    # copy-on-write rather than read-only, of which torch warns; nobody writes to it
    return np.memmap(path, np.uint8, "c", shape=shape)


def prefetch(make: Callable[[K], V], keys: Sequence[K], ahead: int = 2) -> Iterator[V]:
    """Yield `make(key)` for each key in order, made by a thread while the caller works on the last."""
    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(make, key) for key in keys[:ahead]]
        for position in range(len(keys)):
            following = position + ahead
            result = pending.pop(0).result()
            if following < len(keys):
                pending.append(pool.submit(make, keys[following]))
            yield result
