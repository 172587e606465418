"""Where the files of a shared collection are: of imported images, and of those that were added.

A place is the folder of a registry's checkout, or the URL of its DVC remote (s3://bucket/path): a service
there needs no copy of the data.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from udml.collection.shared.disk_cache import DiskCache
from udml.config.yaml_file import read_mapping
from udml.data.originals import ImportedOriginals
from udml.data.shards import shard_path
from udml.errors import StoreLostError, UdmlError, install_hint
from udml.files import atomic_path

_ADDED_HERE = "added"
_ADDED_THERE = "udml-added"
_S3_WAITS = {"connect_timeout": 5, "read_timeout": 10, "retries": {"max_attempts": 2}}


class Files(Protocol):
    """The files of a collection."""

    def imported(self, image_id: int, shard: int, offset: int, size_bytes: int, sha256: str) -> bytes | None:
        """The bytes of an imported file; None where it is not there."""
        ...

    def put(self, data: bytes) -> str:
        """Keep a file that is being added, durably; returns its name, that of no other."""
        ...

    def added(self, name: str) -> bytes | None:
        """The bytes of an added file; None where it is not there."""
        ...

    def forget(self, name: str) -> None:
        """Delete an added file."""
        ...


class FilesHere:
    """Imported data and a registry in this file system, which all services share."""

    def __init__(self, data: Path, models: Path) -> None:
        self._imported = ImportedOriginals(data, models)
        self._folder = models / _ADDED_HERE

    def imported(self, image_id: int, shard: int, offset: int, size_bytes: int, sha256: str) -> bytes | None:
        """See `Files`."""
        return self._imported.read(image_id, shard, offset, size_bytes, sha256)

    def put(self, data: bytes) -> str:
        """See `Files`."""
        name = _new_name()
        with atomic_path(self._folder / name) as temporary:
            temporary.write_bytes(data)
        return name

    def added(self, name: str) -> bytes | None:
        """See `Files`."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def forget(self, name: str) -> None:
        """See `Files`."""
        (self._folder / name).unlink(missing_ok=True)


class FilesOnRemote:
    """A DVC remote. Of the shards of an import, only the bytes of the files asked for are read."""

    def __init__(self, url: str, lock: Path, cache: DiskCache | None = None) -> None:
        """Nothing is read yet.

        Args:
            url: of the remote.
            lock: the dvc.lock of a version, which names the import it was made from.
            cache: default one in the user's cache directory.

        Raises:
            UdmlError: if fsspec is not installed, or has nothing for this kind of URL.
        """
        try:
            import fsspec

            waits = {"config_kwargs": _S3_WAITS} if url.startswith("s3:") else {}
            self._fs, self._root = fsspec.core.url_to_fs(url.rstrip("/"), **waits)
        except (ImportError, ValueError) as error:
            raise UdmlError(
                f"the originals at {url} cannot be read: {error}",
                f"{install_hint('milvus')}; for s3:// also the extra s3",
            ) from error
        self._url = url
        self._lock = lock
        self._cache = cache or DiskCache()
        self._shards: dict[str, str] | None = None

    def imported(self, image_id: int, shard: int, offset: int, size_bytes: int, sha256: str) -> bytes | None:
        """See `Files`."""
        kept = self._cache.get(sha256)
        if kept is not None:
            return kept
        with self._failing():
            md5 = self._md5_of(str(shard_path(Path(), shard)))
            if md5 is None:
                return None
            try:
                data = self._fs.cat_file(self._object(md5), start=offset, end=offset + size_bytes)
            except FileNotFoundError:
                return None
        if hashlib.sha256(data).hexdigest() == sha256:
            self._cache.put(sha256, data)
        return data

    def put(self, data: bytes) -> str:
        """See `Files`."""
        name = _new_name()
        with self._failing():
            self._fs.makedirs(f"{self._root}/{_ADDED_THERE}", exist_ok=True)
            self._fs.pipe_file(f"{self._root}/{_ADDED_THERE}/{name}", data)
        return name

    def added(self, name: str) -> bytes | None:
        """See `Files`. Not cached on disk: what is removed shall be gone everywhere."""
        with self._failing(), suppress(FileNotFoundError):
            data: bytes = self._fs.cat_file(f"{self._root}/{_ADDED_THERE}/{name}")
            return data
        return None

    def forget(self, name: str) -> None:
        """See `Files`."""
        with self._failing(), suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{_ADDED_THERE}/{name}")

    def _md5_of(self, path: str) -> str | None:
        """By what DVC knows a file of the import."""
        if self._shards is None:
            listed = json.loads(self._fs.cat_file(self._object(import_md5(self._lock))))
            self._shards = {entry["relpath"]: entry["md5"] for entry in listed}
        return self._shards.get(path)

    def _object(self, md5: str) -> str:
        return f"{self._root}/files/md5/{md5[:2]}/{md5[2:]}"

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Every kind of remote has errors of its own."""
        try:
            yield
        except UdmlError:
            raise
        except FileNotFoundError as error:
            raise StoreLostError(
                f"{self._url} lacks the import that the version was made from ({error})",
                "`dvc push data.dvc`",
            ) from error
        except Exception as error:
            raise StoreLostError(f"the originals at {self._url} cannot be reached: {error}") from error


def open_files(place: str | None, data: Path, models: Path, lock: Path) -> Files:
    """The files at a URL, or those of this checkout where there is none; see the classes."""
    return FilesHere(data, models) if place is None else FilesOnRemote(place, lock)


def import_md5(lock: Path) -> str:
    """The directory object in DVC's cache of the import that a version was made from.

    Raises:
        UdmlError: if the version's dvc.lock does not tell.
    """
    try:
        stages: dict[str, Any] = read_mapping(lock)["stages"]
        return next(d["md5"] for d in stages["prepare"]["deps"] if d["path"] == "data")
    except (OSError, KeyError, TypeError, StopIteration, UdmlError) as error:
        raise UdmlError(
            f"{lock} does not say which import the version was made from",
            "register a version that `dvc repro` made, or serve beside data/ without --originals",
        ) from error


def _new_name() -> str:
    return f"{os.urandom(1).hex()}-{uuid.uuid4().hex}"
