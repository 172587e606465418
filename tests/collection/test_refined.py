"""Search by neighbourhoods while a collection changes."""

import hashlib
from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from udml.collection.additions import ADDITIONS_FILE, Additions
from udml.collection.collection import Collection
from udml.collection.outcome import NewFile
from udml.data.identity import image_id
from udml.files import read_json, write_json
from udml.search.build import write_index
from udml.search.gallery import INFO_FILE, MIXED_FILE, IndexInfo, open_index
from udml.search.items import ITEMS_FILE, IndexedItem, Items

DIM, THINGS, OF_EACH, MODEL = 32, 20, 5, "m" * 16


def vector(data: bytes) -> np.ndarray:
    """Files named after the same thing lie near each other; what stands behind a ~ tells copies apart."""
    data = data.split(b"~")[0]
    thing = np.random.default_rng(int(data.split(b"-")[0])).standard_normal(DIM)
    noise = np.random.default_rng(list(hashlib.sha256(data).digest()[:8])).standard_normal(DIM)
    made = (thing + 0.5 * noise).astype(np.float32)
    return made / np.linalg.norm(made)


def name(thing, number):
    return f"{thing}-{number}"


def write(directory, names):
    directory.mkdir(parents=True)
    items = [
        IndexedItem(image_id(n), n, None, hashlib.sha256(n.encode()).hexdigest(), len(n), row, 0, 0)
        for row, n in enumerate(names)
    ]
    vectors = np.stack([vector(n.encode()) for n in names])
    built = faiss.IndexIDMap2(faiss.IndexFlatIP(DIM))
    built.add_with_ids(vectors, np.array([item.image_id for item in items]))
    write_index(
        directory, built, [vectors], IndexInfo(MODEL, "d" * 16, "flat", DIM, len(names), 1.0, {}), items, True
    )


def opened(directory):
    card = SimpleNamespace(model_version=MODEL, embedding_dim=DIM)
    return Collection(
        open_index(directory, card),
        Items(directory / ITEMS_FILE),
        Additions(directory / ADDITIONS_FILE),
        directory / "data",
        lambda files: [vector(data) for data in files],
    )


NAMES = [name(thing, number) for thing in range(THINGS) for number in range(OF_EACH)]
QUERIES = np.stack([vector(name(thing, "query").encode()) for thing in range(THINGS)])


@pytest.fixture
def base(tmp_path):
    write(tmp_path / "index", NAMES)
    return tmp_path / "index"


def test_the_index_says_what_was_mixed_and_why(base):
    info = read_json(base / INFO_FILE)
    assert 1 <= info["mixed_neighbours"] <= OF_EACH
    assert "reciprocity" in info["mixed_because"]
    assert np.load(base / MIXED_FILE).shape == (len(NAMES), DIM)


def test_the_order_is_another_and_what_is_read_is_the_same(base):
    collection = opened(base)
    plain, plain_ids = collection.search(QUERIES, len(NAMES))
    refined, ids = collection.search_refined(QUERIES, len(NAMES))
    assert (ids[:, 0] == plain_ids[:, 0]).all()
    assert (ids != plain_ids).any()
    for row in range(THINGS):
        of = dict(zip(plain_ids[row].tolist(), plain[row].tolist(), strict=True))
        assert [of[i] for i in ids[row].tolist()] == refined[row].tolist()


def test_fewer_asked_for_are_the_first_of_more(base):
    collection = opened(base)
    every = collection.search_refined(QUERIES, len(NAMES))[1]
    for k in (1, 3, 8):
        np.testing.assert_array_equal(collection.search_refined(QUERIES, k)[1], every[:, :k])


def test_those_below_the_threshold_take_nobody_s_place(base):
    collection = opened(base)
    plain = collection.search(QUERIES, 8)[0]
    lowest = float(np.quantile(plain, 0.6))
    refined = collection.search_refined(QUERIES, 8, lowest)[0]
    np.testing.assert_array_equal((refined >= lowest).sum(axis=1), (plain >= lowest).sum(axis=1))


