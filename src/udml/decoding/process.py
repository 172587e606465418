"""A decoding process, as seen from the one that wants pixels."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import astuple
from multiprocessing.connection import wait
from typing import Any

import numpy as np

from udml.decoding.budget import Budget, stop_if_unwanted
from udml.decoding.channel import receive, send
from udml.decoding.plain import Decoded, Wish
from udml.errors import UdmlError
from udml.formats.reasons import Reason, Undecodable, too_costly

# It gets this process's search path, since whoever runs this may have changed it.
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from udml.decoding.helper import main; main(int(sys.argv[2]))"
)
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_LOOK_SECONDS = 0.1  # between two looks at whether the answer is still wanted
_PATIENCE = 20  # times the CPU seconds of the budget: on a machine where nothing goes on
_LONGEST_DETAIL = 300


class DecodingProcess:
    """One process that decodes one file at a time."""

    def __init__(self) -> None:
        """Start it, which takes some tenths of a second.

        Raises:
            UdmlError: if it doesn't start.
        """
        self._channel, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, json.dumps(sys.path), str(number)],
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **_ONE_THREAD},
            )
        try:
            receive(self._channel, 0)
        except (OSError, EOFError) as error:
            self.end()
            raise UdmlError(
                "the process that decodes images doesn't start",
                f"run `{sys.executable} -c 'import udml.decoding.helper'` to see why",
            ) from error

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def decode(self, data: bytes, wish: Wish, budget: Budget) -> Decoded | Undecodable:
        """Decode a file, or find out why it can't be.

        Raises:
            Undecodable: it took too much, or was too much for the decoder, and the process has ended.
            CallerGoneError: nobody waits for it any more; the process is still at it.
        """
        try:
            self._send(data, wish, budget)
            self._await(budget)
            # what decoded a stranger's file is not trusted either
            return _understood(*receive(self._channel, 3 * wish.max_pixels), wish.max_pixels)
        except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
            raise self._death(budget) from error

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._channel.close()

    def _send(self, data: bytes, wish: Wish, budget: Budget) -> None:
        said = {
            "short_side_px": wish.short_side_px,
            "min_side_px": wish.min_side_px,
            "max_pixels": wish.max_pixels,
            "crop": None if wish.crop is None else astuple(wish.crop),
            "cpu_seconds": budget.cpu_seconds,
            "memory_bytes": budget.memory_bytes,
            "niceness": budget.niceness,
        }
        send(self._channel, said, data)

    def _await(self, budget: Budget) -> None:
        last = time.monotonic() + _PATIENCE * budget.cpu_seconds
        while not wait([self._channel], _LOOK_SECONDS):
            stop_if_unwanted()
            if time.monotonic() > last:
                raise too_costly(f"no pixels after {_PATIENCE * budget.cpu_seconds:g} s")

    def _death(self, budget: Budget) -> Undecodable:
        self._process.kill()  # of no effect where it has ended by itself
        number = -self._process.wait()
        if number == signal.SIGPROF:
            return too_costly(f"over {budget.cpu_seconds:g} s of CPU time")
        if number == signal.SIGKILL:
            return too_costly("its process was killed, most likely because memory ran out")
        return Undecodable(Reason.CORRUPT, f"the decoder ended over it (status {-number})")


def _understood(said: dict[str, Any], data: bytearray, max_pixels: int) -> Decoded | Undecodable:
    if "reason" in said:
        return Undecodable(Reason(said["reason"]), str(said["detail"])[:_LONGEST_DETAIL])
    height, width, _ = said["shape"]
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, 3)
    if pixels.size == 0 or not 0 < int(said["width"]) * int(said["height"]) <= max_pixels:
        raise ValueError(f"{width} x {height} px")
    return Decoded(pixels, int(said["width"]), int(said["height"]), str(said["format"]))
