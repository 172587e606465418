"""HEIC and HEIF, as phones write them: read by libheif (pi-heif), which turns them upright itself.

Orientation lies in the file's own properties (irot, imir); what EXIF says of it is not to be followed
(ISO/IEC 23008-12, 6.5.10), and pi-heif takes it out.
"""

import io
import re

from PIL import Image, UnidentifiedImageError

from udml.formats.reasons import Reason, Undecodable, unsupported

_HEVC = re.compile(rb"he[iv][cxms]")
_GENERAL = (b"mif1", b"msf1", b"miaf", b"MiHE", b"MiHB")
_AV1 = (b"avif", b"avis", b"av01")
_MOST_BRANDS_BYTES = 256


def is_heif(data: bytes) -> bool:
    """Whether it is a file of boxes that is, or may be, a picture compressed with HEVC."""
    brands = _brands(data)
    if any(_HEVC.fullmatch(brand) for brand in brands):
        return brands[0] not in _AV1
    return any(brand in _GENERAL for brand in brands) and not any(brand in _AV1 for brand in brands)


def opened(data: bytes) -> Image.Image:
    """The primary picture, not decoded yet; its `size` is that of the upright picture.

    Raises:
        UnidentifiedImageError: if its boxes are damaged.
        Undecodable: by name, if it is compressed in another way.
    """
    import pi_heif
    from pi_heif.as_plugin import HeifImageFile

    pi_heif.options.DECODE_THREADS = 1
    try:
        image = HeifImageFile(io.BytesIO(data))
    except SyntaxError as error:
        _refuse_others(str(error))
        if _is_cut(error):
            raise Undecodable(Reason.TRUNCATED, str(error).strip()) from error
        raise UnidentifiedImageError(str(error)) from error
    image.format = "HEIF"
    return image


def load(image: Image.Image) -> None:
    """Decode it.

    Raises:
        Undecodable: by name if it is compressed in a way that is not read, or as damaged.
    """
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # libheif says nearly everything by RuntimeError and ValueError
        _refuse_others(str(error))
        raise Undecodable(Reason.TRUNCATED if _is_cut(error) else Reason.CORRUPT, str(error)) from error


def _is_cut(error: Exception) -> bool:
    return "end of file" in str(error).lower()


def _refuse_others(said: str) -> None:
    if "nsupported codec" in said or "nsupported feature" in said or "no decoding plugin" in said.lower():
        raise unsupported(f"HEIF of another kind than HEVC ({said})", "convert it to JPEG")


def _brands(data: bytes) -> list[bytes]:
    """The brand of a file of boxes and those it is compatible with; empty where it is none."""
    if data[4:8] != b"ftyp":
        return [b""]
    end = min(int.from_bytes(data[:4], "big"), len(data), _MOST_BRANDS_BYTES)
    return [data[8:12], *(data[start : start + 4] for start in range(16, end - 3, 4))]
