"""Tags of a directory of a TIFF file that are asked for: short texts, and places of other directories."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

_MOST_TAGS = 1_000  # of a directory
_MOST_BYTES = 256  # of a value
_TEXTS = (1, 2, 7, 129)  # bytes, ASCII, undefined, UTF-8: one byte each
_NUMBER_BYTES = {3: 2, 4: 4, 13: 4, 16: 8, 18: 8}


@dataclass(frozen=True)
class Tag:
    """A tag's value: the first bytes of a text, or a number, 0 where it is a text."""

    content: bytes = b""
    number: int = 0


def tags_of(data: bytes, offset: int | None, wanted: Collection[int]) -> dict[int, Tag]:
    """Those of a directory's tags that are wanted and there; none of what is no TIFF file.

    Args:
        data: a TIFF or BigTIFF file, or a raw file built like one.
        offset: of the directory; None for the first.
        wanted: numbers of tags.
    """
    if data[:2] not in (b"II", b"MM"):
        return {}
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    big = 43 in data[2:4]

    def number(start: int, size_bytes: int) -> int:
        return int.from_bytes(data[start : start + size_bytes], order)

    wide, entry_bytes = (8, 20) if big else (4, 12)
    start = number(8 if big else 4, wide) if offset is None else offset
    count, start = number(start, 8 if big else 2), start + (8 if big else 2)
    found = {}
    for entry in range(start, min(start + entry_bytes * min(count, _MOST_TAGS), len(data)), entry_bytes):
        tag = number(entry, 2)
        if tag not in wanted:
            continue
        kind, size = number(entry + 2, 2), number(entry + 4, wide)
        place = entry + 4 + wide
        if kind in _TEXTS:
            place = place if size <= wide else number(place, wide)
            found[tag] = Tag(content=data[place : place + min(size, _MOST_BYTES)])
        elif kind in _NUMBER_BYTES:
            found[tag] = Tag(number=number(place, _NUMBER_BYTES[kind]))
    return found
