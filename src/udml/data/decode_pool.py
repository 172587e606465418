"""Decode shards on all usable cores, with a progress bar that counts images."""

import multiprocessing as mp
import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import Any

from tqdm import tqdm

from udml.data.decoding import ShardTask, decode_shard
from udml.errors import UdmlError
from udml.machine import usable_cores
from udml.progress import progress, say_going_on

_REFRESH_SECONDS = 0.2

_count_one: Callable[[], object]  # of a worker process, set by _start_worker


def decode_shards(tasks: list[ShardTask]) -> None:
    """Run every task that an earlier run has not finished.

    Raises:
        UdmlError: if a data shard cannot be read, or a process died (most likely for want of memory).
            What is finished by then is kept.
    """
    pending = [task for task in tasks if not task.finished()]
    files = sum(len(task.image_id) for task in tasks)
    done = files - sum(len(task.image_id) for task in pending)
    say_going_on(done, files, "image")
    nothing: tuple[Any, ...] = ()  # the bar is moved by hand
    with progress(nothing, "prepare", total=files, unit="image") as bar:
        bar.update(done)
        workers = min(usable_cores(), len(pending))
        if workers <= 1:
            for task in pending:
                decode_shard(task, bar.update)
        else:
            _decode_in_pool(pending, workers, bar)


def _decode_in_pool(pending: list[ShardTask], workers: int, bar: "tqdm[Any]") -> None:
    context = mp.get_context("spawn")  # fork is unsafe once any library has started threads
    counter = context.Value("q", 0)
    pool = ProcessPoolExecutor(workers, context, _start_worker, (counter,))
    shown = 0
    try:
        running = {pool.submit(_decode_in_worker, task) for task in pending}
        while running:
            done, running = wait(running, timeout=_REFRESH_SECONDS, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            counted = counter.value
            bar.update(counted - shown)
            shown = counted
    except BrokenProcessPool as error:
        raise UdmlError(
            "a decoding process was killed, most likely because memory ran out",
            "lower prepare.max_pixels in params.yaml or free memory; finished work is kept",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(counter: Any) -> None:
    global _count_one  # noqa: PLW0603 - a spawned worker has no other way to keep what it was started with
    threading.Thread(target=_die_with_parent, daemon=True).start()

    def count_one() -> None:
        with counter.get_lock():
            counter.value += 1

    _count_one = count_one


def _die_with_parent() -> None:
    """A pool's workers outlive a killed parent otherwise, and wait for work for ever."""
    parent = mp.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _decode_in_worker(task: ShardTask) -> None:
    decode_shard(task, _count_one)
