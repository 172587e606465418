import hashlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from udml.errors import UdmlError
from udml.search.items import IndexedItem, Items, write_items


def item(number, content=None):
    sha256 = hashlib.sha256((content or str(number)).encode()).hexdigest()
    return IndexedItem(
        number, f"ordner/ä {number}.jpg", "x" if number % 2 else None, sha256, 7, number, 1, 512
    )


def test_what_is_written_is_read(tmp_path):
    every = [item(number) for number in (5, 3, 2**63 - 1, 4)]
    write_items(tmp_path / "items.sqlite", every)
    items = Items(tmp_path / "items.sqlite")
    assert len(items) == 4
    assert list(items) == sorted(every, key=lambda i: i.image_id)
    assert items.get(3) == every[1]
    assert items.get(6) is None
    assert items.get_many([2**63 - 1, 6, 5]) == {2**63 - 1: every[2], 5: every[0]}
    assert items.get_many([]) == {}


def test_equal_content_is_found_by_its_hash(tmp_path):
    write_items(tmp_path / "items.sqlite", [item(2, "same"), item(1, "same"), item(3, "other")])
    items = Items(tmp_path / "items.sqlite")
    assert [i.image_id for i in items.with_content(item(1, "same").sha256)] == [1, 2]
    assert items.with_content("00" * 32) == []
    assert items.contents(["00" * 32, item(1, "same").sha256]) == {item(1, "same").sha256}


def test_equal_items_give_equal_bytes_whatever_their_order(tmp_path):
    every = [item(number) for number in range(1000)]
    write_items(tmp_path / "a", every)
    write_items(tmp_path / "b", reversed(every))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_many_ids_and_many_threads_at_once(tmp_path):
    write_items(tmp_path / "items.sqlite", [item(number) for number in range(3000)])
    items = Items(tmp_path / "items.sqlite")

    def look(_):
        return len(items.get_many(range(0, 6000, 2))), items.get(7).source

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(look, range(80))) == {(1500, "ordner/ä 7.jpg")}


def test_a_file_without_write_permission_in_a_directory_without_is_enough(tmp_path):
    directory = tmp_path / "version"
    write_items(directory / "items.sqlite", [item(1)])
    (directory / "items.sqlite").chmod(0o444)
    directory.chmod(0o555)
    assert Items(directory / "items.sqlite").get(1) == item(1)
    assert [path.name for path in directory.iterdir()] == ["items.sqlite"]
    directory.chmod(0o755)


def test_missing_damaged_and_foreign_files_are_refused_by_name(tmp_path):
    path = tmp_path / "items.sqlite"
    with pytest.raises(UdmlError, match="no item list"):
        Items(path)
    path.write_bytes(b"no database" * 100)
    with pytest.raises(UdmlError, match=r"items\.sqlite is damaged"):
        Items(path)
    path.unlink()
    write_items(path, [item(1)])
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(UdmlError, match="another version of udml"):
        Items(path)


def test_groups_of_near_duplicates_are_found_by_their_first(tmp_path):
    every = [replace(item(n), copy_of={4: 2, 7: 2, 9: 8}.get(n)) for n in range(10)]
    write_items(tmp_path / "items.sqlite", every)
    items = Items(tmp_path / "items.sqlite")
    assert list(items) == every
    assert {i.image_id for i in items.copies([2])} == {2, 4, 7}
    assert {i.image_id for i in items.copies([8, 3, 77])} == {8, 9, 3}


def test_a_file_from_before_there_were_groups_still_opens(tmp_path):
    every = [item(number) for number in range(5)]
    write_items(tmp_path / "items.sqlite", every)
    with closing(sqlite3.connect(tmp_path / "items.sqlite")) as database:
        database.executescript("DROP INDEX by_group; ALTER TABLE items DROP COLUMN copy_of")
    items = Items(tmp_path / "items.sqlite")
    assert list(items) == every
    assert items.copies([3, 77]) == [every[3]]
