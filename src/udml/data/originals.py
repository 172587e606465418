"""Original files found by their content, in whatever import holds them now.

An index says where in its import an original lay. Another import puts other shards into that place: the file
may be elsewhere in it, or in what was kept of an earlier one.
"""

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from udml import deadlines
from udml.data.shards import BLOCK_BYTES, member_name, read_bytes, shards_of
from udml.errors import BusyError, UdmlError

ORIGINALS = "originals"  # in a registry: what was kept of earlier imports, a folder each
_NAME, _SIZE = slice(0, 100), slice(124, 136)  # of a tar header (POSIX ustar)


class Originals:
    """What the shards of a folder hold, read from their headers when first asked, and after a change."""

    def __init__(self, data_root: Path) -> None:
        """Of the import at `data_root`; it need not be there."""
        self._data_root = data_root
        self._seen: object = None
        self._by_size: dict[int, list[tuple[str, int, int]]] = {}  # name, shard, offset
        self._sha256: dict[tuple[int, int], str] = {}

    def find(self, image_id: int, size_bytes: int, sha256: str) -> bytes | None:
        """The bytes that have this hash; None where no file has. Files of the same name are tried first.

        Raises:
            UdmlError: if a shard can't be read, or this takes longer than anybody waits.
        """
        self._look()
        name = member_name(image_id, "")
        places = sorted(self._by_size.get(size_bytes, []), key=lambda one: not one[0].startswith(name))
        for _, shard, offset in places:
            if self._sha256.get((shard, offset), sha256) != sha256:
                continue
            if deadlines.is_over():
                raise BusyError(f"{self._data_root} is still being looked through", "try again shortly")
            data = read_bytes(self._data_root, shard, offset, size_bytes)
            self._sha256[shard, offset] = found = hashlib.sha256(data).hexdigest()
            if found == sha256:
                return data
        return None

    def _look(self) -> None:
        shards = list(shards_of(self._data_root))
        seen = [(path, status.st_ino, status.st_size, status.st_mtime_ns) for path, status in shards]
        if seen == self._seen:
            return
        by_size: dict[int, list[tuple[str, int, int]]] = {}
        for path, _ in shards:
            for name, offset, size_bytes in _members(path):
                by_size.setdefault(size_bytes, []).append((name, int(path.stem), offset))
        self._by_size, self._sha256, self._seen = by_size, {}, seen


def _members(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of each file in a shard; what is damaged ends it."""
    with path.open("rb", buffering=0) as file:
        end, at = os.fstat(file.fileno()).st_size, 0
        while at + BLOCK_BYTES <= end:
            file.seek(at)
            header = file.read(BLOCK_BYTES)
            name = header[_NAME].rstrip(b"\0").decode("ascii", "replace")
            try:
                size_bytes = int(header[_SIZE].rstrip(b" \0"), 8)
            except ValueError:
                return
            yield name, at + BLOCK_BYTES, size_bytes
            at += BLOCK_BYTES + size_bytes + -size_bytes % BLOCK_BYTES


class ImportedOriginals:
    """Originals of an index: where they lay, else wherever their content is. Several threads may ask.

    Args:
        data_root: the import.
        models: the registry that may keep earlier ones; None for none.
    """

    def __init__(self, data_root: Path, models: Path | None) -> None:
        self._data_root = data_root
        self._models = models
        self._lock = threading.Lock()
        self._known: dict[Path, Originals] = {}

    def read(self, image_id: int, shard: int, offset: int, size_bytes: int, sha256: str) -> bytes | None:
        """The bytes of an original; None where they are nowhere.

        Raises:
            UdmlError: if the disk can't be read.
        """
        try:
            return read_bytes(self._data_root, shard, offset, size_bytes, sha256)
        except UdmlError as error:
            if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
                raise  # it may well be there
        kept = () if self._models is None else sorted((self._models / ORIGINALS).glob("*"))
        with self._lock:
            for folder in (self._data_root, *kept):
                originals = self._known.setdefault(folder, Originals(folder))
                data = originals.find(image_id, size_bytes, sha256)
                if data is not None:
                    return data
        return None
