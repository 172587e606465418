"""Files that are either whole or absent: temporary name, fsync, rename."""

import errno
import fcntl
import glob
import hashlib
import json
import os
import platform
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from udml.processes import lock_directory, remove_unused

SCRATCH = Path(".scratch")
# What a rename says of a disk's own root, of two disks, and of a parent that isn't ours to change.
_ANOTHER_DISK = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM)
_FULL_BELOW_BYTES = 1 << 16
_in_use: dict[Path, int] = {}  # scratch directories of this process, with what locks them
_OLD_SECONDS = 24 * 3600
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # raised by writing, which knows no names


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed over `path`.

    If the block raises, the temporary file is removed and `path` is left as it was.
    """
    temporary = _temporary(path)
    try:
        with _naming(path):
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory beside `path`; on success it replaces `path` as a whole.

    If the block raises, it is removed and `path` is left as it was.
    """
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        with _naming(path):
            yield temporary
            for file in files_below(temporary):
                sync(file)
            replace_directory(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors for lack of room in the block are about `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in _NO_ROOM:
            error.filename = str(path)
        raise


def _temporary(path: Path) -> Path:
    """A name beside `path` for this process to write to; what killed processes left there is removed.

    On a disk that several machines share, processes of two of them may have one number.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        process, _, machine = leftover.name.split(".")[-2].partition("-")
        if _is_ours(leftover, machine) and not _is_running(process):
            remove(leftover)
    return path.with_name(f".{path.name}.{os.getpid()}-{_machine()}.tmp")


def _machine() -> str:
    """Eight hex digits that tell this machine, or container, from others."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _is_ours(leftover: Path, machine: str) -> bool:
    """Whether this machine knows who wrote it, or nobody has for a day."""
    if machine in ("", _machine()):
        return True
    try:
        return time.time() - leftover.stat().st_mtime > _OLD_SECONDS
    except FileNotFoundError:
        return False


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:  # someone else's process
        return True
    return int(process) != os.getpid()  # an earlier process of the same number is gone


def remove(path: Path) -> None:
    """Remove a file or a directory, whichever it is, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def files_below(directory: Path) -> Iterator[Path]:
    """Every file in `directory` and below, in a fixed order."""
    return (path for path in sorted(directory.rglob("*")) if path.is_file())


@contextmanager
def exclusive(lock_file: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let in one thread at a time, of all processes of this machine; the lock goes with who holds it.

    Where another has it, `waiting` is called once, before this waits. The lock may be a folder.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    how = os.O_RDONLY if lock_file.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(lock_file, how, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def no_room_beside(path: Path) -> bool:
    """Whether the disk of an existing file, or folder, is full."""
    return shutil.disk_usage(path.parent).free < _FULL_BELOW_BYTES


def sync(path: Path) -> None:
    """Force a file's content, or a directory's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN is refused: it is not JSON."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: if it holds something else, or is no file: a pipe would be waited for, for ever.
        OSError: if it can't be read.
    """
    try:
        return json.loads(read_regular(path))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_regular(path: Path) -> bytes:
    """The content of a file.

    Raises:
        ValueError: if it is a folder, a pipe, a device or a socket.
        OSError: if it can't be read.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path} is not a file")
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's content, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(*parts: Any) -> str:
    """Sixteen hex digits that identify `parts` (JSON-serialisable) by value."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def utc_now() -> str:
    """The time, ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def scratch_directory(stage: str, key: str) -> Path:
    """A directory for a stage's unfinished work, kept when the stage is killed.

    DVC deletes a stage's outputs before running it, so work to be resumed lives outside them. `key`
    is a fingerprint of everything the work depends on: leftovers under another key that no process uses
    are removed. Processes that train together share one.
    """
    keep = SCRATCH / f"{stage}-{key}"
    for path in [path for path in _in_use if path.parent == SCRATCH.absolute()]:
        if path.name.startswith(f"{stage}-"):
            os.close(_in_use.pop(path))
    for old in SCRATCH.glob(f"{stage}-*"):
        if old != keep:
            remove_unused(old)
    lock = None
    while lock is None:  # once more where another was just removing it
        keep.mkdir(parents=True, exist_ok=True)
        lock = lock_directory(keep, fcntl.LOCK_SH)
    _in_use[keep.absolute()] = lock
    return keep


def discard_scratch(scratch: Path) -> None:
    """Remove a stage's scratch directory, once its outputs are there; it loses its name first.

    Were this killed, half of it would be taken for work to go on with: now it is what the next run removes.
    """
    done = scratch.with_name(f"{scratch.name}-done")
    remove(done)
    os.replace(scratch, done)
    remove(done)


def scratch_beside(target: Path) -> Path:
    """Where unfinished work on directory `target` belongs: on the disk that it is, or will be, on."""
    real = target.resolve()
    return (real if os.path.ismount(real) else real.parent) / SCRATCH


def replace_directory(finished: Path, target: Path) -> None:
    """Move directory `finished` to `target`, replacing what is there.

    A `target` that is a link stays one: what it leads to is replaced. Where `target` is a disk of its own,
    on another one than `finished`, or its parent can't be written, its content is replaced instead.

    A crash between the two renames leaves the old directory under `.<name>.old` beside it (the old content
    in `.old` inside it).
    """
    real = target.resolve() if target.is_symlink() else target
    real.parent.mkdir(parents=True, exist_ok=True)
    old = real.with_name(f".{real.name}.old")
    if real.exists() and not os.access(real, os.R_OK | os.W_OK | os.X_OK):  # it could not be removed
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(real))
    try:
        shutil.rmtree(old, ignore_errors=True)
        if real.exists():
            os.replace(real, old)
        try:
            os.replace(finished, real)
        except OSError:
            if old.exists():
                os.replace(old, real)
            raise
    except OSError as error:
        if error.errno not in _ANOTHER_DISK:
            raise
        _replace_content(finished, real)
        return
    sync(real.parent)
    shutil.rmtree(old, ignore_errors=True)


def _replace_content(finished: Path, real: Path) -> None:
    """Replace what directory `real` holds, which itself stays; made if it isn't there."""
    new, old = real / ".new", real / ".old"
    real.mkdir(exist_ok=True)
    for left_over in (new, old):
        shutil.rmtree(left_over, ignore_errors=True)
    shutil.move(finished, new)  # copies to another disk
    for path in files_below(new):
        sync(path)
    old.mkdir()
    for entry in [entry for entry in real.iterdir() if entry.name not in (new.name, old.name, SCRATCH.name)]:
        os.replace(entry, old / entry.name)
    for entry in list(new.iterdir()):
        os.replace(entry, real / entry.name)
    new.rmdir()
    sync(real)
    shutil.rmtree(old, ignore_errors=True)
