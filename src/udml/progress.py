"""Progress bars with an estimate of the time left; readable in a log file too."""

import sys
import threading
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

_LOG_SECONDS = 10.0

# tqdm's own lock is a semaphore between processes, whose name outlives whoever is killed while making it
tqdm.set_lock(threading.RLock())


def say_going_on(done: int, total: int, unit: str) -> None:
    """Say that work which was interrupted is taken up again, and where; nothing if it begins anew."""
    if done:
        print(f"going on at {unit} {done:,} of {total:,}", flush=True)


def progress(
    items: Iterable[T],
    description: str,
    total: int | None = None,
    unit: str = "it",
    in_logs: bool = True,
) -> "tqdm[T]":
    """Wrap `items` in a bar on stderr: refreshed in place on a terminal, a line every 10 s in a log.

    Args:
        items: what is gone through.
        description: what is done with them.
        total: how many there are, where `len` does not tell.
        unit: what one is called.
        in_logs: whether it is shown where there is no terminal, too, if it takes that long.
    """
    terminal = sys.stderr.isatty()
    return tqdm(
        items,
        desc=description,
        total=total,
        unit=unit,
        disable=not (terminal or in_logs),
        delay=0.0 if terminal else _LOG_SECONDS,
        mininterval=0.1 if terminal else _LOG_SECONDS,
        dynamic_ncols=terminal,
        ncols=None if terminal else 100,
        smoothing=0.05,
    )
