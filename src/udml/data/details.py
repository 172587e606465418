"""Whether two pictures that look the same at a glance are the same in their details, too.

Forms, labels, tickets and screens differ in a word or a number alone, which neither 64 bits of a hash nor a
thumbnail shows. Here both are laid over one another (a copy may be cropped or moved by some percent) and
compared tile by tile, light and slow changes of it taken away: a copy is alike in every tile, however it
was scaled, recompressed or sharpened; of two forms some tile is not.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

SIDE_PX = 128  # pictures are compared at this size, whatever their shape
_TILE_PX = 16
_TILES = SIDE_PX // _TILE_PX
_SMOOTH_PX = 8  # changes over more than this are light, not detail
_LEAST_CONTRAST = 6.0  # grey levels, root mean square: tiles below it show nothing
_MIN_SIMILARITY = 0.62  # of the worst tile; see benchmarks/duplicates.py
_REACH_PX = 3  # of the search for how one lies over the other: 2 % of the picture each way
_MAX_SCALING = 0.06
_FOUND = 0.6  # a tile as similar as this says where it lies
_LEAST_FOUND = 0.5  # of the tiles that show anything
_MOST_ERROR_PX = 1.0  # root mean square, between where tiles were found and where they should be
_MANY = 32  # tiles that show something: pictures of which much can be compared
_MOVED = 0.08  # share of tiles in which something may have moved from one shot to the next
_IN_PLACE = 0.98  # and one like this, that it lies where it should; six of them, spread, that all do
_KEPT = 2048  # pictures held, 64 KiB each
_CENTRES = (np.stack(np.divmod(np.arange(_TILES**2), _TILES), axis=1) + 0.5) * _TILE_PX


def same_details(pixels: Callable[[int], np.ndarray]) -> Callable[[int, int], bool]:
    """A function that tells of two pictures, by their numbers, whether their details are the same.

    Args:
        pixels: uint8 [h, w, 3] of the picture of a number.
    """

    @lru_cache(_KEPT)
    def grey(number: int) -> np.ndarray:
        picture = Image.fromarray(pixels(number)).convert("L")
        return np.asarray(picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)).astype(np.float32)

    return lambda left, right: alike(grey(left), grey(right))


def alike(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two grey pictures, float32 [128, 128] of 0..255, are the same in every detail.

    Pictures without any detail are: there is nothing to tell them apart by.
    """
    here, there = _details(left), _details(right)
    similar, shown = _similarity(_tiles(here), _tiles(there))
    if not shown.any() or _is_copy(similar[shown]):
        return True
    in_place = _CENTRES[shown & (similar >= _IN_PLACE)]
    if len(in_place) >= 6 and (np.ptp(in_place, axis=0) >= 0.6 * SIDE_PX).all():
        return False  # nothing was moved, so what differs differs
    placement = _placement(here, there, shown)
    if placement is None:
        return False
    scale, offset = placement
    moved = Image.fromarray(right).transform(
        (SIDE_PX, SIDE_PX),
        Image.Transform.AFFINE,
        (scale[1], 0, offset[1], 0, scale[0], offset[0]),
        Image.Resampling.BICUBIC,
    )
    similar, shown = _similarity(_tiles(here), _tiles(_details(np.asarray(moved))))
    half = _TILE_PX / 2
    inside = ((_CENTRES - half) * scale + offset >= -0.5) & (
        (_CENTRES + half) * scale + offset <= SIDE_PX + 0.5
    )
    seen = similar[shown & inside.all(axis=1)]
    return len(seen) > 0 and _is_copy(seen)


def _is_copy(similar: np.ndarray) -> bool:
    """Whether tiles as similar as these are those of a copy, or of another shot of the same.

    Of two forms, what is printed on both is alike to the pixel, and the rest is not. Of two shots nothing is
    quite, so that a few tiles in which something moved don't count.
    """
    unlike = np.count_nonzero(similar < _MIN_SIMILARITY)
    if unlike == 0:
        return True
    is_shot = len(similar) >= _MANY and np.mean(similar >= _IN_PLACE) < 0.25
    return bool(is_shot and similar.mean() >= 0.8 and unlike <= _MOVED * len(similar))


