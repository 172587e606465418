"""The documentation site: built without a network, no link is dead, and nothing in it asks anybody else."""

import re
import urllib.parse
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from tests.cli.commands import leaves
from tests.conftest import ROOT
from tests.pipeline import run

# What a browser fetches by itself, by tag.
FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """The addresses that a page names, those that it fetches, and the ids in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.ids.add(named.get("id") or "")
        address = named.get("href") or named.get("src")
        if address is not None:
            self.links.append(address)
        if (fetched := named.get(FETCHED.get(tag, ""))) and named.get("rel") not in (
            "canonical",
            "prev",
            "next",
        ):
            self.fetched.append(fetched)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make docs` builds, in a place of its own, with a proxy in the way that nobody answers at."""
    place = tmp_path_factory.mktemp("site")
    no_network = [f"{name}=http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTPS_PROXY")]
    command = ["mkdocs", "build", "--quiet", "--strict", "--site-dir", str(place)]
    run(ROOT, "env", "NO_MKDOCS_2_WARNING=1", *no_network, *command)
    assert (
        "mkdocs build --quiet --strict"
        in run(ROOT, "make", "--dry-run", "--old-file", "setup", "docs").stdout
    )
    return place


@cache
def page(path: Path) -> Page:
    return Page(path.read_text())


def target(site: Path, origin: Path, address: str) -> tuple[Path, str]:
    """The file that a link of the page `origin` leads to, and the place in it."""
    parts = urllib.parse.urlsplit(address)
    place = urllib.parse.unquote(parts.path)
    found = origin if not place else site / place.lstrip("/") if place[0] == "/" else origin.parent / place
    return (found / "index.html" if found.is_dir() else found), urllib.parse.unquote(parts.fragment)


def test_no_link_is_dead_and_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    dead, foreign = set(), set()
    pages = [path for path in site.rglob("*.html") if path.name != "404.html"]
    assert len(pages) > 20
    for path in pages:
        for address in page(path).links:
            if urllib.parse.urlsplit(address).scheme:
                continue
            file, place = target(site, path, address)
            if not file.is_file() or (place and file.suffix == ".html" and place not in page(file).ids):
                dead.add(f"{path.relative_to(site)}: {address}")
        foreign |= {address for address in page(path).fetched if re.match(r"(https?:)?//", address)}
    assert dead == set()
    assert foreign == set()
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert re.findall(r"url\(\s*['\"]?(?:https?:)?//", styles) == []


def test_every_page_is_there(site: Path) -> None:
    for path in (ROOT / "docs").glob("*.md"):
        place = site / ("" if path.stem == "index" else path.stem) / "index.html"
        assert place.exists(), path.name
        assert f"{place.parent.name}/" in (site / "index.html").read_text() or path.stem == "index", (
            f"{path.name} is in no menu"
        )


def test_the_reference_has_every_setting_and_command(site: Path) -> None:
    settings = (site / "reference" / "settings" / "index.html").read_text()
    for section, values in yaml.safe_load((ROOT / "params.yaml").read_text()).items():
        for key in values:
            assert f"<code>{section}.{key}</code>" in settings
    assert "images are kept at most this large on their shorter side" in settings
    commands = (site / "reference" / "commands" / "index.html").read_text()
    for name in leaves():
        assert f">udml {name}<" in commands or f">udml {name} " in commands, name
