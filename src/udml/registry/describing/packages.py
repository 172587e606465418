"""The packages that a version was made with: those of a lock file, or what is installed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from udml.files import read_json

_LOCKED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """A package of a lock file.

    Attributes:
        name: as the index of packages normalises it.
        version: the one that is locked.
        marker: where it belongs only to some environments (PEP 508), else "".
        installed: the version that was there when the version was registered; "" for none.
    """

    name: str
    version: str
    marker: str
    installed: str


def packages_of(source: Path | None) -> tuple[list[Package], str]:
    """Packages, and where they are named: a requirements.lock, or an older version's bill of materials.

    What is installed here, where there is neither.
    """
    installed = dict(_installed())
    if source is None or not source.exists():
        return [
            Package(name, version, "", version) for name, version in sorted(installed.items())
        ], "installed"
    if source.suffix == ".json":
        return _of_bom(source), "the version it was made from"
    found = _LOCKED.findall(source.read_text(encoding="utf-8", errors="replace"))
    names = [(_normal(name), version, marker) for name, version, marker in found]
    return [Package(*one, installed.get(one[0], "")) for one in names], source.name


def _of_bom(path: Path) -> list[Package]:
    found = []
    for one in read_json(path).get("components", ()):
        if one.get("type") == "library":
            more = {p["name"]: p["value"] for p in one.get("properties", ())}
            pair = (more.get("udml:marker", ""), more.get("udml:installed", ""))
            found.append(Package(one["name"], one["version"], *pair))
    return found


def _installed() -> Iterator[tuple[str, str]]:
    for one in distributions():
        name = one.metadata["Name"]
        if name:
            yield _normal(name), one.version


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
