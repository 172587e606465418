"""JPEG XL: its size, its pixels, or the JPEG that it was made of (ISO/IEC 18181; read by libjxl)."""

from PIL import Image

from udml.formats.reasons import Reason, Undecodable

HEADS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_SIDE_BITS = (9, 13, 18, 30)
_HEAD_BYTES = 32
_MOST_BOXES = 1000
_DTYPES = {"RGB": 3, "RGBA": 4, "L": 1, "LA": 2}


def size_of(data: bytes) -> tuple[int, int] | None:
    """Width and height, px, as they lie in the file; None where the header is cut off."""
    head = _codestream_head(data)
    if not head.startswith(HEADS[0]) or len(head) < 12:
        return None
    bits = _Bits(head[2:])
    is_small = bits.take(1)
    height = _side(bits, is_small)
    ratio = bits.take(3)
    if ratio == 0:
        return _side(bits, is_small), height
    across, down = _RATIOS[ratio]
    return height * across // down, height


def decoded(data: bytes) -> Image.Image | bytes:
    """The first frame, upright and not yet in sRGB, or the bytes of the JPEG that the file was made of.

    Raises:
        Undecodable: as damaged; libjxl doesn't tell that from truncated.
    """
    from pillow_jxl import Decoder

    try:
        is_jpeg, info, pixels, profile, _ = Decoder(num_threads=0)(data)
    except MemoryError:
        raise
    except BaseException as error:  # Rust's panics are no Exceptions
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise Undecodable(Reason.CORRUPT, "libjxl cannot decode it: damaged or cut off") from error
    if is_jpeg:
        return bytes(pixels)
    size = (info.width, info.height)
    image = _image(info.mode, size, bytes(pixels))
    image.format = "JXL"
    if profile:
        image.info["icc_profile"] = bytes(profile)
    return image


def _image(mode: str, size: tuple[int, int], pixels: bytes) -> Image.Image:
    if mode == "F;16":
        return Image.frombytes("F", size, pixels)  # the decoder has made 32 bits of them
    if mode not in (*_DTYPES, "I;16", "F"):
        raise Undecodable(Reason.CORRUPT, f"pixels of kind {mode}")
    return Image.frombytes(mode, size, pixels)


def _codestream_head(data: bytes) -> bytes:
    """The first bytes of the codestream, put together from the boxes it lies in."""
    if data.startswith(HEADS[0]):
        return data[:_HEAD_BYTES]
    found, position = b"", 0
    for _ in range(_MOST_BOXES):
        size, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        start = position + 8
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        end = position + size if size else len(data)
        if name == b"jxlc":
            found += data[start : min(end, start + _HEAD_BYTES)]
        elif name == b"jxlp":
            found += data[start + 4 : min(end, start + 4 + _HEAD_BYTES)]
        if len(found) >= _HEAD_BYTES or end <= position or end >= len(data):
            break
        position = end
    return found


class _Bits:
    """Bits of a codestream, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken


def _side(bits: _Bits, is_small: int) -> int:
    if is_small:
        return 8 * (bits.take(5) + 1)
    return bits.take(_SIDE_BITS[bits.take(2)]) + 1
