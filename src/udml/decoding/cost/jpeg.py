"""JPEG: what its scans and segments cost.

A decoder visits every block of 8 x 8 samples once in each scan that has it, and once more to make pixels.
"""

import re
import struct
from dataclasses import dataclass

from udml.decoding.cost.cost import UNKNOWN, Cost, refuse_above
from udml.formats.colour import is_simple
from udml.formats.jpeg import PROFILE_HEAD
from udml.formats.reasons import too_costly

MOST_SCANS = 100  # encoders write 1 to 14
_MOST_SEGMENTS = 1000  # in front of the first scan; a profile has 255 at most, a depth map some 300
_MOST_LATER_SEGMENTS = 10_000
_MOST_SKIPPED_BYTES = 4096  # filling between segments, which decoders skip byte by byte
_MOST_EXIF_BYTES = 4 * 2**20  # put together segment by segment, each time as a whole
_PLAIN_SEGMENTS = 64
PLAIN_ENTRIES = 512  # of a directory in EXIF or MPF: each may speak of the whole segment
_PLAIN_VISITS = 600_000  # of blocks: photos of a phone, 12 megapixels; one takes 1 microsecond at the most
_PLAIN_BYTES = 12 * 2**20
_BLOCK_BYTES = 2 * 64  # of coefficients, kept where there are several scans
_DECODER_BYTES, _IMAGE_BYTES = 3, 4  # a pixel's, decoded and as Pillow holds it
_WINDOW_BYTES = 2**18
_FILL = re.compile(rb"\xff+")
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_SOF = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_HUFFMAN_SOF, _PROGRESSIVE = (0xC0, 0xC1, 0xC2), (0xC2, 0xC6, 0xCA, 0xCE)
_SOS, _EOI = 0xDA, 0xD9


@dataclass
class _Head:
    """What lies in front of the first scan."""

    frames: list[tuple[int, int]]  # marker, and where its content starts
    first_scan: int = 0  # where its content starts; 0 where there is none
    segments: int = 0
    skipped_bytes: int = 0
    exifs: int = 0
    exif_bytes: int = 0
    entries: int = 0  # of the largest directory
    profiles: int = 0  # pieces of a colour profile, or profiles
    has_simple_profile: bool = False  # the last of them


def weigh(data: bytes, short_side_px: int | None) -> Cost:
    """See `udml.decoding.cost.weigh`."""
    head = _read_head(data)
    if len(head.frames) != 1 or head.first_scan == 0:
        return UNKNOWN
    marker, start = head.frames[0]
    try:
        bits, height, width, components = struct.unpack_from(">BHHB", data, start)
        blocks = _blocks(data[start + 6 : start + 6 + 3 * components], width, height)
        is_whole = marker not in _PROGRESSIVE and data[head.first_scan] == components
    except (struct.error, IndexError):
        return UNKNOWN
    scans = 1 if is_whole else _scans(data, head.first_scan)
    scale = _scale(min(width, height), short_side_px)
    pixel_bytes = (_DECODER_BYTES + _IMAGE_BYTES) * width * height // scale**2
    memory_bytes = pixel_bytes + (0 if is_whole else _BLOCK_BYTES * blocks)
    is_usual = marker in _HUFFMAN_SOF and bits == 8 and components in (1, 3)
    is_small = blocks * (scans + 1) <= _PLAIN_VISITS and len(data) <= _PLAIN_BYTES
    return Cost(width, height, memory_bytes, is_plain=is_usual and is_small and _is_plain(head))


def _is_plain(head: _Head) -> bool:
    few = head.segments <= _PLAIN_SEGMENTS and head.entries <= PLAIN_ENTRIES
    few = few and (head.profiles == 0 or (head.profiles == 1 and head.has_simple_profile))
    return few and head.exifs <= 1 and head.skipped_bytes <= _PLAIN_SEGMENTS


