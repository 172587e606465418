"""Image files that ask for far more work or memory than they have bytes; made by code, used by tests too.

Each is a few kilobytes where that is enough. `size` scales what it asks for: with 1 it asks for more than any
budget gives, with less it stays quick enough to be tried.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable

from PIL import Image, ImageFile

Entry = tuple[int, int, int, bytes]  # of a TIFF's directory: tag, type, count and four bytes
_JPEG_END = b"\xff\xd9"
_SIDE_PX = 7000  # 49 megapixels, just under what the service takes


def attack_files(size: float = 1.0) -> dict[str, bytes]:
    """All of them by name."""
    side = max(8, int(_SIDE_PX * size))
    count = max(20, int(1_200_000 * size))
    return {name: make(side, count) for name, make in _MAKERS.items()}


def _encoded(side: int, kind: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, kind, **options)
    return buffer.getvalue()


# --- JPEG -----------------------------------------------------------------------------------------


def blank_jpeg(side: int, scans: int, frame: int = 0xC2) -> bytes:
    """A JPEG without a mark on it, which takes next to no bytes, its last scan `scans` times.

    Args:
        side: px.
        scans: how often the last scan comes. It is consistent with the one before it, so no decoder warns.
        frame: marker of the frame: 0xC2 progressive and grey, 0xC0 sequential with a scan for each of three
            colours, 0xCA and 0xC9 the same in arithmetic.
    """
    blocks = (-(-side // 8)) ** 2
    codes = bytes([1]) + bytes(15)  # one code, a single 0
    one = b"\0" + codes + b"\0"  # "the same as in the last block"
    if frame in (0xC0, 0xC9):  # and "no other coefficients": two bits a block
        tables = segment(0xC4, one) + segment(0xC4, b"\x10" + codes + b"\0")
        data = bytes(-(-2 * blocks // 8))
        *front, last = (segment(0xDA, bytes([1, number, 0, 0, 63, 0])) + data for number in (1, 2, 3))
    else:  # and "no other coefficients in these 16,384 blocks": 15 bits
        tables = segment(0xC4, one) + segment(0xC4, b"\x10" + codes + b"\xe0")
        front = [segment(0xDA, b"\1\1\0\0\0\0") + bytes(-(-blocks // 8))]
        last = segment(0xDA, b"\1\1\0\x01\x3f\0") + bytes(-(-15 * -(-blocks // 2**14) // 8))
    colours = 3 if frame in (0xC0, 0xC9) else 1
    size = struct.pack(">BHHB", 8, side, side, colours)
    layout = b"".join(bytes([number, 0x11, 0]) for number in range(1, colours + 1))
    head = segment(0xDB, bytes([0]) + bytes([1] * 64)) + segment(frame, size + layout) + tables
    return b"\xff\xd8" + head + b"".join(front) + last * scans + _JPEG_END


def segments_in_front(segment: bytes, count: int) -> bytes:
    """A JPEG with `count` of these segments in front of the picture."""
    data = _encoded(16, "JPEG")
    return data[:2] + segment * count + data[2:]


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def greedy_exif(entries: int, value_bytes: int) -> bytes:
    """An EXIF block whose entries all speak of the same long value."""
    table = b"".join(struct.pack("<HHII", tag, 1, value_bytes, 8) for tag in range(entries))
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, entries) + table + bytes(4) + bytes(value_bytes)


def restarts(side: int) -> bytes:
    """A JPEG with a restart marker after every block."""
    return _encoded(side, "JPEG", restart_marker_blocks=1)


# --- PNG ------------------------------------------------------------------------------------------


def png(side: int, bits: int, colours: int, between: bytes = b"", **how: int) -> bytes:
    """A black PNG of side x side.

    Args:
        side: px.
        bits: of each sample.
        colours: their kind, as IHDR has it.
        between: chunks in front of the pixels.
        how: `interlaced`, `piece_bytes` of each IDAT, `extra_bytes` behind the last row.
    """
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]
    rows = (1 + (side * samples * bits + 7) // 8) * side
    packer = zlib.compressobj(9)
    step = b"\0" * 2**20
    total = rows + how.get("extra_bytes", 0)
    packed = b"".join(packer.compress(step[: total - at]) for at in range(0, total, len(step)))
    packed += packer.flush()
    piece = how.get("piece_bytes", len(packed))
    pieces = b"".join(chunk(b"IDAT", packed[at : at + piece]) for at in range(0, len(packed), piece))
    head = struct.pack(">IIBBBBB", side, side, bits, colours, 0, 0, how.get("interlaced", 0))
    palette = chunk(b"PLTE", bytes(3)) if colours == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + between + palette + pieces + chunk(b"IEND", b"")


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def animated_png(frames: int) -> bytes:
    """A PNG that says it has so many frames, and has their heads."""
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 1, 0, 0))
    return png(8, 8, 2, chunk(b"acTL", struct.pack(">II", frames, 0)) + frame * frames)


# --- TIFF -----------------------------------------------------------------------------------------


def tiff(entries: list[Entry], next_place: int = 0, rest: bytes = b"") -> bytes:
    """A TIFF of one directory; entries are tag, type, count and four bytes, sorted by tag."""
    table = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<I", next_place) + rest


def _page(
    width: int, height: int, more: list[tuple[int, int, int, bytes]]
) -> list[tuple[int, int, int, bytes]]:
    plain = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1}
    entries = [(tag, 4, 1, struct.pack("<I", value)) for tag, value in plain.items()]
    return sorted([*entries, *more])


def many_strips(count: int) -> bytes:
    """A TIFF one pixel wide, each pixel a strip of its own."""
    place = 8 + 2 + 12 * 9 + 4
    parts = [(273, 4, count, struct.pack("<I", place)), (279, 4, count, struct.pack("<I", place + 4 * count))]
    rest = struct.pack(f"<{count}I", *[8] * count) + struct.pack(f"<{count}I", *[1] * count)
    return tiff(_page(1, count, parts), rest=rest)


def directory_loop() -> bytes:
    """A TIFF whose only directory is followed by itself, and is one of its own sub-pages."""
    more = [(273, 4, 1, struct.pack("<I", 8)), (279, 4, 1, struct.pack("<I", 64))]
    more += [(254, 4, 1, struct.pack("<I", 1)), (330, 4, 1, struct.pack("<I", 8))]
    return tiff(_page(8, 8, more), next_place=8)


def many_directories(count: int) -> bytes:
    """A TIFF of `count` directories, all smaller versions of a page that never comes."""
    entries = _page(8, 8, [(254, 4, 1, struct.pack("<I", 1)), (273, 4, 1, struct.pack("<I", 8))])
    size = 2 + 12 * len(entries) + 4
    table = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    places = [8 + size * (number + 1) for number in range(count)]
    places[-1] = 0
    head = struct.pack("<H", len(entries)) + table
    return b"II*\0" + struct.pack("<I", 8) + b"".join(head + struct.pack("<I", place) for place in places)


def greedy_directory(entries: int, value_bytes: int) -> bytes:
    """A TIFF whose entries all speak of the same long value."""
    own = [(1000 + number, 1, value_bytes, struct.pack("<I", 8)) for number in range(entries)]
    return tiff(_page(8, 8, own), rest=bytes(value_bytes))


# --- others ---------------------------------------------------------------------------------------


def run_length_bmp(side: int) -> bytes:
    """A kilobyte that says "end of line" for each row that it has room for."""
    palette = bytes(4 * 256)
    runs = b"\1\1\0\0" * min(side, 250)
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 0)
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + head + palette + runs


def ppm(side: int, kind: int = 6, maxval: int = 254) -> bytes:
    """A PPM whose values don't fill their bytes."""
    samples = (3 if kind == 6 else 1) * (2 if maxval > 255 else 1)
    return b"P%d %d %d %d\n" % (kind, side, side, maxval) + bytes(side * side * samples)


