"""What says which version serves: the link in a registry, or the alias in Milvus."""

import errno
import os
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from udml.errors import StoreLostError, UdmlError
from udml.registry.store import CHAMPION, version_directory
from udml.serving.engine.searcher import Searcher

if TYPE_CHECKING:
    from udml.collection.shared.connection import Connection

_LOOK_SECONDS = 0.5


class Pointer(Protocol):
    """Where the current version is told.

    Attributes:
        problem: why no version can be searched now, a sentence; None where one can.
    """

    @property
    def problem(self) -> str | None:
        """See above."""
        ...

    def look(self) -> Hashable:
        """What it says, at once; another value after every switch. An OSError where that can't be told."""
        ...

    def named(self) -> str:
        """What it says, in words."""
        ...

    def open(self) -> Searcher:
        """Open the version that it says now: that one and no other, whatever it says meanwhile."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class ChampionLink:
    """`models/champion`."""

    problem = None

    def __init__(self, models: Path, open_searcher: Callable[[Path], Searcher]) -> None:
        """Of a registry; `open_searcher` opens the directory of a version."""
        self._models = models
        self._open_searcher = open_searcher

    def look(self) -> tuple[int, int] | None:
        """What the link is now: a promotion makes a new one, even to the same version."""
        try:
            status = (self._models / CHAMPION).lstat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    def named(self) -> str:
        """The version that the link leads to."""
        try:
            return Path(os.readlink(self._models / CHAMPION)).name
        except OSError:
            return "nothing"

    def open(self) -> Searcher:
        """See `Pointer`."""
        return self._open_searcher(version_directory(self._models, CHAMPION))

    def close(self) -> None:
        """Nothing is held."""


class ChampionAlias:
    """The alias in Milvus, asked for by a thread of its own twice a second."""

    def __init__(self, connection: "Connection", open_searcher: Callable[[str], Searcher]) -> None:
        """Ask for it once.

        Args:
            connection: to Milvus; closed with this.
            open_searcher: opens a collection by its name.

        Raises:
            UdmlError: if Milvus does not answer, or nothing serves there.
        """
        from udml.serving.engine.shared import champion_of

        self._connection = connection
        self._ask = champion_of
        self._open_searcher = open_searcher
        self._said = champion_of(connection)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="champion in Milvus", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str | None:
        """Why nothing can be searched now."""
        return self._connection.problem

    def look(self) -> str:
        """The collection behind the alias."""
        if self.problem is not None:
            raise OSError(errno.EHOSTUNREACH, self.problem)
        return self._said

    def named(self) -> str:
        """The collection behind the alias."""
        return self._said

    def open(self) -> Searcher:
        """See `Pointer`."""
        return self._open_searcher(self._ask(self._connection))

    def close(self) -> None:
        """Ask no more."""
        self._closing.set()
        self._thread.join()
        self._connection.close()

    def _follow(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            try:
                self._said = self._ask(self._connection)
            except StoreLostError:  # `problem` tells
                continue
            except UdmlError:  # the alias is gone: what serves goes on
                continue
