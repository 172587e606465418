"""What was added to a collection, or removed from it, since its index was built: one SQLite file.

Registered versions never change, so live changes sit beside them. The file speaks of images, not of
versions: whichever version serves, its collection is what its index holds, plus what was added, less
what was removed. Vectors are kept for each model that has made them.

A change is on disk before the call that made it returns (write-ahead log, synchronous=FULL), all of it
or nothing. Every change has a revision, one more than the one before it; rows carry the revision that
last touched them, so that a reader fetches only what is new to it. Writers take turns, across processes.

What is removed is overwritten with zeros, in the file and in its log, before the call returns.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from udml import deadlines
from udml.collection.change import (
    APPLICATION,
    COLUMNS,
    SCHEMA,
    VERSION,
    Change,
    ChangedItem,
    facts_in,
    get_item,
    item_of,
    revision_of,
    version_of,
)
from udml.errors import BusyError, UdmlError
from udml.files import atomic_path, exclusive, no_room_beside
from udml.formats.exif import Facts, facts_of

ADDITIONS_FILE = "additions.sqlite"
_WAIT_SECONDS = 60.0  # for another writer; a change takes milliseconds, vectors are made before it
_log = logging.getLogger(__name__)


class Additions:
    """The file of additions of one registry; may be used from several threads and processes.

    There need be no file: it is made by the first change.
    """

    def __init__(self, path: Path) -> None:
        """Open the file at `path`, if there is one.

        Raises:
            UdmlError: if it is damaged, or was written by another version of udml.
        """
        self.path = path
        self._lock = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._process = os.getpid()
        self.revision()
        if self.is_writable and self._log_bytes() > 0:  # a killed process may have left removed images in it
            self._empty_log(wait_seconds=0.0)

    def revision(self) -> int:
        """Number of the last change, 0 before the first. Takes microseconds."""
        with self._read() as database:
            return 0 if database is None else revision_of(database)

    def changes(self, since: int) -> tuple[int, list[ChangedItem]]:
        """The present revision, and every item changed after revision `since`, as it is now."""
        with self._read() as database:
            if database is None:
                return 0, []
            with _snapshot(database):
                rows = database.execute(f"SELECT {COLUMNS} FROM items WHERE revision > ?", [since])
                return revision_of(database), [item_of(row) for row in rows]

    def get(self, image_id: int) -> ChangedItem | None:
        """The item of this id, if it was ever added or removed."""
        with self._read() as database:
            return None if database is None else get_item(database, image_id)

    def original(self, image_id: int) -> bytes | None:
        """The bytes of an added file; None if there is no such file (any more)."""
        with self._read() as database:
            if database is None:
                return None
            row = database.execute("SELECT bytes FROM originals WHERE image_id = ?", [image_id]).fetchone()
            return None if row is None else row[0]

    def facts(self, image_ids: Sequence[int]) -> dict[int, Facts]:
        """What the cameras of added images wrote, by id; of those that were removed, nothing."""
        with self._read() as database:
            known = {} if database is None else facts_in(database, image_ids)
        lacking = {i: self.original(i) for i in image_ids if i not in known}
        return known | {i: facts_of(data) for i, data in lacking.items() if data is not None}

    def vectors(self, model_version: str, image_ids: Sequence[int], dim: int) -> dict[int, np.ndarray]:
        """The vectors that this model made of these images, float32 [dim] each; those there are.

        Raises:
            UdmlError: if one has another length.
        """
        with self._read() as database:
            if database is None:
                return {}
            query = "SELECT vector FROM vectors WHERE model_version = ? AND image_id = ?"
            rows = {i: database.execute(query, [model_version, i]).fetchone() for i in image_ids}
        found = {i: np.frombuffer(row[0], np.float32) for i, row in rows.items() if row is not None}
        for i, vector in found.items():
            if vector.shape != (dim,):
                raise self._damaged(f"the vector of image {i} has {len(vector)} numbers, expected {dim}")
        return found

    def store_vectors(self, model_version: str, vectors: Mapping[int, np.ndarray]) -> None:
        """Keep vectors, float32 [dim] each, that this model made of added images. Changes no revision."""
        with self._write() as database:
            database.executemany(
                # an image that has been removed meanwhile keeps nothing
                "INSERT OR REPLACE INTO vectors SELECT ?, image_id, ? FROM originals WHERE image_id = ?",
                [(model_version, vector.tobytes(), i) for i, vector in vectors.items()],
            )

    def forget_vectors(self, keep_model_versions: Sequence[str]) -> None:
        """Drop the vectors of all models but these."""
        marks = ", ".join("?" * len(keep_model_versions))
        with self._write() as database:
            database.execute(f"DELETE FROM vectors WHERE model_version NOT IN ({marks})", keep_model_versions)
        self._erase()

    @contextmanager
    def change(self) -> Iterator["Change"]:
        """One change of any size: on disk when the block ends, undone if it raises.

        Nobody else writes meanwhile, so what the block reads is still so when it writes.
        """
        with self._write() as database:
            change = Change(database, revision_of(database) + 1)
            yield change
            if change.is_one:
                database.execute("UPDATE revision SET value = ?", [change.revision])
        if change.removes:
            self._erase()

    @property
    def is_writable(self) -> bool:
        """Whether the file lies on a disk that can be written to."""
        return os.access(self.path.parent, os.W_OK)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection | None]:
        """The connection for reading, one thread at a time; None while there is no file."""
        with self._lock, self._naming_damage():
            if self._process != os.getpid():  # SQLite's connections don't survive a fork
                self._reader, self._process = None, os.getpid()
            if self._reader is None and self.path.exists():
                self._reader = self._connect()
            yield self._reader

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own, inside a transaction."""
        self._make()
        with self._naming_damage(), closing(self._connect()) as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    def _erase(self) -> None:
        """Take what was deleted out of the write-ahead log. The change is on disk, whatever comes of this."""
        if not self._empty_log(_WAIT_SECONDS):
            _log.warning(
                "%s-wal still holds what was removed: others read it, or the disk is full. "
                "The next removal, or opening it again, takes it out",
                self.path,
            )

    def _empty_log(self, wait_seconds: float) -> bool:
        """Move the log into the file and cut it to nothing once nobody reads it; whether it was."""
        try:
            with closing(self._connect(wait_seconds)) as database:
                (busy, *_) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:
            return False
        return not busy

    def _log_bytes(self) -> int:
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def _make(self) -> None:
        """Make the file, whole, unless it is there.

        Nobody else can have opened it by then: SQLite waits for no lock when it turns to a write-ahead log.
        """
        if self.path.exists():
            return
        try:
            with exclusive(self.path.with_name(f".{self.path.name}.lock")):
                if not self.path.exists():
                    with atomic_path(self.path) as temporary, closing(sqlite3.connect(temporary)) as database:
                        database.executescript(SCHEMA)
        except (OSError, sqlite3.OperationalError) as error:
            raise self._unusable(error) from error

    def _connect(self, wait_seconds: float = _WAIT_SECONDS) -> sqlite3.Connection:
        fixed = not self.is_writable
        database = sqlite3.connect(
            self.path.resolve().as_uri() + (self._read_only_mode() if fixed else ""),
            uri=True,
            timeout=deadlines.wait_seconds(wait_seconds),
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            if not fixed:
                database.execute("PRAGMA synchronous = FULL")
                database.execute("PRAGMA secure_delete = ON")  # zeros where rows and pages were
            self._check_schema(database)
        except BaseException:
            database.close()
            raise
        return database

    def _read_only_mode(self) -> str:
        """How to open it on a disk that can't be written to, where SQLite can't put its lock file."""
        return "?mode=ro" if self._log_bytes() > 0 else "?mode=ro&immutable=1"

    def _check_schema(self, database: sqlite3.Connection) -> None:
        version = version_of(database)
        if version[0] != APPLICATION:
            raise self._damaged("it is not a file of additions")
        if version[1] != VERSION:
            raise UdmlError(
                f"{self.path} has format {version[1]}, this udml knows format {VERSION}",
                "use the version of udml that wrote it",
            )

    @contextmanager
    def _naming_damage(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise self._unusable(error) from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error

    def _unusable(self, error: Exception) -> UdmlError:
        if "locked" in str(error):
            return BusyError(f"{self.path} is being changed by others", "try again shortly")
        if no_room_beside(self.path):  # SQLite calls it an error of input or output
            return UdmlError(f"no room to write beside {self.path}: the disk is full", "free some space")
        if not self.is_writable or "readonly" in str(error):
            return UdmlError(f"{self.path} can't be written", "check the disk and who may write")
        return UdmlError(f"{self.path} cannot be used: {error}", "check the disk and who may write")

    def _damaged(self, what: str) -> UdmlError:
        return UdmlError(
            f"{self.path} is damaged: {what}",
            "restore it from a backup, or move it away to serve without what was added",
        )


@contextmanager
def _snapshot(database: sqlite3.Connection) -> Iterator[None]:
    """Everything read in the block is of one moment."""
    database.execute("BEGIN")
    try:
        yield
    finally:
        database.execute("COMMIT")