def test_an_added_image_is_found_at_once_and_mixed(base):
    collection = opened(base)
    new = name(3, "new")
    collection.add([NewFile(new, new.encode())])
    overlay = collection.refresh()
    assert not np.allclose(overlay.mixed, overlay.vectors)
    np.testing.assert_allclose(np.linalg.norm(overlay.mixed, axis=1), 1, atol=1e-5)
    assert image_id(new) in collection.search_refined(QUERIES[3:4], OF_EACH + 1)[1]
    assert collection.search_refined(vector(new.encode())[None], 1)[1].tolist() == [[image_id(new)]]


def test_a_removed_image_is_never_shown(base):
    collection = opened(base)
    gone = [image_id(name(3, number)) for number in range(3)]
    collection.remove(gone)
    ids = collection.search_refined(QUERIES, len(NAMES))[1]
    assert not np.isin(ids, gone).any()
    assert ids.shape == (THINGS, len(NAMES) - 3)


def test_remove_after_add_gives_what_never_was(base):
    collection = opened(base)
    before = collection.search_refined(QUERIES, len(NAMES))
    new = name(5, "new")
    collection.add([NewFile(new, new.encode())])
    collection.remove([image_id(new)])
    after = collection.search_refined(QUERIES, len(NAMES))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_index_from_before_there_were_mixtures_is_searched_plainly(base):
    (base / MIXED_FILE).unlink()
    info = read_json(base / INFO_FILE)
    write_json(base / INFO_FILE, {k: v for k, v in info.items() if not k.startswith(("mixed", "files"))})
    collection = opened(base)
    np.testing.assert_array_equal(collection.search(QUERIES, 8)[1], collection.search_refined(QUERIES, 8)[1])


@pytest.mark.parametrize("seed", range(5))
def test_the_order_in_which_images_came_does_not_matter(tmp_path, base, seed):
    rng = np.random.default_rng(seed)
    write(tmp_path / "other", [NAMES[place] for place in rng.permutation(len(NAMES))])
    one, other = (opened(path).search_refined(QUERIES, len(NAMES)) for path in (base, tmp_path / "other"))
    np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_allclose(one[0], other[0], atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_a_burst_counts_once_for_a_query_and_for_an_added_image(tmp_path, base, seed):
    """However many copies of its neighbour lie there, an image is mixed as if there were one."""
    rng = np.random.default_rng(seed)
    thing = int(rng.integers(THINGS))
    write(tmp_path / "bursts", [*NAMES, *(f"{thing}-0~{copy}" for copy in range(int(rng.integers(1, 12))))])
    one, other = (opened(path) for path in (base, tmp_path / "bursts"))
    for collection in (one, other):
        collection.add([NewFile(name(thing, "new"), name(thing, "new").encode())])
    np.testing.assert_allclose(one.refresh().mixed, other.refresh().mixed, atol=2e-3)
    found = [
        [i for i in ids[thing].tolist() if i in {image_id(n) for n in NAMES}]
        for ids in (c.search_refined(QUERIES, 20)[1] for c in (one, other))
    ]
    assert found[0][:8] == found[1][:8]


@pytest.mark.parametrize("names", [["1-0"], ["1-0", "2-0"]])
def test_one_image_and_two_are_searched(tmp_path, names):
    write(tmp_path / "index", names)
    collection = opened(tmp_path / "index")
    assert collection.search_refined(QUERIES, 8)[1].shape == (THINGS, len(names))
    collection.add([NewFile("3-0", b"3-0")])
    assert collection.search_refined(QUERIES, 8)[1].shape == (THINGS, len(names) + 1)
    collection.remove([image_id(n) for n in names])
    assert collection.search_refined(QUERIES, 8)[1].tolist() == [[image_id("3-0")]] * THINGS


def test_the_same_images_give_the_same_files(tmp_path, base):
    write(tmp_path / "again", NAMES)
    assert (tmp_path / "again" / MIXED_FILE).read_bytes() == (base / MIXED_FILE).read_bytes()
