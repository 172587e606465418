"""Search in what a filter has left, beside a ranking of everything from which the rest is taken out."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.collection.filtering.made_up import columns_from, expressions, meets, rows
from tests.collection.made_up import DIM, embed, open_collection, write_base
from tests.fixtures.vectors import unit
from udml.collection.filtering import chosen as chosen_module
from udml.collection.filtering.expression import FilterError, write
from udml.collection.outcome import NewFile
from udml.data.identity import image_id
from udml.search.among import Among, lists_of, one_by_one, search_among
from udml.search.build import build
from udml.search.columns import write_columns

QUERIES = np.stack(embed([b"one", b"another", b"a third"]))
NOTHING = dict.fromkeys(("taken", "width", 'odd "name" and', "folder", "label"))


def opened(directory, made):
    write_base(directory, len(made))
    write_columns(directory, columns_from(made))
    return open_collection(directory)


def ranked(collection, met, k):
    """Ids in the order of their similarity, those that did not meet the filter taken out."""
    every = collection.search(QUERIES, len(collection))[1]
    return [[i for i in one if i in met][:k] for one in every.tolist()]


@settings(max_examples=25)
@given(expressions, rows.filter(len), st.integers(1, 40), st.integers(0, 2**31))
def test_what_is_found_is_what_a_ranking_of_everything_leaves(tmp_path_factory, tree, made, k, seed):
    collection = opened(tmp_path_factory.mktemp("index") / "index", made)
    rng = np.random.default_rng(seed)
    known = {image_id(f"base-{row}"): one for row, one in enumerate(made)}
    for number in range(int(rng.integers(0, 4))):
        folder, label = [("2024", "a"), ("", None), ("x/2024", "Größe")][number]
        source = f"{folder}/{number}.jpg".lstrip("/")
        collection.add([NewFile(source, source.encode(), label)])
        known[image_id(source)] = {**NOTHING, "folder": folder, "label": label}
    gone = rng.choice(list(known), rng.integers(0, len(known)), replace=False).tolist()
    collection.remove(gone)
    met = {i for i, one in known.items() if i not in gone and meets(tree, one)}
    chosen = collection.choose(write(tree))
    assert len(chosen) == len(met)
    assert chosen.holds([*known, 17]) == met
    assert set(chosen.spread(100)) == met
    similarity, ids = collection.search(QUERIES, k, chosen)
    assert ids.tolist() == ranked(collection, met, k)
    assert (np.diff(similarity, axis=1) <= 0).all()
    refined = collection.search_refined(QUERIES, k, -1.0, chosen)[1]
    assert refined.shape == ids.shape
    assert refined[:, :1].tolist() == ids[:, :1].tolist()
    assert set(refined.ravel().tolist()) <= met
    collection.close()


def test_a_filter_is_asked_anew_after_a_change_and_not_before(tmp_path, monkeypatch):
    made = [{**NOTHING, "folder": f"20{20 + row % 4}"} for row in range(40)]
    collection = opened(tmp_path / "index", made)
    asked = []
    real = chosen_module.mask_of
    monkeypatch.setattr(chosen_module, "mask_of", lambda *what: asked.append(what) or real(*what))
    first = collection.choose("folder = '2021'")
    assert collection.choose("folder   =  '2021' ") is first
    assert len(asked) == 1
    collection.add([NewFile("2021/new.jpg", b"new", None)])
    second = collection.choose("folder = '2021'")
    assert (len(first), len(second), len(asked)) == (10, 11, 2)  # the second time of what was added alone
    # what was chosen stays what it was
    assert image_id("2021/new.jpg") not in collection.search(QUERIES, 50, first)[1]
    assert image_id("2021/new.jpg") in collection.search(QUERIES, 50, second)[1]
    for number in range(60):
        collection.choose(f"folder = '{number}'")
    assert len(collection._filters._masks) == len(collection._filters._chosen) == chosen_module._MASKS_KEPT


def test_a_filter_that_nothing_meets_and_one_that_is_wrong(tmp_path):
    collection = opened(tmp_path / "index", [NOTHING] * 3)
    nothing = collection.choose("label = 'x'")
    assert (len(nothing), nothing.spread(5), nothing.holds([image_id("base-0")])) == (0, [], set())
    for search in (collection.search, collection.search_refined):
        assert search(QUERIES, 5, among=nothing)[1].shape == (len(QUERIES), 0)
    with pytest.raises(FilterError, match="columns are folder"):
        collection.choose("colour = 'red'")
    assert dict(collection.columns())["taken"] == "time"


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    middles = rng.standard_normal((60, DIM))
    of = rng.integers(0, 60, 4000)
    return unit(middles[of] + 0.5 * rng.standard_normal((4000, DIM))), of


@pytest.fixture(scope="module", params=["flat", "hnsw", "ivf"])
def built(request, vectors):
    asked = unit(vectors[0][:200] + 0.2 * np.random.default_rng(1).standard_normal((200, DIM)))
    return build([vectors[0]], np.arange(4000), request.param, asked, 0.95)[0]


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("count", [3, 300])
def test_every_kind_of_index_finds_what_is_left(built, vectors, share, whole, count):
    every, of = vectors
    base = faiss.downcast_index(built.index)
    rng = np.random.default_rng(2)
    drawn = rng.random(60 if whole else 4000) < share
    drawn[7] = True
    among = Among(drawn[of] if whole else drawn)
    queries = unit(every[:count] + 0.2 * rng.standard_normal((count, DIM)))
    exact = None if not isinstance(base, faiss.IndexIVF) else every
    best, rows_ = one_by_one(every, queries, 10, among)
    similarity, positions = search_among(base, queries, 10, exact, among)
    assert positions.shape == (count, min(10, len(among)))
    assert among.mask[positions].all()
    assert all(len(set(one)) == len(one) for one in positions.tolist())
    found = float((similarity >= best[:, -1:] - 1e-5).mean())
    assert found >= (1.0 if isinstance(base, faiss.IndexFlat) or len(among) <= 10 else 0.9)
    expected = np.einsum("nd,nkd->nk", queries, every[positions])
    np.testing.assert_allclose(similarity, expected, atol=1e-5)
    assert (np.diff(best, axis=1) <= 0).all()
    assert among.mask[rows_].all()


def test_lists_are_known_of_every_row(vectors):
    built = build([vectors[0]], np.arange(4000), "ivf", vectors[0][:50], 0.5)[0]
    inverted = faiss.downcast_index(built.index)
    lists = lists_of(inverted)
    assert lists is lists_of(inverted)
    np.testing.assert_array_equal(lists, inverted.quantizer.search(vectors[0], 1)[1][:, 0])
