"""The kinds of TIFF that Pillow reads wrongly or not at all.

Wide, signed and floating samples, planes, white that is zero, odd numbers of bits, samples beside the
colours (TIFF 6.0, https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf). Pillow's libtiff
unpacks; samples are put together and given their meaning here.
"""

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import COMPRESSION_INFO

from udml.formats.colour import to_srgb
from udml.formats.levels import scale_to_8_bit
from udml.formats.reasons import unsupported
from udml.formats.tiff_page import Page
from udml.formats.tiff_samples import read_samples

_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4}
_MEANINGS = {
    4: "a mask alone",
    6: "YCbCr that isn't JPEG",
    8: "CIE L*a*b*",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32844: "LogL",
    32845: "LogLuv",
    34892: "camera raw",
}
_KINDS = {
    1: "unsigned integers",
    2: "signed integers",
    3: "floats",
    5: "complex integers",
    6: "complex numbers",
}
_ICC_PROFILE = 34675
_ASSOCIATED, _UNASSOCIATED = 1, 2  # an alpha channel, colours multiplied with it or not


def is_plain(page: Page) -> bool:
    """Whether Pillow reads the page, and reads it right."""
    bits = set(page.bits)
    if page.compression not in COMPRESSION_INFO or page.big_endian_big:
        return False
    if page.kind != 1 or len(page.bits) != page.samples or len(bits) != 1:
        return False
    wide = bits == {16}
    if not (wide or bits <= {1, 2, 4, 8}) or (wide and (page.planar or page.one(266, 1) != 1)):
        return False
    extra = page.many(338)
    if page.photometric == 6:
        return bits == {8} and (page.compression != 1 or page.many(530, (2, 2)) == (1, 1))
    if page.photometric == 8:
        return bits == {8} and page.samples == 3
    return _known(page, wide, extra)


def _known(page: Page, wide: bool, extra: tuple[int, ...]) -> bool:
    if page.photometric == 1 and not wide and page.samples == 2:
        return set(page.bits) == {8} and len(extra) == 1
    if page.photometric == 2 and set(page.bits) == {
        8
    }:  # of 16 Pillow takes the upper 8, also where 12 are used
        return page.samples == 3 + len(extra)
    if page.photometric == 5 and set(page.bits) <= {8, 16}:
        return page.samples == 4
    return page.samples == 1 and page.photometric in ((1,) if wide else (0, 1, 3))


def read(data: bytes, page: Page) -> Image.Image:
    """Read a page that is not plain as RGB, transparency on white; as it lies, not turned.

    Integers of up to 16 bits span what their bits hold. Wider ones and floats state no range; see
    `levels.scale_to_8_bit`. Of samples beside the colours, only an alpha channel that says it is one counts.

    Raises:
        Undecodable: by name if the kind is not read, or as damaged or truncated.
    """
    _refuse_unknown(page)
    samples = read_samples(data, page)
    count = _COLOURS[page.photometric]
    colours = _colours(samples[..., :count], page)
    alpha = _alpha(samples[..., count:], page, count)
    if alpha is not None:
        if _ASSOCIATED in page.many(338):
            colours = np.minimum(colours + (255 - alpha[..., None].astype(np.uint16)), 255).astype(np.uint8)
        else:
            share = alpha[..., None].astype(np.float32) / 255
            colours = np.rint(colours * share + 255 * (1 - share)).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(colours))


def describe(page: Page) -> str:
    """The page's kind: "16-bit unsigned integers, 2 samples a pixel"."""
    bits = "/".join(str(number) for number in sorted(set(page.bits)))
    plural = "" if page.samples == 1 else "s"
    return f"{bits}-bit {_KINDS.get(page.kind, 'unknown numbers')}, {page.samples} sample{plural} a pixel"


def _refuse_unknown(page: Page) -> None:
    if page.photometric not in _COLOURS:
        raise unsupported(f"TIFF of {_MEANINGS.get(page.photometric, f'colour kind {page.photometric}')}")
    sizes = {1: range(1, 65), 2: (8, 16, 32, 64), 3: (16, 32, 64)}.get(page.kind, ())
    same = len(set(page.bits)) == 1 and len(page.bits) == page.samples
    if not same or page.bits[0] not in sizes or (page.kind == 1 and 16 < page.bits[0] not in (32, 64)):
        raise unsupported(f"TIFF of {describe(page)}")
    if page.samples < _COLOURS[page.photometric] or (page.photometric == 3 and page.bits[0] > 16):
        raise unsupported(f"TIFF of {describe(page)}")
    if page.photometric == 5 and page.one(332, 1) != 1:
        raise unsupported("TIFF of inks that are not CMYK")


def _colours(values: np.ndarray, page: Page) -> np.ndarray:
    """Samples with a meaning, [h, w, 1 or 3 or 4], to RGB, uint8 [h, w, 3]."""
    if page.photometric == 3:
        return _from_palette(values[..., 0], page)
    levels = scale_to_8_bit(values, page.bits[0] if page.kind == 1 else None)
    if page.photometric == 0:
        levels = 255 - levels
    if page.photometric == 5:
        height, width, _ = levels.shape
        inks = Image.frombytes("CMYK", (width, height), levels.tobytes())
        return np.asarray(to_srgb(inks, _profile(page)))
    values = levels if levels.shape[2] == 3 else levels[..., 0]
    return np.asarray(to_srgb(Image.fromarray(np.ascontiguousarray(values)), _profile(page)))


def _profile(page: Page) -> bytes | None:
    value = page.tags.get(_ICC_PROFILE)
    return value if isinstance(value, bytes) else None


def _from_palette(indices: np.ndarray, page: Page) -> np.ndarray:
    entries = np.array(page.many(320), np.uint32).reshape(3, -1)
    if entries.size and entries.max() < 256:
        entries = entries * 257  # written by programs that took 8 bits for enough, as libtiff does
    palette = (entries >> 8).astype(np.uint8).T
    return palette[indices]


def _alpha(extra: np.ndarray, page: Page, colours: int) -> np.ndarray | None:
    """The alpha channel, uint8 [h, w], if one is declared."""
    kinds = page.many(338)[: page.samples - colours]
    place = next((i for i, kind in enumerate(kinds) if kind in (_ASSOCIATED, _UNASSOCIATED)), None)
    if place is None:
        return None
    values = extra[..., place].astype(np.float64)
    highest = 1.0 if page.kind == 3 else float(2 ** (page.bits[0] - (page.kind == 2)) - 1)
    return np.rint(np.clip(np.nan_to_num(values) / highest, 0, 1) * 255).astype(np.uint8)
