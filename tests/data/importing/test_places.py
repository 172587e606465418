import csv
import io
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from udml.data.importing import places
from udml.data.importing.importer import import_data
from udml.errors import UdmlError


@pytest.fixture(scope="module")
def cut() -> dict[str, list[places.Place]]:
    return {split: places.cut_places(split) for split in ("train", "test")}


def photograph(name: str) -> str:
    return name.rsplit("-", 1)[0]


def test_places_are_many_distinct_and_never_shared_between_splits(cut: dict[str, list[places.Place]]) -> None:
    names = {split: [name for name, _ in found] for split, found in cut.items()}
    for split, found in cut.items():
        assert len(set(names[split])) == places.PLACES_PER_SPLIT
        assert all(cell.shape == (places.CELL_SIDE_PX, places.CELL_SIDE_PX, 3) for _, cell in found)
        assert all(cell.dtype == np.uint8 for _, cell in found)
        share = Counter(photograph(name) for name in names[split]).most_common(1)[0][1]
        assert share <= places.PLACES_PER_SPLIT // 4, "no photograph may dominate a split"
    assert not {photograph(name) for name in names["train"]} & {photograph(name) for name in names["test"]}


def test_every_quarter_of_a_place_shows_something(cut: dict[str, list[places.Place]]) -> None:
    half = places.CELL_SIDE_PX // 2
    for _, cell in [*cut["train"], *cut["test"]]:
        grey = cell.mean(axis=2)
        assert min(grey[r : r + half, c : c + half].std() for r in (0, half) for c in (0, half)) >= 5


def test_no_view_looks_beyond_its_place_and_views_differ() -> None:
    corners = np.stack([places.view_corners(np.random.default_rng(seed)) for seed in range(500)])
    assert corners.min() >= 0
    assert corners.max() <= places.CELL_SIDE_PX
    following = np.roll(corners, -1, axis=1)
    cross = corners[..., 0] * following[..., 1] - corners[..., 1] * following[..., 0]
    areas = -cross.sum(axis=1) / 2  # shoelace; the corners run anticlockwise in image coordinates
    shares = areas / places.CELL_SIDE_PX**2
    assert shares.min() > 0.2
    assert shares.max() < 1.0
    assert shares.max() / shares.min() > 3  # near and far
    middle = places.CELL_SIDE_PX / 2 - corners
    sides = following - corners
    assert (sides[..., 0] * middle[..., 1] < sides[..., 1] * middle[..., 0]).all()  # the camera is aimed
    top_edge = corners[:, 3] - corners[:, 0]
    rolls = np.degrees(np.arctan2(top_edge[:, 1], top_edge[:, 0]))
    assert rolls.std() > 5
    assert np.abs(rolls).max() < 45


def test_homography_maps_corners_to_corners() -> None:
    quad = (3.0, 4.0, 5.0, 50.0, 55.0, 60.0, 58.0, 2.0)
    a, b, c, d, e, f, g, h = places.homography(quad, 96)
    for (x, y), expected in zip([(0, 0), (0, 96), (96, 96), (96, 0)], np.reshape(quad, (4, 2)), strict=True):
        scale = g * x + h * y + 1
        np.testing.assert_allclose(((a * x + b * y + c) / scale, (d * x + e * y + f) / scale), expected)


def test_a_view_is_a_jpeg_that_only_its_seed_decides(cut: dict[str, list[places.Place]]) -> None:
    _, cell = cut["test"][0]
    first, again, other = (places.see(cell, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    image = Image.open(io.BytesIO(first))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    assert image.size == (places.VIEW_SIDE_PX, places.VIEW_SIDE_PX)


def test_written_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PLACES_PER_SPLIT", 15)
    monkeypatch.setattr(places, "VIEWS_PER_PLACE", 3)
    layout = places.write_places(tmp_path / "one")
    items = list(layout.items)
    assert layout.name == "places"
    assert layout.protocol.startswith("places: train on 15 places of 8 photographs")
    assert Counter(item.split for item in items) == {"train": 45, "test": 45}
    assert set(Counter(item.label for item in items).values()) == {3}
    places.write_places(tmp_path / "two")
    for item in items:
        assert (tmp_path / "two" / item.source).read_bytes() == item.path.read_bytes()
    assert len({item.path.read_bytes() for item in items}) == len(items)
    with (tmp_path / "one" / "manifest.csv").open() as file:
        assert next(csv.reader(file)) == ["path", "label", "split"]


def test_missing_photographs_are_named() -> None:
    with pytest.raises(UdmlError, match=r"nothing\.png is missing from the installed skimage"):
        places.photograph_path("nothing.png", ("skimage", "data"))
    with pytest.raises(UdmlError, match="needs no_such_package"):
        places.photograph_path("a.png", ("no_such_package", "data"))


def test_the_committed_pointer_is_that_of_the_sample_as_it_is_made(tmp_path: Path) -> None:
    """A fresh clone makes the sample with its first command; its data.dvc must not change by that."""
    for command in (("git", "init", "--quiet"), (sys.executable, "-m", "dvc", "init", "--quiet")):
        subprocess.run(command, cwd=tmp_path, check=True)
    import_data(None, None, tmp_path / "data")
    assert (tmp_path / "data.dvc").read_text() == (ROOT / "data.dvc").read_text()
