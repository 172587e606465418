"""What the less usual formats cost; none of them counts as plain.

Seconds are of decoders that are written in Python, where the number of pixels says how long they take.
"""

import re
import struct

from udml.decoding.cost.cost import UNKNOWN, Cost, refuse_above
from udml.formats import heif, jxl

_MOST_BLOCKS = 10_000  # of comments and extensions in front of the first frame
_RUN_LENGTH = (1, 2)
_RUN_LENGTH_SECONDS = 1e-7  # a pixel
_SCALED_SECONDS, _TEXT_SECONDS = 1.5e-7, 3e-7  # a sample
_GAP = rb"(?:\s|#[^\n]*\n)+"
_PPM = re.compile(rb"P([1-6])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})(?:" + _GAP + rb"(\d{1,9}))?")
_PPM_HEAD_BYTES = 4096
_BMP_BYTES, _GIF_BYTES, _PPM_BYTES = 8, 5, 8  # a pixel's, all copies that there are at once
_WEBP_BYTES, _JPEG2000_BYTES, _AVIF_BYTES, _HEIF_BYTES, _JXL_BYTES = 20, 8, 12, 12, 20


def weigh_gif(data: bytes, short_side_px: int | None) -> Cost:
    """See `udml.decoding.cost.weigh`. The first frame is what counts."""
    if len(data) < 13:
        return UNKNOWN
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    blocks = 0
    while data[position : position + 1] == b"!":
        position += 2
        while position < len(data) and data[position]:
            position += 1 + data[position]
            blocks += 1
        position += 1
        blocks += 1
        refuse_above(blocks, _MOST_BLOCKS, "blocks of comments and extensions")
    if data[position : position + 1] == b"," and position + 9 <= len(data):
        left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, position + 1)
        width, height = max(width, left + frame_width), max(height, top + frame_height)
    return Cost(width, height, _GIF_BYTES * width * height)


def weigh_bmp(data: bytes, short_side_px: int | None) -> Cost:
    """See `udml.decoding.cost.weigh`."""
    if len(data) < 34:
        return UNKNOWN
    if data[14] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
        return Cost(width, height, _BMP_BYTES * width * height)
    width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
    pixels = abs(width * height)
    seconds = _RUN_LENGTH_SECONDS * pixels if compression in _RUN_LENGTH else 0.0
    return Cost(abs(width), abs(height), _BMP_BYTES * pixels, seconds)


def weigh_ppm(data: bytes, short_side_px: int | None) -> Cost:
    """See `udml.decoding.cost.weigh`. Text, and values that don't fill their bits, are read in Python."""
    head = _PPM.match(data, 0, _PPM_HEAD_BYTES)
    if head is None:
        return UNKNOWN
    kind, width, height = int(head[1]), int(head[2]), int(head[3])
    samples = width * height * (3 if kind in (3, 6) else 1)
    if kind <= 3:
        seconds = _TEXT_SECONDS * samples
    else:
        is_direct = kind == 4 or head[4] in (None, b"255") or (kind == 5 and head[4] == b"65535")
        seconds = 0.0 if is_direct else _SCALED_SECONDS * samples
    return Cost(width, height, _PPM_BYTES * width * height, seconds)


def weigh_webp(data: bytes, short_side_px: int | None) -> Cost:
    """See `udml.decoding.cost.weigh`. Its decoder keeps two canvases, and gives out a third."""
    if data[8:12] != b"WEBP" or len(data) < 30:
        return UNKNOWN
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", data, 26))
    else:
        return UNKNOWN
    return Cost(width, height, _WEBP_BYTES * width * height)


def weigh_jpeg2000(data: bytes, short_side_px: int | None) -> Cost:
    """See `udml.decoding.cost.weigh`. Its decoder keeps every sample as a number of 32 bits."""
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or len(data) < start + 42:
        return UNKNOWN
    right, lower, left, top = struct.unpack_from(">IIII", data, start + 8)
    (components,) = struct.unpack_from(">H", data, start + 40)
    width, height = max(0, right - left), max(0, lower - top)
    return Cost(width, height, (_JPEG2000_BYTES + 4 * components) * width * height)


def weigh_boxes(data: bytes, short_side_px: int | None) -> Cost:
    """See `udml.decoding.cost.weigh`; AVIF and HEIF. Sizes are in boxes named "ispe"; the largest counts."""
    boxes = re.findall(rb"ispe\0\0\0\0(.{8})", data[: 2**16], re.DOTALL)
    sizes = (struct.unpack(">II", box) for box in boxes)
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    pixel_bytes = _HEIF_BYTES if heif.is_heif(data) else _AVIF_BYTES
    return Cost(width, height, pixel_bytes * width * height)


def weigh_jxl(data: bytes, short_side_px: int | None) -> Cost:
    """See `udml.decoding.cost.weigh`. Every sample is a number of 32 bits, several times over."""
    width, height = jxl.size_of(data) or (0, 0)
    return Cost(width, height, _JXL_BYTES * width * height)
