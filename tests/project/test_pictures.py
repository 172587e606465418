"""The README's pictures are of the page as it is today, and small."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.serving.live import make_version
from tests.serving.small_service import BASE, NEW

pytest.importorskip("selenium")

from benchmarks.serving.pictures import (
    CHROMIUM,
    DRIVER,
    FIXED,
    MAX_BYTES,
    PICTURES,
    SIZE_PX,
    browser,
    search_page,
    taken,
)

QUERY_PX = (96, 96)  # as that in the README: what is shown below it lies where it did
TOLERANCE_PX = 3
MOST_DIFFERING = 0.04  # share of the pixels of a part that looks the same whatever is searched
_CLEARLY = 48  # of 255: more than compression and fonts' edges do


def test_they_are_small_and_of_the_size_they_are_taken_in() -> None:
    assert {path.name for path in PICTURES.glob("*.webp")} == {"search.webp", "report.webp"}
    for path in PICTURES.glob("*"):
        assert path.stat().st_size <= MAX_BYTES
        assert f"docs/pictures/{path.name}" in (ROOT / "README.md").read_text() or path.suffix == ".json"
    for path in PICTURES.glob("*.webp"):
        assert Image.open(path).size == SIZE_PX


def part(picture: Image.Image, box: list[int]) -> np.ndarray:
    """A part of a picture as float32 [h, w, 3]."""
    return np.asarray(picture.convert("RGB").crop(box), np.float32)


@pytest.mark.slow
@pytest.mark.skipif(not (CHROMIUM.exists() and DRIVER.exists()), reason="no Chromium and driver")
def test_the_search_page_looks_as_it_does_in_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken anew of another collection: what does not depend on it lies where it lay, and looks the same."""
    from tests.serving.http.page import services

    make_version(tmp_path, BASE)
    query = tmp_path / "query.png"
    with Image.open(BytesIO(NEW[0][1])) as new:
        new.resize(QUERY_PX).save(query)
    with services(tmp_path) as start, browser() as driver:
        today = search_page(driver, start(), query)
        (tmp_path / "today.webp").write_bytes(taken(driver))
    then = json.loads((PICTURES / "search.json").read_text())
    assert set(today) == set(then) == set(FIXED)
    again = "the page has changed: `python -m benchmarks.serving.pictures`"
    before, now = Image.open(PICTURES / "search.webp"), Image.open(tmp_path / "today.webp")
    for which, box in then.items():
        left_top = slice(0, 2) if which == "#results-heading" else slice(0, 4)  # it says how many there are
        assert np.allclose(today[which][left_top], box[left_top], atol=TOLERANCE_PX), f"{which}: {again}"
    for which in ("header", "label.primary"):
        differing = np.abs(part(before, then[which]) - part(now, then[which])).max(axis=2) > _CLEARLY
        assert differing.mean() <= MOST_DIFFERING, f"{which}: {again}"
