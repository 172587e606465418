import hashlib
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest

from udml.collection.additions import ADDITIONS_FILE, Additions
from udml.collection.change import State
from udml.errors import UdmlError
from udml.search.items import Item

MODEL = "model-0"


def item(number, data=b"bytes"):
    return Item(number, f"{number}.jpg", None, hashlib.sha256(data).hexdigest(), len(data))


def vector(number):
    return np.full(4, number, np.float32)


def add_one_and_fail(change):
    change.add(item(4), b"bytes")
    change.with_content("no hash")


@pytest.fixture
def additions(tmp_path):
    opened = Additions(tmp_path / ADDITIONS_FILE)
    yield opened
    opened.close()


def add(additions, *numbers):
    with additions.change() as change:
        for number in numbers:
            change.add(item(number), b"bytes")
            change.add_vector(number, MODEL, vector(number))


def test_looking_makes_no_file(additions):
    assert additions.revision() == 0
    assert additions.changes(0) == (0, [])
    assert additions.get(1) is None
    assert additions.original(1) is None
    assert additions.vectors(MODEL, [1], 4) == {}
    assert not additions.path.exists()


def test_a_change_is_whole_and_has_a_revision(additions):
    add(additions, 1, 2)
    add(additions, 3)
    assert additions.revision() == 2
    revision, changed = additions.changes(1)
    assert (revision, [c.image_id for c in changed]) == (2, [3])
    assert (changed[0].source, changed[0].state, changed[0].size_bytes) == ("3.jpg", State.ADDED, 5)
    assert additions.original(3) == b"bytes"
    np.testing.assert_array_equal(additions.vectors(MODEL, [3, 9], 4)[3], vector(3))
    with pytest.raises(ValueError, match="fromhex"), additions.change() as change:
        add_one_and_fail(change)
    assert additions.get(4) is None
    with additions.change():
        pass  # nothing happened: nobody needs to look
    assert additions.revision() == 2


def test_what_is_removed_keeps_its_id_and_nothing_else(additions):
    add(additions, 1)
    with additions.change() as change:
        change.remove(item(1))
    assert additions.get(1).state == State.REMOVED
    assert additions.original(1) is None
    assert additions.vectors(MODEL, [1], 4) == {}
    assert [c.image_id for c in additions.changes(1)[1]] == [1]
    additions.store_vectors(MODEL, {1: vector(1)})  # made while it was being removed
    assert additions.vectors(MODEL, [1], 4) == {}


def test_vectors_are_of_a_model(additions):
    add(additions, 1, 2)
    additions.store_vectors("model-1", {1: -vector(1)})
    assert list(additions.vectors("model-1", [1, 2], 4)) == [1]
    np.testing.assert_array_equal(additions.vectors(MODEL, [1], 4)[1], vector(1))
    with pytest.raises(UdmlError, match="has 4 numbers, expected 8"):
        additions.vectors(MODEL, [1], 8)


def test_content_is_found_inside_a_change(additions):
    with additions.change() as change:
        change.add(item(5, b"one"), b"one")
        change.add(item(2, b"one"), b"one")
        change.add(item(3, b"two"), b"two")
        found = change.with_content(hashlib.sha256(b"one").hexdigest())
        assert [i.image_id for i in found] == [2, 5]


def write_at_once(path, writers, changes):
    def write(first):
        start.wait()
        opened = Additions(path)
        for number in range(first, first + changes):
            add(opened, number)
        opened.close()

    start = threading.Barrier(writers)
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(0, 100 * writers, 100)))  # raises what a writer raised
    return Additions(path)


def test_writers_take_turns_and_no_revision_is_given_twice(tmp_path):
    opened = write_at_once(tmp_path / ADDITIONS_FILE, writers=4, changes=20)
    assert opened.revision() == 80
    assert len(opened.changes(0)[1]) == 80
    assert all(len(opened.changes(since)[1]) == 80 - since for since in range(80))
    opened.close()


def test_writers_that_make_the_file_at_the_same_moment_all_succeed(tmp_path):
    for attempt in range(20):
        path = tmp_path / str(attempt) / ADDITIONS_FILE
        opened = write_at_once(path, writers=8, changes=1)
        assert opened.revision() == 8
        opened.close()
        assert {p.name for p in path.parent.iterdir()} == {ADDITIONS_FILE, f".{ADDITIONS_FILE}.lock"}


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UdmlError, match=rf"{ADDITIONS_FILE} cannot be used"):
        add(Additions(tmp_path / "file" / ADDITIONS_FILE), 1)


def test_changes_are_durable_before_the_call_returns(additions):
    add(additions, 1)
    with additions._write() as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_damaged_file_is_refused_by_name(tmp_path):
    path = tmp_path / ADDITIONS_FILE
    for damage in (b"no database at all" * 100, None):
        if damage is None:
            with closing(sqlite3.connect(path)) as database:
                database.execute("CREATE TABLE others (a)")
        else:
            path.write_bytes(damage)
        with pytest.raises(UdmlError, match=rf"{ADDITIONS_FILE} is damaged"):
            Additions(path)
        path.unlink()


def test_damage_inside_is_found_when_it_is_read(tmp_path):
    path = tmp_path / ADDITIONS_FILE
    opened = Additions(path)
    add(opened, *range(2000))
    opened.close()
    content = bytearray(path.read_bytes())
    content[8192 : len(content) // 2] = bytes(len(content) // 2 - 8192)
    path.write_bytes(content)
    opened = Additions(path)
    with pytest.raises(UdmlError, match=rf"{ADDITIONS_FILE} is damaged"):
        opened.changes(0)
    opened.close()


def test_a_later_format_is_refused(tmp_path):
    path = tmp_path / ADDITIONS_FILE
    opened = Additions(path)
    add(opened, 1)
    opened.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(UdmlError, match="has format 99, this udml knows format 1"):
        Additions(path)


def test_a_disk_that_cannot_be_written_to_can_be_read(tmp_path, monkeypatch):
    opened = Additions(tmp_path / ADDITIONS_FILE)
    add(opened, 1)
    opened.close()
    monkeypatch.setattr(Additions, "is_writable", False)  # a test may be root, whom modes don't stop
    opened = Additions(tmp_path / ADDITIONS_FILE)
    assert opened.get(1).state == State.ADDED
    with pytest.raises(UdmlError, match=r"can't be written"):
        add(opened, 2)
    opened.close()
