"""Readers for the ways image sets come: plain folders, manifests and published benchmarks.

Benchmark and manifest readers take the files their annotations name and nothing else; a named file
that is not there becomes a row with a problem. Folder readers take every file that is not hidden.
"""

import difflib
from dataclasses import replace
from pathlib import Path

from udml.data.importing.layouts import cars, cub, folders, grocery, inshop, manifest, sop
from udml.data.importing.layouts.base import Item, Layout, Reader, Walked
from udml.errors import UdmlError
from udml.walking.rules import WalkRules

# In order of detection: the most particular first, `plain` takes what is left.
READERS: tuple[Reader, ...] = (
    manifest.READER,
    grocery.READER,
    cub.READER,
    cars.READER,
    sop.READER,
    inshop.READER,
    folders.SPLITS,
    folders.CLASSES,
    folders.PLAIN,
)
_AS_IT_LIES = WalkRules()
LAYOUT_NAMES = tuple(reader.name for reader in READERS)

__all__ = ["LAYOUT_NAMES", "READERS", "Item", "Layout", "Reader", "read_layout"]


def read_layout(path: Path, name: str | None = None, rules: WalkRules = _AS_IT_LIES) -> Layout:
    """The data set at `path`, by the layout called `name`, or by the first one that fits.

    `rules` say what to leave out where a layout is what folders hold.

    Raises:
        UdmlError: for an unknown name, a path that is not there or is no folder (or manifest), or
            missing or unreadable annotations.
    """
    reader = _named(name) if name else None
    if not path.exists():
        raise UdmlError(f"{path} does not exist", "check the path")
    if path.is_file() and path.suffix.lower() not in manifest.SUFFIXES:
        raise UdmlError(
            f"{path} is a file", "give the folder that holds the images, or a CSV or Parquet manifest"
        )
    if path.is_file() and reader not in (None, manifest.READER):
        raise UdmlError(f"{path} is a file, layout `{name}` reads folders", "leave --layout out")
    walked = Walked(path, rules)
    chosen = reader or next((one for one in READERS if one.detect(walked if one.walks else path)), None)
    if chosen is None:
        raise UdmlError(f"{path} is neither a folder nor a manifest", "check the path")
    found: Layout = chosen.read(walked if chosen.walks else path)
    because = chosen.because if isinstance(chosen.because, str) or name else chosen.because(walked)
    return replace(found, because="--layout says so" if name else str(because))


def _named(name: str) -> Reader:
    for reader in READERS:
        if reader.name == name:
            return reader
    near = difflib.get_close_matches(name.lower(), LAYOUT_NAMES, 1)
    known = f"did you mean `{near[0]}`? " if near else ""
    raise UdmlError(f"unknown layout `{name}`", f"{known}known: {', '.join(LAYOUT_NAMES)}, places")
