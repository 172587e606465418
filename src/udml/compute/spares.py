"""Workers that have done one kind of work, kept for the next one: a stage has several.

Starting a worker's process takes seconds. A spare one holds its cores, but nothing that it opened, and for a
minute only: a cluster is there for others, too.
"""

import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from udml.compute.joining import Node
from udml.compute.work import Place

_KEPT_SECONDS = 60.0


@dataclass(frozen=True)
class Seat:
    """Where a worker is: its node, which of the node's workers it is, and what it may use."""

    node: Node
    number: int
    place: Place


class Spares:
    """Idle workers of this process, all for one workspace."""

    def __init__(self) -> None:
        """None yet."""
        self._ray: Any = None
        self._workspace = Path()
        self._actors: dict[Seat, Any] = {}
        self._timer = threading.Timer(0, self.end)
        self._lock = threading.Lock()

    def keep(self, ray: Any, actors: dict[Seat, Any]) -> None:
        """Keep these for a minute, and no others."""
        self.end()
        for actor in actors.values():
            actor.rest.remote()
        with self._lock:
            self._ray, self._workspace, self._actors = ray, Path.cwd(), actors
            self._timer = threading.Timer(_KEPT_SECONDS, self.end)
            self._timer.daemon = True
            self._timer.start()

    def take(self, seats: Collection[Seat]) -> dict[Seat, Any]:
        """Those that are kept for these seats; all others are ended, as their cores may be needed."""
        with self._lock:
            here = self._workspace == Path.cwd()
            found = {seat: self._actors.pop(seat) for seat in seats if here and seat in self._actors}
        self.end()
        return found

    def end(self) -> None:
        """End all that are kept."""
        with self._lock:
            self._timer.cancel()
            ended, self._actors = self._actors, {}
        for actor in ended.values():
            if self._ray.is_initialized():
                self._ray.kill(actor)
