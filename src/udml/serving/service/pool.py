"""A few threads for work of milliseconds that must not hold up the event loop."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from udml import tracing
from udml.deadlines import of_use_until
from udml.decoding.budget import as_long_as_wanted
from udml.machine import usable_cores
from udml.serving.service.problems import busy
from udml.serving.service.switching import OpenVersion

T = TypeVar("T")


class BoundedPool:
    """As many threads as cores, and a bounded number of callers that wait for them.

    Args:
        max_waiting: callers at a time.
        seconds: that work is of use after it was asked for.
        name: of its threads.
    """

    def __init__(self, max_waiting: int, seconds: float, name: str = "lookup") -> None:
        self._threads = ThreadPoolExecutor(usable_cores(), name)
        self._name = name
        self._max_waiting = max_waiting
        self._seconds = seconds
        self._waiting = 0

    async def run(self, version: OpenVersion, work: Callable[[], T]) -> T:
        """Do `work` in a thread; `version` stays open until it is done, even where the caller gives up.

        Raises:
            Problem: 503, where too many wait.
        """
        if self._waiting >= self._max_waiting:
            raise busy("overloaded", "too many requests are waiting; try again shortly")
        loop = asyncio.get_running_loop()
        until = time.monotonic() + self._seconds
        self._waiting += 1
        version.take()

        def done() -> None:
            self._waiting -= 1
            version.release()

        gone, span = threading.Event(), tracing.here()

        def in_time() -> T:
            with of_use_until(until), as_long_as_wanted(gone.is_set), tracing.part(self._name, span):
                return work()

        future = self._threads.submit(in_time)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(done))
        try:
            return await asyncio.wrap_future(future)  # given up, it is dropped unless it has begun
        finally:
            gone.set()  # a decoding process that it waits for is stopped

    def close(self) -> None:
        """Finish what was begun."""
        self._threads.shutdown(wait=True)
