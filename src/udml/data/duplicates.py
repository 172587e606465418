"""Duplicate groups: images with the same pixels, and images that look the same.

Near duplicates are found with a 64-bit perceptual hash and verified on thumbnails, and in their details. A
group is a star (Aslam et al., "The star clustering algorithm", 2004): every member was verified against one
of them, its centre, so groups do not chain (a looks like b, b looks like c, ...) into a mixture. Mirrored,
rotated and heavily cropped copies are not found.

Shapes: n images; thumbnails are RGB, 32 x 32 px, whatever the image's shape; hashes are uint64.
"""

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from udml.data.details import same_details

THUMBNAIL_PX = 32
HASH_BITS = 64
FLAT_STD = 2.0  # grey levels; below it a thumbnail shows nothing that could be compared

_DCT_ROUNDING = 1e-6  # coefficients nearer to zero than this are zero, whatever the machine
_MAX_TABLES = 256
_FULL_BUCKET = 64  # in buckets up to this size every pair is looked at ...
_LEADERS = 8  # ... in fuller ones, pairs with this many images of the bucket
_ROUNDS = 4  # of looking again where buckets are overfull
_PENDING = 1 << 20  # pairs, some of them found more than once
_CHUNK = 1 << 11  # rows or pairs at a time: tens of MiB


def duplicate_thumbnail(picture: Image.Image) -> np.ndarray:
    """What `find_groups` compares of an RGB picture: uint8 [32, 32, 3]."""
    return np.asarray(picture.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX))


