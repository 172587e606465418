"""What is known of added images: kept with them, gone with them, equal to what a fresh build knows."""

import io
import sqlite3
from contextlib import closing
from pathlib import Path

import faiss
import numpy as np
from PIL import Image

from tests.collection.made_up import DIM, MODEL, embed, open_collection, write_base
from udml.collection.additions import ADDITIONS_FILE
from udml.collection.collection import Collection
from udml.collection.outcome import NewFile
from udml.data.identity import image_id
from udml.files import read_json
from udml.search.build import write_index
from udml.search.columns import Columns, column_of, columns_of, value_at, write_columns
from udml.search.gallery import INFO_FILE, IndexInfo
from udml.search.items import IndexedItem

SECONDS = 1_717_178_829  # 2024-05-31 18:07:09


def photo(number: int, camera: str | None = "Canon") -> bytes:
    tags = Image.Exif()
    if camera:
        tags.update({0x010F: camera, 0x0132: "2024:05:31 18:07:09"})
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 0)).save(stream, "JPEG", exif=tags)
    return stream.getvalue()


def rows(columns: Columns) -> list[tuple[object, ...]]:
    count = len(next(iter(columns.values())))
    return [tuple(value_at(column, row) for column in columns.values()) for row in range(count)]


def added(collection: Collection) -> dict[int, tuple[object, ...]]:
    overlay = collection.refresh()
    return dict(zip(overlay.ids.tolist(), rows(collection.added_columns.of(overlay)), strict=True))


def test_what_is_added_brings_its_facts_and_what_is_removed_takes_them(tmp_path: Path) -> None:
    write_base(tmp_path / "c", 3)
    collection = open_collection(tmp_path / "c")
    assert added(collection) == {}
    collection.add([NewFile("2024/a.jpg", photo(1), "hat"), NewFile("b.jpg", photo(2, None))])
    expected = {
        image_id("2024/a.jpg"): ("2024", SECONDS, "Canon", "hat"),
        image_id("b.jpg"): ("", None, None, None),
    }
    assert added(collection) == expected
    collection.add([NewFile("x/c.jpg", photo(3, "SONY"))])
    collection.remove([image_id("2024/a.jpg")])
    del expected[image_id("2024/a.jpg")]
    expected[image_id("x/c.jpg")] = ("x", SECONDS, "SONY", None)
    assert added(collection) == expected
    older = collection.refresh()
    collection.add([NewFile("2024/a.jpg", photo(1), "hat")])
    assert len(added(collection)) == 3
    assert len(rows(collection.added_columns.of(older))) == 2  # a search that began before
    collection.close()
    again = open_collection(tmp_path / "c")
    assert len(added(again)) == 3
    again.close()
    kept = (tmp_path / "c" / ADDITIONS_FILE).read_bytes()
    assert b"SONY" in kept


def test_removed_facts_are_not_on_disk(tmp_path: Path) -> None:
    write_base(tmp_path / "c", 2)
    collection = open_collection(tmp_path / "c")
    collection.add([NewFile("a.jpg", photo(1, "Hasselblad"))])
    collection.remove([image_id("a.jpg")])
    collection.close()
    assert not any(b"Hasselblad" in path.read_bytes() for path in (tmp_path / "c").glob("additions*"))


def test_a_file_of_additions_of_before_is_read_by_its_originals(tmp_path: Path) -> None:
    write_base(tmp_path / "c", 2)
    collection = open_collection(tmp_path / "c")
    collection.add([NewFile("2024/a.jpg", photo(1))])
    collection.close()
    with closing(sqlite3.connect(tmp_path / "c" / ADDITIONS_FILE)) as database:
        database.execute("DROP TABLE facts")
        database.commit()
    old = open_collection(tmp_path / "c")
    assert added(old) == {image_id("2024/a.jpg"): ("2024", SECONDS, "Canon", None)}
    old.add([NewFile("b.jpg", photo(2))])
    assert len(added(old)) == 2
    old.close()


def test_columns_belong_to_an_index_and_one_without_has_what_its_items_say(tmp_path: Path) -> None:
    write_base(tmp_path / "old", 3)
    collection = open_collection(tmp_path / "old")
    assert "columns.json" not in read_json(tmp_path / "old" / INFO_FILE)["files"]
    assert rows(collection.index.columns) == [("", None, None, None)] * 3
    collection.close()
    (tmp_path / "new").mkdir()
    sources = ["a/1.jpg", "b/2.jpg"]
    items = [IndexedItem(image_id(s), s, "x", "0" * 64, 1, row, 0, 0) for row, s in enumerate(sources)]
    columns = columns_of([{"folder": "a", "label": "x"}, {"folder": "b", "label": "x"}])
    columns["price"] = column_of("number", [1.5, None])
    vectors = np.stack(embed([b"1", b"2"]))
    built = faiss.IndexIDMap2(faiss.IndexFlatIP(DIM))
    built.add_with_ids(vectors, np.array([item.image_id for item in items]))
    write_columns(tmp_path / "new", columns)
    write_index(tmp_path / "new", built, [vectors], IndexInfo(MODEL, "d", "flat", DIM, 2, 1.0, {}), items)
    written = read_json(tmp_path / "new" / INFO_FILE)["files"]
    assert {"columns.json", "column-000.npy", "column-004.npy"} <= written.keys()
    opened = open_collection(tmp_path / "new")
    assert rows(opened.index.columns) == [("a", None, None, "x", 1.5), ("b", None, None, "x", None)]
    assert opened.index.columns is opened.index.columns
    opened.close()
