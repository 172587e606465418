"""TIFF: what its directories, strips and tiles cost."""

import struct
from typing import NamedTuple

from udml.decoding.cost.cost import UNKNOWN, Cost, refuse_above
from udml.formats.reasons import too_costly

_MOST_PARTS = 100_000  # strips or tiles of one page; a strip a row is the usual most
_MOST_ENTRIES = 4096  # of one directory
_MOST_PAGES = 64  # as many as are looked at for the picture
_MOST_TIMES = 4  # that directories may speak of the whole file, all together
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_WIDTH, _HEIGHT, _BITS, _SAMPLES, _SUB_PAGES = 256, 257, 258, 277, 330
_PARTS = (273, 324)
_MEANING, _SENSOR = 262, (32803, 34892)


class _Layout(NamedTuple):
    """How numbers are written: byte order, and whether it is a BigTIFF."""

    order: str
    big: bool


class _Directory(NamedTuple):
    entries: dict[int, tuple[int, int, bytes]]  # by tag: type, count, the value or its place
    next_place: int


def weigh(data: bytes, short_side_px: int | None) -> Cost:
    """See `udml.decoding.cost.weigh`."""
    layout = _Layout("<" if data[:2] == b"II" else ">", 43 in data[2:4])
    try:
        pages = _read_pages(data, layout)
        width, height, samples = (_number(data, pages[0], tag, layout) for tag in (_WIDTH, _HEIGHT, _SAMPLES))
        bits = _number(data, pages[0], _BITS, layout)
        is_raw = _number(data, pages[0], _MEANING, layout) in _SENSOR
    except (struct.error, IndexError):
        return UNKNOWN
    if is_raw:
        return UNKNOWN  # a preview is what will be decoded
    sample_bytes = -(-max(1, bits) // 8)
    # as it lies there and as Pillow holds it; wide samples also as they are brought to 8 bits
    copies = 1 if sample_bytes == 1 else 2
    pixel_bytes = copies * (max(1, samples) * sample_bytes + 4)
    return Cost(width, height, pixel_bytes * width * height)


def _read_pages(data: bytes, layout: _Layout) -> list[_Directory]:
    waiting = [struct.unpack_from(f"{layout.order}Q", data, 8)[0]] if layout.big else []
    waiting = waiting or [struct.unpack_from(f"{layout.order}I", data, 4)[0]]
    pages: list[_Directory] = []
    seen: set[int] = set()
    spoken_of_bytes = 0
    while waiting and len(seen) < _MOST_PAGES:
        place = waiting.pop(0)
        if not 0 < place < len(data) or place in seen:
            continue
        seen.add(place)
        try:
            page = _read_directory(data, place, layout)
        except struct.error:
            continue  # it ends before its directory does
        pages.append(page)
        spoken_of_bytes += _spoken_of(data, page)
        if spoken_of_bytes > _MOST_TIMES * len(data) + 2**20:
            raise too_costly(f"its directories speak of over {_MOST_TIMES} times what the file holds")
        waiting = [*_sub_pages(data, page, layout), *waiting, page.next_place]
    return pages


def _read_directory(data: bytes, place: int, layout: _Layout) -> _Directory:
    count_format, entry_format, place_format = ("Q", "HHQ8s", "Q") if layout.big else ("H", "HHI4s", "I")
    (count,) = struct.unpack_from(layout.order + count_format, data, place)
    refuse_above(count, _MOST_ENTRIES, "entries in a directory")
    start = place + struct.calcsize("=" + count_format)
    size = struct.calcsize("=" + entry_format) * count
    table = struct.iter_unpack(layout.order + entry_format, data[start : start + size])
    entries = {tag: (kind, number, value) for tag, kind, number, value in table}
    for tag in _PARTS:
        refuse_above(entries.get(tag, (0, 0, b""))[1], _MOST_PARTS, "strips or tiles")
    try:
        (next_place,) = struct.unpack_from(layout.order + place_format, data, start + size)
    except struct.error:
        next_place = 0
    return _Directory(entries, next_place)


def _spoken_of(data: bytes, page: _Directory) -> int:
    """Bytes of the file that the entries of a directory stand for."""
    return sum(min(_SIZES.get(kind, 0) * count, len(data)) for kind, count, _ in page.entries.values())


def _sub_pages(data: bytes, page: _Directory, layout: _Layout) -> list[int]:
    kind, count, value = page.entries.get(_SUB_PAGES, (0, 0, b""))
    if kind not in (4, 13, 16, 18):
        return []
    letter = "I" if kind in (4, 13) else "Q"
    count = min(count, _MOST_PAGES)
    size = struct.calcsize(f"={count}{letter}")
    if size > len(value):
        (place,) = struct.unpack(layout.order + ("Q" if layout.big else "I"), value)
        value = data[place : place + size]
    try:
        return list(struct.unpack_from(f"{layout.order}{count}{letter}", value))
    except struct.error:
        return []


def _number(data: bytes, page: _Directory, tag: int, layout: _Layout) -> int:
    """A whole number of a page, the first where it has several; 1 where it has none."""
    kind, count, value = page.entries.get(tag, (3, 0, b""))
    letter = {3: "H", 4: "I", 16: "Q"}.get(kind)
    if count == 0 or letter is None:
        return 1
    if count * _SIZES[kind] > len(value):
        (place,) = struct.unpack(layout.order + ("Q" if layout.big else "I"), value)
        value = data[place : place + 8]
    return int(struct.unpack_from(layout.order + letter, value)[0])
