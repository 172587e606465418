"""Columns beside an index: `columns.json`, which says what there is, and a .npy file for each.

They are among the files that `index.json` has the size and hash of. An index of before there were columns has
none of them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from udml.errors import UdmlError
from udml.files import atomic_path, read_json, write_json
from udml.search.columns.columns import NO_TEXT, Column, Columns

COLUMNS_FILE = "columns.json"
_REBUILD = "build the index again with `dvc repro index`"


def write_columns(directory: Path, columns: Columns) -> None:
    """Write the columns of an index beside it, in the row order of its ids. Equal ones give equal bytes.

    Raises:
        ValueError: if they are of different lengths.
    """
    rows = {len(column) for column in columns.values()}
    if len(rows) > 1:
        raise ValueError(f"columns of {sorted(rows)} rows")
    said = []
    for number, (name, column) in enumerate(columns.items()):
        file = f"column-{number:03d}.npy"
        with atomic_path(directory / file) as temporary, temporary.open("wb") as stream:
            np.save(stream, np.ascontiguousarray(column.values))
        said.append({"name": name, "kind": column.kind, "file": file, "texts": list(column.texts)})
    if said:
        write_json(directory / COLUMNS_FILE, {"rows": rows.pop(), "columns": said})


def column_files(directory: Path) -> list[Path]:
    """The files that `write_columns` wrote; none where it wrote none."""
    path = directory / COLUMNS_FILE
    return [path, *sorted(directory.glob("column-*.npy"))] if path.exists() else []


def read_columns(directory: Path, count: int) -> Columns:
    """The columns of an index of `count` images, memory-mapped; empty of one built before there were any.

    Raises:
        UdmlError: if they are damaged, or of another number of images.
    """
    path = directory / COLUMNS_FILE
    if not path.exists():
        return {}
    try:
        said = read_json(path)
        if said["rows"] != count:
            raise ValueError(f"it speaks of {said['rows']} images, the index holds {count}")
        columns = dict(_read(directory, one, count) for one in said["columns"])
        if len(columns) != len(said["columns"]):
            raise ValueError("two columns of one name")
        return columns
    except (OSError, ValueError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise UdmlError(f"{path} and what it names is damaged: {error}", _REBUILD) from error


def _read(directory: Path, said: dict[str, Any], count: int) -> tuple[str, Column]:
    name, kind, texts = str(said["name"]), said["kind"], tuple(map(str, said["texts"]))
    if Path(said["file"]).name != said["file"]:
        raise ValueError(f"{said['file']} is no file of the index")
    column = Column(kind, np.load(directory / said["file"], mmap_mode="r"), texts)
    if len(column) != count:
        raise ValueError(f"{said['file']} has {len(column)} rows, the index holds {count} images")
    if kind == "text" and count and not _within(column):
        raise ValueError(f"{said['file']} names texts that are not there")
    return name, column


def _within(column: Column) -> bool:
    lowest, highest = int(column.values.min()), int(column.values.max())
    return lowest >= NO_TEXT and highest < len(column.texts)
