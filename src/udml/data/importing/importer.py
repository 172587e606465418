"""Bring an image set into the project: one manifest and tar shards under `data/`, tracked by DVC.

The files' bytes are stored as they are; nothing is decoded here. Whatever a folder holds gets a row,
so that every file is either used or quarantined with a reason later, never silently dropped.
"""

import errno
import hashlib
import os
import shutil
import stat
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pyarrow as pa

from udml.data.identity import image_id
from udml.data.importing.layouts import Item, Layout, read_layout
from udml.data.importing.manifest import (
    MANIFEST_FILE,
    MANIFEST_SCHEMA,
    ImportSummary,
    fields_of,
    summarise,
    values_of,
)
from udml.data.importing.places import write_places
from udml.data.importing.tracking import BEHIND_A_LINK, track
from udml.data.shards import ShardWriter
from udml.errors import UdmlError
from udml.files import exclusive, fingerprint, replace_directory, scratch_beside, sync
from udml.parquet import write_table
from udml.pixels import Reason
from udml.processes import own_directory
from udml.progress import progress
from udml.text import printable
from udml.walking.rules import WalkRules

PLACES = "places"
MAX_FILE_BYTES = 512 * 1024**2  # larger files are no photos; they are held in memory one at a time
_AS_IT_LIES = WalkRules()
SAME_NAME = "files whose names are spelt like another's that was imported (not UTF-8; an escape): rename them"
NAMED_AGAIN = "rows that name a file again"
NAMED_OTHERWISE = (
    "rows that name a file again with another label, split, role or value (the first row counts)"
)
_VERSIONED = ("source", "sha256", "split", "role", "label")  # what makes two imports the same data
_ROWS_AT_ONCE = 10_000  # Python rows are turned into compact Arrow ones this many at a time
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def import_data(
    path: Path | None,
    layout: str | None,
    data_root: Path,
    rules: WalkRules = _AS_IT_LIES,
    before_replacing: Callable[[Path, Path], list[str]] = lambda *_: [],
) -> ImportSummary:
    """Replace `data_root` by an import of the image set at `path`.

    The import is complete or has no effect. Inside a DVC repository the result is added to DVC.

    Args:
        path: a folder, or a CSV or Parquet manifest; None for the built-in sample `places`.
        layout: name of the layout, or None to detect it.
        data_root: where the project keeps its data, `data`.
        rules: what of a folder to leave out.
        before_replacing: called with `data_root` and what is to take its place; what it says is added to the
            remarks.

    Raises:
        UdmlError: if there is nothing to import, the path or the layout is wrong, annotations are
            missing, two files share a name, or the disk is full.
    """
    if path is None and layout not in (None, PLACES):
        raise UdmlError(
            f"layout `{layout}` needs a folder", "udml data import FOLDER --layout " + str(layout)
        )
    if path is not None and layout == PLACES:
        raise UdmlError("`places` is built in and takes no folder", "udml data import --layout places")
    scratch = scratch_beside(data_root)
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        with (
            exclusive(scratch, lambda: print("waiting for another import to end", flush=True)),
            own_directory(scratch, "import-") as own,
        ):
            source = write_places(own / PLACES) if path is None else _read(path, layout, data_root, rules)
            summary = _import(source, own / "data", scratch)
            remarks = before_replacing(data_root, own / "data")
            summary = replace(summary, remarks=[*summary.remarks, *remarks])
            replace_directory(own / "data", data_root)
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise UdmlError(
            f"the disk is full ({scratch})", "free some space; the old data is untouched"
        ) from error
    if data_root.is_symlink():
        return replace(summary, remarks=[*summary.remarks, f"{data_root} {BEHIND_A_LINK}"])
    track(data_root)
    return summary


def _read(path: Path, layout: str | None, data_root: Path, rules: WalkRules) -> Layout:
    found = read_layout(path, layout, rules)
    here, data = path.resolve(), data_root.resolve()
    if here == data or here in data.parents or data in here.parents:
        raise UdmlError(
            f"{path} holds, or lies in, the project's own {data_root}", "keep the images elsewhere"
        )
    return found


