"""Dynamic batching: images that arrive while the engine is busy run together when it is free.

No request waits for company: a lone image is a batch of one. `Decoders` decodes; one thread drives the
engine, which uses all cores by itself.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from udml import tracing
from udml.cropping import Crop
from udml.serving.decoders import Decoders, decode_bounded
from udml.serving.engine.answers import Hit, Wanted
from udml.serving.service.metrics import Metrics
from udml.serving.service.problems import busy
from udml.serving.service.switching import OpenVersion

_MAX_BATCH = 32


@dataclass(frozen=True)
class Answer:
    """What came of an image.

    Attributes:
        vector: float32 [d], of unit length.
        hits: its neighbours, best first; empty where none were asked for.
    """

    vector: np.ndarray
    hits: list[Hit]


@dataclass(eq=False)
class _Job:
    version: OpenVersion
    wanted: Wanted | None  # None where only the vector is
    crop: Crop | None
    answer: "asyncio.Future[Any]"
    data: bytes  # dropped once decoded, or when the caller gives up: its room is given back then
    pixels: np.ndarray = field(default_factory=lambda: np.empty(0))
    queued: float = 0.0
    to_embed: bool = True  # else its pixels are the answer
    span: Any = field(default_factory=tracing.here)  # that its parts belong to, in whatever thread


class Batcher:
    """Turns uploads into answers. Made and used on the event loop; its threads are its own."""

    def __init__(self, max_waiting: int, max_pixels: int, metrics: Metrics) -> None:
        self._max_waiting = max_waiting
        self._max_pixels = max_pixels
        self._metrics = metrics
        self._waiting = 0
        self._loop = asyncio.get_running_loop()
        self._decoders = Decoders(metrics)
        self._queue: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._engine = threading.Thread(target=self._run, name="engine", daemon=True)
        self._engine.start()

    @property
    def alive(self) -> bool:
        """Whether answers may still come."""
        return self._engine.is_alive() and not self._closing

    def require_room(self) -> None:
        """Raise a 503 where too many images wait."""
        if self._waiting >= self._max_waiting:
            raise busy("overloaded", "too many images are waiting; try again shortly")

    async def ask(
        self, version: OpenVersion, data: bytes, wanted: Wanted | None = None, crop: Crop | None = None
    ) -> Answer:
        """Decode an image, embed it and find its neighbours.

        Args:
            version: what to ask; it stays open until this is done, even where the caller gives up.
            data: bytes of an image file.
            wanted: what to find; None for nothing.
            crop: the part of the picture that counts; None for all of it.

        Raises:
            Problem: no usable image, or too many wait already.
        """
        job = _Job(version, wanted, crop, self._loop.create_future(), data)
        answer: Answer = await self._answer_to(job)
        return answer

    async def decode(self, version: OpenVersion, data: bytes) -> np.ndarray:
        """Decode an image as the model of `version` wants to see it: uint8 [h, w, 3].

        Raises:
            Problem: no usable image, or too many wait already.
        """
        job = _Job(version, None, None, self._loop.create_future(), data, to_embed=False)
        pixels: np.ndarray = await self._answer_to(job)
        return pixels

    async def _answer_to(self, job: _Job) -> Any:
        self.require_room()
        job.version.take()
        self._count(1)
        try:
            self._decoders.submit(
                lambda: self._decode(job),
                job.answer.done,
                lambda pixels: self._decoded(job, pixels),
            )
        except RuntimeError:  # shut down
            self._finish([job], busy("closing", "the service is shutting down"))
        try:
            return await job.answer
        finally:
            job.data = b""

    def close(self) -> None:
        """Answer what waits, then stop."""
        self._decoders.close()
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._engine.join()

    def _count(self, change: int) -> None:
        self._waiting += change
        self._metrics.waiting.set(self._waiting)

    # --- in the decoding threads ------------------------------------------------------------------

    def _decode(self, job: _Job) -> np.ndarray:
        with tracing.part("decode", job.span):
            return decode_bounded(job.version.searcher, job.data, self._max_pixels, job.crop)

    def _decoded(self, job: _Job, pixels: np.ndarray | Exception) -> None:
        if isinstance(pixels, Exception):
            self._from_thread(self._finish, [job], pixels)
        elif not job.to_embed:
            self._from_thread(self._deliver, [job], [pixels])
        else:
            job.pixels, job.queued = pixels, time.perf_counter()
            with self._changed:
                self._queue.append(job)
                self._changed.notify()

    # --- in the engine's thread -------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                batch = self._take()
            given_up = [job for job in batch if job.answer.done()]
            self._from_thread(self._finish, given_up, None)
            self._serve([job for job in batch if job not in given_up])

    def _serve(self, batch: list[_Job]) -> None:
        try:
            answers = self._answer(batch) if batch else []
        except Exception as error:
            if len(batch) == 1:
                self._from_thread(self._finish, batch, error)
                return
            for job in batch:  # whichever image it is must not spoil the others' answers
                self._serve([job])
        else:
            self._from_thread(self._deliver, batch, answers)

    def _take(self) -> list[_Job]:
        """What waits, in order, as long as it is of one version."""
        batch = [self._queue.popleft()]
        while self._queue and len(batch) < _MAX_BATCH and self._queue[0].version is batch[0].version:
            batch.append(self._queue.popleft())
        return batch

    def _answer(self, batch: list[_Job]) -> list[Answer]:
        now = time.perf_counter()
        for job in batch:
            self._metrics.stage_seconds.labels("wait").observe(now - job.queued)
        self._metrics.batch_images.observe(len(batch))
        searcher = batch[0].version.searcher
        spans = [job.span for job in batch]
        with self._metrics.stage_seconds.labels("embed").time(), tracing.part("embed", *spans):
            vectors = searcher.embed_images([job.pixels for job in batch])
        answers = [Answer(vector, []) for vector in vectors]
        searched = [job.span for job in batch if job.wanted]
        with self._metrics.stage_seconds.labels("search").time(), tracing.part("search", *searched):
            for wanted in {job.wanted for job in batch if job.wanted}:
                rows = [row for row, job in enumerate(batch) if job.wanted == wanted]
                how = (wanted.k, wanted.threshold, wanted.refine, wanted.collapse)
                found = searcher.neighbours(vectors[rows], *how, where=wanted.where)
                for row, hits in zip(rows, found, strict=True):
                    answers[row] = Answer(vectors[row], hits)
        return answers

    # --- back on the event loop -------------------------------------------------------------------

    def _from_thread(self, work: Callable[..., None], *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(work, *arguments)

    def _deliver(self, jobs: list[_Job], answers: Sequence[Any]) -> None:
        for job, answer in zip(jobs, answers, strict=True):
            if not job.answer.done():
                job.answer.set_result(answer)
        self._finish(jobs, None)

    def _finish(self, jobs: list[_Job], error: Exception | None) -> None:
        for job in jobs:
            if error is not None and not job.answer.done():
                job.answer.set_exception(error)
            job.version.release()
        self._count(-len(jobs))
