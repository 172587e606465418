"""Camera raw: the JPEG that the camera laid beside the sensor's values, where it is large enough.

DNG, NEF, CR2, ARW, PEF, SRW, 3FR and their like are TIFF files with pages for it; RW2 has a tag, RAF a place
in its head. What a camera shows on its screen is what people take for the photo; developing the sensor's
values would be a choice of colours and tones of our own.
"""

import struct
from dataclasses import dataclass

from udml.formats.jpeg import segments
from udml.formats.reasons import Undecodable, unsupported
from udml.formats.tiff_page import HEADS, SENSOR, Page, all_pages

LEAST_SIDE_PX = 1000  # of the longer side of a preview: twice what any network here sees
_AS_TIFF = {b"IIU\0": b"II*\0", b"IIRO": b"II*\0", b"IIRS": b"II*\0", b"MMOR": b"MM\0*"}  # RW2 and ORF
_RAF = b"FUJIFILMCCD-RAW"
_RAF_PLACE = 84  # of offset and length of its JPEG
_ORIENTATION, _START, _LENGTH, _RW2_JPEG = 274, 513, 514, 0x2E
_STRIPS, _STRIP_BYTES = 273, 279
_JPEG = {6, 7}
_HUFFMAN = (0xC0, 0xC1, 0xC2)  # and not lossless, as sensors' values are written


@dataclass(frozen=True)
class Preview:
    """A JPEG inside a raw file. `orientation` is what the raw file says, where the JPEG says nothing."""

    jpeg: bytes
    orientation: int


def preview(data: bytes) -> Preview | None:
    """The largest JPEG that a raw file holds; None if the file is no raw file.

    Raises:
        Undecodable: by name, if it holds none that is large enough.
    """
    if data.startswith(_RAF):
        start, size = struct.unpack_from(">II", data.ljust(_RAF_PLACE + 8, b"\0"), _RAF_PLACE)
        return _largest([(data[start : start + size], 1)])
    own = data[:4] in _AS_TIFF
    if not own and not data.startswith(HEADS):
        return None
    try:
        pages = all_pages(_AS_TIFF[data[:4]] + data[4:] if own else data)
        is_raw = own or data[8:10] == b"CR" or any(page.photometric in SENSOR for page in pages)
        found = [jpeg for page in pages for jpeg in _jpegs(data, page, pages[0])] if is_raw else []
    except Exception:  # tags of wrong types and places; the file is looked at again as what it says it is
        return None if not own else _largest([])
    return _largest(found) if is_raw else None


def _jpegs(data: bytes, page: Page, first: Page) -> list[tuple[bytes, int]]:
    """What may be a JPEG of a page, with the orientation that goes with it."""
    places = [(page.one(_START, 0), page.one(_LENGTH, 0))]
    strips, sizes = page.many(_STRIPS), page.many(_STRIP_BYTES)
    if page.compression in _JPEG and len(strips) == 1 == len(sizes):
        places.append((int(strips[0]), int(sizes[0])))
    orientation = page.one(_ORIENTATION, first.one(_ORIENTATION, 1))
    found = [data[start : start + size] for start, size in places if start]
    inside = page.tags.get(_RW2_JPEG)
    return [(jpeg, orientation) for jpeg in [*found, *([inside] if isinstance(inside, bytes) else [])]]


def _largest(found: list[tuple[bytes, int]]) -> Preview:
    sides = [(*_size(jpeg), jpeg, orientation) for jpeg, orientation in found]
    if not sides:
        raise _refused("of a kind whose preview is not found")
    width, height, jpeg, orientation = max(sides, key=lambda one: one[0] * one[1])
    if max(width, height) < LEAST_SIDE_PX:
        size = f"of {width} x {height} px" if width else "of a kind that is not read"
        raise _refused(f"with a preview {size} ({LEAST_SIDE_PX} px are needed)")
    return Preview(jpeg, orientation)


def _size(jpeg: bytes) -> tuple[int, int]:
    """Width and height of a JPEG that shows a picture; 0, 0 of anything else."""
    if not jpeg.startswith(b"\xff\xd8\xff"):
        return 0, 0
    try:
        for marker, start, _ in segments(jpeg):
            if marker in _HUFFMAN:
                bits, height, width, components = struct.unpack_from(">BHHB", jpeg, start)
                return (width, height) if bits == 8 and components in (1, 3) else (0, 0)
    except struct.error:
        pass
    return 0, 0


def _refused(how: str) -> Undecodable:
    return unsupported(f"camera raw {how}", "export it as JPEG")
