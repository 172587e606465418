"""The one decoder: a file's bytes in, upright 8-bit RGB pixels out, or the reason why not.

Training, embedding and searching all decode here, so a query is seen exactly as the gallery was.
"""

import io
import struct
import warnings
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, UnidentifiedImageError

from udml.errors import UdmlError

# Formats that Pillow decodes by itself. Others either start helper programs (EPS) or are not photos.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")
# JPEGs are shrunk while they are decoded as long as this many times the target remains.
_DRAFT_MARGIN = 2
_ORIENTATION_TAG = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")

# `decode` says what is wrong with a file itself; Pillow's warnings would tear progress bars apart.
warnings.filterwarnings("ignore", module=r"PIL\.")


class Reason(StrEnum):
    """Why a file holds no usable image. The value is the code written to tables."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    CORRUPT = "corrupt"
    TRUNCATED = "truncated"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.MISSING: "the file is named by the annotations but is not there",
    Reason.UNREADABLE: "the file cannot be read from disk",
    Reason.EMPTY: "the file is empty",
    Reason.NOT_AN_IMAGE: "the file is not an image of a known format",
    Reason.CORRUPT: "the image is damaged",
    Reason.TRUNCATED: "the file ends before the image does",
    Reason.TOO_SMALL: "the image is smaller than allowed",
    Reason.TOO_LARGE: "the image is larger than allowed",
}


class Undecodable(UdmlError):  # noqa: N818 - the name says what happened
    """No pixels: `reason` is the code, `detail` what was found."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.sentence}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["Undecodable"], tuple[Reason, str]]:
        return Undecodable, (self.reason, self.detail)  # crosses process pools


@dataclass(frozen=True)
class Decoded:
    """An upright image.

    Attributes:
        pixels: uint8 [h, w, 3], RGB, C-contiguous, possibly shrunk.
        width, height: px of the whole image, upright, before any shrinking.
        format: Pillow's name of the file format, "JPEG", "PNG", ...
    """

    pixels: np.ndarray
    width: int
    height: int
    format: str


def decode(
    data: bytes, short_side_px: int | None, min_side_px: int = 1, max_pixels: int = 100_000_000
) -> Decoded:
    """Decode a whole image file to upright RGB.

    The first frame of an animation is used. Transparency is laid on white. 16-bit values are scaled
    to 8 bits, not clipped. EXIF orientation is applied. Colour profiles are not applied.

    If the shorter side exceeds `short_side_px` the image is shrunk to it: JPEGs first while decoding,
    by 1/2, 1/4 or 1/8 as long as at least twice the target remains, then by antialiased bicubic
    resampling. Images are never enlarged.

    Args:
        data: the bytes of the file.
        short_side_px: largest shorter side wanted, or None for full size.
        min_side_px: smallest shorter side accepted.
        max_pixels: largest width x height accepted; checked in the header, before decoding.

    Raises:
        Undecodable: with the reason; truncated and damaged files are never padded or half shown.
    """
    if not data:
        raise Undecodable(Reason.EMPTY, "0 bytes")
    image = _open(data, max_pixels)
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise Undecodable(Reason.TOO_LARGE, f"{width} x {height} px, the limit is {max_pixels} px in all")
        if min(width, height) < min_side_px:
            raise Undecodable(
                Reason.TOO_SMALL, f"{width} x {height} px, the limit is {min_side_px} px a side"
            )
        try:
            file_format = image.format or "unknown"
            if file_format == "JPEG" and not _has_jpeg_end(data):
                raise Undecodable(Reason.TRUNCATED, "no end-of-image marker")
            pixels, swapped = _render(image, short_side_px)
        except Undecodable:
            raise
        except Exception as error:  # decoders raise nearly anything on damaged data
            raise _damage(error) from error
    if swapped:
        width, height = height, width
    return Decoded(pixels, width, height, file_format)


def read_image(
    path: Path, short_side_px: int | None, min_side_px: int = 1, max_pixels: int = 100_000_000
) -> Decoded:
    """Decode the file at `path`; see `decode`. The detail of an `Undecodable` names the path."""
    try:
        return decode(path.read_bytes(), short_side_px, min_side_px, max_pixels)
    except FileNotFoundError as error:
        raise Undecodable(Reason.UNREADABLE, f"{path} does not exist") from error
    except OSError as error:
        raise Undecodable(Reason.UNREADABLE, f"{path} ({error.strerror})") from error
    except Undecodable as error:
        raise Undecodable(error.reason, f"{path} ({error.detail})") from error


