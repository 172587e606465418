import hashlib
import json
from dataclasses import replace

import faiss
import numpy as np
import pytest

from tests.fixtures.fakes import write_prepared
from tests.fixtures.models import DIM, pictures, tiny_card, write_model
from tests.fixtures.vectors import unit
from udml.config import Index
from udml.data.catalog import SUMMARY_FILE
from udml.errors import UdmlError
from udml.files import write_json
from udml.search import chunks as chunks_module
from udml.search import gallery
from udml.search.build import build, exact_rows, kind_for
from udml.search.embedder import Embedder
from udml.search.gallery import open_index, search, vector_at, vectors_of
from udml.search.index import index
from udml.search.items import Items

COUNT = 40
PARAMS = Index(
    exact_below=100,
    hnsw_below=1000,
    min_recall_at_10=0.95,
    recall_queries=20,
    no_match_error=0.05,
    mix_neighbours=False,
    reference_images=25,
)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Exported model and prepared pictures of every split, in a directory of their own."""
    monkeypatch.chdir(tmp_path)
    images = pictures(COUNT)
    splits = (["train", "test", "excluded"] * COUNT)[:COUNT]
    prepared = write_prepared(tmp_path / "prepare", images, [None] * COUNT, splits)
    write_json(prepared / SUMMARY_FILE, {"data_version": "a" * 16})
    write_model(tmp_path / "export" / "model.onnx", tiny_card())
    return tmp_path, images


def run(root, params=PARAMS):
    index(root / "export", root / "prepare", root / "index", params)
    return Embedder(root / "export" / "model.onnx", threads=1)


def test_every_picture_is_found_under_its_id(workspace):
    root, images = workspace
    embedder = run(root)
    opened = open_index(root / "index", embedder.card)
    assert (opened.info.kind, opened.info.count, opened.info.recall_at_10) == ("flat", COUNT, 1.0)
    assert opened.info.data_version == "a" * 16
    similarity, ids = search(opened, embedder.embed(images), 3)
    assert ids[:, 0].tolist() == [1000 + row for row in range(COUNT)]
    np.testing.assert_allclose(similarity[:, 0], 1.0, atol=1e-5)
    assert (np.diff(similarity, axis=1) <= 0).all()
    assert not (root / ".scratch").exists() or not list((root / ".scratch").iterdir())


def test_the_items_say_what_is_behind_an_id(workspace):
    root, images = workspace
    embedder = run(root)
    items = Items(root / "index" / "items.sqlite")
    opened = open_index(root / "index", embedder.card)
    assert [item.image_id for item in items] == sorted(opened.ids.tolist())
    assert all(opened.ids[item.position] == item.image_id for item in items)
    item = items.get(1007)
    assert (item.source, item.label, item.sha256) == (
        "images/0007.jpg",
        None,
        hashlib.sha256(images[7].tobytes()).hexdigest(),
    )
    np.testing.assert_array_equal(vector_at(opened, item.position), vectors_of(opened, np.array([1007]))[0])


def test_the_items_say_which_images_are_near_duplicates(workspace):
    root, images = workspace
    groups = [1000 + {3: 1, 9: 1, 12: 11}.get(row, row) for row in range(COUNT)]
    prepared = write_prepared(root / "prepare", images, [None] * COUNT, ["train"] * COUNT, groups)
    write_json(prepared / SUMMARY_FILE, {"data_version": "a" * 16})
    run(root)
    items = Items(root / "index" / "items.sqlite")
    assert {i.image_id: i.copy_of for i in items if i.copy_of} == {1003: 1001, 1009: 1001, 1012: 1011}
    assert sorted(item.image_id for item in items.copies([1001])) == [1001, 1003, 1009]


def test_vectors_come_back_in_the_order_asked_for(workspace):
    root, images = workspace
    embedder = run(root)
    opened = open_index(root / "index", embedder.card)
    asked = np.array([1005, 1000, 1039])
    np.testing.assert_allclose(
        vectors_of(opened, asked), embedder.embed([images[i - 1000] for i in asked]), atol=1e-6
    )
    with pytest.raises(UdmlError, match="first has id 77"):
        vectors_of(opened, np.array([1000, 77]))


def test_a_killed_run_gives_the_same_bytes(workspace, monkeypatch):
    root, _ = workspace
    monkeypatch.setattr(chunks_module, "CHUNK_ROWS", 16)
    run(root)
    names = ("index.faiss", "index.json", "items.sqlite", "reference.npy")
    whole = {name: (root / "index" / name).read_bytes() for name in names}
    embed, calls = Embedder.embed, []

    def die_in_the_second_chunk(self, images):
        calls.append(len(images))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return embed(self, images)

    monkeypatch.setattr(Embedder, "embed", die_in_the_second_chunk)
    with pytest.raises(KeyboardInterrupt):
        run(root)
    run(root)
    assert calls == [16, 16, 16, 8]
    assert {name: (root / "index" / name).read_bytes() for name in names} == whole


def test_another_model_does_not_reuse_what_was_left(workspace, monkeypatch):
    root, images = workspace
    embed = Embedder.embed

    def die(self, images):
        raise KeyboardInterrupt

    monkeypatch.setattr(Embedder, "embed", die)
    with pytest.raises(KeyboardInterrupt):
        run(root)
    monkeypatch.setattr(Embedder, "embed", embed)
    write_model(root / "export" / "model.onnx", tiny_card(model_version="f" * 16), seed=9)
    embedder = run(root)
    opened = open_index(root / "index", embedder.card)
    np.testing.assert_allclose(vectors_of(opened, np.array([1000])), embedder.embed(images[:1]), atol=1e-6)


def test_an_index_of_another_model_is_refused(workspace):
    root, _ = workspace
    embedder = run(root)
    with pytest.raises(UdmlError, match="was made by model 0123456789abcdef"):
        open_index(root / "index", tiny_card(model_version="f" * 16))
    info = json.loads((root / "index" / "index.json").read_text())
    write_json(root / "index" / "index.json", info | {"count": COUNT + 1})
    with pytest.raises(UdmlError, match=f"holds {COUNT} vectors"):
        open_index(root / "index", embedder.card)
    write_json(root / "index" / "index.json", {"kind": "flat"})
    with pytest.raises(UdmlError, match="damaged"):
        open_index(root / "index", embedder.card)


def test_a_missing_or_damaged_index_is_an_error_with_a_hint(workspace):
    root, _ = workspace
    with pytest.raises(UdmlError, match="no index at"):
        open_index(root / "index", tiny_card())
    embedder = run(root)
    (root / "index" / "index.faiss").write_bytes(b"damaged")
    with pytest.raises(UdmlError, match="has 7 bytes"):
        open_index(root / "index", embedder.card)
    as_written_before(root)
    with pytest.raises(UdmlError, match="cannot be read"):
        open_index(root / "index", embedder.card)


def as_written_before(root):
    """The index says nothing of its files, as older ones do."""
    info = json.loads((root / "index" / "index.json").read_text())
    write_json(root / "index" / "index.json", {k: v for k, v in info.items() if k != "files"})


def test_vectors_that_do_not_belong_to_the_index_are_refused(workspace):
    root, _ = workspace
    embedder = run(root, replace(PARAMS, exact_below=1, hnsw_below=1))
    as_written_before(root)
    path = root / "index" / "vectors.npy"
    np.save(path, np.load(path)[1:])
    with pytest.raises(UdmlError, match=r"vectors\.npy holds float32 \(39, 12\)"):
        open_index(root / "index", embedder.card)
    path.unlink()
    with pytest.raises(UdmlError, match=r"vectors\.npy cannot be read"):
        open_index(root / "index", embedder.card)


def test_queries_that_do_not_fit_are_refused(workspace):
    root, _ = workspace
    opened = open_index(root / "index", run(root).card)
    with pytest.raises(UdmlError, match="do not fit"):
        search(opened, np.zeros((1, DIM + 1), np.float32), 3)
    with pytest.raises(UdmlError, match="do not fit"):
        search(opened, np.full((1, DIM), np.nan, np.float32), 3)


def test_asking_for_more_than_there_is_gives_all(workspace):
    root, images = workspace
    embedder = run(root)
    similarity, ids = search(open_index(root / "index", embedder.card), embedder.embed(images[:2]), 500)
    assert similarity.shape == ids.shape == (2, COUNT)
    assert (np.sort(ids, axis=1) == np.arange(1000, 1000 + COUNT)).all()


@pytest.mark.parametrize(("kind", "exact_below", "hnsw_below"), [("hnsw", 10, 1000), ("ivf", 10, 20)])
def test_approximate_indexes_survive_the_disk_with_their_settings(workspace, kind, exact_below, hnsw_below):
    root, images = workspace
    params = replace(PARAMS, exact_below=exact_below, hnsw_below=hnsw_below)
    embedder = run(root, params)
    opened = open_index(root / "index", embedder.card)
    assert opened.info.kind == kind
    assert opened.info.recall_at_10 >= 0.95
    (name,) = opened.info.search_parameters
    stored = opened.base.hnsw.efSearch if kind == "hnsw" else opened.base.nprobe
    assert stored == opened.info.search_parameters[name]
    similarity, ids = search(opened, embedder.embed(images), 1)
    itself = (embedder.embed(images) * vectors_of(opened, ids[:, 0])).sum(axis=1)
    np.testing.assert_allclose(similarity[:, 0], itself, atol=1e-6)  # exact, however vectors are stored
    assert (ids[:, 0] == np.arange(1000, 1000 + COUNT)).mean() > 0.9
    everything = search(opened, embedder.embed(images[:3]), COUNT)[1]
    assert (np.sort(everything, axis=1) == np.arange(1000, 1000 + COUNT)).all()
    asked = np.array([1030, 1001])
    expected = embedder.embed([images[30], images[1]])
    np.testing.assert_allclose(vectors_of(opened, asked), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_the_recall_written_down_is_the_recall_found(kind):
    rng = np.random.default_rng(0)
    vectors = unit(rng.standard_normal((3000, 24)))
    queries = unit(rng.standard_normal((50, 24)))
    chunks = [vectors[:1100], vectors[1100:]]
    built, tuning, recall = build(chunks, np.arange(3000) * 7, kind, queries, 0.9)
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :10] * 7
    found = gallery.search_base(built.index, queries, 10, exact_rows(kind, chunks))[1] * 7
    slow = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact, strict=True)])
    assert recall == pytest.approx(slow, abs=0.005)
    assert recall >= 0.9
    assert list(tuning) == ["efSearch" if kind == "hnsw" else "nprobe"]
    stricter = build(chunks, np.arange(3000), kind, queries, 0.99)
    assert next(iter(stricter[1].values())) >= next(iter(tuning.values()))
    assert stricter[2] >= 0.99


def test_a_recall_out_of_reach_fails_the_stage(monkeypatch):
    monkeypatch.setattr("udml.search.build._MAX_EF_SEARCH", 1)
    monkeypatch.setattr("udml.search.build._FIRST_EF_SEARCH", 1)
    monkeypatch.setattr("udml.search.build._LINKS", 2)
    rng = np.random.default_rng(0)
    vectors, queries = unit(rng.standard_normal((3000, 64))), unit(rng.standard_normal((50, 64)))
    with pytest.raises(UdmlError, match="of the true neighbours"):
        build([vectors], np.arange(3000), "hnsw", queries, 0.99)


def test_short_answers_are_completed_exactly():
    vectors = unit(np.random.default_rng(0).standard_normal((400, 8)))
    base = faiss.index_factory(8, "IVF20,Flat", faiss.METRIC_INNER_PRODUCT)
    base.train(vectors)
    base.add(vectors)
    base.nprobe = 1
    assert (base.search(vectors[:5], 300)[1] < 0).any()
    similarity, positions = gallery.search_base(base, vectors[:5], 300)
    exact = -np.sort(-(vectors[:5] @ vectors.T), axis=1)[:, :300]
    assert (positions >= 0).all()
    np.testing.assert_allclose(similarity, exact, atol=1e-6)


def test_the_kind_follows_the_size():
    assert [kind_for(count, PARAMS) for count in (1, 99, 100, 999, 1000)] == [
        "flat",
        "flat",
        "hnsw",
        "hnsw",
        "ivf",
    ]


@pytest.mark.parametrize("mixed", [False, True])
def test_mixtures_are_made_where_the_settings_ask_for_them(workspace, mixed):
    root, _ = workspace
    embedder = run(root, replace(PARAMS, mix_neighbours=mixed))
    opened = open_index(root / "index", embedder.card)
    assert (opened.info.mixed_because != "") == mixed
    assert (root / "index" / gallery.MIXED_FILE).exists() == (opened.info.mixed_neighbours > 0)
