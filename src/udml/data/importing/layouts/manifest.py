"""A CSV or Parquet manifest: columns path[, label][, split][, role], one row per image.

Paths are relative to the manifest (absolute ones are taken as they are). Other columns are kept to filter by;
see `udml.data.importing.given`.
CSV is separated by commas, semicolons, tabs or bars, in UTF-8 or, as Excel says "Unicode", UTF-16; spaces
around names and values don't count, and backslashes separate folders where no file is called so.
An empty label or split means none, an empty role means "both".
"""

import csv
import difflib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from udml.data.importing.given import NO_VALUES, cell, kept_names
from udml.data.importing.layouts.base import Item, Layout, Reader
from udml.errors import UdmlError, reason
from udml.text import source_name
from udml.walking.walk import LeftOut

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("path", "label", "split", "role")
SUFFIXES = (".csv", ".tsv", ".parquet")
_NAMES = ("manifest.csv", "manifest.tsv", "manifest.parquet")
_DELIMITERS = (",", ";", "\t", "|")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks
_ALLOWED = {"split": ("train", "test"), "role": ("both", "query", "gallery")}


@dataclass(frozen=True)
class Columns:
    """Which other columns a manifest has; known once its first row was read."""

    given: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    def take(self, names: Iterable[str]) -> None:
        """Find those to keep among all names of a manifest."""
        self.given.extend(kept_names((name for name in names if name not in COLUMNS), self.left_out))


def detect(root: Path) -> bool:
    """A CSV or Parquet file, or a folder that holds `manifest.csv` or `manifest.parquet`."""
    return (root.is_file() and root.suffix.lower() in SUFFIXES) or _inside(root) is not None


def read(root: Path) -> Layout:
    """The files a manifest names; `root` is the manifest or the folder that holds it."""
    path = root if root.is_file() else _inside(root)
    if path is None:
        raise UdmlError(f"no {' or '.join(_NAMES)} in {root}", "name the manifest file itself")
    columns = Columns()
    read_records = _parquet if path.suffix.lower() == ".parquet" else _csv
    items = _items(path, read_records(path, columns), columns.given)
    protocol = f"manifest: labels and splits as {path.name} gives them"
    return Layout("manifest", protocol, items, columns.left_out, given=columns.given)


def _inside(folder: Path) -> Path | None:
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)


def _items(path: Path, records: Iterator[tuple[int, dict[str, Any]]], given: list[str]) -> Iterator[Item]:
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
        named = _as_it_lies(path.parent, name, str(record["path"]))
        place = path.parent / named
        source = _plainly(source_name(name if named.strip() == name else named))
        others = tuple(cell(record.get(name)) for name in given)
        yield Item(place, source, values["split"], values["role"] or "both", values["label"], given=others)


def _plainly(source: str) -> str:
    """A name without folders that lead nowhere: `./a.jpg` and `b//a.jpg` are `a.jpg` and `b/a.jpg`."""
    parts = [part for number, part in enumerate(source.split("/")) if part not in ("", ".") or number == 0]
    return "/".join(parts[1:] if parts[0] == "." and len(parts) > 1 else parts)


def _as_it_lies(folder: Path, name: str, typed: str) -> str:
    """The path of a file: one may end in a space, and Windows writes backslashes."""
    others = [other for other in (typed, name.replace("\\", "/")) if other != name]
    if not others or (folder / name).exists():
        return name
    return next((other for other in others if (folder / other).exists()), name)


def _text(value: Any) -> str | None:
    """A cell as text; empty cells (and NaN, which is how tables spell them) are None."""
    if value in (None, "") or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bytes):  # Parquet without the note that it is text
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip() or None


def _csv(path: Path, columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open("rb") as binary:
            encoding = "utf-16" if binary.read(2) in _UTF_16 else "utf-8-sig"
        with path.open(newline="", encoding=encoding) as file:
            start, header = 0, file.readline()
            if header.lower().startswith("sep="):  # a line for Excel alone
                start, header = file.tell(), file.readline()
            file.seek(start)
            reader = csv.DictReader(file, delimiter=_delimiter(header), skipinitialspace=True)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            _check_columns(path, list(reader.fieldnames))
            columns.take(reader.fieldnames)
            for number, record in enumerate(reader, start=1):
                _check_lines(path, number, record)
                yield number, record
    except (OSError, UnicodeError, csv.Error) as error:
        raise UdmlError(f"cannot read {path}: {reason(error)}", "save it as CSV in UTF-8") from error


def _delimiter(header: str) -> str:
    """Comma, semicolon or tab, whichever the header has the column `path` by; else the most frequent."""
    for delimiter in _DELIMITERS:
        if "path" in [name.strip().strip('"').strip() for name in header.split(delimiter)]:
            return delimiter
    return max(_DELIMITERS, key=header.count)


def _parquet(path: Path, columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            _check_columns(path, [name.strip() for name in schema.names])
            columns.take(_of_values(schema, columns.left_out))
            wanted = [name for name in schema.names if name.strip() in (*COLUMNS, *columns.given)]
            number = 0
            for batch in file.iter_batches(columns=wanted):
                for record in batch.to_pylist():
                    number += 1
                    yield number, {name.strip(): value for name, value in record.items()}
    except (OSError, pa.ArrowException) as error:
        raise UdmlError(f"cannot read {path}: {reason(error)}", "check that it is a Parquet file") from error


def _of_values(schema: "pa.Schema", left_out: LeftOut) -> Iterator[str]:
    """Columns that have a value a row which can be written in a line."""
    import pyarrow as pa

    for name, kind in zip(schema.names, schema.types, strict=True):
        inner = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_nested(inner) or pa.types.is_binary(inner) or pa.types.is_large_binary(inner):
            if name.strip() not in COLUMNS:
                left_out.add(NO_VALUES, name)
        else:
            yield name.strip()


def _check_columns(path: Path, names: list[str]) -> None:
    for name in names:
        near = difflib.get_close_matches(name.lower(), COLUMNS, 1, cutoff=0.7)
        if near and name not in COLUMNS and near[0] not in names:
            raise UdmlError(f"{path}: unknown column `{name}`", f"did you mean `{near[0]}`?")
    if "path" not in names:
        raise UdmlError(f"{path} has no column `path`, only {', '.join(names) or 'nothing'}", "add one")


def _check_lines(path: Path, number: int, record: dict[str, Any]) -> None:
    """Refuse a quote that is not closed: it would take the rows after it for one value."""
    for key in COLUMNS:
        value = record.get(key) or ""
        if "\n" in value.strip() and (key != "path" or None in record.values()):  # a path may have one
            raise UdmlError(
                f"{path}, row {number}: {key} goes over several lines", "close the quote that it begins with"
            )


READER = Reader("manifest", detect, read, because="it lists paths")
