"""The README's pictures, taken of the product as it runs: the search page, and the head of the report.

    python -m benchmarks.serving.pictures       # in a workspace with a champion
    python -m benchmarks.serving.pictures --workspace ../demo

writes docs/pictures/search.webp, report.webp, and search.json: where fixed parts of the page lie, which a
test compares with the page of today. Needs Chromium, its driver and selenium.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.settings import ROOT

if TYPE_CHECKING:
    from selenium import webdriver

PICTURES = ROOT / "docs" / "pictures"
CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
SIZE_PX = (1200, 760)
MAX_BYTES = 150_000
QUERY = "chelsea-r02c04/view-00.jpg"
_QUALITY = 82
# What looks the same whatever is searched.
FIXED = ("header", "#to-search", "label.primary", "#results-heading")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--force-prefers-reduced-motion", "--hide-scrollbars",
)  # fmt: skip
_PLACES = """
return Object.fromEntries(arguments[0].map((which) => {
  const box = document.querySelector(which).getBoundingClientRect();
  return [which, [box.left, box.top, box.right, box.bottom].map(Math.round)];
}));
"""
_ALL_SHOWN = """
const seen = (image) => image.offsetParent !== null && image.getBoundingClientRect().top < innerHeight;
const cards = [...document.querySelectorAll("#grid img")].filter(seen);
return cards.length > 0 && cards.every((image) => image.complete && image.naturalWidth > 0)
  && document.querySelector("#preview").naturalWidth > 0;
"""


@contextmanager
def browser(size_px: tuple[int, int] = SIZE_PX) -> Iterator["webdriver.Chrome"]:
    """A fresh Chromium with a page of this size, in light colours."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options, Service(str(DRIVER), env={**os.environ, "HOME": profile}))
        try:
            width_px, height_px = size_px
            shape = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
            light = [{"name": "prefers-color-scheme", "value": "light"}]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": light})
            yield driver
        finally:
            driver.quit()


def search_page(driver: "webdriver.Chrome", address: str, query: Path) -> dict[str, list[int]]:
    """Search on the page at `address` with a picture; returns where its fixed parts lie, in pixels."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    driver.get(address)
    driver.find_element(By.ID, "file").send_keys(str(query.resolve()))
    WebDriverWait(driver, 300).until(lambda shown: shown.execute_script(_ALL_SHOWN))
    driver.execute_script("window.scrollTo(0, 0); document.activeElement.blur();")
    return driver.execute_script(_PLACES, list(FIXED))


def taken(driver: "webdriver.Chrome") -> bytes:
    """What the window shows now, as WebP."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(driver.get_screenshot_as_png())) as shown:
        shown.convert("RGB").save(buffer, "WEBP", quality=_QUALITY, method=6)
    return buffer.getvalue()


@contextmanager
def served(workspace: Path) -> Iterator[str]:
    """The address of `udml serve` in a workspace."""
    command = [sys.executable, "-m", "udml", "serve", "--port", "0"]
    process = subprocess.Popen(command, cwd=workspace, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield next(line.split()[-1] for line in process.stdout if line.startswith("serving on "))
    finally:
        process.terminate()
        process.wait()


def a_query(workspace: Path, name: str) -> bytes:
    """A picture of the collection, by the name it was imported with."""
    from udml import Searcher
    from udml.data.identity import image_id

    with Searcher.open(workspace / "models" / "champion", workspace / "data") as searcher:
        return searcher.image_bytes(image_id(name))


def main() -> None:
    """Take both pictures in a workspace in which the pipeline has run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--query", default=QUERY, help="a picture of the collection (default: %(default)s)")
    options = parser.parse_args()
    workspace: Path = options.workspace.resolve()
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, browser() as driver:
        query = Path(scratch, "my-photo.jpg")
        query.write_bytes(a_query(workspace, options.query))
        with served(workspace) as address:
            places = search_page(driver, address, query)
        shots = {"search.webp": taken(driver)}
        driver.get((workspace / "artifacts" / "report" / "index.html").as_uri())
        shots["report.webp"] = taken(driver)
    for name, data in shots.items():
        if len(data) > MAX_BYTES:
            sys.exit(f"{name} has {len(data):,} bytes, more than {MAX_BYTES:,}")
        (PICTURES / name).write_bytes(data)
        print(f"{PICTURES / name}: {len(data):,} bytes")
    (PICTURES / "search.json").write_text(json.dumps(places, indent=2) + "\n")


if __name__ == "__main__":
    main()
