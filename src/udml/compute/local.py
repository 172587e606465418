"""The work on this machine: in this process, or in one process a core.

Each process has a pipe of its own. Queues and counters that processes share have semaphores with names, which
outlive whoever is killed.
"""

import multiprocessing as mp
import os
import pickle
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from tqdm import tqdm

from udml.compute.work import Count, Items, Place, Work, left_to_do
from udml.errors import UdmlError
from udml.machine import usable_cores
from udml.progress import progress

_Crew = dict[Connection, SpawnProcess]
_TELL_SECONDS = 0.1
_DONE = None  # said of an item by who did it, and to whom there are no more


def run_here(work: Work[Any, Any], items: Items[Any]) -> None:
    """Do every item that is not done, on all usable cores, with a progress bar.

    Raises:
        UdmlError: what the work itself raises, or if a process died (most likely for want of memory). What is
            finished by then is kept.
    """
    pending, done, total = left_to_do(work, items)
    nothing: tuple[Any, ...] = ()  # the bar is moved by hand
    with progress(nothing, work.description, total=total, unit="image") as bar:
        bar.initial = bar.n = done  # what an earlier run did is not counted towards the speed
        workers = 1 if work.whole_node else min(usable_cores(), len(pending))
        if workers > 1:
            _run_in_pool(work, items, pending, workers, bar)
        elif pending:
            tool = work.open(Place(usable_cores())) if work.here is None else work.here
            for place in pending:
                work.do(tool, items[place], bar.update)


def _run_in_pool(
    work: Work[Any, Any], items: Items[Any], pending: list[int], workers: int, bar: "tqdm[Any]"
) -> None:
    try:
        with _crew(work, workers) as crew:
            failed = _hand_out(crew, items, pending, bar)
    except (EOFError, ConnectionError) as error:
        raise UdmlError(
            f"a process of {work.description} was killed, most likely because memory ran out",
            f"{work.relief}; finished work is kept",
        ) from error
    if failed is not None:
        raise failed


def _hand_out(crew: _Crew, items: Items[Any], pending: list[int], bar: "tqdm[Any]") -> Exception | None:
    """Have everything done, or what can be until something goes wrong, which is the answer.

    Raises:
        EOFError: a process has ended; or a ConnectionError.
    """
    left = iter(pending)
    busy: set[Connection] = set()
    for channel, place in zip(crew, left, strict=False):
        channel.send(items[place])
        busy.add(channel)
    while busy:
        waited_for: list[Any] = wait_for(list(busy))
        for channel in waited_for:
            said = channel.recv()
            if isinstance(said, int):
                bar.update(said)
            elif isinstance(said, Exception):
                return said
            elif (next_one := next(left, None)) is None:
                busy.remove(channel)
            else:
                channel.send(items[next_one])
    return None


@contextmanager
def _crew(work: Work[Any, Any], workers: int) -> Iterator[_Crew]:
    """Processes that wait for items; in the end each finishes the one that it has, and goes."""
    context = mp.get_context("spawn")  # fork is unsafe once any library has started threads
    crew: _Crew = {}
    try:
        for _ in range(workers):
            channel, process = _start(context, work)
            crew[channel] = process
        yield crew
    finally:
        for channel in crew:
            with suppress(OSError):  # it has gone
                channel.send(_DONE)
        for channel, process in crew.items():
            with suppress(EOFError, OSError):
                while True:  # until it is gone; who is not listened to could not go on
                    channel.recv()
            process.join()
            channel.close()


def _start(context: SpawnContext, work: Work[Any, Any]) -> tuple[Connection, SpawnProcess]:
    ours, theirs = context.Pipe()
    with theirs:
        process = context.Process(target=_work, args=(work, theirs))
        process.start()
    return ours, process


def _work(work: Work[Any, Any], channel: Connection) -> None:
    """What a process does: items, until there are no more; it says how many images it has done, and of each
    item that it is done, or what went wrong.
    """
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        tool = work.open(Place(1))
        while (item := channel.recv()) is not _DONE:
            with _counting(channel) as count:
                work.do(tool, item, count)
            channel.send(_DONE)
    except KeyboardInterrupt:  # as who started it was, too
        pass
    except Exception as error:
        error.add_note(traceback.format_exc())  # where it was, which is not sent along
        channel.send(_in_words(error))


@contextmanager
def _counting(channel: Connection) -> Iterator[Count]:
    """Tells how many images are done, a few times a second: a message for each keeps the other end busy."""
    untold, told = 0, time.monotonic()

    def count(images: int) -> None:
        nonlocal untold, told
        untold += images
        if (now := time.monotonic()) - told > _TELL_SECONDS:
            channel.send(untold)
            untold, told = 0, now

    yield count
    channel.send(untold)


def _in_words(error: Exception) -> Exception:
    """The error, or where another process could not put it together again, one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        told = RuntimeError(f"{type(error).__name__}: {error}")
        told.__notes__ = getattr(error, "__notes__", [])
        return told
    return error


def _die_with_parent() -> None:
    """A worker outlives a killed parent otherwise, until it has done what it is at."""
    parent = mp.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)
