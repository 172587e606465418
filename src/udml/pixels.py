"""The one decoder: a file's bytes in, upright 8-bit RGB pixels out, or the reason why not.

Training, embedding and searching all decode here, so a query is seen exactly as the gallery was.
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageCms, UnidentifiedImageError

from udml.files import read_regular
from udml.formats import jpeg, png, tiff, tiff_page, webp
from udml.formats.levels import scale_to_8_bit
from udml.formats.names import PHOTOS, has_known_head, name_of
from udml.formats.reasons import Reason, Undecodable, damage, unsupported

__all__ = ["Decoded", "Reason", "Undecodable", "decode", "read_image"]

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
_SWAPPED = (5, 6, 7, 8)  # orientations that change width for height

# `decode` says what is wrong with a file itself; Pillow's warnings would tear progress bars apart.
warnings.filterwarnings("ignore", module=r"PIL\.")


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
    limits = (min_side_px, max_pixels)
    try:
        return _decode_tiff(data, short_side_px, limits) or _decode_by_pillow(data, short_side_px, limits)
    except Undecodable as problem:
        needed = png.pixels_only(data) if problem.reason in (Reason.CORRUPT, Reason.TRUNCATED) else None
        if needed is None:
            raise
        return _decode_by_pillow(needed, short_side_px, limits)


def read_image(
    path: Path, short_side_px: int | None, min_side_px: int = 1, max_pixels: int = 100_000_000
) -> Decoded:
    """Decode the file at `path`; see `decode`. The detail of an `Undecodable` names the path."""
    try:
        return decode(read_regular(path), short_side_px, min_side_px, max_pixels)
    except FileNotFoundError as error:
        raise Undecodable(Reason.UNREADABLE, f"{path} does not exist") from error
    except OSError as error:
        raise Undecodable(Reason.UNREADABLE, f"{path} ({error.strerror})") from error
    except Undecodable as error:
        raise Undecodable(error.reason, f"{path} ({error.detail})") from error
    except ValueError as error:  # a pipe, which would be waited for, or a device, which has no end
        raise Undecodable(Reason.UNREADABLE, str(error)) from error


def _decode_tiff(data: bytes, short_side_px: int | None, limits: tuple[int, int]) -> Decoded | None:
    """Decode a TIFF file; None if it is none."""
    if not data.startswith(tiff_page.HEADS):
        return None
    page = tiff_page.find_page(data)
    if tiff.is_plain(page):
        return _decode_by_pillow(tiff_page.alone(data, page), short_side_px, limits)
    _check_size(page.size, limits)
    try:
        rgb = tiff.read(data, page)
    except Undecodable:
        raise
    except Exception as error:  # offsets, counts and types may be anything
        raise damage(error) from error
    return _finished(rgb, "TIFF", page.size, short_side_px, page.one(_ORIENTATION_TAG, 1))


def _decode_by_pillow(data: bytes, short_side_px: int | None, limits: tuple[int, int]) -> Decoded:
    with _open(data, limits[1]) as image:
        size = image.size
        _check_size(size, limits)
        try:
            file_format = image.format or "unknown"
            rgb, orientation = _render(image, data, _shrunk_size(size, short_side_px))
        except Undecodable:
            raise
        except Exception as error:  # decoders raise nearly anything on damaged data
            raise damage(error) from error
    return _finished(rgb, file_format, size, short_side_px, orientation)


def _check_size(size: tuple[int, int], limits: tuple[int, int]) -> None:
    width, height = size
    min_side_px, max_pixels = limits
    if width * height > max_pixels:
        raise Undecodable(Reason.TOO_LARGE, f"{width} x {height} px, the limit is {max_pixels} px in all")
    if min(width, height) < min_side_px:
        raise Undecodable(Reason.TOO_SMALL, f"{width} x {height} px, the limit is {min_side_px} px a side")


def _finished(
    rgb: Image.Image, file_format: str, size: tuple[int, int], short_side_px: int | None, orientation: int
) -> Decoded:
    """Shrink and turn upright. `size` is that of the whole image as it lies in the file."""
    target = _shrunk_size(size, short_side_px)
    if target != rgb.size:
        rgb = rgb.resize(target, Image.Resampling.BICUBIC)
    if orientation in _TRANSPOSE:
        rgb = rgb.transpose(_TRANSPOSE[orientation])
    width, height = (size[1], size[0]) if orientation in _SWAPPED else size
    return Decoded(np.array(rgb, dtype=np.uint8, order="C"), width, height, file_format)


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
        if has_known_head(data):
            raise Undecodable(Reason.CORRUPT, "the header is damaged") from error
        name = name_of(data)
        if name in PHOTOS:
            raise unsupported(name, "convert it to JPEG") from error
        raise Undecodable(Reason.NOT_AN_IMAGE, name) from error
    except Exception as error:
        raise damage(error) from error


def _render(image: Image.Image, data: bytes, target: tuple[int, int]) -> tuple[Image.Image, int]:
    """Decode and convert, no smaller than `target`; and the EXIF orientation."""
    if target != image.size:
        image.draft(None, (target[0] * _DRAFT_MARGIN, target[1] * _DRAFT_MARGIN))
    if image.format in ("JPEG", "MPO"):
        if not jpeg.has_end(data):
            raise Undecodable(Reason.TRUNCATED, "no end-of-image marker")
        pixels = jpeg.decoded(data, image.mode, image.size)
        if pixels is not None:
            return Image.fromarray(pixels), _orientation(image)
    image.load()
    return _to_rgb(_mended(image, data)), _orientation(image)


def _mended(image: Image.Image, data: bytes) -> Image.Image:
    """The image less what its format is known to get wrong around it."""
    if image.format == "BMP" and image.mode == "RGBA" and not image.getchannel("A").getbbox():
        return image.convert("RGB")  # as Windows writes screenshots: the fourth byte means nothing
    if image.format == "WEBP" and image.mode == "RGB":
        frame = webp.first_frame(data)
        if frame is not None and frame != (0, 0, *image.size):
            canvas = Image.new("RGB", image.size, "white")
            canvas.paste(image.crop(frame), frame[:2])
            return canvas
    return image


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
        return Image.fromarray(scale_to_8_bit(np.asarray(image))).convert("RGB")
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG for Adobe's, which are stored inverted; this one is not.
        image = ImageChops.invert(image)
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
