"""Pictures of results: thumbnails, and a strip of a query with its neighbours."""

import io
from collections.abc import Sequence

from PIL import Image

from udml.pixels import decode

_QUALITY = 88


def result_sheet(query: bytes, neighbours: Sequence[Image.Image], side_px: int) -> Image.Image:
    """One picture of a query (left, framed) and its neighbours, nearest first."""
    gap_px = 8
    pictures = [Image.fromarray(decode(query, 2 * side_px).pixels), *neighbours]
    sheet = Image.new("RGB", (len(pictures) * (side_px + gap_px) + gap_px, side_px + 2 * gap_px), "white")
    sheet.paste((30, 90, 200), (2, 2, side_px + 2 * gap_px - 2, side_px + 2 * gap_px - 2))
    for position, picture in enumerate(pictures):
        picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
        left = gap_px + position * (side_px + gap_px) + (side_px - picture.width) // 2
        sheet.paste(picture, (left, gap_px + (side_px - picture.height) // 2))
    return sheet


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
