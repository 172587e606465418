"""Files from far away that were asked for lately, on disk, up to a number of bytes."""

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path

from udml.files import atomic_path

MAX_BYTES = 2 * 2**30
_LOOK_AFTER = 16  # a look at the disk after every sixteenth of the bound that was written


def cache_directory() -> Path:
    """Where this user's programs keep what they can get again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "udml" / "originals"


class DiskCache:
    """Files by their sha256; the least recently used go first. Several processes may share a folder.

    Each may exceed the bound by a sixteenth of it before it looks.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder or cache_directory()
        self._max_bytes = max_bytes
        self._written = max_bytes  # unknown: look at the first
        self._lock = threading.Lock()

    def get(self, sha256: str) -> bytes | None:
        """The file of this content, if it is kept; one that was damaged is not."""
        path = self._folder / sha256
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == sha256 else None

    def put(self, sha256: str, data: bytes) -> None:
        """Keep a file; where there is no room for it, don't."""
        if len(data) > self._max_bytes:
            return
        with suppress(OSError), self._lock:
            with atomic_path(self._folder / sha256) as temporary:
                temporary.write_bytes(data)
            self._written += len(data)
            if self._written > self._max_bytes // _LOOK_AFTER:
                self._written = 0
                self._shrink()

    def _shrink(self) -> None:
        found = []
        for entry in os.scandir(self._folder):
            with suppress(OSError):
                status = entry.stat()
                found.append((status.st_mtime_ns, status.st_size, entry.path))
        held = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if held <= self._max_bytes:
                break
            Path(path).unlink(missing_ok=True)
            held -= size
