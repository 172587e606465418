"""JPEG: the pixels, unless the decoder had to make some of them up.

libjpeg goes on after damage, fills what is missing with grey, and counts a warning. Pillow doesn't pass
the warnings on. simplejpeg runs the same decoder, libjpeg-turbo, and stops at the first one.
"""

import re
import struct

import numpy as np
import simplejpeg

from udml.formats.reasons import Reason, Undecodable

# Warnings that some cameras' sound files cause. Both speak of the header; it is mended and read again.
_ODD_HEADER = re.compile("unknown JFIF revision|Invalid SOS parameters")
_DAMAGE = re.compile("Corrupt JPEG data|Premature end of JPEG|Inconsistent progression")
_PADDING = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
PROFILE_HEAD = b"ICC_PROFILE\0"  # then the number of the piece, and of how many
_MOST_PADDING_BYTES = 32  # before the end marker, as some cameras write


def decoded(data: bytes, mode: str, size: tuple[int, int]) -> np.ndarray | None:
    """Decode at a size that halvings of the full one lead to.

    Args:
        data: the file.
        mode: Pillow's name of its colours.
        size: width and height, px, as Pillow's `draft` chose them.

    Returns:
        uint8 [h, w, 3], RGB, or None where another decoder has to do it (CMYK, uncommon kinds).

    Raises:
        Undecodable: if the decoder warns that data are damaged or missing.
    """
    colours = {"L": "rgb", "RGB": "rgb", "CMYK": "cmyk"}.get(mode)
    if colours is None:
        return None
    pixels: np.ndarray | None
    try:
        pixels = _strict(data, colours, size)
    except ValueError as error:
        message = str(error)
        if _ODD_HEADER.search(message):
            pixels = _with_mended_header(data, colours, size)
        elif _DAMAGE.search(message):
            pixels = _unless_padding(data, colours, size, message)
        else:
            return None
    fits = colours == "rgb" and pixels is not None and pixels.shape == (size[1], size[0], 3)
    return pixels if fits else None


def _strict(data: bytes, colours: str, size: tuple[int, int]) -> np.ndarray:
    return simplejpeg.decode_jpeg(data, colours, min_height=size[1], min_width=size[0], strict=True)


def _unless_padding(data: bytes, colours: str, size: tuple[int, int], message: str) -> np.ndarray:
    padding = _PADDING.search(message)
    if padding is None or int(padding[1]) > _MOST_PADDING_BYTES:
        reason = Reason.TRUNCATED if "Premature end of JPEG" in message else Reason.CORRUPT
        raise Undecodable(reason, message)
    return simplejpeg.decode_jpeg(data, colours, min_height=size[1], min_width=size[0], strict=False)


def _with_mended_header(data: bytes, colours: str, size: tuple[int, int]) -> np.ndarray | None:
    mended = bytearray(data)
    for marker, start, end in segments(data):
        if marker == 0xE0 and data[start : start + 5] == b"JFIF\0":
            mended[start + 5 : start + 7] = b"\1\1"
        if marker == 0xDA:
            mended[end - 3 : end] = b"\0\x3f\0"
    try:
        return _strict(bytes(mended), colours, size)
    except ValueError as error:
        message = str(error)
        return _unless_padding(data, colours, size, message) if _DAMAGE.search(message) else None


def segments(data: bytes) -> list[tuple[int, int, int]]:
    """The segments up to the first scan, inclusive: marker, where its content starts and ends."""
    found = []
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            position += 2
            continue
        end = position + 2 + struct.unpack_from(">H", data, position + 2)[0]
        found.append((marker, position + 4, end))
        if marker == 0xDA:
            break
        position = end
    return found


def has_end(data: bytes) -> bool:
    """Whether an end marker follows the start of the first scan.

    Files that were cut and zero-filled, as broken downloads are, have none. Inside a scan the marker
    cannot occur by chance; before it (an embedded thumbnail) it can.
    """
    found = segments(data)
    if found and found[-1][0] == 0xDA:
        return data.find(b"\xff\xd9", found[-1][1]) >= 0
    return b"\xff\xd9" in data[found[-1][2] if found else 2 :]  # an unusual file: the decoder decides
