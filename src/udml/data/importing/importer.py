"""Bring an image set into the project: one manifest and tar shards under `data/`, tracked by DVC.

The files' bytes are stored as they are; nothing is decoded here. Whatever a folder holds gets a row,
so that every file is either used or quarantined with a reason later, never silently dropped.
"""

import errno
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from udml.data.catalog import write_table
from udml.data.identity import image_id
from udml.data.importing.layouts import Item, Layout, read_layout
from udml.data.importing.places import write_places
from udml.data.shards import ShardWriter
from udml.errors import UdmlError
from udml.files import SCRATCH, atomic_path, fingerprint, replace_directory, sync
from udml.pixels import Reason
from udml.progress import progress

MANIFEST_FILE = "manifest.parquet"
MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),  # from the source path, see image_id()
        pa.field("source", pa.string(), nullable=False),  # path inside the imported folder
        pa.field("sha256", pa.string(), nullable=True),  # of the bytes, hex; null if not read
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("shard", pa.int32(), nullable=False),  # -1 if not stored
        pa.field("offset", pa.int64(), nullable=False),  # of the bytes inside the shard; -1
        pa.field("split", pa.string(), nullable=True),  # train | test where the layout says
        pa.field("role", pa.string(), nullable=False),  # both | query | gallery
        pa.field("label", pa.string(), nullable=True),
        pa.field("problem", pa.string(), nullable=True),  # a code of udml.pixels.Reason
    ]
)
PLACES = "places"
MAX_FILE_BYTES = 512 * 1024**2  # larger files are no photos; they are held in memory one at a time
_VERSIONED = ("source", "sha256", "split", "role", "label")  # what makes two imports the same data
_ROWS_AT_ONCE = 10_000  # Python rows are turned into compact Arrow ones this many at a time
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class ImportSummary:
    """What an import found.

    Attributes:
        layout, protocol: of the data set, as read.
        data_version: 16 hex digits that identify files, splits, roles and labels.
        files: rows of the manifest; `stored` of them have bytes in a shard.
        size_bytes: bytes stored.
        shards: tar files written.
        images: number of files by (split or "unassigned", role).
        labels: number of distinct labels by split (or "unassigned"); empty where there are none.
        problems: number of files by reason code.
    """

    layout: str
    protocol: str
    data_version: str
    files: int
    stored: int
    size_bytes: int
    shards: int
    images: dict[tuple[str, str], int]
    labels: dict[str, int]
    problems: dict[str, int]

    def lines(self) -> list[str]:
        """The summary for people, a line per fact."""
        found = [f"layout {self.layout} ({self.protocol})"]
        for (split, role), count in sorted(self.images.items()):
            labels = f", {self.labels[split]:,} labels in {split}" if split in self.labels else ""
            found.append(f"  {split}{'' if role == 'both' else ' ' + role}: {count:,} files{labels}")
        for code, count in sorted(self.problems.items()):
            found.append(f"  {count:,} not imported: {Reason(code).sentence} ({code})")
        size_mib = self.size_bytes / 1024**2
        found.append(
            f"{self.files:,} files, {size_mib:,.1f} MiB in {self.shards:,} shards, "
            f"data version {self.data_version}"
        )
        return found


