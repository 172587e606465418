"""Colour profiles (ICC): from the colours that a file means to sRGB, by LittleCMS.

A profile that is sRGB to the eye, whatever its bytes, changes nothing and costs nothing; one that is damaged,
or speaks of other colours than the picture has, counts as none.
"""

import io
import struct
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_KEPT = 16  # profiles; one of inks may have two megabytes
_SAME_LEVELS = 2  # of 255: what profiles that are all meant to be sRGB differ by
_GRID = np.linspace(0, 255, 17).round().astype(np.uint8)
SIMPLE_BYTES = 4096
_HEAD_BYTES, _MOST_TAGS = 128, 40
_TABLES = (b"A2B", b"B2A", b"D2B", b"B2D", b"gam", b"pre", b"nco")  # what may take long to follow
_CURVES = {b"rTRC", b"gTRC", b"bTRC", b"kTRC"}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An opaque picture, 8 bits a sample, in sRGB.

    Args:
        image: of mode L, RGB or CMYK; another one is only brought to RGB.
        profile: what its file says that its colours mean; None for nothing.

    Returns:
        Mode RGB.
    """
    transform = _transform(profile, image.mode) if profile and image.mode in _SPACES else None
    if transform is not None:
        return transform.apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def changes(profile: bytes | None, mode: str) -> bool:
    """Whether a profile makes pictures of a mode look other than without it."""
    return bool(profile) and mode in _SPACES and _transform(profile, mode) is not None


def is_simple(profile: bytes) -> bool:
    """Whether a profile is small, and no more than curves and a matrix: bounded work, whoever wrote it."""
    try:
        if len(profile) > SIMPLE_BYTES or profile[36:40] != b"acsp":
            return False
        (count,) = struct.unpack_from(">I", profile, _HEAD_BYTES)
        if count > _MOST_TAGS or profile[16:20] not in (b"RGB ", b"GRAY"):
            return False
        tags = [
            struct.unpack_from(">4sII", profile, _HEAD_BYTES + 4 + 12 * number) for number in range(count)
        ]
    except struct.error:
        return False
    return all(_is_simple_tag(profile, *tag) for tag in tags)


def _is_simple_tag(profile: bytes, name: bytes, start: int, size: int) -> bool:
    if start + size > len(profile) or name[:3] in _TABLES:
        return False
    return name not in _CURVES or profile[start : start + 4] in (b"curv", b"para")


@lru_cache(_KEPT)
def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way to sRGB; None where there is none, or it changes nothing that can be seen."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        if opened.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        # grey would be taken from a coarse table, up to 9 levels off where it is dark
        flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
        transform = ImageCms.ImageCmsTransform(opened, srgb, mode, "RGB", flags=flags)  # perceptual
    except (ImageCms.PyCMSError, OSError, ValueError):  # it is damaged, and the pixels are whole
        return None
    return transform if mode == "CMYK" or _moves(transform, mode) else None


def _moves(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    before = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16)[..., None], 3, axis=2)
    if mode == "RGB":
        before = np.stack(np.meshgrid(_GRID, _GRID, _GRID), -1).reshape(17, -1, 3)
    samples = before if mode == "RGB" else np.ascontiguousarray(before[..., 0])
    after = np.asarray(transform.apply(Image.fromarray(samples)))
    return bool(np.abs(after.astype(np.int16) - before).max() > _SAME_LEVELS)
