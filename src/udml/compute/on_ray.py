"""The work on a Ray cluster whose nodes share the workspace's folder.

Workers are actors that stay on their node: one a core, or, for work that uses all cores by itself, one a
node (one a GPU where it has some). Each has one item at a time and gets the next when it is done, so the
faster ones do more, and what is under way is as much as there are workers. Only the names of the files to
make go out, and nothing comes back. An item whose worker is lost goes to another one; nodes that
join later get workers, too.
"""

import sys
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from udml.compute.joining import Node, join, look_at, nodes_of, on_node, require_ray
from udml.compute.node import Worker, sendable
from udml.compute.work import Items, Place, Work, left_to_do
from udml.errors import UdmlError
from udml.progress import progress

__all__ = ["require_ray", "run_on_ray"]

_LOOK_EVERY_SECONDS = 10
_WAIT_SECONDS = 1.0
_PATIENCE_SECONDS = 60
_MOST_LOST = 3  # workers, by one item or while they start on one node
_SEEN_SECONDS = 120  # until a network file system shows here what was written elsewhere

_fit: dict[str, set[str]] = {}  # nodes that this process found to share a workspace, by its path


def run_on_ray(address: str, work: Work[Any, Any], items: Items[Any]) -> None:
    """Do every item that is not done, on all nodes of the cluster, with a progress bar.

    Raises:
        UdmlError: what the work itself raises, naming the node; if there is no such cluster, a node of it
            lacks the workspace's folder or has other versions, or workers die again and again. What is
            finished by then is kept.
    """
    pending, done, total = left_to_do(work, items)
    if not pending:
        return
    ray = join(address)
    fit = _fit_nodes(ray)
    nothing: tuple[Any, ...] = ()  # the bar is moved by hand
    with progress(nothing, work.description, total=total, unit="image") as bar:
        bar.initial = bar.n = done
        fleet = _Fleet(ray, work, items, fit)
        try:
            fleet.run(pending, bar)
        finally:
            fleet.dismiss()


def _fit_nodes(ray: Any) -> set[str]:
    """Nodes that can take part; each is looked at once, however many kinds of work a stage has."""
    known = _fit.setdefault(str(Path.cwd()), set())
    nodes = nodes_of(ray)
    new = [node for node in nodes if node.id not in known]
    for node, why in look_at(ray, new).items() if new else ():
        if why:
            raise UdmlError(
                f"node {node.name} of the Ray cluster {why}", "mend it, or take it off the cluster"
            )
        known.add(node.id)
    return known & {node.id for node in nodes}


@dataclass(frozen=True)
class _Member:
    """A worker: its number, its actor, its node, and which of the node's workers it is."""

    number: int
    actor: Any
    node: Node
    place: int