def _open(data: bytes, max_pixels: int) -> Image.Image:
    """Read the header only."""
    Image.init()
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels  # only ever raised, and only on request
    try:
        return Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Undecodable(Reason.TOO_LARGE, str(error)) from error
    except UnidentifiedImageError as error:
        if data.startswith(_SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
            raise Undecodable(Reason.CORRUPT, "the header is damaged") from error
        if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
            raise Undecodable(Reason.NOT_AN_IMAGE, "HEIC is not supported; convert it to JPEG") from error
        raise Undecodable(Reason.NOT_AN_IMAGE, f"{len(data)} bytes of something else") from error
    except Exception as error:
        raise _damage(error) from error


def _damage(error: Exception) -> Undecodable:
    if isinstance(error, MemoryError):
        return Undecodable(Reason.TOO_LARGE, "it does not fit into memory")
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return Undecodable(Reason.TRUNCATED, str(error) or "unexpected end of file")
    return Undecodable(Reason.CORRUPT, str(error) or type(error).__name__)


def _has_jpeg_end(data: bytes) -> bool:
    """Whether an end marker follows the start of the first scan.

    libjpeg fills missing parts with grey without an error when a file was cut and zero-filled, as
    broken downloads are. Inside a scan the marker cannot occur by chance; before it (an embedded
    thumbnail) it can, so the segments up to the scan are stepped over.
    """
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xDA:
            return data.find(b"\xff\xd9", position) >= 0
        has_length = marker not in (0xFF, 0x01) and not 0xD0 <= marker <= 0xD7
        step = 1 if marker == 0xFF else 2
        position += 2 + struct.unpack_from(">H", data, position + 2)[0] if has_length else step
    return b"\xff\xd9" in data[position:]  # an unusual file: Pillow decides


def _render(image: Image.Image, short_side_px: int | None) -> tuple[np.ndarray, bool]:
    """Decode, convert, shrink and turn upright; also whether width and height changed places."""
    target = _shrunk_size(image.size, short_side_px)
    if target != image.size:
        image.draft(None, (target[0] * _DRAFT_MARGIN, target[1] * _DRAFT_MARGIN))
    image.load()
    orientation = _orientation(image)
    rgb = _to_rgb(image)
    if target != rgb.size:
        rgb = rgb.resize(target, Image.Resampling.BICUBIC)
    if orientation in _TRANSPOSE:
        rgb = rgb.transpose(_TRANSPOSE[orientation])
    return np.array(rgb, dtype=np.uint8, order="C"), orientation >= 5


def _shrunk_size(size: tuple[int, int], short_side_px: int | None) -> tuple[int, int]:
    short = min(size)
    if short_side_px is None or short <= short_side_px:
        return size
    return round(size[0] * short_side_px / short), round(size[1] * short_side_px / short)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or the EXIF block is damaged."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block does not make the pixels worse
        return 1
    return value if value in _TRANSPOSE else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_scale_to_8_bit(np.asarray(image))).convert("RGB")
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG for Adobe's, which are stored inverted; this one is not.
        image = ImageChops.invert(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _scale_to_8_bit(values: np.ndarray) -> np.ndarray:
    """Grey values of a wider type to uint8 of the same shape.

    16-bit integers span 0..65535. 32-bit integers and floats state no range: it is taken to be
    0..1 (floats), 0..255 or 0..65535, whichever is the first to hold the values, else min..max.
    """
    wide = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = 0.0, 65535.0
    if values.dtype.itemsize > 2:
        smallest, largest = float(wide.min()), float(wide.max())
        steps = [1.0, 255.0, 65535.0] if values.dtype.kind == "f" else [255.0, 65535.0]
        fitting = [step for step in steps if smallest >= 0 and largest <= step]
        low, high = (0.0, fitting[0]) if fitting else (smallest, largest)
    spread = (high - low) or 1.0  # a constant image outside all ranges becomes black
    return np.rint((wide - low) * (255.0 / spread)).astype(np.uint8)
