"""The bytes of what was removed are in no file any more when the call that removes it returns."""

import random
import sqlite3
import threading
from contextlib import closing

import pytest

from tests.collection.made_up import open_collection, vector, write_base
from tests.serving.live import make_version
from tests.serving.small_service import BASE, NEW, client
from udml.collection.additions import ADDITIONS_FILE, Additions
from udml.collection.outcome import NewFile
from udml.data.identity import image_id

SIZES_BYTES = (60, 700, 5_000, 300_000)  # inside a page of the file, most of one, several, many
FILES = {f"{size}.jpg": random.Random(size).randbytes(size) for size in SIZES_BYTES}
IDS = [image_id(name) for name in FILES]


@pytest.fixture
def collection(tmp_path):
    """A collection with FILES added, and others before and after them."""
    write_base(tmp_path / "store", 10)
    opened = open_collection(tmp_path / "store")
    for name in ("before", *FILES, "after"):
        opened.add([NewFile(name, FILES.get(name, name.encode() * 40))])
    yield opened
    opened.close()


def places(folder, pieces):
    """Where in the files below a folder one of these pieces is."""
    return [
        (path.name, number)
        for path in folder.rglob("*")
        if path.is_file()
        for content in [path.read_bytes()]
        for number, piece in enumerate(pieces)
        if piece in content
    ]


def pieces_of(data):
    """Parts of a file all over it, short enough to lie within a page, and its vector."""
    return [data[at : at + 16] for at in range(0, len(data) - 15, max(16, len(data) // 50))]


def everything(files=FILES):
    return [piece for data in files.values() for piece in [*pieces_of(data), vector(data).tobytes()]]


def test_removed_bytes_are_in_no_file(tmp_path, collection):
    assert {name for name, _ in places(tmp_path, everything())} & {ADDITIONS_FILE, f"{ADDITIONS_FILE}-wal"}
    others = open_collection(tmp_path / "store")  # another process that serves: the log outlives the change
    collection.remove(IDS)
    assert (tmp_path / "store" / f"{ADDITIONS_FILE}-wal").exists()
    assert places(tmp_path, everything()) == []
    assert len(others) == len(collection) == 12
    assert others.original(image_id("before")) == b"before" * 40
    others.close()


def test_what_is_added_again_or_by_another_model_leaves_nothing_either(tmp_path, collection):
    collection.remove(IDS[:1])
    collection.add([NewFile("60.jpg", FILES["60.jpg"])])
    with closing(Additions(tmp_path / "store" / ADDITIONS_FILE)) as additions:
        made = vector(b"by another model")
        additions.store_vectors("other", dict.fromkeys(IDS, made))
        additions.forget_vectors(["m" * 16])
        assert places(tmp_path, [made.tobytes()]) == []
    collection.remove(IDS)
    assert places(tmp_path, everything()) == []


def test_a_reader_is_waited_for(tmp_path, collection):
    with closing(sqlite3.connect(tmp_path / "store" / ADDITIONS_FILE, check_same_thread=False)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM originals").fetchall()
        threading.Timer(0.3, reader.rollback).start()
        collection.remove(IDS)
        assert places(tmp_path, everything()) == []


def test_a_reader_that_does_not_end_is_told_of_and_the_next_removal_takes_them_out(
    tmp_path, collection, monkeypatch, caplog
):
    monkeypatch.setattr("udml.collection.additions._WAIT_SECONDS", 0.1)
    with closing(sqlite3.connect(tmp_path / "store" / ADDITIONS_FILE)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM originals").fetchall()
        collection.remove(IDS)
        assert "still holds what was removed" in caplog.text
        assert len(collection) == 12
        assert places(tmp_path, everything())
    collection.remove([image_id("after")])
    assert places(tmp_path, everything()) == []


def test_who_opens_it_after_a_kill_takes_them_out(tmp_path, collection, monkeypatch):
    others = open_collection(tmp_path / "store")
    monkeypatch.setattr(Additions, "_erase", lambda _: None)  # the kill, right after the change is on disk
    collection.remove(IDS)
    assert places(tmp_path, everything())
    with closing(Additions(tmp_path / "store" / ADDITIONS_FILE)):
        assert places(tmp_path, everything()) == []
    others.close()


def test_the_service_keeps_nothing_of_a_deleted_image(tmp_path):
    make_version(tmp_path, BASE[:4])
    with client(tmp_path, open_writes=True) as http:
        done = [http.post("/v1/items", params={"name": name}, content=data).json() for name, data, _ in NEW]
        ids = [one["items"][0]["id"] for one in done]
        assert places(tmp_path / "models", inside(NEW))
        assert http.get(f"/v1/items/{ids[0]}/image").status_code == 200
        assert http.delete("/v1/items", params={"id": ids[:3]}).status_code == 200
        assert http.get(f"/v1/items/{ids[0]}/image").status_code == 404
        assert places(tmp_path / "models", inside(NEW[:3])) == []
        assert places(tmp_path / "models", inside(NEW[3:]))


def inside(files):
    """Parts of the files without what all files of a format begin and end with."""
    return [piece for _, data, _ in files for piece in pieces_of(data[50:-20])]