class _Fleet:
    """The workers of one run, and what each is at."""

    def __init__(self, ray: Any, work: Work[Any, Any], items: Items[Any], fit: set[str]) -> None:
        self._ray, self._work, self._items = ray, work, items
        self._sent = ray.put(sendable(work))
        self._fit = fit  # nodes that were looked at and can take part
        self._unfit: set[str] = set()
        self._members: dict[int, _Member] = {}
        self._starting: dict[Any, _Member] = {}
        self._busy: dict[Any, tuple[_Member, int]] = {}
        self._idle: list[_Member] = []
        self._lost: Counter[str] = Counter()  # by node, while they start
        self._tries: Counter[int] = Counter()  # by item
        self._hired = 0
        self._looked = -float("inf")
        self._tell_at = time.monotonic() + _PATIENCE_SECONDS

    def run(self, pending: list[int], bar: "tqdm[Any]") -> None:
        """Do these items."""
        queue = deque(pending)
        while queue or self._busy:
            self._hire(len(queue))
            while queue and self._idle:
                self._give(self._idle.pop(), queue.popleft())
            self._say_waiting()
            under_way = [*self._starting, *self._busy]
            if not under_way:
                time.sleep(_WAIT_SECONDS)
                continue
            for ref in self._ray.wait(under_way, num_returns=1, timeout=_WAIT_SECONDS)[0]:
                if ref in self._starting:
                    self._started(ref)
                else:
                    self._finished(ref, queue, bar)

    def dismiss(self) -> None:
        """End all workers."""
        for member in list(self._members.values()):
            self._drop(member)

    def _hire(self, wanted: int) -> None:
        """Workers for every node that lacks some, at most as many as there are items."""
        if time.monotonic() - self._looked < _LOOK_EVERY_SECONDS:
            return
        self._looked = time.monotonic()
        nodes = nodes_of(self._ray)
        self._look_at([node for node in nodes if node.id not in self._fit | self._unfit])
        taken = {(member.node.id, member.place) for member in self._members.values()}
        room = wanted - len(self._idle) - len(self._starting)
        places = [place for node in nodes if node.id in self._fit for place in _places(node, self._work)]
        # the first of every node before the second of any
        for node, number, place in sorted(places, key=lambda found: found[1]):
            if room > 0 and (node.id, number) not in taken:
                self._start(node, number, place)
                room -= 1

    def _look_at(self, joined: list[Node]) -> None:
        """Nodes that joined meanwhile: those that can't take part are named, and left alone."""
        for node, why in look_at(self._ray, joined).items() if joined else ():
            (self._unfit if why else self._fit).add(node.id)
            if why:
                print(
                    f"node {node.name} of the Ray cluster {why}: it gets no work", file=sys.stderr, flush=True
                )

    def _start(self, node: Node, number: int, place: Place) -> None:
        options = {
            "num_cpus": place.cores,
            "num_gpus": int(place.gpu),
            "max_restarts": 0,
            "scheduling_strategy": on_node(node),
        }
        actor = self._ray.remote(Worker).options(**options).remote(self._sent, str(Path.cwd()), place)
        member = _Member(self._hired, actor, node, number)
        self._hired += 1
        self._members[member.number] = member
        self._starting[actor.open.remote()] = member

    def _started(self, ref: Any) -> None:
        member = self._starting.pop(ref)
        try:
            failed = self._ray.get(ref)
        except self._gone() as error:
            self._drop(member)
            self._lost[member.node.id] += 1
            alive = any(node.id == member.node.id for node in nodes_of(self._ray))
            if alive and self._lost[member.node.id] >= _MOST_LOST:
                raise UdmlError(
                    f"workers of {self._work.description} die while they start on node {member.node.name}",
                    f"see Ray's logs there; {self._work.relief}",
                ) from error
            return
        if failed is not None:
            raise failed
        self._idle.append(member)

    def _give(self, member: _Member, item: int) -> None:
        self._busy[member.actor.do.remote(self._items[item])] = (member, item)

    def _finished(self, ref: Any, queue: "deque[int]", bar: "tqdm[Any]") -> None:
        member, item = self._busy.pop(ref)
        try:
            failed = self._ray.get(ref)
        except self._gone() as error:
            self._drop(member)
            self._tries[item] += 1
            if self._tries[item] >= _MOST_LOST:
                raise UdmlError(
                    f"{_MOST_LOST} workers of {self._work.description} were lost over the same images, most "
                    "likely because memory ran out",
                    f"{self._work.relief}; finished work is kept",
                ) from error
            queue.appendleft(item)
            self._looked = -float("inf")
            return
        if failed is not None:
            raise failed
        made = self._items[item]
        self._wait_until_seen(made, member)
        bar.update(self._work.size(made))
        self._idle.append(member)

    def _wait_until_seen(self, item: Any, member: _Member) -> None:
        """A worker's word is not enough: its files must be here."""
        deadline = time.monotonic() + _SEEN_SECONDS
        while not self._work.is_done(item):
            if time.monotonic() > deadline:
                raise UdmlError(
                    f"node {member.node.name} wrote files of {self._work.description} that are not here",
                    f"all nodes must share {Path.cwd()}",
                )
            time.sleep(0.2)

    def _drop(self, member: _Member) -> None:
        self._members.pop(member.number, None)
        self._ray.kill(member.actor)

    def _gone(self) -> tuple[type[Exception], ...]:
        """What Ray raises where a worker, or its node, is no more."""
        errors = self._ray.exceptions
        return (
            errors.RayActorError,
            errors.ActorUnschedulableError,
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
        )

    def _say_waiting(self) -> None:
        if self._idle or self._busy:
            self._tell_at = time.monotonic() + _PATIENCE_SECONDS
        elif time.monotonic() > self._tell_at:
            self._tell_at = float("inf")
            print("waiting for free cores of the Ray cluster", file=sys.stderr, flush=True)


def _places(node: Node, work: Work[Any, Any]) -> list[tuple[Node, int, Place]]:
    """Workers that a node has room for, numbered, and what each may use."""
    if not work.whole_node:
        return [(node, number, Place(1)) for number in range(node.cores)]
    each = max(1, node.cores // max(1, node.gpus))
    return [(node, number, Place(each, node.gpus > 0)) for number in range(max(1, node.gpus))]
