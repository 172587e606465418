"""The samples of a TIFF page as one array: unpacked, un-predicted, strips and tiles put together."""

import io
import lzma
import struct
import zlib
from collections.abc import Iterator
from typing import Literal

import numpy as np
from PIL import Image

from udml.formats.reasons import Reason, Undecodable, unsupported
from udml.formats.tiff_page import Page

_LIBTIFF = {5, 32773, 50000}  # LZW, PackBits, Zstandard: Pillow's libtiff unpacks them
_DEFLATE, _LZMA = {8, 32946}, 34925
_NAMES = {
    2: "CCITT",
    3: "CCITT fax 3",
    4: "CCITT fax 4",
    6: "old JPEG",
    7: "JPEG",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_MIRRORED_BITS = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def read_samples(data: bytes, page: Page) -> np.ndarray:
    """All samples, [h, w, samples], of the type that the tags state.

    Raises:
        Undecodable: by name if a compression isn't known, or truncated or damaged.
    """
    if page.compression not in {1, _LZMA} | _LIBTIFF | _DEFLATE:
        name = _NAMES.get(page.compression, f"method {page.compression}")
        raise unsupported(f"TIFF compressed with {name}, of {page.bits[0]} bits")
    width, height = page.size
    depth = 1 if page.planar else page.samples
    result = np.empty((height, width, page.samples), _dtype(page))
    for number, (plane, top, left, rows, columns) in enumerate(_places(page)):
        packed = _segment(data, page, number)
        block = _unpacked(_inflated(packed, page, rows, columns * depth), page, (rows, columns, depth))
        part = result[top : top + rows, left : left + columns, plane : plane + depth]
        part[...] = block[: part.shape[0], : part.shape[1]]
    return result


def _dtype(page: Page) -> np.dtype:
    bits = page.bits[0]
    size = next(bytes_ for bytes_ in (1, 2, 4, 8) if 8 * bytes_ >= bits)
    return np.dtype(f"{ {1: 'u', 2: 'i', 3: 'f'}[page.kind] }{size}")


def _places(page: Page) -> Iterator[tuple[int, int, int, int, int]]:
    """Of each segment: first sample, top, left, rows and columns; strips end with the page, tiles beyond."""
    width, height = page.size
    tiled = 324 in page.tags
    rows, columns = page.one(278, height), width
    if tiled:
        rows, columns = page.one(323, 0), page.one(322, 0)
    if rows < 1 or columns < 1:
        raise Undecodable(Reason.CORRUPT, "strips or tiles without an extent")
    for plane in range(page.samples if page.planar else 1):
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                yield plane, top, left, rows if tiled else min(rows, height - top), columns


def _segment(data: bytes, page: Page, number: int) -> bytes:
    offsets = page.many(324 if 324 in page.tags else 273)
    counts = page.many(325 if 324 in page.tags else 279)
    if number >= len(offsets):
        raise Undecodable(Reason.CORRUPT, f"part {number + 1} of the page is not there")
    start = offsets[number]
    end = start + counts[number] if number < len(counts) else len(data)
    if end > len(data):
        raise Undecodable(Reason.TRUNCATED, f"{len(data)} of {end} bytes")
    packed = data[start:end]
    return packed.translate(_MIRRORED_BITS) if page.one(266, 1) == 2 else packed


def _inflated(packed: bytes, page: Page, rows: int, values_a_row: int) -> bytes:
    """The bytes of one segment, every row padded to a whole byte."""
    row_bytes = -(-values_a_row * page.bits[0] // 8)
    size = row_bytes * rows
    try:
        if page.compression in _DEFLATE:
            packed = zlib.decompressobj().decompress(packed, size)
        elif page.compression == _LZMA:
            packed = lzma.LZMADecompressor().decompress(packed, size)
        elif page.compression != 1:
            packed = _by_libtiff(packed, page.compression, row_bytes, rows)
    except (zlib.error, lzma.LZMAError) as error:
        raise Undecodable(Reason.CORRUPT, str(error)) from error
    if len(packed) < size:
        raise Undecodable(Reason.TRUNCATED, f"{len(packed)} of {size} bytes in a part of the page")
    return packed[:size]


def _by_libtiff(packed: bytes, compression: int, row_bytes: int, rows: int) -> bytes:
    """Unpack a segment as if it were a grey picture of 8 bits, one pixel a byte."""
    tags = [(256, row_bytes), (257, rows), (258, 8), (259, compression), (262, 1)]
    tags += [(273, 8), (277, 1), (278, rows), (279, len(packed))]
    padded = packed + bytes(len(packed) % 2)
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags
    )
    head = b"II*\0" + struct.pack("<I", 8 + len(padded))
    with Image.open(io.BytesIO(head + padded + directory + bytes(4)), formats=["TIFF"]) as image:
        return image.tobytes()


def _unpacked(raw: bytes, page: Page, shape: tuple[int, int, int]) -> np.ndarray:
    """Bytes of a segment as numbers of `shape`: rows, columns, samples."""
    bits = page.bits[0]
    predictor = 1 if page.compression in (1, 32773) else page.one(317, 1)  # these two know none
    rows, columns, depth = shape
    if bits not in (8, 16, 32, 64):
        if predictor != 1:
            raise unsupported(f"TIFF with a predictor for {bits} bits")
        return _odd_bits(raw, bits, rows, columns * depth).astype(_dtype(page)).reshape(shape)
    if predictor == 3 and page.kind == 3:
        return _float_differences(raw, bits // 8, shape).view(_dtype(page).newbyteorder(">")).reshape(shape)
    order: Literal["<", ">"] = "<" if page.little_endian else ">"
    if predictor == 2:
        differences = np.frombuffer(raw, f"{order}u{bits // 8}").reshape(shape)
        return np.cumsum(differences, axis=1, dtype=f"u{bits // 8}").view(_dtype(page))
    if predictor != 1:
        raise unsupported(f"TIFF with predictor {predictor}")
    return np.frombuffer(raw, _dtype(page).newbyteorder(order)).reshape(shape)


def _odd_bits(raw: bytes, bits: int, rows: int, values_a_row: int) -> np.ndarray:
    """Numbers of any count of bits up to 16, uint16 [rows, values_a_row]."""
    single = np.unpackbits(np.frombuffer(raw, np.uint8).reshape(rows, -1), axis=1)
    single = single[:, : values_a_row * bits].reshape(rows, values_a_row, bits)
    weights = 1 << np.arange(bits - 1, -1, -1)
    values: np.ndarray = single @ weights.astype(np.uint16)
    return values


def _float_differences(raw: bytes, size: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Undo predictor 3: rows of differences of bytes, the highest bytes of all numbers first."""
    rows, columns, depth = shape
    differences = np.frombuffer(raw, np.uint8).reshape(rows, size * columns, depth)
    whole = np.cumsum(differences, axis=1, dtype=np.uint8).reshape(rows, size, columns * depth)
    return np.ascontiguousarray(whole.transpose(0, 2, 1)).reshape(rows, -1)