def _read_head(data: bytes) -> _Head:
    """Look at every segment up to the first scan, as decoders do: what is none is skipped up to the next."""
    head = _Head([])
    position = 2
    while (start := data.find(b"\xff", position)) >= 0:
        fill = _FILL.match(data, start)
        assert fill is not None
        head.skipped_bytes += fill.end() - 1 - position
        refuse_above(head.skipped_bytes, _MOST_SKIPPED_BYTES, "bytes of filling between its segments")
        if fill.end() + 3 > len(data):
            break
        marker, position = data[fill.end()], fill.end() + 1
        if marker in (0, 1) or 0xD0 <= marker <= 0xD8:
            head.skipped_bytes += 2
            continue
        if marker == _EOI:
            break
        head.segments += 1
        refuse_above(head.segments, _MOST_SEGMENTS, "segments in front of the picture")
        if marker == _SOS:
            head.first_scan = position + 2
            break
        _note(head, data, marker, position + 2)
        position += max(2, int.from_bytes(data[position : position + 2], "big"))
    return head


def _note(head: _Head, data: bytes, marker: int, start: int) -> None:
    size = int.from_bytes(data[start - 2 : start], "big") - 2
    if marker in _SOF:
        head.frames.append((marker, start))
    elif marker == 0xE1 and data.startswith(b"Exif\0\0", start):
        head.exifs += 1
        head.exif_bytes += size
        if head.exif_bytes > _MOST_EXIF_BYTES:
            raise too_costly(f"over {_MOST_EXIF_BYTES:,} bytes of EXIF")
        head.entries = max(head.entries, entries_of(data[start + 6 : start + size]))
    elif marker == 0xE2 and data.startswith(b"MPF\0", start):
        head.entries = max(head.entries, entries_of(data[start + 4 : start + size]))
    elif marker == 0xE2 and data.startswith(PROFILE_HEAD, start):
        head.profiles += 1
        head.has_simple_profile = is_simple(data[start + len(PROFILE_HEAD) + 2 : start + size])


def entries_of(block: bytes) -> int:
    """How many entries the first directory of a block says that it has, in the layout of TIFF."""
    order = ">" if block[:2] == b"MM" else "<"
    try:
        (place,) = struct.unpack_from(f"{order}I", block, 4)
        return int(struct.unpack_from(f"{order}H", block, place)[0])
    except struct.error:
        return 0


def _blocks(components: bytes, width: int, height: int) -> int:
    """Blocks of 8 x 8 samples of all components; their sampling factors are in the second byte of three."""
    factors = [(byte >> 4, byte & 15) for byte in components[1::3]]
    across = -(-width // (8 * max(1, *(h for h, _ in factors), 1)))
    down = -(-height // (8 * max(1, *(v for _, v in factors), 1)))
    return across * down * sum(h * v for h, v in factors)


def _scans(data: bytes, first_scan: int) -> int:
    """How many scans there are; counted roughly first, since that is quicker and can only be too many."""
    roughly = 1 + sum(
        data.count(b"\xff\xda", start, start + _WINDOW_BYTES + 1)
        for start in range(first_scan, len(data), _WINDOW_BYTES)
    )
    if roughly <= MOST_SCANS:
        return roughly
    scans, segments, position = 1, 0, first_scan
    while (marker := _next_marker(data, position)) and marker[0] != _EOI:
        segments += 1
        refuse_above(segments, _MOST_LATER_SEGMENTS, "segments between its scans")
        kind, position = marker
        if kind == _SOS:
            scans += 1
            refuse_above(scans, MOST_SCANS, "scans")
        elif kind != 1:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
    return roughly


def _next_marker(data: bytes, start: int) -> tuple[int, int] | None:
    """The next marker, and where it ends. In windows: other threads wait while one is looked through."""
    for window in range(start, len(data), _WINDOW_BYTES):
        found = _MARKER.search(data, window, window + _WINDOW_BYTES + 1)
        if found:
            return found[1][0], found.end()
    return None


def _scale(short_px: int, wanted_px: int | None) -> int:
    """How many times smaller than it is the picture is decoded, as Pillow's `draft` does."""
    if wanted_px is None:
        return 1
    return next((scale for scale in (8, 4, 2) if short_px >= 2 * wanted_px * scale), 1)
