"""What decoding one file may take, and what came of a file that took more."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

Gone = Callable[[], bool]


@dataclass(frozen=True)
class Budget:
    """What decoding one file may take.

    Attributes:
        cpu_seconds: of one core, user and system time together.
        memory_bytes: on top of the file itself.
        niceness: of the process that decodes, 0..19; with 10 whatever else is to be done goes first.
    """

    cpu_seconds: float
    memory_bytes: int
    niceness: int = 0


SERVICE = Budget(4.0, 512 * 2**20, niceness=10)
COMMAND = Budget(30.0, 2 * 2**30)  # prepare, monitor, index add, search: files that a person chose

_gone: ContextVar[Gone | None] = ContextVar("gone", default=None)
_here_only: ContextVar[bool] = ContextVar("here_only", default=False)


class NeedsProcessError(Exception):
    """A file that is to be decoded in a process of its own, where that was ruled out."""


class CallerGoneError(Exception):
    """Nobody waits for this any more: it was not begun, or stopped."""


@contextmanager
def as_long_as_wanted(gone: Gone) -> Iterator[None]:
    """Work of this thread in the block stops once `gone` says that nobody waits for it any more."""
    token = _gone.set(gone)
    try:
        yield
    finally:
        _gone.reset(token)


def stop_if_unwanted() -> None:
    """Raise `CallerGoneError` if nobody waits for what this thread does."""
    gone = _gone.get()
    if gone is not None and gone():
        raise CallerGoneError


@contextmanager
def here_only() -> Iterator[None]:
    """No waiting for a decoding process in the block: `NeedsProcessError` where one is needed."""
    token = _here_only.set(True)
    try:
        yield
    finally:
        _here_only.reset(token)


def refuse_to_wait() -> None:
    """Raise `NeedsProcessError` in a block of `here_only`."""
    if _here_only.get():
        raise NeedsProcessError
