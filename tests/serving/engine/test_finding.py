"""Near-duplicates that collapse, against a ranking of everything."""

import hashlib
import io
from types import SimpleNamespace

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from tests.serving.live import files, make_version, png
from udml import Searcher
from udml.collection.additions import ADDITIONS_FILE, Additions
from udml.collection.collection import Collection
from udml.collection.copies import CopyGroups
from udml.data.identity import image_id
from udml.search.build import write_index
from udml.search.gallery import IndexInfo, open_index
from udml.search.items import ITEMS_FILE, IndexedItem, Items
from udml.serving.engine import finding
from udml.serving.engine.answers import Wanted
from udml.serving.engine.compaction import compact

DIM = 12


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def write(directory, vectors, groups, mixed=False):
    """An index of made-up vectors; `groups` says which image each is a copy of, by row."""
    ids = [image_id(str(row)) for row in range(len(vectors))]
    items = [
        IndexedItem(
            ids[row], str(row), None, hashlib.sha256(b"%d" % row).hexdigest(), 1, row, 0, 0,
            None if group == row else ids[group],
        )
        for row, group in enumerate(groups)
    ]  # fmt: skip
    built = faiss.IndexIDMap2(faiss.IndexFlatIP(DIM))
    built.add_with_ids(vectors, np.array(ids))
    info = IndexInfo("m" * 16, "d" * 16, "flat", DIM, len(vectors), 1.0, {})
    write_index(directory, built, [vectors], info, items, mixed)
    return ids


def opened(directory):
    card = SimpleNamespace(model_version="m" * 16, embedding_dim=DIM)
    return Collection(
        open_index(directory, card), Items(directory / ITEMS_FILE), Additions(directory / ADDITIONS_FILE),
        directory, lambda data: [],
    )  # fmt: skip


