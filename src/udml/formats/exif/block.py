"""Where a file has its EXIF: a TIFF file of its own in a segment, a chunk, a box; or the file itself."""

from collections.abc import Iterator
from typing import Literal

from udml.formats.exif import boxes
from udml.formats.tiff_page import HEADS

_EXIF = b"Exif\0\0"
_PNG, _RAF, _JPEG = b"\x89PNG\r\n\x1a\n", b"FUJIFILMCCD-RAW", b"\xff\xd8\xff"
_RAF_PLACE = 84  # of the offset of its JPEG
_TIFF = (*HEADS, b"IIU\0", b"IIRO", b"IIRS", b"MMOR")  # camera raws among them
_MOST_PARTS = 10_000  # chunks of a file that are looked at


def block_of(data: bytes) -> bytes:
    """The file's EXIF, beginning as a TIFF file does; empty where there is none."""
    if data.startswith(_TIFF):
        return data
    if data.startswith(_RAF):
        start = int.from_bytes(data[_RAF_PLACE : _RAF_PLACE + 4], "big")
        return _of_jpeg(data, start) if data.startswith(_JPEG, start) else b""
    if data.startswith(_JPEG):
        return _of_jpeg(data, 0)
    if data.startswith(_PNG):
        return _first(_chunks(data, 8, 0), b"eXIf", data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _first(_chunks(data, 12, 1), b"EXIF", data)
    return boxes.block_of(data)


def _of_jpeg(data: bytes, start: int) -> bytes:
    """Of the JPEG that begins at `start`."""
    position = start + 2
    for _ in range(_MOST_PARTS):
        marker = data[position : position + 2]
        if len(marker) < 2 or marker[0] != 0xFF or marker == b"\xff\xda":
            break
        if marker[1] == 0xFF:  # padding
            position += 1
            continue
        if marker[1] == 0x01 or 0xD0 <= marker[1] <= 0xD7:
            position += 2
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker[1] == 0xE1 and data.startswith(_EXIF, position + 4):
            return data[position + 4 + len(_EXIF) : end]
        position = end
    return b""


def _chunks(data: bytes, start: int, riff: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk of a PNG or, where `riff` is 1, of a RIFF file."""
    order: Literal["little", "big"] = "little" if riff else "big"
    for _ in range(_MOST_PARTS):
        words = data[start : start + 4], data[start + 4 : start + 8]
        if len(words[1]) < 4:
            return
        size = int.from_bytes(words[riff], order)
        yield words[1 - riff], start + 8, start + 8 + size
        start += 8 + size + (size % 2 if riff else 4)  # padding; a checksum


def _first(chunks: Iterator[tuple[bytes, int, int]], name: bytes, data: bytes) -> bytes:
    found = next((data[start:end] for called, start, end in chunks if called == name), b"")
    return found.removeprefix(_EXIF)