def _import(layout: Layout, finished: Path, scratch: Path) -> ImportSummary:
    finished.mkdir(parents=True)
    items = _named_once(layout)
    _check(items, layout, scratch)
    given = fields_of(layout.given, [item.given for item in items])
    schema = pa.schema([*MANIFEST_SCHEMA, *given])
    versioned = (*_VERSIONED, *(field.name for field in given))
    tables: list[pa.Table] = []
    versions: list[str] = []
    with ShardWriter(finished) as writer, progress(items, "import", unit="file") as bar:
        stored = (_store(item, writer) | values_of(item.given, given) for item in bar)
        while rows := list(islice(stored, _ROWS_AT_ONCE)):
            tables.append(pa.Table.from_pylist(rows, schema))
            versions.append(fingerprint([[row[key] for key in versioned] for row in rows]))
    metadata = {"layout": layout.name, "protocol": layout.protocol, "data_version": fingerprint(versions)}
    table = pa.concat_tables(tables).replace_schema_metadata(metadata)
    write_table(finished / MANIFEST_FILE, table)
    sync(finished)
    summary = summarise(table, writer.shards)
    return replace(summary, remarks=layout.left_out.lines(), because=layout.because)


def _named_once(layout: Layout) -> list[Item]:
    """The files of a data set, one of each name; what else has that name is left out, and said to be."""
    first: dict[int, Item] = {}
    for item in layout.items:
        other = first.setdefault(image_id(item.source), item)
        if other is not item:
            same_file = other.path == item.path or _is_same_file(other.path, item.path)
            says_the_same = replace(other, path=item.path) == item
            kind = SAME_NAME if not same_file else NAMED_AGAIN if says_the_same else NAMED_OTHERWISE
            layout.left_out.add(kind, item.source)
    return list(first.values())


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def _check(items: list[Item], layout: Layout, scratch: Path) -> None:
    """Refuse what would fail later, before anything is written."""
    if not items:
        said = "".join(f"\n  {line}" for line in layout.left_out.lines())
        raise UdmlError(f"no files to import (layout {layout.name}){said}", "check the path")
    sizes = [_size(item.path) for item in items]
    if all(size is None for size in sizes):
        first = printable(items[0].path)
        raise UdmlError(
            f"none of the {len(items):,} files of layout {layout.name} is there; first: {first}",
            "check that the images lie where the annotations say",
        )
    needed = sum(size for size in sizes if size is not None and size <= MAX_FILE_BYTES)
    free = shutil.disk_usage(scratch).free
    if needed > free:
        gib = 1024**3
        raise UdmlError(f"{needed / gib:.1f} GiB to import, {free / gib:.1f} GiB free", "free some space")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return None


def _store(item: Item, writer: ShardWriter) -> dict[str, object]:
    data, size_bytes, problem = _load(item)
    shard, offset = (-1, -1) if data is None else writer.add(image_id(item.source), item.source, data)
    return {
        "image_id": image_id(item.source),
        "source": item.source,
        "sha256": None if data is None else hashlib.sha256(data).hexdigest(),
        "size_bytes": size_bytes,
        "shard": shard,
        "offset": offset,
        "split": item.split,
        "role": item.role,
        "label": _label(item.label),
        "problem": problem,
    }


def _label(label: str | None) -> str | None:
    """A label as it is compared: no spaces around it, letters with accents in one spelling (NFC)."""
    return (unicodedata.normalize("NFC", label).strip() or None) if label is not None else None


def _load(item: Item) -> tuple[bytes | None, int, Reason | None]:
    """The file's bytes, its size, and the reason if it has none to give."""
    if item.problem is not None:
        return None, 0, item.problem
    data, size_bytes, problem = None, 0, None
    try:
        facts = os.stat(item.path)
        if not stat.S_ISREG(facts.st_mode):  # reading a pipe would wait for ever
            problem = Reason.UNREADABLE
        elif facts.st_size > MAX_FILE_BYTES:
            size_bytes, problem = facts.st_size, Reason.TOO_LARGE
        else:
            data = item.path.read_bytes()
            size_bytes = len(data)
    except FileNotFoundError:
        problem = Reason.MISSING
    except (OSError, ValueError):  # ValueError: a NUL inside a path that a manifest gives
        problem = Reason.UNREADABLE
    return (None, 0, Reason.EMPTY) if data == b"" else (data, size_bytes, problem)
