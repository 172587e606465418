"""The decoder itself. It takes what time and memory a file asks for: `udml.pixels` bounds that first."""

import io
import warnings
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageChops, ImageCms, UnidentifiedImageError

from udml.decoding.cut import Crop, cut, side_to_decode
from udml.formats import heif, jpeg, jxl, png, raw, tiff, tiff_page, webp
from udml.formats.colour import changes, to_srgb
from udml.formats.exif import boxes
from udml.formats.levels import scale_to_8_bit
from udml.formats.names import INSTEAD, PHOTOS, has_known_head, name_of
from udml.formats.reasons import Reason, Undecodable, damage, unsupported

# Formats that Pillow decodes by itself. Others either start helper programs (EPS) or are not photos.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")
# JPEGs are shrunk while they are decoded as long as this many times the target remains.
_DRAFT_MARGIN = 2
_BAND_PX = 256  # rows that are laid on white at a time
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
        format: Pillow's name of the file format, "JPEG", "PNG", ..., "JXL", or "RAW" of a raw file's preview.
    """

    pixels: np.ndarray
    width: int
    height: int
    format: str


@dataclass(frozen=True)
class Wish:
    """What is wanted of a file.

    Attributes:
        short_side_px: largest shorter side, or None for full size.
        min_side_px: smallest shorter side accepted.
        max_pixels: largest width x height accepted; checked in the header.
        crop: the part of the picture that is wanted; None for all of it. `short_side_px` is then its own.
    """

    short_side_px: int | None = None
    min_side_px: int = 1
    max_pixels: int = 100_000_000
    crop: Crop | None = None

    @property
    def decoded_side_px(self) -> int | None:
        """Largest shorter side that the whole picture is decoded at."""
        return side_to_decode(self.short_side_px, self.crop)


def decode_plainly(data: bytes, wish: Wish) -> Decoded:
    """Decode a whole image file; see `udml.pixels.decode`.

    Raises:
        Undecodable: with the reason.
    """
    limits = (wish.min_side_px, wish.max_pixels)
    short_side_px = wish.decoded_side_px
    try:
        image = _decode_whole(data, short_side_px, limits)
    except Undecodable as problem:
        if problem.reason not in (Reason.CORRUPT, Reason.TRUNCATED):
            raise
        if (needed := png.pixels_only(data) or boxes.without_exif(data)) is None:
            raise
        image = _decode_by_pillow(needed, short_side_px, limits)
    if wish.crop is None:
        return image
    return replace(image, pixels=cut(image.pixels, wish.crop, wish.short_side_px))


def _decode_whole(data: bytes, short_side_px: int | None, limits: tuple[int, int]) -> Decoded:
    inner = raw.preview(data)
    if inner is not None:
        image = _decode_by_pillow(inner.jpeg, short_side_px, limits, inner.orientation)
        return replace(image, format="RAW")
    for decode_kind in (_decode_tiff, _decode_jxl):
        decoded = decode_kind(data, short_side_px, limits)
        if decoded is not None:
            return decoded
    return _decode_by_pillow(data, short_side_px, limits)


def _decode_jxl(data: bytes, short_side_px: int | None, limits: tuple[int, int]) -> Decoded | None:
    """Decode a JPEG XL file; None if it is none. A JPEG that was made one is decoded as that JPEG."""
    if not data.startswith(jxl.HEADS):
        return None
    size = jxl.size_of(data)
    if size is None:
        raise Undecodable(Reason.TRUNCATED, "the header is cut off")
    check_size(size, (0, limits[1]))
    image = jxl.decoded(data)
    if isinstance(image, bytes):
        return replace(_decode_by_pillow(image, short_side_px, limits), format="JXL")
    check_size(image.size, limits)
    rgb = _to_rgb(image, _shrunk_size(image.size, short_side_px))
    return _finished(rgb, "JXL", image.size, short_side_px, 1)  # libjxl has turned it


def _decode_tiff(data: bytes, short_side_px: int | None, limits: tuple[int, int]) -> Decoded | None:
    """Decode a TIFF file; None if it is none."""
    if not data.startswith(tiff_page.HEADS):
        return None
    page = tiff_page.find_page(data)
    if tiff.is_plain(page):
        return _decode_by_pillow(tiff_page.alone(data, page), short_side_px, limits)
    check_size(page.size, limits)
    try:
        rgb = tiff.read(data, page)
    except Undecodable:
        raise
    except Exception as error:  # offsets, counts and types may be anything
        raise damage(error) from error
    return _finished(rgb, "TIFF", page.size, short_side_px, page.one(_ORIENTATION_TAG, 1))


def _decode_by_pillow(
    data: bytes, short_side_px: int | None, limits: tuple[int, int], unless_said: int = 1
) -> Decoded:
    """Decode a file; `unless_said` is its orientation where it says none itself."""
    with _open(data, limits[1]) as image:
        size = image.size
        check_size(size, limits)
        try:
            file_format = image.format or "unknown"
            rgb = _render(image, data, _shrunk_size(size, short_side_px))
            orientation = _orientation(image, unless_said)
        except Undecodable:
            raise
        except Exception as error:  # decoders raise nearly anything on damaged data
            raise damage(error) from error
    return _finished(rgb, file_format, size, short_side_px, orientation)


def check_size(size: tuple[int, int], limits: tuple[int, int]) -> None:
    """Refuse a picture, width and height in px, that is below the smallest side or above the most pixels."""
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
    if heif.is_heif(data):
        try:
            return heif.opened(data)
        except UnidentifiedImageError as error:
            raise Undecodable(Reason.CORRUPT, f"the header is damaged ({error})") from error
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
        if name in PHOTOS or name in INSTEAD:
            raise unsupported(name, INSTEAD.get(name, "convert it to JPEG")) from error
        raise Undecodable(Reason.NOT_AN_IMAGE, name) from error
    except Exception as error:
        raise damage(error) from error


def _render(image: Image.Image, data: bytes, target: tuple[int, int]) -> Image.Image:
    """Decode and convert to sRGB, no smaller than `target`."""
    if target != image.size:
        image.draft(None, (target[0] * _DRAFT_MARGIN, target[1] * _DRAFT_MARGIN))
    if image.format in ("JPEG", "MPO"):
        if not jpeg.has_end(data):
            raise Undecodable(Reason.TRUNCATED, "no end-of-image marker")
        pixels = jpeg.decoded(data, image.mode, image.size)
        if pixels is not None:
            profile = image.info.get("icc_profile")
            if not changes(profile, image.mode):
                return Image.fromarray(pixels)
            values = np.ascontiguousarray(pixels[..., 0]) if image.mode == "L" else pixels
            return to_srgb(_shrunk(Image.fromarray(values), target), profile)
    if image.format == "HEIF":
        heif.load(image)
    image.load()
    return _to_rgb(_mended(image, data), target)


def _shrunk(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    return image if image.size == target else image.resize(target, Image.Resampling.BICUBIC)


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


def _orientation(image: Image.Image, unless_said: int) -> int:
    """EXIF orientation, 1 to 8; 1 where the EXIF block is damaged."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, unless_said)
    except Exception:  # a damaged EXIF block does not make the pixels worse
        return 1
    return value if value in _TRANSPOSE else 1