def _details(grey: np.ndarray) -> np.ndarray:
    """A picture less its light: float32 [128, 128]."""
    coarse = Image.fromarray(grey).resize((SIDE_PX // _SMOOTH_PX,) * 2, Image.Resampling.BOX)
    light: np.ndarray = grey - np.asarray(coarse.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR))
    return light


def _cut(details: np.ndarray) -> np.ndarray:
    """Tiles of [..., 128, 128]: float32 [..., 64, 256], row by row."""
    cut = details.reshape(*details.shape[:-2], _TILES, _TILE_PX, _TILES, _TILE_PX).swapaxes(-3, -2)
    return cut.reshape(*details.shape[:-2], _TILES**2, _TILE_PX**2)


def _tiles(details: np.ndarray) -> np.ndarray:
    """Tiles less the mean of each of their rows and columns: float32 [64, 256].

    Any two lines of text are alike as bars, and so are rules and edges of boxes: what tells them apart is
    what is left.
    """
    cut = _cut(details).reshape(-1, _TILE_PX, _TILE_PX)
    cut = cut - cut.mean(axis=2, keepdims=True)
    cut -= cut.mean(axis=1, keepdims=True)
    return cut.reshape(_TILES**2, _TILE_PX**2)


def _similarity(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of tiles, [..., 64, 256]: similarity, up to 1, and whether either shows anything; both [..., 64].

    A correlation, but a tile with less than half of the other's contrast is as unlike as its contrast.
    """
    contrasts = [np.sqrt(_products(tiles, tiles) / _TILE_PX**2) for tiles in (left, right)]
    high, low = np.maximum(*contrasts), np.minimum(*contrasts)
    product = _products(left, right) / _TILE_PX**2
    return product / np.maximum(high * np.maximum(low, high / 2), 1e-6), high > _LEAST_CONTRAST


def _products(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum("...j,...j->...", left, right)


def _placement(
    here: np.ndarray, there: np.ndarray, shown: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Where a place of one picture lies in the other: scale and offset, (y, x) each.

    Every tile is searched for within some pixels; those that are found say so together. None if they are few,
    or don't agree.
    """
    around = np.pad(there, _REACH_PX, mode="edge")
    moved = _cut(sliding_window_view(around, (SIDE_PX, SIDE_PX)))
    found = _similarity(_cut(here), moved)[0].reshape(-1, _TILES**2)
    moves = np.stack(np.divmod(found.argmax(axis=0), moved.shape[1]), axis=1) - _REACH_PX
    best = found.max(axis=0)
    weights = np.where(shown & (best > _FOUND), best**4, 0.0)
    if np.count_nonzero(weights) < max(1, _LEAST_FOUND * np.count_nonzero(shown)):
        return None
    mean_place = np.average(_CENTRES, axis=0, weights=weights)
    mean_move = np.average(moves, axis=0, weights=weights)
    places = _CENTRES - mean_place
    spread = (weights[:, None] * places**2).sum(axis=0)
    slope = (weights[:, None] * places * (moves - mean_move)).sum(axis=0) / np.maximum(spread, 1e-6)
    wide = (np.ptp(_CENTRES[weights > 0], axis=0) >= SIDE_PX / 3) & (weights.sum() >= 2)
    slope = np.where(wide, np.clip(slope, -_MAX_SCALING, _MAX_SCALING), 0.0)
    offset = mean_move - slope * mean_place
    errors = (moves - slope * _CENTRES - offset) ** 2
    if np.average(errors.mean(axis=1), weights=weights) > _MOST_ERROR_PX**2:
        return None
    return 1 + slope, offset
