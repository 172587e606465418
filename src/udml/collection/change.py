"""One change of the file of additions, and what the file's tables hold."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from udml.files import utc_now
from udml.formats.exif import Facts, facts_of
from udml.search.items import Item

VERSION = 1
APPLICATION = 0x75646D6C  # "udml"
# What the cameras of added images wrote; files of before this was kept get it by their next change.
FACTS = """
CREATE TABLE IF NOT EXISTS facts (
    image_id INTEGER PRIMARY KEY,
    taken INTEGER,
    camera TEXT
);
"""
SCHEMA = f"""
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE revision (value INTEGER NOT NULL);
INSERT INTO revision VALUES (0);
CREATE TABLE items (
    image_id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    label TEXT,
    sha256 BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('added', 'removed', 'restored')),
    changed TEXT NOT NULL,
    revision INTEGER NOT NULL
);
{FACTS}
CREATE INDEX by_content ON items (sha256);
CREATE INDEX by_revision ON items (revision);
CREATE TABLE originals (
    image_id INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
);
CREATE TABLE vectors (
    model_version TEXT NOT NULL,
    image_id INTEGER NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (model_version, image_id)
);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""
COLUMNS = "image_id, source, label, sha256, size_bytes, state, changed"


class State(StrEnum):
    """What became of an image.

    ADDED: it is in the collection; its original is kept here.
    REMOVED: it is not in the collection, even where an index holds it.
    RESTORED: it was removed and is back; the index says where it is.
    """

    ADDED = "added"
    REMOVED = "removed"
    RESTORED = "restored"


@dataclass(frozen=True)
class ChangedItem(Item):
    """An image that was added or removed, as it is now.

    Attributes:
        state: what became of it.
        changed: when, UTC, ISO 8601, to the second.
    """

    state: State
    changed: str


class Change:
    """An open change: see `Additions.change`."""

    def __init__(self, database: sqlite3.Connection, revision: int) -> None:
        self._database = database
        self._database.execute(FACTS)
        self.revision = revision
        self.is_one = False
        self.removes = False

    def get(self, image_id: int) -> ChangedItem | None:
        """The item of this id, if it was ever added or removed."""
        return get_item(self._database, image_id)

    def with_content(self, sha256: str) -> list[ChangedItem]:
        """Every item whose file has this hash, in order of image_id."""
        rows = self._database.execute(
            f"SELECT {COLUMNS} FROM items WHERE sha256 = ? ORDER BY image_id", [bytes.fromhex(sha256)]
        )
        return [item_of(row) for row in rows]

    def add(self, item: Item, original: bytes) -> None:
        """Put an image into the collection; its original is kept, and what its camera wrote."""
        self._set(item, State.ADDED)
        said = facts_of(original)
        row = [item.image_id, said.taken, said.camera]
        self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", row)
        self._database.execute("INSERT OR REPLACE INTO originals VALUES (?, ?)", [item.image_id, original])

    def add_vector(self, image_id: int, model_version: str, vector: np.ndarray) -> None:
        """Keep what a model made of an added image, float32 [dim]."""
        row = [model_version, image_id, np.asarray(vector, np.float32).tobytes()]
        self._database.execute("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", row)

    def remove(self, item: Item) -> None:
        """Take an image out of the collection; what was kept of it here is deleted, but not its id."""
        self._set(item, State.REMOVED)
        self.removes = True
        for table in ("originals", "vectors", "facts"):
            self._database.execute(f"DELETE FROM {table} WHERE image_id = ?", [item.image_id])

    def restore(self, item: Item) -> None:
        """Take back the removal of an image that is in the index."""
        self._set(item, State.RESTORED)

    def _set(self, item: Item, state: State) -> None:
        self.is_one = True
        content = bytes.fromhex(item.sha256)
        row = [item.image_id, item.source, item.label, content, item.size_bytes, state, utc_now()]
        self._database.execute(
            f"INSERT OR REPLACE INTO items ({COLUMNS}, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [*row, self.revision],
        )


def version_of(database: sqlite3.Connection) -> tuple[int, int]:
    """Which application wrote a file, and in which format; see `APPLICATION` and `VERSION`."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return application, version


def revision_of(database: sqlite3.Connection) -> int:
    """Number of the last change."""
    (value,) = database.execute("SELECT value FROM revision").fetchone()
    return value


def get_item(database: sqlite3.Connection, image_id: int) -> ChangedItem | None:
    """The item of an id, if it was ever added or removed."""
    row = database.execute(f"SELECT {COLUMNS} FROM items WHERE image_id = ?", [image_id]).fetchone()
    return None if row is None else item_of(row)


def facts_in(database: sqlite3.Connection, image_ids: Sequence[int]) -> dict[int, Facts]:
    """What the cameras of added images wrote, by id; those of before this was kept are left out."""
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone() is None:
        return {}
    query = "SELECT taken, camera FROM facts WHERE image_id = ?"
    rows = {i: database.execute(query, [i]).fetchone() for i in image_ids}
    return {i: Facts(*row) for i, row in rows.items() if row is not None}


def item_of(row: tuple[int, str, str | None, bytes, int, str, str]) -> ChangedItem:
    """An item from a row of `COLUMNS`."""
    image_id, source, label, content, size_bytes, state, changed = row
    return ChangedItem(image_id, source, label, content.hex(), size_bytes, State(state), changed)
