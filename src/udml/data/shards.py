"""Original files in uncompressed tar shards: few large files for DVC, random access for us.

Any tar program opens a shard. Reading needs no tar code at all: the manifest knows where each
file's bytes start. Equal input gives byte-identical shards (no times, no owners).
"""

import hashlib
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from udml.errors import UdmlError
from udml.files import sync

MAX_SHARD_BYTES = 64 * 1024**2
MAX_SHARD_FILES = 1000
BLOCK_BYTES = 512
_END = bytes(2 * BLOCK_BYTES)


def shard_path(data_root: Path, shard: int) -> Path:
    """Path of one shard."""
    return data_root / "shards" / f"{shard:06d}.tar"


def shards_of(data_root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The shards there are, in order, and what the system says of them."""
    for path in sorted((data_root / "shards").glob("[0-9]*.tar")):
        if path.stem.isdigit():
            yield path, path.stat()


class ShardWriter:
    """Appends files to shards under `data_root`; a context manager that finishes the last one.

    A shard is closed at `max_bytes` or `max_files`, whichever comes first; a file that alone
    exceeds `max_bytes` gets a shard of its own.
    """

    def __init__(
        self, data_root: Path, max_bytes: int = MAX_SHARD_BYTES, max_files: int = MAX_SHARD_FILES
    ) -> None:
        self._data_root = data_root
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._file: BinaryIO | None = None
        self._files = 0
        self.shards = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def add(self, image_id: int, source: str, data: bytes) -> tuple[int, int]:
        """Store one file's bytes; returns its shard and the offset of the bytes inside it."""
        file = self._room_for(len(data))
        header = tarfile.TarInfo(member_name(image_id, source))
        header.size = len(data)
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        offset = file.tell()
        file.write(data)
        file.write(bytes(-len(data) % BLOCK_BYTES))
        self._files += 1
        return self.shards - 1, offset

    def _room_for(self, size_bytes: int) -> BinaryIO:
        if self._file is not None:
            padded_bytes = size_bytes + BLOCK_BYTES + -size_bytes % BLOCK_BYTES + len(_END)
            full = self._files >= self._max_files or self._file.tell() + padded_bytes > self._max_bytes
            if not full:
                return self._file
            self._close()
        path = shard_path(self._data_root, self.shards)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._files = 0
        self.shards += 1
        return self._file

    def _close(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        with file:
            file.write(_END)
        sync(Path(file.name))


def member_name(image_id: int, source: str) -> str:
    """Name of a file inside its shard: the id in hex and a plain suffix, safe to unpack anywhere."""
    suffix = re.fullmatch(r".*(\.[A-Za-z0-9]{1,8})", source, re.DOTALL)
    return f"{image_id:016x}{suffix[1].lower() if suffix else ''}"


def read_bytes(data_root: Path, shard: int, offset: int, size_bytes: int, sha256: str | None = None) -> bytes:
    """The original bytes of one file, as the manifest's columns of these names locate them.

    Raises:
        UdmlError: if the shard is missing or shorter than the manifest says, or `sha256` is given and the
            bytes have another: an import meanwhile has put others into their place.
    """
    path = shard_path(data_root, shard)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise UdmlError(f"{path} is missing", "`dvc pull data.dvc`, or import the images again") from error
    try:
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(size_bytes) or b""
            while len(data) < size_bytes and (more := file.read(size_bytes - len(data))):
                data += more
    except OSError as error:
        raise UdmlError(f"{path} cannot be read: {error.strerror}", "check the disk") from error
    if len(data) < size_bytes:
        raise UdmlError(f"{path} is shorter than the manifest says", "`dvc checkout data.dvc` restores it")
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise UdmlError(
            f"{path} holds another file at {offset:,} than its manifest says",
            "data/ was changed meanwhile: run the stage again; if it stays, `dvc checkout data.dvc`",
        )
    return data
