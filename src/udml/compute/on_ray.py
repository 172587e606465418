"""The work on a Ray cluster whose nodes share the workspace's folder.

Workers are actors that stay on their node: one a core, or, for work that uses all cores by itself, one a
node (one a GPU where it has some); those of one kind of work do the next kind, too. Each has one item at a
time and gets the next when it is done, so the faster ones do more, and what is under way is as much as there
are workers. Only the names of the files to make go out, and nothing comes back. An item whose worker is lost
goes to another one; nodes that join later get workers, too.
"""

import atexit
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from udml.compute.joining import Node, join, nodes_of, on_node
from udml.compute.looking import Look
from udml.compute.node import Worker, sendable
from udml.compute.spares import Seat, Spares
from udml.compute.work import Items, Place, Work, left_to_do
from udml.errors import UdmlError
from udml.progress import progress

_LOOK_EVERY_SECONDS = 10
_WAIT_SECONDS = 1.0
_PATIENCE_SECONDS = 60
_MOST_LOST = 3  # workers, by one item or while they start on one node
_SEEN_SECONDS = 120  # until a network file system shows here what was written elsewhere

# Of this process, by a workspace's path: nodes that were found to share it, and those that are looked at.
_fit: dict[str, set[str]] = {}
_begun: dict[str, Look] = {}
_spares = Spares()


def get_ready_on_ray(address: str, module: str = "", each_core: bool = False) -> None:
    """Join the cluster, and have its nodes get ready for work in this folder; see `udml.compute.looking`.

    Raises:
        UdmlError: if there is no such cluster. What is wrong with a node, `run_on_ray` says.
    """
    ray, here = join(address), str(Path.cwd())
    known = _fit.setdefault(here, set())
    new = [node for node in nodes_of(ray) if node.id not in known]
    if new and here not in _begun:
        _begun[here] = look = Look(ray, new, module, each_core)
        atexit.register(look.end)


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
    get_ready_on_ray(address)
    ray = join(address)
    fit = _fit_nodes(ray)
    nothing: tuple[Any, ...] = ()  # the bar is moved by hand
    with progress(nothing, work.description, total=total, unit="image") as bar:
        bar.initial = bar.n = done
        fleet = _Fleet(ray, work, items, fit)
        try:
            fleet.run(pending, bar)
        except BaseException:
            fleet.dismiss()
            raise
        fleet.rest()


def _fit_nodes(ray: Any) -> set[str]:
    """Nodes that can take part; each is looked at once, however many kinds of work a stage has."""
    here = str(Path.cwd())
    known, begun = _fit.setdefault(here, set()), _begun.pop(here, None)
    for node, why in begun.answers().items() if begun else ():
        if why:
            raise UdmlError(
                f"node {node.name} of the Ray cluster {why}", "mend it, or take it off the cluster"
            )
        known.add(node.id)
    return known & {node.id for node in nodes_of(ray)}


@dataclass(frozen=True)
class _Member:
    """A worker: its number, its actor, and where it is."""

    number: int
    actor: Any
    seat: Seat


class _Fleet:
    """The workers of one run, and what each is at."""

    def __init__(self, ray: Any, work: Work[Any, Any], items: Items[Any], fit: set[str]) -> None:
        self._ray, self._work, self._items = ray, work, items
        self._sent = ray.put(sendable(work))
        self._spare = _spares.take([seat for node in nodes_of(ray) for seat in _seats(node, work)])
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

    def rest(self) -> None:
        """Keep the workers for what comes next, for a while."""
        idle = {member.seat: self._members.pop(member.number).actor for member in self._idle}
        self.dismiss()
        _spares.keep(self._ray, idle)

    def dismiss(self) -> None:
        """End all workers."""
        for member in list(self._members.values()):
            self._drop(member)
        for actor in self._spare.values():
            self._ray.kill(actor)

    def _hire(self, wanted: int) -> None:
        """Workers for every node that lacks some, at most as many as there are items."""
        if time.monotonic() - self._looked < _LOOK_EVERY_SECONDS:
            return
        self._looked = time.monotonic()
        nodes = nodes_of(self._ray)
        self._look_at([node for node in nodes if node.id not in self._fit | self._unfit])
        taken = {(member.seat.node.id, member.seat.number) for member in self._members.values()}
        room = wanted - len(self._idle) - len(self._starting)
        seats = [seat for node in nodes if node.id in self._fit for seat in _seats(node, self._work)]
        # the first of every node before the second of any
        for seat in sorted(seats, key=lambda seat: seat.number):
            if room > 0 and (seat.node.id, seat.number) not in taken:
                self._start(seat)
                room -= 1

    def _look_at(self, joined: list[Node]) -> None:
        """Nodes that joined meanwhile: those that can't take part are named, and left alone."""
        for node, why in Look(self._ray, joined).answers().items() if joined else ():
            (self._unfit if why else self._fit).add(node.id)
            if why:
                print(
                    f"node {node.name} of the Ray cluster {why}: it gets no work", file=sys.stderr, flush=True
                )

    def _start(self, seat: Seat) -> None:
        member = _Member(self._hired, self._spare.pop(seat, None) or self._hire_at(seat), seat)
        self._hired += 1
        self._members[member.number] = member
        self._starting[member.actor.open.remote(self._sent)] = member

    def _hire_at(self, seat: Seat) -> Any:
        options = {
            "num_cpus": seat.place.cores,
            "num_gpus": int(seat.place.gpu),
            "max_restarts": 0,
            "scheduling_strategy": on_node(seat.node),
        }
        return self._ray.remote(Worker).options(**options).remote(str(Path.cwd()), seat.place)

    def _started(self, ref: Any) -> None:
        member = self._starting.pop(ref)
        try:
            failed = self._ray.get(ref)
        except self._gone() as error:
            self._drop(member)
            node = member.seat.node
            self._lost[node.id] += 1
            alive = any(other.id == node.id for other in nodes_of(self._ray))
            if alive and self._lost[node.id] >= _MOST_LOST:
                raise UdmlError(
                    f"workers of {self._work.description} die while they start on node {node.name}",
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
                    f"node {member.seat.node.name} wrote files of {self._work.description} that are not here",
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


def _seats(node: Node, work: Work[Any, Any]) -> list[Seat]:
    """Workers that a node has room for, numbered, and what each may use."""
    if not work.whole_node:
        return [Seat(node, number, Place(1)) for number in range(node.cores)]
    each = max(1, node.cores // max(1, node.gpus))
    return [Seat(node, number, Place(each, node.gpus > 0)) for number in range(max(1, node.gpus))]
