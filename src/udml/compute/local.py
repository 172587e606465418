"""The work on this machine: in this process, or in one process a core."""

import multiprocessing as mp
import os
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for
from typing import Any

from tqdm import tqdm

from udml.compute.work import Count, Items, Place, Work, left_to_do
from udml.errors import UdmlError
from udml.machine import usable_cores
from udml.progress import progress

_REFRESH_SECONDS = 0.2
_AHEAD = 2  # items handed out per process

_own: tuple[Work[Any, Any], Any, Count]  # of a worker process, set by _start_worker


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
    context = mp.get_context("spawn")  # fork is unsafe once any library has started threads
    counter = context.Value("q", 0)
    pool = ProcessPoolExecutor(workers, context, _start_worker, (work, counter))
    left, running = iter(pending), set[Future[None]]()
    shown = 0
    try:
        while True:
            room = _AHEAD * workers - len(running)
            running |= {pool.submit(_do_in_worker, items[place]) for place in islice(left, room)}
            done, running = wait(running, timeout=_REFRESH_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            counted = counter.value
            bar.update(counted - shown)
            shown = counted
            if not running and not done:
                break
    except BrokenProcessPool as error:
        raise UdmlError(
            f"a process of {work.description} was killed, most likely because memory ran out",
            f"{work.relief}; finished work is kept",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(work: Work[Any, Any], counter: Any) -> None:
    global _own  # noqa: PLW0603 - a spawned worker has no other way to keep what it was started with
    threading.Thread(target=_die_with_parent, daemon=True).start()

    def count(images: int) -> None:
        with counter.get_lock():
            counter.value += images

    _own = work, work.open(Place(1)), count


def _die_with_parent() -> None:
    """A pool's workers outlive a killed parent otherwise, and wait for work for ever."""
    parent = mp.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _do_in_worker(item: Any) -> None:
    work, tool, count = _own
    work.do(tool, item, count)
