"""The page under test: a service for it, and what a person sees and does there."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.serving.http.browser import CHROMIUM, DRIVER, complaints, look, requested
from udml import Searcher
from udml.serving.http.app import create_app
from udml.serving.service.settings import Settings

IN_A_BROWSER = [
    pytest.mark.usefixtures("pictures"),
    pytest.mark.skipif(
        not (CHROMIUM.exists() and DRIVER.exists()),
        reason=f"no {CHROMIUM} and {DRIVER}: apt-get install -y chromium chromium-driver",
    ),
]
DESKTOP, PHONE = (1280, 860), (390, 844)


@contextmanager
def services(registry: Path) -> Iterator[Callable[..., str]]:
    """Starts services with given settings; gives their addresses."""
    running = []

    def start(**settings: Any) -> str:
        wanted = Settings(requests_per_minute=0, deadline_seconds=60.0, **settings)
        app = create_app(wanted, registry / "models", lambda d: Searcher.open(d, registry / "data", 1))
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"

    yield start
    for server, _ in running:
        server.should_exit = True
    for _, thread in running:
        thread.join()


@contextmanager
def opened(driver: webdriver.Chrome, url: str) -> Iterator["Page"]:
    """The page, freshly loaded; it must not complain, nor ask anybody else for anything."""
    look(driver, *DESKTOP)
    driver.get("about:blank")
    complaints(driver), requested(driver)  # an earlier test's
    driver.get(url)
    yield Page(driver)
    assert complaints(driver) == []
    mine = (url, f"blob:{url}", "about:", "chrome", "data:")
    assert all(asked.startswith(mine) for asked in requested(driver))


def name_of(file: tuple[str, bytes, str | None]) -> str:
    """What a card calls the image of a file."""
    return Path(file[0]).name


class Page:
    def __init__(self, driver):
        self.driver = driver
        self.wait = WebDriverWait(driver, 120)

    def find(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def until(self, condition):
        return self.wait.until(lambda _: condition())

    def cards(self):
        script = "return [...document.querySelectorAll('#grid .card')].filter(c => !c.hidden)"
        return self.driver.execute_script(script)

    def names(self) -> list[str]:
        """Of what is shown now, all at one moment: the page may be about to show something else."""
        script = """
        return [...document.querySelectorAll("#grid .card")].filter((card) => !card.hidden)
          .map((card) => card.querySelector(".name").textContent);
        """
        return self.driver.execute_script(script)

    def status(self):
        return self.find("#status").get_property("textContent")

    def search(self, name, data):
        path = Path(os.environ["PYTEST_PICTURES"]) / name
        path.write_bytes(data)
        self.find("#file").send_keys(str(path))
        self.until(lambda: "neighbour" in self.status())

    def loaded(self):
        """Wait for the pictures in view; the others are loaded when they come into view."""
        script = """
        const seen = [...document.querySelectorAll("#grid img")].filter(
          (image) => image.getBoundingClientRect().top < innerHeight);
        return seen.length > 0 && seen.every((image) => image.complete && image.naturalWidth > 0);
        """
        self.until(lambda: self.driver.execute_script(script))
