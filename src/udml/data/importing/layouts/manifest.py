"""A CSV or Parquet manifest: columns path[, label][, split][, role], one row per image.

Paths are relative to the manifest (absolute ones are taken as they are). Other columns are ignored.
CSV is separated by commas, semicolons or tabs; spaces around names and values don't count.
An empty label or split means none, an empty role means "both".
"""

import csv
import difflib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from udml.data.importing.layouts.base import Item, Layout, Reader
from udml.errors import UdmlError
from udml.text import source_name

COLUMNS = ("path", "label", "split", "role")
SUFFIXES = (".csv", ".tsv", ".parquet")
_NAMES = ("manifest.csv", "manifest.tsv", "manifest.parquet")
_DELIMITERS = (",", ";", "\t")
_ALLOWED = {"split": ("train", "test"), "role": ("both", "query", "gallery")}


def detect(root: Path) -> bool:
    """A CSV or Parquet file, or a folder that holds `manifest.csv` or `manifest.parquet`."""
    return (root.is_file() and root.suffix.lower() in SUFFIXES) or _inside(root) is not None


def read(root: Path) -> Layout:
    """The files a manifest names; `root` is the manifest or the folder that holds it."""
    path = root if root.is_file() else _inside(root)
    if path is None:
        raise UdmlError(f"no {' or '.join(_NAMES)} in {root}", "name the manifest file itself")
    records = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    return Layout("manifest", f"manifest: labels and splits as {path.name} gives them", _items(path, records))


def _inside(folder: Path) -> Path | None:
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)


def _items(path: Path, records: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[Item]:
    for number, record in records:
        values = {key: _text(record.get(key)) for key in COLUMNS}
        name = values["path"]
        if name is None:
            raise UdmlError(f"{path}, row {number}: no path", "fill the column `path` in every row")
        for key, allowed in _ALLOWED.items():
            if values[key] is not None and values[key] not in allowed:
                raise UdmlError(
                    f"{path}, row {number}: {key} is `{values[key]}`", f"allowed: {', '.join(allowed)}"
                )
        place = path.parent / name
        if name != record["path"] and not place.exists() and (path.parent / str(record["path"])).exists():
            place = path.parent / str(record["path"])  # a name that does end in a space
        yield Item(place, source_name(name), values["split"], values["role"] or "both", values["label"])


def _text(value: Any) -> str | None:
    """A cell as text; empty cells (and NaN, which is how tables spell them) are None."""
    if value in (None, "") or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bytes):  # Parquet without the note that it is text
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip() or None


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            delimiter = _delimiter(file.readline())
            file.seek(0)
            reader = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            _check_columns(path, list(reader.fieldnames))
            yield from enumerate(reader, start=1)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UdmlError(f"cannot read {path}: {error}", "save it as CSV in UTF-8") from error


def _delimiter(header: str) -> str:
    """Comma, semicolon or tab, whichever the header has the column `path` by; else the most frequent."""
    for delimiter in _DELIMITERS:
        if "path" in [name.strip().strip('"').strip() for name in header.split(delimiter)]:
            return delimiter
    return max(_DELIMITERS, key=header.count)


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, [name.strip() for name in file.schema_arrow.names])
            columns = [name for name in file.schema_arrow.names if name.strip() in COLUMNS]
            number = 0
            for batch in file.iter_batches(columns=columns):
                for record in batch.to_pylist():
                    number += 1
                    yield number, {name.strip(): value for name, value in record.items()}
    except (OSError, pa.ArrowException) as error:
        raise UdmlError(f"cannot read {path}: {error}", "check that it is a Parquet file") from error


def _check_columns(path: Path, names: list[str]) -> None:
    if "path" not in names:
        raise UdmlError(f"{path} has no column `path`, only {', '.join(names) or 'nothing'}", "add one")
    for name in names:
        near = difflib.get_close_matches(name.lower(), COLUMNS, 1, cutoff=0.7)
        if near and name not in COLUMNS and near[0] not in names:
            raise UdmlError(f"{path}: unknown column `{name}`", f"did you mean `{near[0]}`?")


READER = Reader("manifest", detect, read, because="it lists paths")