def text_ppm(side: int) -> bytes:
    """A PPM that is written out in digits."""
    return b"P3 %d %d 255\n" % (side, side) + b"1 " * (3 * side * side)


def claimed_webp(side: int) -> bytes:
    """34 bytes that say they are a large WebP."""
    bits = (side - 1) | (side - 1) << 14
    body = b"VP8L" + struct.pack("<I", 14) + b"\x2f" + struct.pack("<I", bits) + bytes(9)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def animated_webp(frames: int) -> bytes:
    """A WebP of many frames."""
    buffer = io.BytesIO()
    shades = [Image.new("RGB", (16, 16), (number % 256, number // 256, 0)) for number in range(frames)]
    shades[0].save(buffer, "WEBP", save_all=True, append_images=shades[1:], lossless=True)
    return buffer.getvalue()


def commented_gif(comments: int) -> bytes:
    """A GIF with that many comments in front of its picture."""
    data = _encoded(8, "GIF", "P")
    head = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:head] + b"!\xfe\x01x\0" * comments + data[head:]


def animated_gif(frames: int) -> bytes:
    """A GIF of many frames."""
    buffer = io.BytesIO()
    shades = [Image.new("L", (8, 8), number % 256) for number in range(frames)]
    shades[0].save(buffer, "GIF", save_all=True, append_images=shades[1:])
    return buffer.getvalue()


def tiled_jpeg2000(side: int, tile_px: int) -> bytes:
    """A JPEG 2000 of very small tiles."""
    return _encoded(side, "JPEG2000", tile_size=(tile_px, tile_px))


_MAKERS: dict[str, Callable[[int, int], bytes]] = {
    "progressive JPEG, last scan repeated": lambda side, count: blank_jpeg(side, count // 400),
    "progressive JPEG, as many scans as are taken": lambda side, _: blank_jpeg(side, 90),
    "sequential JPEG, last scan repeated": lambda side, count: blank_jpeg(side // 4, count // 4000, 0xC0),
    "arithmetic JPEG, last scan repeated": lambda side, count: blank_jpeg(side // 4, count // 4000, 0xCA),
    "JPEG, many EXIF segments": lambda _, count: segments_in_front(segment(0xE1, b"Exif\0\0II"), count),
    "JPEG, long EXIF segments": lambda _, count: segments_in_front(
        segment(0xE1, b"Exif\0\0" + bytes(65_000)), max(2, count // 9000)
    ),
    "JPEG, EXIF that repeats itself": lambda _, __: segments_in_front(
        segment(0xE1, greedy_exif(2500, 30_000)), 1
    ),
    "JPEG, filling": lambda _, count: segments_in_front(b"\xff", 8 * count),
    "JPEG, stuffing for filling": lambda _, count: segments_in_front(b"\xff\0", 4 * count),
    "JPEG, a restart after every block": lambda side, _: restarts(side // 4),
    "PNG, 16 bits": lambda side, _: png(side, 16, 6),
    "PNG, grey, 16 bits": lambda side, _: png(side, 16, 0),
    "PNG, interlaced": lambda side, _: png(side, 8, 6, interlaced=1, extra_bytes=8 * side),
    "PNG, one bit": lambda side, _: png(side, 1, 3, chunk(b"tRNS", b"\0")),
    "PNG, more than its rows": lambda side, _: png(64, 8, 2, extra_bytes=side * side),
    "PNG, tiny pieces": lambda side, _: png(side, 8, 2, piece_bytes=1),
    "PNG, tiny texts": lambda _, count: png(8, 8, 2, chunk(b"iTXt", b"a\0\0\0\0\0b") * (count // 2)),
    "PNG, packed texts": lambda _, count: png(
        8, 8, 2, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20))) * (count // 2000)
    ),
    "PNG, animated": lambda _, count: animated_png(count // 10),
    "TIFF, a strip a pixel": lambda _, count: many_strips(count),
    "TIFF, directories in a loop": lambda _, __: directory_loop(),
    "TIFF, many directories": lambda _, count: many_directories(count // 20),
    "TIFF, entries that repeat the file": lambda _, count: greedy_directory(3000, count),
    "BMP, run-length": lambda side, _: run_length_bmp(side),
    "PPM, maxval 254": lambda side, _: ppm(side // 2),
    "PGM, maxval 254": lambda side, _: ppm(side, 5),
    "PPM, text": lambda side, _: text_ppm(side // 3),
    "WebP of 34 bytes": lambda side, _: claimed_webp(side),
    "WebP, many frames": lambda _, count: animated_webp(max(2, count // 600)),
    "GIF, many comments": lambda _, count: commented_gif(count),
    "GIF, many frames": lambda _, count: animated_gif(max(2, count // 300)),
    "JPEG 2000, tiny tiles": lambda side, _: tiled_jpeg2000(max(16, side // 30), 4),
}


def largest_plain_files() -> dict[str, bytes]:
    """Files that are decoded without a process of their own, and take as much as such files can."""
    return {
        "JPEG, noise": _noise(1690, "JPEG", quality=100, subsampling=0),
        "JPEG, noise, progressive": _noise(1070, "JPEG", quality=95, subsampling=0, progressive=True),
        "JPEG, blank, 90 scans": blank_jpeg(632, 90),
        "JPEG, a restart after every block": restarts(3400),
        "JPEG, entries that repeat the block": segments_in_front(segment(0xE1, greedy_exif(500, 59_000)), 1),
        "PNG, noise": _noise(1670, "PNG"),
        "PNG, transparent": png(1440, 8, 6),
        "PNG, two colours, transparent": png(2000, 1, 3, chunk(b"tRNS", b"\0")),
        "PNG, packed texts": png(8, 8, 2, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20 - 1), 9)) * 31),
    }


def _noise(side: int, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    noise = random.Random(0).randbytes(3 * side * side)
    ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 2**24)  # a progressive file is written as a whole
    Image.frombytes("RGB", (side, side), noise).save(buffer, kind, **options)
    return buffer.getvalue()
