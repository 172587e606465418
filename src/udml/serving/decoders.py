"""Decoding uploads in threads: usual pictures at once, all others while they wait for a decoding process.

A file that takes long holds a decoding process, and a thread that waits for it, so it delays no usual one.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from udml.cropping import Crop
from udml.decoding.budget import (
    CallerGoneError,
    Gone,
    NeedsProcessError,
    as_long_as_wanted,
    here_only,
    stop_if_unwanted,
)
from udml.machine import usable_cores
from udml.pixels import SERVICE, Undecodable
from udml.serving.engine.searcher import Searcher
from udml.serving.service.metrics import Metrics
from udml.serving.service.problems import Problem, undecodable

_MAX_ELONGATION = 20  # longer strips stay large when their shorter side has been shrunk
Decode = Callable[[], np.ndarray]
Done = Callable[[np.ndarray | Exception], None]


class Decoders:
    """Two sets of threads, one per core in each."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._here = ThreadPoolExecutor(usable_cores(), "decode")
        self._apart = ThreadPoolExecutor(usable_cores(), "decode apart")

    def submit(self, decode: Decode, gone: Gone, done: Done) -> None:
        """Decode in a thread.

        Args:
            decode: does it.
            gone: whether nobody waits for it any more; it is not begun then, and a process is stopped.
            done: is told, in a thread, what came of it.

        Raises:
            RuntimeError: after `close`.
        """
        self._here.submit(self._attempt, decode, gone, done)

    def close(self) -> None:
        """Finish what was begun, as far as it is still waited for."""
        self._here.shutdown(wait=True)
        self._apart.shutdown(wait=True)

    def _attempt(self, decode: Decode, gone: Gone, done: Done) -> None:
        with here_only():
            try:
                result = self._timed(decode, gone)
            except NeedsProcessError:
                self._apart.submit(lambda: done(self._timed(decode, gone)))
                return
        done(result)

    def _timed(self, decode: Decode, gone: Gone) -> np.ndarray | Exception:
        start = time.perf_counter()
        try:
            with as_long_as_wanted(gone):
                stop_if_unwanted()
                result: np.ndarray | Exception = decode()
        except NeedsProcessError:
            raise
        except CallerGoneError as error:
            return error
        except Exception as error:
            result = error
        self._metrics.stage_seconds.labels("decode").observe(time.perf_counter() - start)
        return result


def decode_bounded(searcher: Searcher, data: bytes, max_pixels: int, crop: Crop | None = None) -> np.ndarray:
    """Decode an upload, or a part of it, as `searcher` wants it; uint8 [h, w, 3] of bounded size.

    Raises:
        Problem: if it holds no usable image.
    """
    try:
        pixels = searcher.decode(data, max_pixels, crop, SERVICE)
    except Undecodable as error:
        raise undecodable(error) from error
    height, width = pixels.shape[:2]
    if max(height, width) > _MAX_ELONGATION * min(height, width):
        raise Problem(
            422, "too_elongated", f"one side is over {_MAX_ELONGATION} times as long as the other; crop it"
        )
    return pixels
