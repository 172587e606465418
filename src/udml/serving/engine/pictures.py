"""Pictures of results: thumbnails, and a strip of a query with its neighbours."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from udml.pixels import decode

_QUALITY = 88
_GAP_PX = 8
_LINE_PX = 15
_TEXT_PX = 12


def result_sheet(
    query: bytes, neighbours: Sequence[Image.Image], side_px: int, captions: Sequence[Sequence[str]]
) -> Image.Image:
    """One picture of a query (left, framed) and its neighbours, nearest first, with lines of text below each.

    Args:
        query: an image file's bytes.
        neighbours: shrunk in place.
        side_px: of the square that each has.
        captions: lines for the query, then for each neighbour; what does not fit loses its beginning.
    """
    gap_px, step_px = _GAP_PX, side_px + _GAP_PX
    pictures = [Image.fromarray(decode(query, 2 * side_px).pixels), *neighbours]
    text_px = _LINE_PX * max(map(len, captions))
    sheet = Image.new("RGB", (len(pictures) * step_px + gap_px, side_px + 2 * gap_px + text_px), "white")
    sheet.paste((30, 90, 200), (2, 2, side_px + 2 * gap_px - 2, side_px + 2 * gap_px - 2))
    for position, (picture, lines) in enumerate(zip(pictures, captions, strict=True)):
        picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
        left = gap_px + position * step_px
        top = gap_px + (side_px - picture.height) // 2
        sheet.paste(picture, (left + (side_px - picture.width) // 2, top))
        for row, line in enumerate(lines):
            _write(sheet, line, (left, side_px + 2 * gap_px + row * _LINE_PX), side_px)
    return sheet


def _write(sheet: Image.Image, line: str, place: tuple[int, int], width_px: int) -> None:
    """Write a line of text; of one that is too wide, its end, where names of files differ."""
    font, draw = ImageFont.load_default(_TEXT_PX), ImageDraw.Draw(sheet)
    line = line[-width_px:]  # no letter is narrower than a pixel
    kept = next(cut for cut in range(len(line) + 1) if draw.textlength(_cut(line, cut), font) <= width_px)
    draw.text(place, _cut(line, kept), "black", font)


def _cut(line: str, letters: int) -> str:
    return f"...{line[letters:]}" if letters else line


def thumbnail_jpeg(data: bytes, side_px: int) -> bytes:
    """An image file's bytes as a JPEG of at most `side_px` a side.

    Raises:
        Undecodable: if it is not a usable image.
    """
    picture = Image.fromarray(decode(data, side_px).pixels)
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return to_jpeg(picture)


def to_jpeg(picture: Image.Image) -> bytes:
    """JPEG bytes of a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
