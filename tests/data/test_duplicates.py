"""Duplicate groups against brute force, and at the edges where such searches go wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udml.data import duplicates
from udml.data.duplicates import candidate_pairs, find_groups, perceptual_hashes

BITS, CORRELATION = 6, 0.97


def pictures(n: int, seed: int = 0) -> np.ndarray:
    """Smooth random RGB pictures, uint8 [n, 32, 32, 3]; no two alike."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (n, 9, 9, 3))
    at = np.linspace(0, 7.999, 32)
    low, part = at.astype(int), at % 1
    rows = coarse[:, low] * (1 - part)[None, :, None, None] + coarse[:, low + 1] * part[None, :, None, None]
    both = rows[:, :, low] * (1 - part)[None, None, :, None] + rows[:, :, low + 1] * part[None, None, :, None]
    return both.astype(np.uint8)


def noisy(picture: np.ndarray, n: int, seed: int = 1) -> np.ndarray:
    """The picture again, n times, as other encoders and exposures would show it."""
    rng = np.random.default_rng(seed)
    gain = rng.uniform(0.8, 1.0, (n, 1, 1, 1))
    return np.clip(picture[None] * gain + rng.normal(0, 2, (n, *picture.shape)), 0, 255).astype(np.uint8)


def groups_of(thumbnails: np.ndarray, digests: list[int] | None = None) -> list[int]:
    """Groups by row number: images get the ids 100, 101, ..."""
    ids = np.arange(len(thumbnails)) + 100
    keys = np.arange(len(thumbnails)) if digests is None else np.array(digests)
    return (find_groups(ids, keys, thumbnails, BITS, CORRELATION) - 100).tolist()


def test_unlike_pictures_stay_alone() -> None:
    assert groups_of(pictures(300)) == list(range(300))


def test_near_copies_get_the_first_images_id() -> None:
    different = pictures(5)
    images = np.concatenate([different, noisy(different[3], 4), noisy(different[1], 1)])
    assert groups_of(images) == [0, 1, 2, 3, 4, 3, 3, 3, 3, 1]


def test_equal_pixels_are_one_group_even_if_nothing_else_is_alike() -> None:
    assert groups_of(pictures(4), digests=[7, 8, 7, 8]) == [0, 1, 0, 1]


def test_colour_tells_pictures_apart() -> None:
    red_on_white = np.full((32, 32, 3), 250, np.uint8)
    red_on_white[8:24, 10:20, 1:] = 40
    blue_on_white = red_on_white[:, :, ::-1]
    hashes, _ = perceptual_hashes(np.stack([red_on_white, blue_on_white]))
    assert hashes[0] == hashes[1]
    assert groups_of(np.stack([red_on_white, blue_on_white])) == [0, 1]


def test_flat_images_group_only_if_their_pixels_are_equal() -> None:
    flat = np.stack([np.full((32, 32, 3), level, np.uint8) for level in (0, 0, 128, 255, 255)])
    flat[0, 0, 0] = 3  # a speck of dust
    assert groups_of(flat) == [0, 1, 2, 3, 4]
    assert groups_of(flat, digests=[1, 2, 3, 4, 4]) == [0, 1, 2, 3, 3]


def test_groups_do_not_chain() -> None:
    first, last = pictures(2).astype(float)
    steps = np.stack([first * (1 - t) + last * t for t in np.linspace(0, 1, 60)]).astype(np.uint8)
    groups = groups_of(steps)
    assert len(set(groups)) > 3  # neighbours are near duplicates all along the way
    values = steps.reshape(60, -1, 3).astype(float)
    values -= values.mean(axis=1, keepdims=True)
    unit = values.reshape(60, -1) / np.linalg.norm(values.reshape(60, -1), axis=1, keepdims=True)
    for group in set(groups):
        members = np.flatnonzero(np.array(groups) == group)
        assert members[0] == group
        similar = unit[members] @ unit[members].T
        assert similar.min(axis=0).max() >= CORRELATION - 1e-6  # one member is near to all


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_compare(n: int) -> None:
    assert groups_of(pictures(n)) == list(range(n))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 60),
    max_bits=st.integers(0, 16),
    flips=st.integers(0, 20),
)
def test_no_pair_is_missed_outside_crowded_buckets(seed: int, n: int, max_bits: int, flips: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
    for row in range(0, n - 1, 2):  # every second one is a neighbour of the one before
        bits = rng.choice(64, rng.integers(0, flips + 1), replace=False).astype(np.uint64)
        hashes[row + 1] = hashes[row] ^ np.bitwise_or.reduce(np.uint64(1) << bits, initial=np.uint64(0))
    pairs, crowded = candidate_pairs(hashes, max_bits)
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = {(i, j) for i in range(n) for j in range(i + 1, n) if distance[i, j] <= max_bits}
    assert not crowded.any()
    assert {tuple(pair) for pair in pairs.tolist()} == expected
    assert len(pairs) == len(expected)


def test_every_number_of_blocks_finds_every_pair() -> None:
    rng = np.random.default_rng(0)
    for n in (100, 3_000, 70_000):  # 1, 2 and 3 blocks per table for 6 bits
        hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
        flipped = np.argsort(rng.random((n // 2, 64)), axis=1)[:, :6].astype(np.uint64)
        hashes[n // 2 :][: n // 2] = hashes[: n // 2] ^ (np.uint64(1) << flipped).sum(axis=1)
        pairs, _ = candidate_pairs(hashes, 6)
        assert len(pairs) == n // 2
        assert (pairs[:, 1] - pairs[:, 0] == n - n // 2).all()


def test_hashes_that_are_all_alike_do_not_turn_quadratic(monkeypatch: pytest.MonkeyPatch) -> None:
    n, looked_at = 8_000, 0

    def counted(*arguments):
        nonlocal looked_at
        for left, right in bucket_pairs(*arguments):
            looked_at += len(left)
            yield left, right

    bucket_pairs = duplicates._bucket_pairs
    monkeypatch.setattr(duplicates, "_bucket_pairs", counted)
    pairs, crowded = candidate_pairs(np.zeros(n, np.uint64), BITS)
    assert crowded.all()
    assert len(pairs) <= 8 * n
    assert looked_at < 100 * 8 * n  # of 32 million a table


def test_a_thousand_frames_of_one_scene_are_one_group() -> None:
    scene, other = pictures(2)
    images = np.concatenate([noisy(other, 3), noisy(scene, 1_000)])
    assert groups_of(images) == [0] * 3 + [3] * 1_000


def test_a_large_group_in_an_overfull_bucket_is_found_behind_others() -> None:
    hashes = np.zeros(400, np.uint64)
    images = np.concatenate([pictures(40, seed=5), noisy(pictures(1, seed=6)[0], 360)])
    # All in one bucket, so that only a few rows are compared with all.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("udml.data.duplicates.perceptual_hashes", lambda _: (hashes, np.zeros(400, bool)))
        groups = groups_of(images)
    assert groups[:40] == list(range(40))
    assert set(groups[40:]) == {40}
