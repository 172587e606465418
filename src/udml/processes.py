"""Commands that never outlive who started them, directories of one process alone, what forks can't share."""

import ctypes
import fcntl
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Generic, TypeVar

from udml.errors import UdmlError

T = TypeVar("T")

# Whatever ends the caller, SIGKILL too, closes the pipe that is the shell's standard input; the reader in
# the background then ends the whole process group. DVC left alone would keep its stage running and writing.
# If only the command is killed, what it started is ended as well.
_LIFELINE = """
exec 3<&0 </dev/null
{ read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 &
"$@" 3<&-
status=$?
trap '' TERM
kill -TERM 0
exit $status
"""
_LAST_LINES = 10


def run_command(
    command: Sequence[str],
    say: Callable[[str], None],
    directory: Path | None = None,
    variables: Mapping[str, str] | None = None,
    accept: Collection[int] = (0,),
) -> list[str]:
    """Run a command in a process group of its own, handing each line it prints to `say`.

    Whatever ends the caller early (a timeout, a cancelled run, a kill) ends the whole group.

    Args:
        command: program and arguments. The programs beside this Python are found first.
        say: receives each line of its output and errors.
        directory: to run it in; default the present one.
        variables: of the environment, added to the present ones.
        accept: exit statuses that are no failure.

    Returns:
        The last lines printed.

    Raises:
        UdmlError: if the command fails, with its last lines.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    ours = {"PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}
    process = subprocess.Popen(
        ["/bin/sh", "-c", _LIFELINE, "sh", *command],
        cwd=directory,
        env={**os.environ, **ours, **(variables or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    last: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                say(line.rstrip())
                last = [*last[1 - _LAST_LINES :], line.rstrip()]
        status = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        _wait_for_all(process)
        raise
    finally:
        assert process.stdin is not None
        process.stdin.close()
    if status not in accept:
        raise UdmlError(f"{' '.join(command)} failed with status {status}:\n" + "\n".join(last))
    return last


def _wait_for_all(process: "subprocess.Popen[str]") -> None:
    """Until every process of the group is gone: the last one to go closes the output."""
    assert process.stdout is not None
    for _ in process.stdout:
        pass
    process.wait()


@contextmanager
def own_directory(parent: Path, prefix: str) -> Iterator[Path]:
    """A new directory in `parent`, removed at the end; what killed processes left under such names goes now.

    It is locked while it is used. The lock goes with its process, in whichever container that is.
    """
    for leftover in parent.glob(f"{glob.escape(prefix)}*"):
        remove_unused(leftover)
    lock = None
    while lock is None:  # another may just have taken it for a leftover
        own = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = lock_directory(own, fcntl.LOCK_EX)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        os.close(lock)


def remove_unused(directory: Path) -> None:
    """Remove a directory, unless a process has locked it, or it is another's."""
    with suppress(OSError):
        lock = lock_directory(directory, fcntl.LOCK_EX)
        if lock is not None:
            shutil.rmtree(directory, ignore_errors=True)
            os.close(lock)


def lock_directory(directory: Path, kind: int) -> int | None:
    """A descriptor that locks a directory until it is closed; None where another has it, or it is gone.

    Args:
        directory: to lock.
        kind: `fcntl.LOCK_EX` for one process alone, `fcntl.LOCK_SH` for several.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(directory)):
                return descriptor
        os.close(descriptor)
    return None


class PerProcess(Generic[T]):
    """Something that lives on threads, which stay behind in a fork: a forked process makes its own."""

    def __init__(self, make: Callable[[], T]) -> None:
        """Make it now, and again in every forked process that asks for it."""
        self._make = make
        self._made = make()
        self._first = self._process = os.getpid()

    @property
    def is_forked(self) -> bool:
        """Whether this process was forked from the one that it was first made in."""
        return self._first != os.getpid()

    def __call__(self) -> T:
        """The one of this process."""
        if self._process != os.getpid():
            # whoever lets go of the old one waits for its threads, for ever
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._made))
            self._made = self._make()
            self._process = os.getpid()
        return self._made
