"""Columns of a manifest beyond the four that udml reads: kept as they are, to filter searches by.

A column is numbers if every cell that isn't empty is one (`12`, `-0.5`, `1e3`; not `007`, nor whole numbers
of more than 15 digits: those are names), times if every one is a date, perhaps with a time of day
(`2024-05-31`, `2024-05-31 18:07`, `2024-05-31T18:07:09+02:00`, `2024:05:31 18:07:09`; the zone is passed
over: what the clock showed counts), and text else. Empty cells have no value. CSV and Parquet are read by
one rule.
"""

import math
import re
import unicodedata
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Literal

from udml.formats.exif.facts import seconds_of
from udml.text import printable
from udml.walking.walk import LeftOut

PREFIX = "given."  # of such a column's name in the manifest and the catalogue of udml
MOST_COLUMNS, MOST_LETTERS = 64, 64
OWN = ("folder", "taken", "camera")
TAKEN_NAMES = f"columns that are called as udml's own ({', '.join(OWN)}): rename them to have them"
ODD_NAMES = f"columns without a name, or with one of over {MOST_LETTERS} letters, or of several lines"
NO_VALUES = "columns of bytes, lists or tables"
TOO_MANY = f"columns beyond the first {MOST_COLUMNS}"
_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*)?(?:\.\d+)?(?:(?<=\d)[eE][+-]?\d+)?", re.ASCII)
_MOST_DIGITS = 15  # that a float64 tells apart
_TIME = re.compile(
    r"(\d{4})([-:])(\d\d)\2(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
Kind = Literal["text", "number", "time"]


def kept_names(names: Iterable[str], left_out: LeftOut) -> list[str]:
    """Which of a manifest's other columns are kept, in order; `left_out` is told of those that aren't."""
    kept: list[str] = []
    for name in dict.fromkeys(names):
        if name in OWN:
            left_out.add(TAKEN_NAMES, name)
        elif not 0 < len(name) <= MOST_LETTERS or printable(name) != name:
            left_out.add(ODD_NAMES, name)
        elif len(kept) == MOST_COLUMNS:
            left_out.add(TOO_MANY, name)
        else:
            kept.append(name)
    return kept


def cell(value: Any) -> str | None:
    """A cell of a manifest as text without spaces around it; None for an empty one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**_MOST_DIGITS:
        return str(int(value))
    text = value.isoformat() if isinstance(value, date | datetime) else str(value)
    return unicodedata.normalize("NFC", text).strip() or None


def kind_of(texts: Iterable[str | None]) -> Kind:
    """What the cells of a column are."""
    known = {text for text in texts if text is not None}
    if known and all(map(_is_number, known)):
        return "number"
    if known and all(_seconds(text) is not None for text in known):
        return "time"
    return "text"


def value_of(text: str | None, kind: Kind) -> str | float | int | None:
    """A cell of a column of this kind: text, number, or seconds since 1970."""
    if text is None:
        return None
    return float(text) if kind == "number" else _seconds(text) if kind == "time" else text


def _is_number(text: str) -> bool:
    if not _NUMBER.fullmatch(text) or not any(c.isdigit() for c in text):
        return False
    return not (text.lstrip("+-").isdigit() and len(text) > _MOST_DIGITS) and math.isfinite(float(text))


def _seconds(text: str) -> int | None:
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    year, _, *rest = found.groups()
    return seconds_of((year, *rest))
