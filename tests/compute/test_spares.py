"""Workers between two kinds of work: who is kept, who is ended, and when."""

from typing import Any
from unittest import mock

import pytest

from udml.compute import spares
from udml.compute.joining import Node
from udml.compute.spares import Seat, Spares
from udml.compute.work import Place

NODE = Node("a" * 8, "first", 2, 0)
CORES = [Seat(NODE, number, Place(1)) for number in range(2)]
WHOLE = Seat(NODE, 0, Place(2))


class Ray:
    """What of Ray is used: who was killed."""

    def __init__(self) -> None:
        self.killed: list[Any] = []
        self.kill = self.killed.append

    def is_initialized(self) -> bool:
        return True


@pytest.fixture
def kept() -> Any:
    ray, actors = Ray(), {seat: mock.Mock() for seat in CORES}
    own = Spares()
    own.keep(ray, dict(actors))
    yield own, ray, actors
    own.end()


def test_the_same_workers_are_taken_once_and_hold_nothing_meanwhile(kept: Any) -> None:
    own, ray, actors = kept
    assert all(actor.rest.remote.call_count == 1 for actor in actors.values())
    assert own.take(CORES) == actors
    assert own.take(CORES) == {}
    assert ray.killed == []


@pytest.mark.parametrize("wanted", [[WHOLE], [], [Seat(Node("b" * 8, "other", 2, 0), 0, Place(1))]])
def test_those_whose_cores_are_needed_otherwise_are_ended(kept: Any, wanted: list[Seat]) -> None:
    own, ray, actors = kept
    assert own.take(wanted) == {}
    assert ray.killed == list(actors.values())


def test_one_of_them_may_be_wanted(kept: Any) -> None:
    own, ray, actors = kept
    assert own.take([CORES[1], WHOLE]) == {CORES[1]: actors[CORES[1]]}
    assert ray.killed == [actors[CORES[0]]]


def test_work_in_another_folder_gets_none(kept: Any, tmp_path, monkeypatch) -> None:
    own, ray, actors = kept
    monkeypatch.chdir(tmp_path)
    assert own.take(CORES) == {}
    assert ray.killed == list(actors.values())


def test_nobody_keeps_them_for_ever(monkeypatch) -> None:
    monkeypatch.setattr(spares, "_KEPT_SECONDS", 0.01)
    ray, actor, own = Ray(), mock.Mock(), Spares()
    own.keep(ray, {WHOLE: actor})
    own._timer.join(60)
    assert ray.killed == [actor]
    assert own.take([WHOLE]) == {}
