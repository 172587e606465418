"""PNG: what its chunks and its pixels cost."""

import struct
import zlib
from dataclasses import dataclass

from udml.decoding.cost.cost import UNKNOWN, Cost, refuse_above
from udml.decoding.cost.jpeg import PLAIN_ENTRIES, entries_of
from udml.formats.colour import SIMPLE_BYTES, is_simple

_MOST_CHUNKS = 100_000  # libpng writes one for every 8 KiB
_PLAIN_CHUNKS = 2000
_PLAIN_PACKED_BYTES = 32 * 2**10  # of texts and profiles, which may be a thousand times as long unpacked
_PLAIN_TEXT_BYTES = 2**20
_PLAIN_PIXELS = 4_000_000
_PLAIN_UNPACKED_BYTES = 8 * 2**20  # of pixels; unpacking and un-filtering takes 20 ns a byte at the most
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_COLOURED = 4  # bytes a pixel that Pillow holds of anything but grey and palettes


@dataclass
class _Chunks:
    count: int = 0
    packed_bytes: int = 0
    text_bytes: int = 0
    entries: int = 0
    has_transparency: bool = False
    is_animated: bool = False
    has_simple_profile: bool = True  # or none


def weigh(data: bytes, short_side_px: int | None) -> Cost:
    """See `udml.decoding.cost.weigh`."""
    if data[12:16] != b"IHDR" or len(data) < 33:
        return UNKNOWN
    width, height, bits, colours, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    chunks = _read_chunks(data)
    row_bytes = 1 + (width * _SAMPLES.get(colours, 4) * bits + 7) // 8
    memory_bytes = _pixel_bytes(bits, colours, chunks.has_transparency) * width * height
    is_small = row_bytes * height <= _PLAIN_UNPACKED_BYTES and width * height <= _PLAIN_PIXELS
    few = chunks.count <= _PLAIN_CHUNKS and chunks.packed_bytes <= _PLAIN_PACKED_BYTES
    few = few and chunks.text_bytes <= _PLAIN_TEXT_BYTES and chunks.entries <= PLAIN_ENTRIES
    few = few and chunks.has_simple_profile
    is_usual = not (chunks.is_animated or interlaced) and bits <= 8 and colours in _SAMPLES
    return Cost(width, height, memory_bytes, is_plain=is_small and few and is_usual)


def _pixel_bytes(bits: int, colours: int, has_transparency: bool) -> int:
    """Of one pixel, at the most at once."""
    if bits == 16 and colours == 0:
        return 10  # as it is, as an array, as 8 bits twice, as RGB
    held = _COLOURED if colours in (2, 4, 6) else 1
    is_rgb = colours == 2 and not has_transparency
    return held + (0 if is_rgb else 4)


def _read_chunks(data: bytes) -> _Chunks:
    found = _Chunks()
    position = 8
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        found.count += 1
        refuse_above(found.count, _MOST_CHUNKS, "chunks")
        if name == b"IEND":
            break
        if name in (b"zTXt", b"iTXt", b"iCCP"):
            found.packed_bytes += length
        elif name in (b"tEXt", b"eXIf"):
            found.text_bytes += length
        if name == b"iCCP":
            found.has_simple_profile &= _is_simple(data[position + 8 : position + 8 + min(length, 2**16)])
        if name == b"eXIf":
            found.entries = entries_of(data[position + 8 : position + 8 + min(length, 2**20)])
        found.has_transparency |= name == b"tRNS"
        found.is_animated |= name == b"acTL"
        position += 12 + length
    return found


def _is_simple(chunk: bytes) -> bool:
    """Whether a chunk of a profile, its name in front of it, holds a simple one."""
    packed = chunk[chunk.find(b"\0") + 2 :]
    try:
        return is_simple(zlib.decompressobj().decompress(packed, SIMPLE_BYTES + 1))
    except zlib.error:
        return True  # decoders leave it aside
