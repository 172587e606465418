"""Versions on a DVC remote: push what is here, pull what is not.

    REMOTE/udml-models/files/SHA256         every file once, under its hash
    REMOTE/udml-models/versions/v3.json     the version's bundle.json, written after its files

A version is on the remote when its manifest is, so a push that breaks off shows nothing. Pulled files
are compared with their hashes before the version counts. Who is champion stays a matter of each place:
`udml models promote` decides it, and the log tells it.
"""

import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from udml.errors import UdmlError, install_hint
from udml.files import atomic_directory, sha256_file
from udml.progress import progress
from udml.registry import store
from udml.registry.bundle import MANIFEST_FILE, FileRecord

_DIRECTORY = "udml-models"
_PULLED = ".pulled"
_OUR_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no fault of a remote that is read from


@dataclass(frozen=True)
class Remote:
    """A DVC remote, opened.

    Attributes:
        url: as people know it.
        fs: DVC's file system object (fsspec beneath).
        root: the directory of versions in it.
    """

    url: str
    fs: Any
    root: str

    def file(self, sha256: str) -> str:
        """Where the file of this hash is."""
        return self.fs.join(self.root, "files", sha256)

    def manifest(self, name: str) -> str:
        """Where the manifest of a version is."""
        return self.fs.join(self.root, "versions", f"{name}.json")


def open_remote(workspace: Path) -> Remote:
    """Open the default DVC remote of a workspace.

    Raises:
        UdmlError: if there is none, DVC is not installed, or what it needs for this kind of remote is not.
    """
    try:
        from dvc.exceptions import DvcException
        from dvc.fs import get_cloud_fs
        from dvc.repo import Repo
    except ImportError as error:
        raise UdmlError(f"no DVC here ({error})", f"{install_hint('pipeline')}, or copy `models/`") from error
    try:
        with Repo(str(workspace)) as repo:
            name = repo.config["core"].get("remote")
            if not name:
                raise UdmlError(
                    "there is no default DVC remote", "`dvc remote add -d storage s3://bucket/udml` adds one"
                )
            kind, config, path = get_cloud_fs(repo.config, name=name)
            fs = kind(**config)
    except DvcException as error:
        raise UdmlError(f"the DVC remote cannot be opened: {error}", "see `dvc remote list`") from error
    return Remote(f"{name} ({fs.unstrip_protocol(path)})", fs, fs.join(path, _DIRECTORY))


def push(models: Path, remote: Remote, names: list[str]) -> list[str]:
    """Copy versions to the remote that it lacks; all of them if none is named.

    Returns:
        Names of those copied.

    Raises:
        UdmlError: if one is damaged, the remote has another of that name, or the remote fails.
    """
    copied = []
    for name in names or store.version_names(models):
        bundle = store.verify(models, name)
        directory = store.version_directory(models, name)
        with failing(remote):
            if _same(remote, name, directory):
                continue
            for path, file in progress(list(bundle.files.items()), f"push {name}", unit="file"):
                if not _there(remote, file):
                    remote.fs.makedirs(remote.fs.parent(remote.file(file.sha256)), exist_ok=True)
                    remote.fs.put_file(str(directory / path), remote.file(file.sha256))
            _publish(remote, name, directory / MANIFEST_FILE)
        copied.append(name)
    return copied


def pull(models: Path, remote: Remote, names: list[str]) -> list[str]:
    """Copy versions from the remote that are not here; all of them if none is named.

    Returns:
        Names of those copied.

    Raises:
        UdmlError: if the remote lacks one, another of that name is here, a file is not what its
            version says, or the remote fails. A version that raises is not there afterwards.
    """
    with failing(remote):
        known = remote_names(remote)
    copied = []
    for name in names or known:
        if name not in known:
            raise UdmlError(f"there is no version {name} on {remote.url}", f"there are {', '.join(known)}")
        if name in store.version_names(models):
            with failing(remote):
                _same(remote, name, store.version_directory(models, name))
            continue
        download = models / _PULLED / name
        try:
            with atomic_directory(download) as building, failing(remote, pulling=True):
                _download(remote, name, building)
            store.adopt(models, name, download)
        finally:
            shutil.rmtree(models / _PULLED, ignore_errors=True)
        copied.append(name)
    return copied


def remote_names(remote: Remote) -> list[str]:
    """Versions on the remote, v1 before v2 before v10."""
    directory = remote.fs.parent(remote.manifest("v1"))
    if not remote.fs.exists(directory):
        return []
    stems = [remote.fs.name(path).removesuffix(".json") for path in remote.fs.find(directory)]
    return sorted((s for s in stems if s[:1] == "v" and s[1:].isdigit()), key=lambda name: int(name[1:]))


def _download(remote: Remote, name: str, directory: Path) -> None:
    content = remote.fs.cat_file(remote.manifest(name))
    for path, file in progress(list(_files(name, content).items()), f"pull {name}", unit="file"):
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        remote.fs.get_file(remote.file(file.sha256), str(target))
    (directory / MANIFEST_FILE).write_bytes(content)


def _files(name: str, manifest: bytes) -> dict[str, FileRecord]:
    """The files that a manifest names, none of them outside its directory."""
    try:
        bundle = json.loads(manifest)
        files = {path: FileRecord(**record) for path, record in bundle["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UdmlError(
            f"{name} on the remote is damaged: its manifest ({error})", "push it again"
        ) from error
    for path in files:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise UdmlError(f"{name} on the remote names a file outside itself: {path}", "do not use it")
    return files


def _same(remote: Remote, name: str, directory: Path) -> bool:
    """Whether the remote has this very version.

    Raises:
        UdmlError: if it has another of that name.
    """
    if not remote.fs.exists(remote.manifest(name)):
        return False
    if remote.fs.cat_file(remote.manifest(name)) == (directory / MANIFEST_FILE).read_bytes():
        return True
    raise UdmlError(
        f"{name} here and {name} on {remote.url} are two different versions",
        "pull the others by name; `udml models register` gives the workspace's model the next free number",
    )


def _there(remote: Remote, file: FileRecord) -> bool:
    """Whether the remote has the whole file; one that was cut short has another size."""
    path = remote.file(file.sha256)
    return remote.fs.exists(path) and remote.fs.info(path)["size"] == file.size_bytes


def _publish(remote: Remote, name: str, manifest: Path) -> None:
    """Write the manifest under another name and move it: a reader sees all of it or none."""
    remote.fs.makedirs(remote.fs.parent(remote.manifest(name)), exist_ok=True)
    temporary = remote.manifest(f".{name}-{sha256_file(manifest)[:16]}")
    remote.fs.put_file(str(manifest), temporary)
    remote.fs.move(temporary, remote.manifest(name))


@contextmanager
def failing(remote: Remote, pulling: bool = False) -> Iterator[None]:
    """Say which remote failed, whatever its library raises."""
    try:
        yield
    except UdmlError:
        raise
    except Exception as error:
        if pulling and isinstance(error, OSError) and error.errno in _OUR_DISKS:
            raise
        # every kind of remote has errors of its own
        said = str(error) or type(error).__name__
        raise UdmlError(
            f"{remote.url} failed: {said}", "check that it can be reached, and try again"
        ) from error
