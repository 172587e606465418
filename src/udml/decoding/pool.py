"""Decoding in processes that can be killed: as many as cores, started when they are needed."""

import atexit
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from udml.decoding.budget import Budget, refuse_to_wait, stop_if_unwanted
from udml.decoding.plain import Decoded, Wish, decode_plainly
from udml.decoding.process import DecodingProcess
from udml.formats.reasons import Undecodable
from udml.machine import usable_cores
from udml.processes import PerProcess

_LOOK_SECONDS = 0.1


class _Pool:
    """Decoding processes; a killed one is replaced when one is needed. May be used from several threads."""

    def __init__(self) -> None:
        self._places = threading.Semaphore(usable_cores())
        self._idle: deque[DecodingProcess] = deque()
        self._owner = os.getpid()
        atexit.register(self._end)  # a killed one can't, but then they see that it is gone

    def decode(self, data: bytes, wish: Wish, budget: Budget) -> Decoded:
        with self._place():
            process = self._take()
            try:
                answer = process.decode(data, wish, budget)
            except BaseException:
                process.end()
                raise
            self._idle.append(process)
        if isinstance(answer, Undecodable):
            raise answer
        return answer

    def _end(self) -> None:
        while self._idle and self._owner == os.getpid():  # a fork's exit is not its parent's
            self._idle.pop().end()

    @contextmanager
    def _place(self) -> Iterator[None]:
        while not self._places.acquire(timeout=_LOOK_SECONDS):
            stop_if_unwanted()
        try:
            stop_if_unwanted()
            yield
        finally:
            self._places.release()

    def _take(self) -> DecodingProcess:
        """One that runs, the last used first."""
        while True:
            try:
                process = self._idle.pop()
            except IndexError:
                return DecodingProcess()
            if process.is_alive:
                return process
            process.end()


_pool = PerProcess(_Pool)


def decode_apart(data: bytes, wish: Wish, budget: Budget) -> Decoded:
    """Decode a file in another process, which is killed if it takes more than its budget.

    Raises:
        Undecodable: with the reason; `too_costly` where the budget was not enough.
        CallerGoneError: nobody waits for it any more.
        NeedsProcessError: in a block of `here_only`.
        UdmlError: if no process can be started.
    """
    refuse_to_wait()
    if os.name != "posix":  # no such limits elsewhere
        return decode_plainly(data, wish)
    return _pool().decode(data, wish, budget)
