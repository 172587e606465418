"""Features of a fixed set of views of each image, computed once: all that head tuning needs of a trunk.

View 0 is the fixed one that search uses; the others are drawn as training views are. They lie in files, so
a pass that is killed goes on where it was, and are read through the page cache. Directions are float16 and
lengths float32: cosines are off by under 1e-6, and no feature is too large or too small for it.

Shapes: n images, v views of each, c length of features, S = input_px.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from udml.config import Train
from udml.files import atomic_path
from udml.learning.views.training import prefetch, random_views, variation_of
from udml.progress import progress, say_going_on

RANDOM_VIEWS = 4
"""Training views of each image, beside its fixed one."""

PICTURES_AT_ONCE = 60
_SEED = 7  # apart from the seeds of steps, which are shorter
Features = Callable[[np.ndarray], torch.Tensor]
"""Of views uint8 [m, S, S, 3]: float32 [m, c] on the CPU."""


@dataclass(frozen=True)
class FeatureBank:
    """Features of every view of every image.

    Attributes:
        direction: float16 [n, v, c], unit rows.
        length: float32 [n, v].
    """

    direction: np.ndarray
    length: np.ndarray

    def take(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Features float32 [b, c] of some images, int [b], each seen by one of its views, int [b]."""
        return self.direction[rows, views].astype(np.float32) * self.length[rows, views][:, None]

    def draw(self, rows: np.ndarray, seed: list[int]) -> np.ndarray:
        """Features float32 [b, c] of images int [b], each by a view drawn with `seed`."""
        return self.take(rows, np.random.default_rng(seed).integers(0, self.length.shape[1], len(rows)))


class OneView:
    """One view's features of all images: what fixed views are to training on pictures."""

    def __init__(self, bank: FeatureBank, view: int) -> None:
        self._bank, self._view = bank, view

    def __len__(self) -> int:
        return len(self._bank.length)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Features float32 [m, c] of a slice."""
        direction, length = self._bank.direction[rows, self._view], self._bank.length[rows, self._view]
        return direction.astype(np.float32) * length[:, None]


def views_of_image(image: np.ndarray, fixed: np.ndarray, params: Train, row: int) -> np.ndarray:
    """The fixed view and the random ones of an image: uint8 [v, S, S, 3], a function of seed and `row`."""
    variation = variation_of(params)
    drawn = random_views([image] * RANDOM_VIEWS, params.input_px, variation, [params.seed, _SEED, row])
    return np.concatenate([fixed[None], drawn])


def fill_bank(
    path: Path,
    shape: tuple[int, int, int],
    make: Callable[[int], np.ndarray],
    features: Features,
    accelerator: Accelerator,
) -> FeatureBank:
    """Compute what is not yet in the files at `path`, processes taking turns; every one gets the whole.

    Args:
        path: file names begin with it.
        shape: n, v, c.
        make: views uint8 [v, S, S, 3] of an image.
        features: see `Features`.
        accelerator: knows which process this is.
    """
    if accelerator.is_local_main_process:
        for file, dtype, size in _files(path, shape):
            if not file.exists():
                with atomic_path(file) as temporary:
                    np.memmap(temporary, dtype, "w+", shape=size).flush()
    accelerator.wait_for_everyone()
    direction, length, done = (
        np.memmap(file, dtype, "r+", shape=size) for file, dtype, size in _files(path, shape)
    )
    bank = FeatureBank(direction, length)
    if accelerator.is_local_main_process:
        say_going_on(min(int(done.sum()) * _images_at_once(shape[1]), shape[0]), shape[0], "image")
    turns = np.arange(len(done)) % accelerator.num_processes == accelerator.process_index
    # what is still missing after the turns are those of processes that see another disk
    for mine in (np.flatnonzero(turns), np.arange(len(done))):
        _fill(bank, done, [int(chunk) for chunk in mine if not done[chunk]], make, features)
        accelerator.wait_for_everyone()
    return bank


def _files(path: Path, shape: tuple[int, int, int]) -> list[tuple[Path, type, tuple[int, ...]]]:
    n, v, _ = shape
    named = (("features.f16", np.float16, shape), ("lengths.f32", np.float32, (n, v)))
    chunks = -(-n // _images_at_once(v))
    return [*((path.with_name(f"{path.name}-{name}"), dtype, size) for name, dtype, size in named),
            (path.with_name(f"{path.name}-done.u8"), np.uint8, (chunks,))]  # fmt: skip


def _images_at_once(views: int) -> int:
    return max(1, PICTURES_AT_ONCE // views)


def _fill(
    bank: FeatureBank,
    done: np.memmap,
    chunks: list[int],
    make: Callable[[int], np.ndarray],
    features: Features,
) -> None:
    """Compute some chunks; one counts as done once its features are on disk."""
    n, v, _ = bank.direction.shape
    size = _images_at_once(v)

    def pictures(chunk: int) -> np.ndarray:
        return np.concatenate([make(row) for row in range(chunk * size, min(n, (chunk + 1) * size))])

    bar = progress(prefetch(pictures, chunks), "features", len(chunks), "batch")
    for chunk, views in zip(chunks, bar, strict=True):
        found = features(views).numpy().reshape(-1, v, bank.direction.shape[2])
        rows = slice(chunk * size, chunk * size + len(found))
        length = np.linalg.norm(found, axis=2)
        bank.direction[rows] = found / np.maximum(length, 1e-30)[:, :, None]
        bank.length[rows] = length
        _flush(bank)
        done[chunk] = 1
    done.flush()


def _flush(bank: FeatureBank) -> None:
    for array in (bank.direction, bank.length):
        assert isinstance(array, np.memmap)
        array.flush()
