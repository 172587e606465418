"""What is behind each vector of an index: one read-only SQLite file, looked up row by row.

Memory does not grow with the number of items, and no table library is needed to read it.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from udml.errors import UdmlError
from udml.files import atomic_path

ITEMS_FILE = "items.sqlite"
NOT_IN_DATA = -1  # the shard of an item whose original is kept among the additions
_REBUILD = "build the index again with `dvc repro index`"
_IDS_AT_ONCE = 500  # SQLite allows 999 variables in a statement
_COLUMNS = "image_id, source, label, sha256, size_bytes, position, data_shard, data_offset"
_COPY_OF = "copy_of"  # a column that files from before there were groups lack
# A table without a primary key of its own: rows lie in order of image_id, which is what is looked up.
_SCHEMA = """
CREATE TABLE items (
    image_id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    label TEXT,
    sha256 BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    position INTEGER NOT NULL,
    data_shard INTEGER NOT NULL,
    data_offset INTEGER NOT NULL,
    copy_of INTEGER
);
"""
_VERSION = 1


@dataclass(frozen=True)
class Item:
    """An image of the collection.

    Attributes:
        image_id: its stable id, 0 to 2^63 - 1.
        source: its path inside the imported folder, or the name it was added under.
        label: its class, or None where nobody named it.
        sha256: of the file's bytes, hex.
        size_bytes: of the file.
    """

    image_id: int
    source: str
    label: str | None
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class IndexedItem(Item):
    """An image of an index.

    Attributes:
        position: of its vector in the FAISS index.
        data_shard, data_offset: where its original bytes are in the imported data; NOT_IN_DATA for
            images that were added later.
        copy_of: image_id of the first image of its group of near-duplicates; None for that one, and for
            images that are like no other.
    """

    position: int
    data_shard: int
    data_offset: int
    copy_of: int | None = None


def write_items(path: Path, items: Iterable[IndexedItem]) -> None:
    """Write an item file atomically. Equal items give equal bytes."""
    ordered = sorted(items, key=lambda item: item.image_id)
    with atomic_path(path) as temporary:
        temporary.unlink(missing_ok=True)
        with closing(sqlite3.connect(temporary)) as database, database:
            database.execute("PRAGMA journal_mode = OFF")  # nobody sees the file before it is whole
            database.executescript(_SCHEMA)
            database.executemany(
                f"INSERT INTO items ({_COLUMNS}, {_COPY_OF}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                map(_row, ordered),
            )
            database.execute("CREATE INDEX by_content ON items (sha256)")
            database.execute(f"CREATE INDEX by_group ON items ({_COPY_OF}) WHERE {_COPY_OF} IS NOT NULL")
            database.execute(f"PRAGMA user_version = {_VERSION}")


class Items:
    """An open item file; may be used from several threads."""

    def __init__(self, path: Path) -> None:
        """Open a file that `write_items` wrote.

        Raises:
            UdmlError: if it is missing, damaged, or of another version of udml.
        """
        if not path.exists():
            raise UdmlError(f"no item list at {path}", _REBUILD)
        self._path = path
        self._lock = threading.Lock()
        with self._reading():
            # It never changes once it is there, and may lie on a disk that can't be written to.
            self._database = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
            )
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            (self._count,) = self._database.execute("SELECT count(*) FROM items").fetchone()
            columns = [row[1] for row in self._database.execute("PRAGMA table_info(items)")]
        if version != _VERSION:
            raise UdmlError(f"{path} was written by another version of udml", _REBUILD)
        self._has_groups = _COPY_OF in columns
        self._columns = f"{_COLUMNS}, {_COPY_OF if self._has_groups else 'NULL'}"

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[IndexedItem]:
        """Every item, in order of image_id."""
        with self._reading():
            rows = self._database.execute(f"SELECT {self._columns} FROM items ORDER BY image_id")
            while some := rows.fetchmany(_IDS_AT_ONCE):
                yield from map(_item, some)

    def get(self, image_id: int) -> IndexedItem | None:
        """The item of this id, if there is one."""
        return self.get_many([image_id]).get(image_id)

    def get_many(self, image_ids: Sequence[int]) -> dict[int, IndexedItem]:
        """The items of these ids, by id; unknown ones are left out."""
        return {item.image_id: item for item in self._where("image_id", image_ids)}

    def with_content(self, sha256: str) -> list[IndexedItem]:
        """Every item whose file has this hash, in order of image_id."""
        return sorted(self._where("sha256", [bytes.fromhex(sha256)]), key=lambda item: item.image_id)

    def contents(self, sha256s: Sequence[str]) -> set[str]:
        """Which of these hashes an item's file has."""
        return {item.sha256 for item in self._where("sha256", [bytes.fromhex(one) for one in sha256s])}

    def copies(self, firsts: Sequence[int]) -> list[IndexedItem]:
        """Every item of the groups of near-duplicates that begin with these ids, these items included."""
        found = self._where("image_id", firsts)
        return found + (self._where(_COPY_OF, firsts) if self._has_groups else [])

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _where(self, column: str, values: Sequence[int] | Sequence[bytes]) -> list[IndexedItem]:
        found: list[IndexedItem] = []
        for start in range(0, len(values), _IDS_AT_ONCE):
            some = values[start : start + _IDS_AT_ONCE]
            marks = ", ".join("?" * len(some))
            with self._reading(), self._lock:
                rows = self._database.execute(
                    f"SELECT {self._columns} FROM items WHERE {column} IN ({marks})", some
                ).fetchall()
            found += map(_item, rows)
        return found

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise UdmlError(f"{self._path} is damaged: {error}", _REBUILD) from error


def _row(item: IndexedItem) -> tuple[int | str | bytes | None, ...]:
    content = bytes.fromhex(item.sha256)
    place = (item.position, item.data_shard, item.data_offset)
    return (item.image_id, item.source, item.label, content, item.size_bytes, *place, item.copy_of)


def _item(row: tuple[int, str, str | None, bytes, int, int, int, int, int | None]) -> IndexedItem:
    image_id, source, label, content, size_bytes, position, shard, offset, copy_of = row
    return IndexedItem(image_id, source, label, content.hex(), size_bytes, position, shard, offset, copy_of)
