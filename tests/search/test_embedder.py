import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.fakes import write_prepared
from tests.fixtures.models import DIM, pictures, tiny_card, write_model
from udml.data.catalog import open_store
from udml.errors import UdmlError
from udml.pixels import Reason
from udml.search import chunks
from udml.search import embedder as module
from udml.search.chunks import embed_store_resumably
from udml.search.embedder import Embedder, embed_files, embed_store


@pytest.fixture
def embedder(tmp_path):
    return Embedder(write_model(tmp_path / "model.onnx", tiny_card()), threads=1)


def test_reads_the_card(embedder):
    assert embedder.card == tiny_card()


def test_opening_a_model_leaves_no_trace_of_telemetry(tmp_path):
    """ONNX Runtime keeps a device id and a queue of what it will send below the home directory."""
    model = write_model(tmp_path / "model.onnx", tiny_card())
    (tmp_path / "home").mkdir()
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    script = "import sys, pathlib, udml.search.embedder as e; e.Embedder(pathlib.Path(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", script, str(model)],
        env=kept | {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home")},
        check=True,
    )
    assert list((tmp_path / "home").rglob("*")) == []


def test_mixed_shapes_come_back_in_order_and_as_one_by_one(embedder):
    images = pictures(75)
    vectors = embedder.embed(images)
    assert vectors.shape == (75, DIM)
    assert vectors.dtype == np.float32
    single = np.concatenate([embedder.embed([image]) for image in images])
    np.testing.assert_allclose(vectors, single, atol=1e-5)
    assert len(np.unique(vectors.round(4), axis=0)) == 75


def test_nothing_in_nothing_out(embedder):
    assert embedder.embed([]).shape == (0, DIM)


def test_large_images_run_in_small_batches(embedder, monkeypatch):
    sizes = []
    run = embedder._run
    monkeypatch.setattr(embedder, "_run", lambda batch: sizes.append(len(batch)) or run(batch))
    monkeypatch.setattr(module, "_BATCH_BYTES", 24 * 32 * 3 * 12 * 5)
    embedder.embed([np.full((24, 32, 3), value, np.uint8) for value in range(12)])
    assert sizes == [5, 5, 2]


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_refuses_what_is_no_rgb_picture(embedder, image):
    with pytest.raises(UdmlError, match="expected uint8"):
        embedder.embed([image])


def test_refuses_files_that_are_no_model_of_ours(tmp_path):
    with pytest.raises(UdmlError, match="no model at"):
        Embedder(tmp_path / "absent.onnx")
    with pytest.raises(UdmlError, match="no udml metadata"):
        Embedder(write_model(tmp_path / "bare.onnx", None))
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(UdmlError, match="not a usable ONNX model"):
        Embedder(tmp_path / "junk.onnx")


def test_refuses_vectors_that_are_not_of_unit_length(tmp_path):
    broken = Embedder(write_model(tmp_path / "zero.onnx", tiny_card(), scale=0.0))
    with pytest.raises(UdmlError, match="gives vectors of length"):
        broken.embed(pictures(2))


def test_refuses_a_card_that_lies_about_the_length(tmp_path):
    card = tiny_card()
    wrong = type(card)(**{**card.__dict__, "embedding_dim": DIM + 1})
    with pytest.raises(UdmlError, match="its card says"):
        Embedder(write_model(tmp_path / "wrong.onnx", wrong)).embed(pictures(1))


def store_of(tmp_path, images):
    count = len(images)
    return open_store(write_prepared(tmp_path / "prepare", images, [None] * count, ["train"] * count))


def test_rows_of_the_store_in_the_order_asked_for(embedder, tmp_path):
    images = pictures(20)
    rows = np.array([7, 3, 19, 3])
    vectors = embed_store(embedder, store_of(tmp_path, images), rows)
    np.testing.assert_allclose(vectors, embedder.embed([images[row] for row in rows]), atol=1e-6)


def test_a_killed_run_goes_on_where_it_was_with_the_same_bits(embedder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 8)
    store, rows = store_of(tmp_path, pictures(30)), np.arange(30)
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = np.concatenate(list(embed_store_resumably(embedder, store, rows, tmp_path / "whole", "")))

    embed, calls = embedder.embed, []

    def die_in_the_third_chunk(images):
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(images)

    monkeypatch.setattr(embedder, "embed", die_in_the_third_chunk)
    with pytest.raises(KeyboardInterrupt):
        list(embed_store_resumably(embedder, store, rows, tmp_path / "killed", ""))
    assert sorted(file.name for file in (tmp_path / "killed").iterdir()) == [
        "vectors-000000000.npy",
        "vectors-000000008.npy",
    ]
    calls.append(0)
    assert "going on" not in capsys.readouterr().out
    again = np.concatenate(list(embed_store_resumably(embedder, store, rows, tmp_path / "killed", "")))
    assert capsys.readouterr().out == "going on at image 16 of 30\n"
    assert calls == [8, 8, 8, 0, 8, 6]
    assert again.tobytes() == whole.tobytes()


def test_files_with_bad_ones_among_them(embedder, tmp_path):
    images = pictures(4)
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    (tmp_path / "text.jpg").write_text("no picture")
    asked = [paths[2], tmp_path / "text.jpg", paths[0], tmp_path / "gone.png", paths[1]]
    found = embed_files(embedder, asked)
    assert found.paths == [paths[2], paths[0], paths[1]]
    assert [(one.path.name, one.reason) for one in found.problems] == [
        ("text.jpg", Reason.NOT_AN_IMAGE),
        ("gone.png", Reason.UNREADABLE),
    ]
    np.testing.assert_allclose(found.vectors, embedder.embed([images[i] for i in (2, 0, 1)]), atol=1e-6)


def test_files_are_shrunk_as_the_gallery_was(embedder, tmp_path):
    large = Image.fromarray(pictures(1)[0]).resize((400, 300))
    large.save(tmp_path / "large.png")
    side = embedder.card.store_short_side_px
    large.resize((round(400 * side / 300), side), Image.Resampling.BICUBIC).save(tmp_path / "small.png")
    found = embed_files(embedder, [tmp_path / "large.png", tmp_path / "small.png"])
    assert found.vectors[0].tobytes() == found.vectors[1].tobytes()


def test_only_bad_files(embedder, tmp_path):
    found = embed_files(embedder, [tmp_path / "gone.png"])
    assert found.vectors.shape == (0, DIM)
    assert len(found.problems) == 1


def test_can_be_used_from_several_threads(embedder):
    images = pictures(6)
    expected = embedder.embed(images)
    results = []
    threads = [threading.Thread(target=lambda: results.append(embedder.embed(images))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_allclose(result, expected, atol=1e-6)