def digest_of_pixels(pixels: np.ndarray) -> bytes:
    """Sixteen bytes that are equal for images, uint8 [h, w, 3], of equal shape and pixels."""
    digest = hashlib.blake2b(str(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def find_groups(
    image_ids: np.ndarray,
    pixel_digests: np.ndarray,
    thumbnails: np.ndarray,
    max_bits: int,
    min_correlation: float,
    pixels: Callable[[int], np.ndarray] | None = None,
) -> np.ndarray:
    """Give every image the id of the first image (in row order) of its duplicate group.

    Two images are near duplicates if their hashes differ in at most `max_bits` bits and their
    thumbnails correlate by at least `min_correlation`, colours included: each channel less its mean, so
    that exposure and white balance do not count, but a red and a blue copy of a shirt differ. Images
    whose grey thumbnail is flat (standard deviation below `FLAT_STD`: blank pages, black frames) have
    no picture to compare and share a group only if their pixels are identical.

    Cost is near linear in n, also if many images are alike; see `candidate_pairs`.

    Args:
        image_ids: int64 [n], distinct.
        pixel_digests: bytes [n] of any fixed-length dtype, equal for equal decoded pixels.
        thumbnails: uint8 [n, 32, 32, 3]; may be a memory map, it is read in pieces.
        max_bits: largest Hamming distance of two near duplicates, 0..16.
        min_correlation: smallest correlation of their thumbnails, 0..1.
        pixels: uint8 [h, w, 3] of the image in a row, at some 128 px or more. If given, near duplicates must
            be the same in their details, too (`udml.data.details`): two forms of one kind are not.

    Returns:
        group: int64 [n].
    """
    first = _first_of_equal(pixel_digests)
    distinct = np.flatnonzero(first == np.arange(len(first)))
    hashes, flat = perceptual_hashes(thumbnails)
    seen = distinct[~flat[distinct]]
    member_of = np.arange(len(first))
    same = same_details(pixels) if pixels else None

    def joined(pairs: np.ndarray) -> np.ndarray:
        alike = pairs[_correlated(thumbnails, seen, pairs, min_correlation)]
        if same is None:
            return alike
        kept = [same(int(left), int(right)) for left, right in seen[alike]]
        return alike[np.array(kept, bool)]

    member_of[seen] = seen[_stars(hashes[seen], max_bits, joined)]
    return np.asarray(image_ids)[_first_of_equal(member_of[first])]


def perceptual_hashes(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signs of the 64 lowest frequencies, the constant one left out, of each grey thumbnail's 2-d DCT.

    Args:
        thumbnails: uint8 [n, 32, 32, 3]; grey is the mean of the channels.

    Returns:
        hashes uint64 [n], and flat bool [n]: whether the thumbnail is too flat to be compared.
    """
    basis = _dct_basis()
    hashes = np.zeros(len(thumbnails), np.uint64)
    flat = np.zeros(len(thumbnails), bool)
    weights = np.uint64(1) << np.arange(HASH_BITS, dtype=np.uint64)
    for start in range(0, len(thumbnails), _CHUNK):
        rows = slice(start, start + _CHUNK)
        red, green, blue = np.moveaxis(np.asarray(thumbnails[rows], np.uint16), 3, 0)
        values = ((red + green + blue) / 3).reshape(-1, THUMBNAIL_PX**2)  # ten times as fast as their mean
        flat[rows] = values.std(axis=1) < FLAT_STD
        hashes[rows] = np.where(values @ basis > _DCT_ROUNDING, weights, np.uint64(0)).sum(axis=1)
    return hashes, flat


def candidate_pairs(hashes: np.ndarray, max_bits: int, attempt: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows whose hashes differ in at most `max_bits` bits, in near linear time.

    The 64 bits are cut into max_bits + k blocks. Two hashes that differ in at most max_bits bits agree
    on at least k whole blocks, so they meet in one of the tables, one per choice of k blocks, that
    bucket the rows by those blocks (Manku et al., WWW 2007). k grows with n, so that buckets stay
    small. Where a bucket is overfull, because the hashes themselves are alike, only pairs with a few
    of its rows, evenly spaced, are looked at; `crowded` says whose pairs may be missing.

    Args:
        hashes: uint64 [n].
        max_bits: largest Hamming distance.
        attempt: another number, 0 to 3, looks at other rows of overfull buckets.

    Returns:
        pairs int64 [m, 2], distinct, the first row of a pair below the second, and crowded bool [n].
    """
    n = len(hashes)
    crowded = np.zeros(n, bool)
    codes = np.empty(0, np.int64)
    found: list[np.ndarray] = []
    for mask in _tables(n, max_bits):
        keys = hashes & mask
        order = np.argsort(keys, kind="stable")
        for left, right in _bucket_pairs(keys[order], order, crowded, attempt):
            near = np.bitwise_count(hashes[left] ^ hashes[right]) <= max_bits
            low, high = np.minimum(left[near], right[near]), np.maximum(left[near], right[near])
            found.append(low * n + high)
        if sum(map(len, found)) > max(_PENDING, len(codes)):
            codes, found = np.unique(np.concatenate([codes, *found])), []
    codes = np.unique(np.concatenate([codes, *found]))
    return np.stack([codes // max(n, 1), codes % max(n, 1)], axis=1), crowded


def _first_of_equal(values: np.ndarray) -> np.ndarray:
    """For each value the first position that holds an equal one: int64 [n]."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return first[inverse]


def _dct_basis() -> np.ndarray:
    """The 64 two-dimensional cosines of lowest frequency but for the constant: float64 [1024, 64]."""
    position = (np.arange(THUMBNAIL_PX) + 0.5) * math.pi / THUMBNAIL_PX
    pairs = itertools.product(range(THUMBNAIL_PX), repeat=2)
    lowest = sorted(pairs, key=lambda pair: (sum(pair), pair))[1 : HASH_BITS + 1]
    waves = [np.outer(np.cos(u * position), np.cos(v * position)).ravel() for u, v in lowest]
    return np.stack(waves, axis=1)


def _tables(n: int, max_bits: int) -> list[np.uint64]:
    """Bit masks, one per table: k of max_bits + k blocks, k large enough for n buckets."""
    chosen = 1
    while HASH_BITS * chosen / (max_bits + chosen) < math.log2(max(n, 2)):
        if max_bits + chosen >= HASH_BITS or math.comb(max_bits + chosen + 1, chosen + 1) > _MAX_TABLES:
            break
        chosen += 1
    edges = np.linspace(0, HASH_BITS, max_bits + chosen + 1).astype(int)
    blocks = [sum(1 << bit for bit in range(low, high)) for low, high in itertools.pairwise(edges)]
    return [np.uint64(sum(choice)) for choice in itertools.combinations(blocks, chosen)]


def _bucket_pairs(
    keys: np.ndarray, rows: np.ndarray, crowded: np.ndarray, attempt: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of `rows` with equal `keys` (sorted; equal keys hold rows in rising order)."""
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.empty(0, int)
    sizes = np.diff(np.r_[starts, len(keys)])
    left_over = np.repeat(starts + sizes, sizes) - np.arange(len(keys))  # rows from here to bucket's end
    small = np.repeat(sizes <= _FULL_BUCKET, sizes)
    crowded[rows[~small]] = True
    for step in range(1, _FULL_BUCKET):
        at = np.flatnonzero(small & (left_over > step))
        if not len(at):
            break
        yield rows[at], rows[at + step]
    for start, size in zip(starts[sizes > _FULL_BUCKET], sizes[sizes > _FULL_BUCKET], strict=True):
        bucket = rows[start : start + size]
        for leader in (np.arange(_LEADERS) * _ROUNDS + attempt) * size // (_LEADERS * _ROUNDS):
            yield np.full(size - 1, bucket[leader]), np.delete(bucket, leader)


def _stars(hashes: np.ndarray, max_bits: int, joined: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Star clusters of n images: for each the position of its star's centre, int64 [n].

    `joined` gives those of some pairs of positions that are near duplicates. Rows whose pairs may be missing
    (crowded) and that found no star are tried again among themselves.
    """
    centre = np.arange(len(hashes))
    active = np.arange(len(hashes))
    for attempt in range(_ROUNDS):
        pairs, crowded = candidate_pairs(hashes[active], max_bits, attempt)
        near = np.searchsorted(active, joined(active[pairs]))  # back to positions in `active`, sorted
        local, taken = _greedy_stars(len(active), near)
        centre[active] = active[local]
        active = active[crowded & ~taken]
        if len(active) < 2:
            break
    return centre


def _correlated(
    thumbnails: np.ndarray, rows: np.ndarray, pairs: np.ndarray, min_correlation: float
) -> np.ndarray:
    """Which pairs (positions in `rows`) have thumbnails that correlate enough: bool [m]."""
    alike = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        used, where = np.unique(rows[pairs[chunk]], return_inverse=True)
        values = np.asarray(thumbnails[used]).reshape(len(used), -1, 3).astype(np.float32)
        values -= values.mean(axis=1, keepdims=True)
        values /= np.linalg.norm(values, axis=(1, 2), keepdims=True)
        left, right = where.reshape(-1, 2).T
        alike[chunk] = np.einsum("ijc,ijc->i", values[left], values[right]) >= min_correlation
    return alike


def _greedy_stars(n: int, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stars in the graph of near pairs, int64 [m, 2].

    Rows become centres in order of their number of neighbours (ties: first row first); a centre takes
    every neighbour that is still free.

    Returns:
        centre int64 [n], and taken bool [n]: whether the row is in a star of two or more.
    """
    centre = np.arange(n)
    taken = np.zeros(n, bool)
    ends = np.concatenate([pairs, pairs[:, ::-1]])
    ends = ends[np.argsort(ends[:, 0], kind="stable")]
    degree = np.bincount(ends[:, 0], minlength=n)
    stop = np.cumsum(degree)
    for row in np.argsort(-degree, kind="stable")[: np.count_nonzero(degree)]:
        if not taken[row]:
            near = ends[stop[row] - degree[row] : stop[row], 1]
            free = near[~taken[near]]
            centre[free] = row
            taken[free] = True
            taken[row] = len(free) > 0
    return centre, taken
