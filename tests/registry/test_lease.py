import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udml.errors import UdmlError
from udml.registry import lease
from udml.registry.lease import LeaseTaken


class Clock:
    """The time that the lease sees; `jump` is what a wrong clock or a suspended machine does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000.0
        monkeypatch.setattr(lease.time, "time", lambda: self.now)

    def jump(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_the_second_is_told_who_holds_it_and_since_when(tmp_path: Path, clock: Clock) -> None:
    told = rf"process {os.getpid()} on .*since 1970-01-12 13:46:40 UTC"
    with lease.hold(tmp_path / "models"), pytest.raises(LeaseTaken, match=told):
        lease.take(tmp_path / "models")
    with lease.hold(tmp_path / "models") as second:
        assert second.token == 2


def test_it_is_released_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), lease.hold(tmp_path):
        raise ValueError("broken")
    lease.take(tmp_path)


def test_a_heartbeat_keeps_it_beyond_its_expiry(tmp_path: Path, clock: Clock) -> None:
    """By the lease's clock, which waits for each heartbeat, however late a busy machine beats."""
    with lease.hold(tmp_path, expiry_seconds=1) as held:
        for _ in range(4):
            clock.jump(0.9)
            while (record := lease.read_lease(tmp_path)) is None or record.heartbeat != clock.now:
                time.sleep(0.02)
            with pytest.raises(LeaseTaken):
                lease.take(tmp_path, expiry_seconds=1)
        lease.require_held(held)


def test_a_killed_holder_blocks_nobody_beyond_the_expiry(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time; from udml.registry import lease\n"
        "with lease.hold(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with pytest.raises(LeaseTaken, match=f"process {holder.pid} "):
        lease.take(tmp_path, expiry_seconds=30)
    time.sleep(0.3)
    assert lease.take(tmp_path, expiry_seconds=0.2).token == 2


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_clock_jump_past_the_lease_loses_it_only_if_another_takes_it(
    tmp_path: Path, clock: Clock, seconds: float
) -> None:
    first = lease.take(tmp_path)
    clock.jump(seconds)
    lease.require_held(first)
    lease.beat(first)
    with pytest.raises(LeaseTaken):
        lease.take(tmp_path)
    clock.jump(seconds)
    second = lease.take(tmp_path)
    for ask in (lease.require_held, lease.beat):
        with pytest.raises(UdmlError, match="lost its lease"):
            ask(first)
    lease.release(first)  # does not take it from the second
    lease.require_held(second)


def test_one_that_was_taken_and_given_back_meanwhile_is_lost_too(tmp_path: Path, clock: Clock) -> None:
    first = lease.take(tmp_path)
    clock.jump(lease.EXPIRY_SECONDS + 1)
    lease.release(lease.take(tmp_path))
    with pytest.raises(UdmlError, match="lost its lease"):
        lease.require_held(first)


def test_a_lease_whose_file_is_gone_is_lost(tmp_path: Path) -> None:
    held = lease.take(tmp_path)
    (tmp_path / lease.LEASE_FILE).unlink()
    with pytest.raises(UdmlError, match="was removed"):
        lease.require_held(held)


_ACTIONS = st.one_of(
    st.tuples(st.just("jump"), st.floats(-200, 200)),
    st.tuples(st.sampled_from(["take", "beat", "release"]), st.integers(0, 2)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_ACTIONS, max_size=20))
def test_whatever_happens_at_most_one_may_promote(plan: list[tuple[str, float]]) -> None:
    """Three retrainings take, beat and release in any order while the clock goes where it likes."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        models, clock = Path(name), Clock(patch)
        held: dict[int, lease.Lease] = {}
        for action, value in plan:
            if action == "jump":
                clock.jump(value)
                continue
            who = int(value)
            try:
                if action == "take":
                    before = lease.read_lease(models)
                    held[who] = lease.take(models)
                    assert before is None or held[who].token == before.token + 1
                elif who in held:
                    (lease.beat if action == "beat" else lease.release)(held[who])
            except UdmlError:
                pass
            permitted = [one for one in held.values() if _may_promote(one)]
            assert len({one.holder for one in permitted}) <= 1


def _may_promote(held: lease.Lease) -> bool:
    try:
        lease.require_held(held)
    except UdmlError:
        return False
    return True
