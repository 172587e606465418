"""Which version serves, and the change to the next one without dropping a request.

A request, and every piece of work that it starts, holds the version that was current when it began
and asks nothing of any other: its answer is of one version. A version is closed when it is no longer
current and its last user has let go of it.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np

from udml.errors import UdmlError
from udml.machine import give_back_freed_memory
from udml.serving.engine.pointing import Pointer
from udml.serving.engine.searcher import Searcher
from udml.serving.service.metrics import Metrics
from udml.serving.service.watching import Watch

POLL_SECONDS = 0.2  # reading a link takes microseconds
Opener = Callable[[Path], Searcher]
log = logging.getLogger(__name__)


class OpenVersion:
    """A version that is open for as long as somebody uses it.

    Attributes:
        searcher: its model and its collection.
        name: "v1", "v2", ...
        model_version: of its model.
    """

    def __init__(self, searcher: Searcher) -> None:
        self.searcher = searcher
        self.name = searcher.version.name
        self.model_version = searcher.version.model_version
        self._users = 1  # whoever made it
        self._lock = threading.Lock()

    def take(self) -> Self:
        """Keep it open until `release`."""
        with self._lock:
            self._users += 1
        return self

    def release(self) -> None:
        """Let go of it; the last one closes it, in a thread of its own, since that may take a while.

        It is of no use to that one any more.
        """
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            threading.Thread(target=self._close, name=f"close {self.name}").start()

    def _close(self) -> None:
        self.searcher.close()
        del self.searcher  # requests may hold on to this object for a moment, not to the model
        give_back_freed_memory()


class Versions:
    """The current version, and the watch on what says which it is.

    Attributes:
        watch: follows the champion.
        refused: the last champion that could not be opened, and why; None if the last one could.
    """

    def __init__(self, pointer: Pointer, metrics: Metrics) -> None:
        """Open the champion.

        Args:
            pointer: says which version it is; closed with this.
            metrics: to count switches in.

        Raises:
            UdmlError: if there is no champion, or it cannot be opened.
        """
        self._pointer = pointer
        self._metrics = metrics
        seen = pointer.look()
        self._current = self._open()
        self.refused: str | None = None
        self.watch = Watch(pointer.look, self._switch, seen)
        self._tell()

    @contextmanager
    def lease(self) -> Iterator[OpenVersion]:
        """The current version, open for as long as the block lasts."""
        version = self._current.take()  # on the event loop, as the switch is: nothing comes between
        try:
            yield version
        finally:
            version.release()

    @property
    def problem(self) -> str | None:
        """Why no version can be searched now, a sentence; None where one can."""
        return self._pointer.problem

    def close(self) -> None:
        """Let go of the current version."""
        self._current.release()
        self._pointer.close()

    async def _switch(self) -> None:
        try:
            opened = await asyncio.to_thread(self._open)
        except Exception as error:  # whatever is wrong with it, the old one goes on
            refused = f"{self._pointer.named()}: {error}"
            if refused != self.refused:
                self._metrics.switches.labels("refused").inc()
            self.refused = refused
            raise UdmlError(
                f"{self._pointer.named()} is not served, {self._current.name} goes on: {error}"
            ) from error
        before, self._current = self._current, opened
        self.refused = None
        self._metrics.switches.labels("done").inc()
        self._tell()
        log.info("%s serves, after %s", opened.name, before.name)
        before.release()

    def _open(self) -> OpenVersion:
        """Open the champion, its files compared with what was registered, and make it answer once."""
        searcher = self._pointer.open()
        try:
            vector = np.eye(1, searcher.embedder.card.embedding_dim, dtype=np.float32)
            searcher.neighbours(vector, 1)
        except BaseException:
            searcher.close()
            raise
        return OpenVersion(searcher)

    def _tell(self) -> None:
        self._metrics.version.clear()
        self._metrics.version.labels(self._current.name, self._current.model_version).set(1)
