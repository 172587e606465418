"""EXIF in files of boxes: HEIC and AVIF (ISO/IEC 23008-12, an item of the type `Exif`), JPEG XL (a box)."""

from collections.abc import Iterator

from udml.formats.jxl import HEADS
from udml.formats.tiff_page import HEADS as TIFF_HEADS

_MOST_BOXES = 1_000
_MOST_ITEMS = 10_000
_MOST_EXTENTS = 16


def block_of(data: bytes) -> bytes:
    """The EXIF of a file of boxes, beginning as a TIFF file does; empty where there is none."""
    if data.startswith(HEADS[1]):
        return _after_offset(_first(data, 0, len(data), b"Exif"))
    if data[4:8] != b"ftyp":
        return b""
    meta = next(((start, end) for name, start, end in _boxes(data, 0, len(data)) if name == b"meta"), None)
    if meta is None:
        return b""
    start, end = meta[0] + 4, meta[1]
    number = _exif_item(_first(data, start, end, b"iinf"))
    extents = _extents(_first(data, start, end, b"iloc"), number) if number is not None else None
    if extents is None:
        return b""
    inside = _first(data, start, end, b"idat") if extents[0] == 1 else data
    return _after_offset(b"".join(inside[first : first + size] for first, size in extents[1]))


def without_exif(data: bytes) -> bytes | None:
    """An AVIF file whose EXIF is called otherwise: libavif refuses a damaged one. None of other files."""
    if data[4:12] not in (b"ftypavif", b"ftypavis"):
        return None
    place = next(((start, end) for name, start, end in _boxes(data, 0, len(data)) if name == b"meta"), (0, 0))
    at = data.find(b"Exif", *place)
    return data[:at] + b"none" + data[at + 4 :] if at >= 0 else None


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name of each box, and where its content starts and ends."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, name, inside = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8], 8
        if size == 1:
            size, inside = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        stop = start + size if size else end
        if stop < start + inside or stop > end:
            return
        yield name, start + inside, stop
        start = stop


def _first(data: bytes, start: int, end: int, name: bytes) -> bytes:
    """Content of the first box of this name; empty without one."""
    return next((data[first:last] for called, first, last in _boxes(data, start, end) if called == name), b"")


def _after_offset(content: bytes) -> bytes:
    """EXIF begins with how many bytes there are before its TIFF header; not all who write it say so."""
    if content.startswith(TIFF_HEADS):
        return content
    return content[4 + int.from_bytes(content[:4], "big") :].removeprefix(b"Exif\0\0")


def _exif_item(iinf: bytes) -> int | None:
    """Number of the first item that is EXIF."""
    start = 6 if iinf[:1] == b"\0" else 8
    position = start
    for _ in range(_MOST_ITEMS):
        size = int.from_bytes(iinf[position : position + 4], "big")
        entry = iinf[position + 8 : position + size]
        wide = 4 if entry[:1] == b"\3" else 2
        if size < 8:
            return None
        if entry[6 + wide : 10 + wide] == b"Exif":
            return int.from_bytes(entry[4 : 4 + wide], "big")
        position += size
    return None


class _Numbers:
    """Whole numbers, one behind the other, highest byte first."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data, self.position = data, position

    def take(self, size_bytes: int) -> int:
        """The next one; 0 of no bytes. Raises IndexError at the end of the data."""
        start, self.position = self.position, self.position + size_bytes
        if self.position > len(self._data):
            raise IndexError("the list of items is cut off")
        return int.from_bytes(self._data[start : self.position], "big")


def _extents(iloc: bytes, number: int) -> tuple[int, list[tuple[int, int]]] | None:
    """Of an item, whether it lies in the file (0) or in `idat` (1), and where: offsets and lengths."""
    version = iloc[0]
    numbers = _Numbers(iloc, 4)
    sizes = numbers.take(1), numbers.take(1)
    offset_size, length_size, base_size = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4
    index_size = sizes[1] & 15 if version in (1, 2) else 0
    wide = 4 if version == 2 else 2
    for _ in range(min(numbers.take(wide), _MOST_ITEMS)):
        found = numbers.take(wide) == number
        method = numbers.take(2) & 15 if version in (1, 2) else 0
        numbers.take(2)
        base, count = numbers.take(base_size), numbers.take(2)
        if not found:
            numbers.position += count * (index_size + offset_size + length_size)
            continue
        extents = []
        for _ in range(min(count, _MOST_EXTENTS)):
            numbers.take(index_size)
            extents.append((base + numbers.take(offset_size), numbers.take(length_size)))
        return method, extents
    return None
