"""A rectangle of a picture, decoded as the whole picture would be."""

import numpy as np

from udml.decoding.budget import COMMAND, Budget
from udml.decoding.cut import Crop
from udml.decoding.plain import Wish
from udml.pixels import decode_wish

__all__ = ["Crop", "decode_crop"]


def decode_crop(
    data: bytes,
    short_side_px: int,
    crop: Crop,
    max_pixels: int = 100_000_000,
    budget: Budget = COMMAND,
) -> np.ndarray:
    """A rectangle of an image file, upright: uint8 [h, w, 3], RGB.

    The file is decoded, turned and checked as ever (`udml.pixels.decode`), then cut, and what was cut is
    shrunk as a whole picture would be. It is decoded no larger than that needs.

    Args:
        data: the bytes of the file.
        short_side_px: largest shorter side wanted of what is cut out.
        crop: what to cut out; at least one pixel is.
        max_pixels: of the whole picture; checked in the header.
        budget: what decoding may take.

    Raises:
        Undecodable: see `decode`.
    """
    return decode_wish(data, Wish(short_side_px, max_pixels=max_pixels, crop=crop), budget).pixels