def import_data(path: Path | None, layout: str | None, data_root: Path) -> ImportSummary:
    """Replace `data_root` by an import of the image set at `path`.

    The import is complete or has no effect. Inside a DVC repository the result is added to DVC.

    Args:
        path: a folder, or a CSV or Parquet manifest; None for the built-in sample `places`.
        layout: name of the layout, or None to detect it.
        data_root: where the project keeps its data, `data`.

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
    scratch = data_root.parent / SCRATCH
    scratch.mkdir(parents=True, exist_ok=True)
    for unfinished in scratch.glob("import-*"):  # of an import that was killed
        shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(dir=scratch, prefix="import-") as name:
            finished = Path(name, "data")
            source = write_places(Path(name, PLACES)) if path is None else _read(path, layout, data_root)
            summary = _import(source, finished, scratch)
            replace_directory(finished, data_root)
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise UdmlError(
            f"the disk is full ({scratch})", "free some space; the old data is untouched"
        ) from error
    _track(data_root)
    return summary


def _read(path: Path, layout: str | None, data_root: Path) -> Layout:
    found = read_layout(path, layout)
    here, data = path.resolve(), data_root.resolve()
    if here == data or here in data.parents or data in here.parents:
        raise UdmlError(
            f"{path} holds, or lies in, the project's own {data_root}", "keep the images elsewhere"
        )
    return found


def _import(layout: Layout, finished: Path, scratch: Path) -> ImportSummary:
    finished.mkdir(parents=True)
    items = list(layout.items)
    _check(items, layout, scratch)
    tables: list[pa.Table] = []
    versions: list[str] = []
    with ShardWriter(finished) as writer, progress(items, "import", unit="file") as bar:
        stored = (_store(item, writer) for item in bar)
        while rows := list(islice(stored, _ROWS_AT_ONCE)):
            tables.append(pa.Table.from_pylist(rows, MANIFEST_SCHEMA))
            versions.append(fingerprint([[row[key] for key in _VERSIONED] for row in rows]))
    metadata = {"layout": layout.name, "protocol": layout.protocol, "data_version": fingerprint(versions)}
    table = pa.concat_tables(tables).replace_schema_metadata(metadata)
    write_table(finished / MANIFEST_FILE, table)
    sync(finished)
    return summarise(table, writer.shards)


def _check(items: list[Item], layout: Layout, scratch: Path) -> None:
    """Refuse what would fail later, before anything is written."""
    if not items:
        raise UdmlError(
            f"no files to import (layout {layout.name})", "hidden files do not count; check the path"
        )
    seen: set[int] = set()
    for item in items:
        key = image_id(item.source)
        if key in seen:
            raise UdmlError(f"`{item.source}` is named twice", "every file must have a name of its own")
        seen.add(key)
    sizes = [_size(item.path) for item in items]
    if all(size is None for size in sizes):
        raise UdmlError(
            f"none of the {len(items):,} files of layout {layout.name} is there; first: {items[0].path}",
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
        "label": item.label,
        "problem": problem,
    }


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


def summarise(manifest: pa.Table, shards: int) -> ImportSummary:
    """Count what a manifest holds."""
    metadata = {key.decode(): value.decode() for key, value in (manifest.schema.metadata or {}).items()}
    counted = ("split", "role", "label", "problem", "shard", "size_bytes")
    columns = {name: manifest.column(name).to_pylist() for name in counted}
    splits: list[str] = [split or "unassigned" for split in columns["split"]]
    labels = {(split, name) for split, name in zip(splits, columns["label"], strict=True) if name is not None}
    kept = [size for size, shard in zip(columns["size_bytes"], columns["shard"], strict=True) if shard >= 0]
    return ImportSummary(
        layout=metadata["layout"],
        protocol=metadata["protocol"],
        data_version=metadata["data_version"],
        files=len(splits),
        stored=len(kept),
        size_bytes=sum(kept),
        shards=shards,
        images=dict(Counter(zip(splits, columns["role"], strict=True))),
        labels=dict(Counter(split for split, _ in labels)),
        problems=dict(Counter(code for code in columns["problem"] if code is not None)),
    )


def read_manifest(data_root: Path) -> pa.Table:
    """The manifest of `data_root`, its schema metadata holding layout, protocol and data_version.

    Raises:
        UdmlError: if there is none, or its columns are not a manifest's.
    """
    path = data_root / MANIFEST_FILE
    if not path.exists():
        raise UdmlError(f"no data at {path}", "`udml data import FOLDER` or `dvc pull data.dvc` first")
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UdmlError(f"cannot read {path}: {error}", "import the images again") from error
    if table.schema.names != MANIFEST_SCHEMA.names:
        raise UdmlError(f"{path} was written by another version of udml", "import the images again")
    return table


def _track(data_root: Path) -> None:
    """Run `dvc add` on the new data, where there is a DVC repository; note in data.dvc what they are."""
    project = data_root.resolve().parent
    if not (project / ".dvc").is_dir():
        return
    done = _dvc(project, "add", "--quiet", data_root.name)
    if done.returncode != 0:
        raise UdmlError(
            f"the images are imported, but `dvc add {data_root.name}` failed: {_said(done)}",
            "mend and run it",
        )
    facts = {key.decode(): value.decode() for key, value in read_manifest(data_root).schema.metadata.items()}
    pointer = _pointer(data_root)
    tracked = yaml.safe_load(pointer.read_text())
    tracked["meta"] = {key: facts[key] for key in ("layout", "protocol")}
    with atomic_path(pointer) as temporary:
        temporary.write_text(yaml.safe_dump(tracked, sort_keys=False))


def ensure_data(data_root: Path) -> str:
    """Have some data: what is here already, else what the DVC remote holds, else the sample `places`.

    Returns:
        One sentence that says which.

    Raises:
        UdmlError: if the project tracks data of its own that are not here and can't be pulled; the
            sample never replaces them.
    """
    if (data_root / MANIFEST_FILE).exists():
        return f"using the images in {data_root}/"
    project, pointer = data_root.resolve().parent, _pointer(data_root)
    tracked = yaml.safe_load(pointer.read_text()) if pointer.exists() else {}
    if tracked and _dvc(project, "remote", "list").stdout.strip():
        pulled = _dvc(project, "pull", pointer.name)
        if pulled.returncode == 0:
            return f"pulled the images in {data_root}/ from the DVC remote"
        raise UdmlError(
            f"`dvc pull {pointer.name}` failed: {_said(pulled)}", "mend the remote, or import again"
        )
    layout = tracked.get("meta", {}).get("layout", PLACES)
    if layout != PLACES:
        raise UdmlError(
            f"{pointer.name} tracks images of layout `{layout}`, they are not here, and no DVC remote is set",
            "`dvc remote add -d NAME URL`, or `udml data import` the folder again",
        )
    import_data(None, None, data_root)
    return f"made the built-in sample `{PLACES}` in {data_root}/ (`udml data import FOLDER` brings your own)"


def _pointer(data_root: Path) -> Path:
    return data_root.with_name(data_root.name + ".dvc")


def _dvc(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def _said(done: "subprocess.CompletedProcess[str]") -> str:
    return done.stderr.strip() or done.stdout.strip()
