"""Columns of values, one an image, in the order of whatever they go with: an index's ids, or an overlay's.

Every index has the columns `OWN`; after them come those of the manifest that the images were imported by,
under the names they have there. Equal values make equal columns: texts are in order, and none is there that
no image has. So columns that were taken apart and joined again are those that were made at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["text", "number", "time"]
Value = str | float | int | None  # text, number, seconds, or nothing

NO_TEXT = -1
NO_TIME = np.iinfo(np.int64).min  # earlier than anything
OWN: Mapping[str, Kind] = {
    "folder": "text",  # of its source, with / between folders and none at the end; "" beside the manifest
    "taken": "time",  # as the camera wrote it
    "camera": "text",  # maker and model
    "label": "text",  # its class
}
_DTYPES: Mapping[Kind, np.dtype] = {
    "text": np.dtype(np.int32),
    "number": np.dtype(np.float64),
    "time": np.dtype(np.int64),
}


@dataclass(frozen=True, eq=False)
class Column:
    """One value an image, or none.

    Attributes:
        kind: what values are.
        values: [n], memory-mapped perhaps. For "text" int32, each the place of its text in `texts`, NO_TEXT
            for none; for "number" float64, finite, NaN for none; for "time" int64, seconds since 1970 of what
            a clock on the wall showed, without any zone, NO_TIME for none.
        texts: of a text column, those that occur, in ascending order (by code points); else empty.
    """

    kind: Kind
    values: np.ndarray
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what can't be one.

        Raises:
            ValueError: values of another type than the kind's, or with several dimensions.
        """
        dtype = _DTYPES.get(self.kind)
        if dtype is None or self.values.dtype != dtype or self.values.ndim != 1:
            raise ValueError(f"{self.values.dtype} {self.values.shape} is no column of kind {self.kind}")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_missing(self) -> np.ndarray:
        """Which images have no value: bool [n]."""
        if self.kind == "number":
            return np.isnan(self.values)
        missing: np.ndarray = self.values == (NO_TEXT if self.kind == "text" else NO_TIME)
        return missing


Columns = dict[str, Column]  # by name, all of one length


def column_of(kind: Kind, values: Iterable[Value]) -> Column:
    """A column of these values, in their order; None for an image that has none."""
    given = list(values)
    if kind == "number":
        return Column(kind, np.array([np.nan if v is None else v for v in given], np.float64))
    if kind == "time":
        return Column(kind, np.array([NO_TIME if v is None else v for v in given], np.int64))
    texts = tuple(sorted({str(v) for v in given if v is not None}))
    codes = {text: code for code, text in enumerate(texts)}
    return Column(kind, np.array([NO_TEXT if v is None else codes[str(v)] for v in given], np.int32), texts)


def columns_of(rows: Sequence[Mapping[str, Value]], kinds: Mapping[str, Kind] = OWN) -> Columns:
    """The columns of these kinds, a row an image; what a row lacks it has no value of."""
    return {name: column_of(kind, (row.get(name) for row in rows)) for name, kind in kinds.items()}


def value_at(column: Column, row: int) -> Value:
    """The value of one image; None where it has none."""
    value = column.values[row]
    if column.kind == "text":
        return None if value == NO_TEXT else column.texts[value]
    return None if value == NO_TIME or np.isnan(value) else value.item()


def take(columns: Columns, rows: np.ndarray) -> Columns:
    """The columns of these images, int [m], in the order given."""
    return {name: _taken(column, rows) for name, column in columns.items()}


def joined(parts: Sequence[tuple[Columns, int]]) -> Columns:
    """Columns put one behind the other, each part with its number of images.

    Where a part lacks a column that another has, its images have no value of it.

    Raises:
        ValueError: if a column is of different kinds in two parts.
    """
    kinds: dict[str, Kind] = {}
    for columns, _ in parts:
        for name, column in columns.items():
            if kinds.setdefault(name, column.kind) != column.kind:
                raise ValueError(f"column {name} is {kinds[name]} and {column.kind}")
    return {
        name: _joined(kind, [columns.get(name) or _nothing(kind, count) for columns, count in parts])
        for name, kind in kinds.items()
    }


def _nothing(kind: Kind, count: int) -> Column:
    missing = {"text": NO_TEXT, "number": np.nan, "time": NO_TIME}[kind]
    return Column(kind, np.full(count, missing, _DTYPES[kind]))


def _taken(column: Column, rows: np.ndarray) -> Column:
    values = np.asarray(column.values[rows])
    if column.kind != "text":
        return Column(column.kind, values)
    return _renumbered(values, [column.texts[code] for code in np.unique(values) if code >= 0], column.texts)


def _joined(kind: Kind, parts: Sequence[Column]) -> Column:
    if kind != "text":
        return Column(kind, np.concatenate([part.values for part in parts]))
    texts = sorted(set().union(*(part.texts for part in parts)))
    codes = [_renumbered(part.values, texts, part.texts).values for part in parts]
    return Column(kind, np.concatenate(codes), tuple(texts))


def _renumbered(codes: np.ndarray, texts: Sequence[str], before: Sequence[str]) -> Column:
    """A column of codes of `before`, as codes of `texts`."""
    new = {text: code for code, text in enumerate(texts)}
    table = np.array([*(new.get(text, NO_TEXT) for text in before), NO_TEXT], np.int32)  # -1 is the last
    return Column("text", table[codes], tuple(texts))