def _to_rgb(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """In sRGB, on white; shrunk to `target` where there is a profile to follow, which costs time a pixel."""
    profile = image.info.get("icc_profile")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return to_srgb(Image.fromarray(scale_to_8_bit(np.asarray(image))), profile)
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG for Adobe's, which are stored inverted; this one is not.
        image = ImageChops.invert(image)
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image.convert("RGB")
    if image.has_transparency_data:
        return _on_white(image, profile)
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    return to_srgb(_shrunk(image, target) if changes(profile, image.mode) else image, profile)


def _on_white(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Without transparency, in sRGB. Band by band: whole, it would take five times what the image does."""
    result = Image.new("RGB", image.size)
    for top in range(0, image.height, _BAND_PX):
        band = image.crop((0, top, image.width, min(top + _BAND_PX, image.height)))
        band = _with_alpha(band, profile)
        white = Image.new("RGBA", band.size, "white")
        result.paste(Image.alpha_composite(white, band).convert("RGB"), (0, top))
    return result


def _with_alpha(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGBA, its colours in sRGB."""
    transparent = image.convert("RGBA")
    grey = image.mode in ("LA", "L", "La")
    colours = transparent.getchannel("R") if grey else transparent.convert("RGB")
    if changes(profile, colours.mode):
        colours = to_srgb(colours, profile)
        colours.putalpha(transparent.getchannel("A"))
        return colours
    return transparent
