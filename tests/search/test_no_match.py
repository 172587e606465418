import faiss
import numpy as np
import pytest

from tests.fixtures.vectors import unit
from udml.search.no_match import MAX_IMAGES, nearest_others, spread_rows, threshold_at

ERROR = 0.05


def collection(images, things, seed, scatter=0.6, dim=32):
    """Unit vectors of `images` pictures of `things` things, and a function that makes more of them."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((things, dim))

    def pictures(count):
        made = centres[rng.integers(0, things, count)] + scatter * rng.standard_normal((count, dim))
        return unit(made)

    return pictures(images), pictures


def indexed(vectors):
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def share_without_match(vectors, groups, queries, error=ERROR):
    index, rows = indexed(vectors), spread_rows(len(vectors))
    threshold = threshold_at(nearest_others(index, vectors[rows], groups, rows), error)
    return float((index.search(queries, 1)[0][:, 0] < threshold).mean())


@pytest.mark.parametrize("error", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("scatter", [0.3, 1.0])
def test_new_pictures_of_the_same_kind_are_told_no_match_at_the_stated_rate(error, scatter):
    """30 collections, 500 new pictures each: their mean share is the stated one, within its own spread."""
    shares = []
    for seed in range(30):
        vectors, more = collection(600, 40, seed, scatter)
        shares.append(share_without_match(vectors, np.arange(600), more(500), error))
    spread = np.std(shares) / np.sqrt(len(shares))
    assert np.mean(shares) <= error + 3 * spread
    assert np.mean(shares) >= error - 1 / 600 - 3 * spread  # and not by telling nobody


def test_foreign_pictures_are_told_no_match():
    vectors, _ = collection(600, 40, 0, scatter=0.3)
    _, others = collection(1, 40, 1, scatter=0.3)
    assert share_without_match(vectors, np.arange(600), others(500)) > 0.95


def test_duplicates_in_the_collection_do_not_raise_the_threshold():
    """Every image is there twice; a new picture has no such twin to be near to."""
    shares = {"told": [], "untold": []}
    for seed in range(20):
        vectors, more = collection(300, 30, seed)
        twice, queries = np.concatenate([vectors, vectors]), more(500)
        groups = np.tile(np.arange(300), 2)
        shares["told"].append(share_without_match(twice, groups, queries))
        shares["untold"].append(share_without_match(twice, np.arange(600), queries))
    assert np.mean(shares["told"]) == pytest.approx(ERROR, abs=0.015)
    assert np.mean(shares["untold"]) > 0.9


def test_nearest_others_are_those_of_a_slow_search():
    vectors, _ = collection(200, 20, 0)
    groups = np.random.default_rng(0).integers(0, 60, 200)
    rows = np.arange(0, 200, 3)
    similarity = vectors @ vectors.T
    slow = [similarity[row, groups != groups[row]].max() for row in rows]
    np.testing.assert_allclose(nearest_others(indexed(vectors), vectors[rows], groups, rows), slow, atol=1e-6)


def test_nothing_but_duplicates_or_too_few_images_give_no_threshold():
    vectors, _ = collection(5, 2, 0)
    rows = np.arange(5)
    assert len(nearest_others(indexed(vectors), vectors, np.zeros(5, np.int64), rows)) == 0
    assert threshold_at(np.empty(0, np.float32), ERROR) is None
    assert threshold_at(np.arange(18.0), ERROR) is None
    assert threshold_at(np.arange(19.0)[::-1], ERROR) == 0.0
    assert threshold_at(np.arange(100.0), 0.0) is None


def test_rows_are_spread_evenly():
    assert spread_rows(3).tolist() == [0, 1, 2]
    rows = spread_rows(1_000_000)
    assert (len(rows), rows[0], rows[-1]) == (MAX_IMAGES, 0, 999_999)
    assert np.ptp(np.diff(rows)) <= 1
