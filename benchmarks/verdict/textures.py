"""A set of another kind: drawn textures, noise that is filtered, turned, lit and coloured anew in each.

    python -m benchmarks.verdict.textures --out DIR

48 kinds, 30 pictures of each, 128 px, a folder a kind; equal on every run. What tells kinds apart is the
spectrum of the noise and how hard its edges are, never colour.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

KINDS, PICTURES, SIDE_PX = 48, 30, 128
_KIND_SEED, _PICTURE_SEED = 7, 8


class Band(NamedTuple):
    """A part of the spectrum: frequency in cycles a pixel, direction in radians, their widths, its weight."""

    frequency: float
    width: float
    direction: float
    spread: float
    weight: float


class Kind(NamedTuple):
    """A texture: its bands, how hard its edges are (0..6), and how dark and bright share the ground."""

    bands: tuple[Band, ...]
    hardness: float
    skew: float


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder that is made")
    out = parser.parse_args().out
    for number in range(KINDS):
        folder = out / f"texture-{number:02d}"
        folder.mkdir(parents=True)
        kind = made_up(np.random.default_rng([_KIND_SEED, number]))
        for picture in range(PICTURES):
            drawn = draw(kind, np.random.default_rng([_PICTURE_SEED, number, picture]))
            Image.fromarray(drawn).save(folder / f"{picture:03d}.png")


def made_up(rng: np.random.Generator) -> Kind:
    """A kind by chance."""
    bands = tuple(
        Band(
            rng.uniform(0.02, 0.25),
            rng.uniform(0.004, 0.04),
            rng.uniform(0, np.pi),
            rng.uniform(0.1, 1.5),
            rng.uniform(0.3, 1),
        )
        for _ in range(rng.integers(1, 4))
    )
    return Kind(bands, rng.uniform(0, 6), rng.uniform(-1, 1))


def draw(kind: Kind, rng: np.random.Generator) -> np.ndarray:
    """A picture of a kind: uint8 [SIDE_PX, SIDE_PX, 3]."""
    grey = _grain(kind, rng)
    if kind.hardness > 1:
        grey = np.tanh(kind.hardness * (grey - kind.skew * 0.5))
    grey = (grey - grey.min()) / (grey.max() - grey.min())
    low, high = rng.uniform(30, 230, (2, 3))
    if np.abs(low - high).sum() < 150:
        high = 255 - low
    down, right = np.mgrid[0:SIDE_PX, 0:SIDE_PX] / SIDE_PX - 0.5
    light = 1 + rng.uniform(-0.4, 0.4) * right + rng.uniform(-0.4, 0.4) * down
    coloured = (low + (high - low) * grey[..., None]) * light[..., None]
    noise = rng.normal(0, 4, coloured.shape)
    return (coloured + noise).clip(0, 255).astype(np.uint8)


def _grain(kind: Kind, rng: np.random.Generator) -> np.ndarray:
    """Noise with the spectrum of a kind, turned and scaled by chance: mean 0, variance 1."""
    turn, scale = rng.uniform(-0.5, 0.5), np.exp(rng.normal(0, 0.12))
    frequency = np.fft.fftfreq(SIDE_PX)
    radius = np.hypot(frequency[None], frequency[:, None])
    angle = np.arctan2(frequency[:, None], frequency[None])
    amplitude = np.zeros((SIDE_PX, SIDE_PX))
    for band in kind.bands:
        off = np.angle(np.exp(2j * (angle - band.direction - turn))) / 2
        away = ((radius - band.frequency * scale) / band.width) ** 2 + (off / band.spread) ** 2
        shape = np.exp(-away / 2)
        amplitude += band.weight * shape / max(band.width * band.frequency * band.spread, 1e-4) ** 0.5
    grain = np.real(np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIDE_PX, SIDE_PX))) * amplitude))
    unit: np.ndarray = (grain - grain.mean()) / grain.std()
    return unit


if __name__ == "__main__":
    main()
