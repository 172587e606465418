"""What a file says it takes to decode it, read from its header in time linear in what is looked at."""

from udml.decoding.cost import jpeg, others, png, tiff
from udml.decoding.cost.cost import UNKNOWN, Cost

__all__ = ["UNKNOWN", "Cost", "weigh"]

_BY_HEAD = (
    (b"\xff\xd8\xff", jpeg.weigh),
    (b"\x89PNG\r\n\x1a\n", png.weigh),
    (b"II*\0", tiff.weigh),
    (b"MM\0*", tiff.weigh),
    (b"II+\0", tiff.weigh),
    (b"MM\0+", tiff.weigh),
    (b"GIF8", others.weigh_gif),
    (b"BM", others.weigh_bmp),
    (b"P", others.weigh_ppm),
    (b"RIFF", others.weigh_webp),
    (b"\xff\x4f\xff\x51", others.weigh_jpeg2000),
    (b"\0\0\0\x0cjP  ", others.weigh_jpeg2000),
    (b"\xff\x0a", others.weigh_jxl),
    (b"\0\0\0\x0cJXL ", others.weigh_jxl),
)


def weigh(data: bytes, short_side_px: int | None) -> Cost:
    """What decoding takes, by the header alone.

    Args:
        data: the file.
        short_side_px: the shorter side that it will be decoded at, or None for all of it.

    Raises:
        Undecodable: `too_costly`, if the file has more scans, segments, chunks or strips than a picture has.
    """
    for head, weigh_format in _BY_HEAD:
        if data.startswith(head):
            return weigh_format(data, short_side_px)
    return others.weigh_boxes(data, short_side_px) if data[4:8] == b"ftyp" else UNKNOWN
