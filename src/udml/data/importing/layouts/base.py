"""What every layout reader yields, and the few things they share."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from udml.errors import UdmlError
from udml.pixels import Reason

# Only used to guess what a folder is; what a file really is, its bytes say.
_EXTENSIONS = "jpg jpeg jpe png webp gif tif tiff bmp ppm pgm pbm jp2 avif"
IMAGE_SUFFIXES = frozenset(f".{extension}" for extension in _EXTENSIONS.split())


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a data set.

    Attributes:
        path: where the file is.
        source: its name inside the data set: posix, printable (see `source_name`), unique.
        split: "train" or "test" where the layout publishes one, else None.
        role: "both", or "query" / "gallery" where the layout separates them.
        label: class name, else class id, else None.
        problem: reason why it cannot be imported, if that is known already.
    """

    path: Path
    source: str
    split: str | None = None
    role: str = "both"
    label: str | None = None
    problem: Reason | None = None


@dataclass(frozen=True)
class Layout:
    """A data set: its layout's name, its evaluation protocol in one line, its files."""

    name: str
    protocol: str
    items: Iterable[Item]


@dataclass(frozen=True)
class Reader:
    """A layout that can be read.

    Attributes:
        name: what `--layout` calls it.
        detect: whether a path (folder, or manifest file) has this layout. Cheap and never raises.
        read: the data set at a path. Raises UdmlError if an annotation file is missing or unreadable.
    """

    name: str
    detect: Callable[[Path], bool]
    read: Callable[[Path], Layout]


def source_name(relative: str) -> str:
    """A relative path as text: forward slashes, undecodable bytes as backslash escapes."""
    text = os.fsencode(relative).decode("utf-8", "backslashreplace")
    return text.replace(os.sep, "/")


def walk(root: Path) -> Iterator[Item]:
    """Every file under `root` in a fixed order, hidden ones (leading dot) left out.

    Symbolic links to files are read, links to directories are not followed, pipes, sockets and
    devices are left out. Dangling links and directories that cannot be listed come with a problem.
    """
    yield from _walk(str(root), "")


def _walk(root: str, folder: str) -> Iterator[Item]:
    try:
        with os.scandir(os.path.join(root, folder)) as listing:
            entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
    except OSError:
        yield Item(Path(root, folder), source_name(folder) + "/", problem=Reason.UNREADABLE)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        relative = os.path.join(folder, entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, relative)
        elif entry.is_symlink() and not os.path.exists(entry.path):
            yield Item(Path(entry.path), source_name(relative), problem=Reason.MISSING)
        elif entry.is_file():
            yield Item(Path(entry.path), source_name(relative))


def rows(path: Path, fields: int, separator: str | None = None, skip: int = 0) -> Iterator[list[str]]:
    """Fields of each line of an annotation file; blank lines are passed over.

    Args:
        path: the file.
        fields: how many fields each line must have.
        separator: between fields; None for white space.
        skip: heading lines to leave out.

    Raises:
        UdmlError: naming the file, and the line if one has another number of fields.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UdmlError(
            f"cannot read {path}: {error.strerror}", "check that the data set is complete"
        ) from error
    except UnicodeDecodeError as error:
        raise UdmlError(f"{path} is not text", "check that the data set is complete") from error
    for number, line in enumerate(lines[skip:], start=skip + 1):
        if not line.strip():
            continue
        values = [value.strip() for value in line.split(separator)]
        if len(values) != fields:
            raise UdmlError(
                f"{path}, line {number}: expected {fields} fields, found {len(values)}",
                "check that the file is the one its authors publish",
            )
        yield values


def whole(value: str, path: Path) -> int:
    """A class id read from `path` as a whole number."""
    try:
        return int(value)
    except ValueError as error:
        raise UdmlError(f"{path}: `{value}` is not a class id", "it must be a whole number") from error
