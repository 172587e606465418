"""What the routes share: the versions, the batcher, the limits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal, TypeVar

from fastapi import Request

from udml.serving.service.batching import Answer, Batcher
from udml.serving.service.clusters import Clusters, group_collection
from udml.serving.service.metrics import Metrics
from udml.serving.service.pool import BoundedPool
from udml.serving.service.problems import Problem, busy
from udml.serving.service.settings import Settings
from udml.serving.service.switching import OpenVersion, Versions
from udml.serving.service.thumbnails import ThumbnailCache
from udml.serving.service.uploads import UploadReader
from udml.serving.service.watching import Watch

T = TypeVar("T")
Watched = Literal["champion", "keys"]
_MAX_OPERATORS = 8  # that ask for figures at a time


class Service:
    """Everything behind the routes; made on the event loop.

    Attributes:
        settings: limits and doors.
        metrics: its figures.
        versions: what serves.
        batcher: turns images into answers.
        uploads: reads bodies.
        thumbnails: made lately.
        watches: on what may change while it runs, by name.
    """

    def __init__(self, settings: Settings, versions: Versions, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.versions = versions
        self.batcher = Batcher(settings.max_waiting, settings.max_pixels, metrics)
        self.uploads = UploadReader(settings.max_upload_bytes, settings.deadline_seconds, metrics)
        self.thumbnails = ThumbnailCache(metrics)
        self.watches: dict[Watched, Watch] = {}
        self._pool = BoundedPool(settings.max_waiting, settings.deadline_seconds)
        self._writers = BoundedPool(settings.max_waiting, settings.deadline_seconds, "write")
        self._operators = BoundedPool(_MAX_OPERATORS, settings.deadline_seconds, "operate")
        self._clusters: tuple[tuple[str, int], Clusters] | None = None  # of a version at a revision
        self._clustering = asyncio.Lock()

    async def run(self, version: OpenVersion, work: Callable[[], T]) -> T:
        """Do `work`, which asks `version`, in a thread.

        Raises:
            Problem: 503, where too many wait or it takes too long.
        """
        async with self.deadline():
            return await self._pool.run(version, work)

    async def write(self, version: OpenVersion, work: Callable[[], T]) -> T:
        """Do `work`, which changes the collection of `version`, in a thread that no reader waits for.

        Raises:
            Problem: 503, where too many wait or it takes too long.
        """
        async with self.deadline():
            return await self._writers.run(version, work)

    async def observe(self, version: OpenVersion, work: Callable[[], T]) -> T:
        """Do `work`, which an operator asks for, in a thread that no request of others waits for.

        Raises:
            Problem: 503, where too many wait or it takes too long.
        """
        async with self.deadline():
            return await self._operators.run(version, work)

    async def matching(self, version: OpenVersion, where: str | None) -> int | None:
        """How many images meet a filter; None without one. A wrong one raises a FilterError."""
        if where is None:
            return None
        return await self.run(version, lambda: len(version.searcher.collection.choose(where)))

    async def embed(self, request: Request, version: OpenVersion) -> Answer:
        """The vector of the one image that a request carries."""
        async with self.uploads.read(request) as uploads:
            if len(uploads) != 1:
                raise Problem(400, "one_image", f"send one image as the body; these are {len(uploads)}")
            async with self.deadline():
                return await self.batcher.ask(version, uploads[0].data)

    async def clusters(self, version: OpenVersion) -> Clusters:
        """The groups of a version's collection; made when first asked for, and again after a change."""
        async with self.deadline(), self._clustering:
            key = (version.name, version.searcher.version.revision)
            if self._clusters is None or self._clusters[0] != key:
                made = await self._pool.run(version, lambda: group_collection(version.searcher))
                self._clusters = (key, made)
            return self._clusters[1]

    def close(self) -> None:
        """Answer what waits, then let go of everything."""
        self.batcher.close()
        for pool in (self._pool, self._writers, self._operators):
            pool.close()
        self.versions.close()

    @asynccontextmanager
    async def deadline(self) -> AsyncIterator[None]:
        """What takes longer in the block than a request may gets a 503."""
        try:
            async with asyncio.timeout(self.settings.deadline_seconds):
                yield
        except TimeoutError:
            raise busy("deadline", "this took too long; try again shortly") from None