def slow(collection, query, wanted, group_of, leave_out):
    """Everything in order, one after the other, into cards; then the first k of them."""
    search = collection.search if wanted.refine == "none" else collection.search_refined
    lowest = -2.0 if wanted.threshold is None else wanted.threshold
    arguments = () if wanted.refine == "none" else (lowest,)
    (similarity,), (ids,) = search(query[None], len(collection), *arguments)
    cards = []
    for i, s in zip(ids.tolist(), similarity.tolist(), strict=True):
        if s < lowest or i in leave_out:
            continue
        card = next((c for c in cards if group_of[c[0][0]] == group_of[i]), None)
        if card is None:
            cards.append([(i, s)])
        else:
            card.append((i, s))
    return cards[: wanted.k]


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 60),
    groups=st.integers(1, 60),
    k=st.integers(1, 30),
    threshold=st.none() | st.floats(-0.5, 0.9),
    refine=st.sampled_from(["auto", "none"]),
    least=st.sampled_from([2, 7, 100]),
)
def test_cards_are_those_of_a_ranking_of_everything(
    tmp_path_factory, *, seed, count, groups, k, threshold, refine, least
):
    rng = np.random.default_rng(seed)
    middle = rng.standard_normal((groups, DIM))
    of = rng.integers(0, groups, count)
    vectors = unit(middle[of] + 0.4 * rng.standard_normal((count, DIM)))
    first = [int(np.flatnonzero(of == g)[0]) for g in of]
    directory = tmp_path_factory.mktemp("index")
    ids = write(directory, vectors, first, mixed=True)
    collection = opened(directory)
    removed = rng.choice(ids, rng.integers(0, (count + 1) // 2), replace=False).tolist()
    if removed:
        collection.remove(removed)
    leave_out = frozenset(rng.choice(ids, min(count, 2), replace=False).tolist())
    wanted = Wanted(k, threshold, refine, collapse=True)
    query = unit(rng.standard_normal(DIM))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finding, "_LEAST_FETCHED", least)
        found = finding.find(collection, CopyGroups(collection), query[None], wanted, leave_out)[0]
    expected = slow(collection, query, wanted, dict(zip(ids, of.tolist(), strict=True)), leave_out)
    assert [hit.image_id for hit in found] == [card[0][0] for card in expected]
    for hit, card in zip(found, expected, strict=True):
        assert {copy.image_id for copy in hit.copies} == {i for i, _ in card[1:]}
        similarities = [copy.similarity for copy in hit.copies]
        assert similarities == sorted(similarities, reverse=True)
        np.testing.assert_allclose(similarities, sorted((s for _, s in card[1:]), reverse=True), atol=1e-5)
        assert not {hit.image_id, *(copy.image_id for copy in hit.copies)} & {*removed, *leave_out}
    collection.close()


def test_a_group_larger_than_what_is_fetched_at_first_takes_one_place(tmp_path):
    rng = np.random.default_rng(0)
    vectors = unit(np.concatenate([np.ones((900, DIM)), rng.standard_normal((60, DIM))]))
    ids = write(tmp_path / "index", vectors, [0] * 900 + list(range(900, 960)))
    collection = opened(tmp_path / "index")
    query = unit(np.ones(DIM))
    found = finding.find(collection, CopyGroups(collection), query[None], Wanted(20, collapse=True), set())[0]
    assert len(found) == 20
    assert found[0].image_id in ids[:900]
    assert len(found[0].copies) == finding._MOST_COPIES
    assert not any(hit.copies for hit in found[1:])
    collection.close()


def photo(seed):
    """Something with light, shapes and detail."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize(
        (320, 240), Image.Resampling.BICUBIC
    )
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        x, y = rng.integers(0, 300), rng.integers(0, 220)
        draw.rectangle(
            (x, y, x + rng.integers(4, 50), y + rng.integers(4, 40)), tuple(rng.integers(0, 256, 3).tolist())
        )
    return image


def jpeg(image, quality=90):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def form(number):
    """One of many forms that differ in a number alone."""
    image = Image.new("RGB", (320, 240), "white")
    draw = ImageDraw.Draw(image)
    for line in range(9):
        draw.rectangle((20, 20 + 24 * line, 300, 34 + 24 * line), outline="black")
        draw.text((30, 21 + 24 * line), f"field {line}: always the same words", "black")
    draw.rectangle((200, 100, 290, 150), "white")
    draw.text((205, 105), f"No. {number}", "black", font_size=24)
    return image


@pytest.fixture
def root(tmp_path):
    first = [("base/a.jpg", jpeg(photo(1)), None), ("base/form.png", png(np.asarray(form(1111))), None)]
    make_version(tmp_path, [*first, *files(12, seed=1)])
    return tmp_path


def champion(root):
    return Searcher.open(root / "models/champion", root / "data", 1)


def cards(searcher, data, k=50):
    vectors = searcher.embed_images([searcher.decode(data)])
    return [
        [hit.source, *sorted(copy.source for copy in hit.copies)]
        for hit in searcher.neighbours(vectors, k, collapse=True)[0]
    ]


ADDED = [
    ("small.jpg", jpeg(photo(1).resize((200, 150)))),
    ("again.jpg", jpeg(photo(1), 60)),
    ("form-2.png", png(np.asarray(form(7284)))),
    ("other.jpg", jpeg(photo(2))),
    ("other-small.jpg", jpeg(photo(2).resize((240, 180)), 85)),
]
GROUPS = [{"base/a.jpg", "small.jpg", "again.jpg"}, {"other.jpg", "other-small.jpg"}]


@pytest.mark.parametrize("order", [ADDED, ADDED[::-1]], ids=["one way", "the other"])
def test_added_copies_join_their_group_and_forms_that_differ_do_not(root, order):
    with champion(root) as searcher:
        for name, data in order:
            searcher.add([(name, data, None)])
            searcher.neighbours(searcher.embed_images([searcher.decode(data)]), 5, collapse=True)
        for _, data in ADDED:
            found = cards(searcher, data)
            assert {frozenset(card) for card in found if len(card) > 1} == set(map(frozenset, GROUPS))
            assert sorted(name for card in found for name in card) == sorted(
                ["base/a.jpg", "base/form.png", *(f[0] for f in files(12, seed=1)), *(n for n, _ in ADDED)]
            )
        searcher.remove([image_id("base/a.jpg")])  # it goes, its copies stay one group
        found = cards(searcher, ADDED[0][1])
        assert {frozenset(card) for card in found if len(card) > 1} == {
            frozenset(GROUPS[0] - {"base/a.jpg"}), frozenset(GROUPS[1])
        }  # fmt: skip
        assert len(cards(searcher, ADDED[0][1], k=1)) == 1
        plain = searcher.neighbours(searcher.embed_images([searcher.decode(ADDED[0][1])]), 50)[0]
        assert not any(hit.copies for hit in plain)


def test_compaction_keeps_the_groups(root):
    with champion(root) as searcher:
        searcher.add([(name, data, None) for name, data in ADDED])
        before = cards(searcher, ADDED[0][1])
    assert compact(root / "models", root / "data") is not None
    with champion(root) as searcher:
        assert len(searcher.collection.refresh().ids) == 0
        assert cards(searcher, ADDED[0][1]) == before
        assert {frozenset(card) for card in before if len(card) > 1} == set(map(frozenset, GROUPS))


def test_without_the_originals_an_added_image_is_like_no_other(root, tmp_path):
    with Searcher.open(root / "models/champion", tmp_path / "nowhere", 1) as searcher:
        searcher.add([(name, data, None) for name, data in ADDED])
        grouped = {frozenset(card) for card in cards(searcher, ADDED[0][1]) if len(card) > 1}
        assert frozenset(GROUPS[1]) in grouped  # both are kept beside the versions
        assert not any("base/a.jpg" in card for card in grouped)


def test_several_pictures_and_some_to_stay_away_from(root, tmp_path):
    paths = []
    for name, data in ADDED[2:4]:
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    with champion(root) as searcher:
        one, other = (searcher.embed([path]).vectors[0] for path in paths)
        both = searcher.search(paths, k=3)
        away = searcher.search(paths[0], k=14, unlike=paths[1:])
        for found, query in ((both, one + other), (away, one - other)):
            expected = searcher.neighbours(unit(query)[None], len(found))[0]
            assert [hit.image_id for hit in found] == [hit.image_id for hit in expected]
            assert [hit.similarity for hit in found] == pytest.approx(
                [hit.similarity for hit in expected], abs=1e-5
            )
        with pytest.raises(Exception, match="nothing is left"):
            searcher.search(paths[0], unlike=paths[:1])
        with pytest.raises(Exception, match="no picture to be like"):
            searcher.search([], unlike=paths)
        (tmp_path / "bad.png").write_bytes(b"no picture")
        with pytest.raises(Exception, match=r"bad\.png"):
            searcher.search(paths, unlike=[tmp_path / "bad.png"])
