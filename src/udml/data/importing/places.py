"""The built-in sample: places cut from real photographs, each seen by a simulated hand-held camera.

The photographs ship inside the wheels of scikit-image and scikit-learn, so nothing is downloaded. A
place is a square cell of a photograph and is one class. Each view of it is taken with its own
distance, roll, perspective, exposure, white balance, focus and noise. Cells do not overlap and no
view looks beyond its cell, so two places never share a pixel. Train and test places come from
different photographs.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from udml.data.importing.layouts import manifest
from udml.data.importing.layouts.base import Layout
from udml.errors import UdmlError
from udml.progress import progress

PLACES_PER_SPLIT = 190
VIEWS_PER_PLACE = 10
VIEW_SIDE_PX = 96
CELL_SIDE_PX = 64
SEED = 1911
_SKIMAGE, _SKLEARN = ("skimage", "data"), ("sklearn", "datasets/images")
# name of the photograph, where it is, and how much it is shrunk before places are cut from it
_PHOTOGRAPHS = {
    "train": (
        ("astronaut.png", _SKIMAGE, 1),
        ("motorcycle_left.png", _SKIMAGE, 1),
        ("coffee.png", _SKIMAGE, 1),
        ("rocket.jpg", _SKIMAGE, 1),
        ("ihc.png", _SKIMAGE, 1),
        ("hubble_deep_field.jpg", _SKIMAGE, 1),
        ("brick.png", _SKIMAGE, 1),
        ("grass.png", _SKIMAGE, 1),
    ),
    "test": (
        ("china.jpg", _SKLEARN, 1),
        ("flower.jpg", _SKLEARN, 1),
        ("chelsea.png", _SKIMAGE, 1),
        ("camera.png", _SKIMAGE, 1),
        ("coins.png", _SKIMAGE, 1),
        ("retina.jpg", _SKIMAGE, 3),
        ("gravel.png", _SKIMAGE, 1),
    ),
}
# Least standard deviation of the grey levels in every quarter of a place: nobody could find a patch
# of empty sky again, and a close view may show a quarter only.
_MIN_CONTRAST = 5.0
_DIGITS = 12  # behind the point, of a number that decides a pixel

Place = tuple[str, np.ndarray]  # name; uint8 [CELL_SIDE_PX, CELL_SIDE_PX, 3]


def write_places(folder: Path) -> Layout:
    """Write the sample under `folder`: JPEG views and a `manifest.csv`; returns its layout.

    Equal versions of Pillow write equal bytes on any machine: everything random is drawn from a fixed
    seed, and what numerical libraries compute is rounded before it decides a pixel.

    Raises:
        UdmlError: if a photograph is not where scikit-image or scikit-learn should have put it.
    """
    views = [
        (split, f"{name}/view-{view:02d}.jpg", name, cell, (SEED, part, number, view))
        for part, split in enumerate(_PHOTOGRAPHS)
        for number, (name, cell) in enumerate(cut_places(split))
        for view in range(VIEWS_PER_PLACE)
    ]
    for name in {view[2] for view in views}:
        (folder / name).mkdir(parents=True)

    for _, source, _, cell, seed in progress(views, "places", unit="view"):
        (folder / source).write_bytes(see(cell, np.random.default_rng(seed)))
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "label", "split"))
        table.writerows((source, name, split) for split, source, name, _, _ in views)
    return replace(manifest.read(folder), name="places", protocol=_protocol())


def _protocol() -> str:
    train, test = (len(_PHOTOGRAPHS[split]) for split in ("train", "test"))
    return (
        f"places: train on {PLACES_PER_SPLIT} places of {train} photographs, "
        f"test on {PLACES_PER_SPLIT} places of {test} others"
    )


def cut_places(split: str) -> list[Place]:
    """The places of a split: the photographs take turns, each giving its cell of highest contrast."""
    by_photograph = [_cells(*photograph) for photograph in _PHOTOGRAPHS[split]]
    turns = (place for turn in zip_longest(*by_photograph) for place in turn if place is not None)
    places = [place for place, _ in zip(turns, range(PLACES_PER_SPLIT), strict=False)]
    if len(places) < PLACES_PER_SPLIT:
        raise UdmlError(f"only {len(places)} of {PLACES_PER_SPLIT} {split} places found", "report this")
    return sorted(places, key=lambda place: place[0])


def _cells(name: str, package: tuple[str, str], shrink: int) -> Iterator[Place]:
    """The cells of a photograph that have enough contrast, the highest first."""
    with Image.open(photograph_path(name, package)) as photograph:
        image = np.asarray(photograph.convert("RGB").reduce(shrink))
    side = CELL_SIDE_PX
    found: list[tuple[float, Place]] = []
    for row in range(image.shape[0] // side):
        for column in range(image.shape[1] // side):
            cell = image[row * side : (row + 1) * side, column * side : (column + 1) * side]
            contrast = _contrast(cell.mean(axis=2))
            if contrast >= _MIN_CONTRAST:
                found.append((contrast, (f"{Path(name).stem}-r{row:02d}c{column:02d}", cell)))
    return (place for _, place in sorted(found, key=lambda entry: (-entry[0], entry[1][0])))


def _settled(value: float) -> float:
    """A number as every machine has it: sums and powers differ in their last bits between processors."""
    return round(float(value), _DIGITS)


def _contrast(grey: np.ndarray) -> float:
    """Standard deviation of grey levels [h, w] in the quarter that has the least."""
    quarters = [quarter for half in np.array_split(grey, 2) for quarter in np.array_split(half, 2, axis=1)]
    return _settled(min(quarter.std() for quarter in quarters))


def photograph_path(name: str, package: tuple[str, str]) -> Path:
    """Where an installed package keeps a photograph; the package is not imported."""
    module, folder = package
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise UdmlError(f"the sample `places` needs {module}", "pip install 'udml[pipeline]'")
    path = Path(spec.submodule_search_locations[0], folder, name)
    if not path.is_file():
        raise UdmlError(
            f"{path} is missing from the installed {module}", "install the versions of requirements.lock"
        )
    return path


def see(cell: np.ndarray, rng: np.random.Generator) -> bytes:
    """One hand-held photograph of a place: a JPEG file of VIEW_SIDE_PX by VIEW_SIDE_PX.

    Args:
        cell: uint8 [CELL_SIDE_PX, CELL_SIDE_PX, 3].
        rng: decides everything random about the view.
    """
    side = VIEW_SIDE_PX
    quad = tuple(_settled(value) for value in view_corners(rng).ravel())
    # PERSPECTIVE maps output pixels to the cell through this homography; Pillow wants 8 numbers.
    image = Image.fromarray(cell).transform(
        (side, side), Image.Transform.PERSPECTIVE, homography(quad, side), Image.Resampling.BICUBIC
    )
    image = _expose(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 2.0))), rng)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(60, 93)))
    return buffer.getvalue()


def view_corners(rng: np.random.Generator) -> np.ndarray:
    """The part of a cell that a view shows: its corners, float64 [4, 2] in cell px (x, y).

    Order: top left, bottom left, bottom right, top right, as the view shows them. The camera is aimed
    at the place by a shaky hand: it rolls by up to 15 degrees, stands up to 1.7 times as close, looks
    from the side, and misses the middle by up to half of what lies beyond the view.
    """
    half = CELL_SIDE_PX / 2
    square = np.array([(-1.0, -1.0), (-1.0, 1.0), (1.0, 1.0), (1.0, -1.0)])
    slanted = square * rng.uniform(0.75, 1.0, (4, 1))
    roll = np.deg2rad(rng.uniform(-15.0, 15.0))
    rotation = np.array([(np.cos(roll), -np.sin(roll)), (np.sin(roll), np.cos(roll))])
    extent = (slanted @ rotation.T) * rng.uniform(0.6, 1.0)
    low, high = extent.min(axis=0), extent.max(axis=0)
    extent *= min(1.0, 2.0 / float((high - low).max()))
    low, high = extent.min(axis=0), extent.max(axis=0)
    centre = -1.0 - low + (2.0 - (high - low)) * rng.uniform(0.25, 0.75, 2)
    return np.clip(half + half * (extent + centre), 0.0, CELL_SIDE_PX)


def homography(quad: tuple[float, ...], side_px: int) -> tuple[float, ...]:
    """The 8 coefficients that map a square view of `side_px` onto `quad` (corners as in `view_corners`)."""
    view = ((0, 0), (0, side_px), (side_px, side_px), (side_px, 0))
    rows: list[list[float]] = []
    for (x, y), (u, v) in zip(view, zip(quad[::2], quad[1::2], strict=True), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return tuple(_settled(value) for value in np.linalg.solve(np.array(rows), np.array(quad)))


def _expose(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Exposure, white balance, contrast and sensor noise on an RGB image."""
    gain = np.exp(rng.uniform(-0.9, 0.35)) * np.exp(rng.normal(0.0, 0.1, 3))
    tone = (np.arange(256) / 255.0) ** 1.5 ** rng.uniform(-1.0, 1.0)
    table = np.clip((255.0 * gain[:, None] * tone).round(_DIGITS), 0.0, 255.0).round().astype(np.uint8)
    shot = np.asarray(image.point(table.ravel().tolist())).astype(np.float32)
    shot += rng.standard_normal((*shot.shape[:2], 1), np.float32) * np.float32(rng.uniform(0.0, 8.0))
    return Image.fromarray(np.clip(shot, 0.0, 255.0).astype(np.uint8))
