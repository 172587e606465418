"""The serving benchmark's trials, small: too much load, switches and kills of a real process."""

import asyncio
import itertools
import json
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from benchmarks.serving import hostile, trials
from benchmarks.serving.client import Connection, connection, serving

from tests.serving.live import make_version, png
from tests.serving.small_service import BASE

QUERIES = [data for _, data, _ in BASE[:12]]


def noise():
    """Pictures that all differ."""
    for seed in itertools.count():
        yield png(np.random.default_rng(seed).integers(0, 256, (24, 24, 3), np.uint8))


def test_too_much_load_is_refused_and_the_rest_is_answered_right(registry):
    result = trials.overload(registry, QUERIES, seconds=3)
    assert result.wrong == 0
    assert result.answered > 0
    # how many are refused, and what memory it takes, depends on what else runs: the benchmark prints it


def test_switches_under_load_fail_no_request_and_mix_no_answer(registry):
    make_version(registry, BASE, seed=7)
    result = trials.switches(registry, QUERIES, count=10)
    assert (result.failed, result.mixed) == (0, 0)
    assert result.requests > 0


def test_the_judge_sees_a_mixed_answer():
    right = [("a", 0.9), ("b", 0.5)]

    def reply(*found):
        body = {"neighbours": [{"id": i, "similarity": similarity} for i, similarity in found]}
        return trials.Reply(0, 200, {}, json.dumps(body).encode(), 0.0)

    assert trials.is_right(reply(("a", 0.9), ("b", 0.5)), right)
    assert trials.is_right(reply(("a", 0.9), ("c", 0.5)), right)  # a tie at the end
    assert not trials.is_right(reply(("x", 0.9), ("b", 0.5)), right)
    assert not trials.is_right(reply(("a", 0.8), ("b", 0.5)), right)
    assert not trials.is_right(reply(("a", 0.9)), right)


@pytest.mark.slow
def test_kills_while_adding_lose_nothing_that_was_acknowledged(registry):
    result = trials.kills(registry, noise(), count=8)
    assert (result.lost, result.halves) == (0, 0)
    assert result.acknowledged > 0
    assert result.unanswered > 0


HELD = """
import pathlib, time
from udml.search.embedder import Embedder
embed = Embedder.embed
def held(self, images):
    while pathlib.Path("held").exists(): time.sleep(0.02)
    return embed(self, images)
Embedder.embed = held
"""


def test_sigterm_answers_what_has_begun(registry):
    """Requests that have all reached the service, and of which none is answered, when it is told to stop."""
    with serving(registry, *trials.PATIENT, before=HELD) as served:
        (registry / "held").touch()
        replies = asyncio.run(_terminate_under_load(served, registry / "held"))
        assert served.process.returncode == 0
    assert [reply.status for reply in replies] == [200] * 40


async def _terminate_under_load(served, held):
    asked = [
        asyncio.create_task(Connection(served.port).ask(n, trials.search(QUERIES[n % 12]))) for n in range(40)
    ]
    async with connection(served.port) as one:
        while b"\nudml_waiting_images 40.0\n" not in (await one.ask(0, ("GET", "/metrics", b""))).body:
            await asyncio.sleep(0.05)
    served.process.terminate()
    while True:  # until it has heard that it shall stop
        async with connection(served.port) as one:
            if (await one.ask(0, ("GET", "/healthz", b""))).status == 0:
                break
        await asyncio.sleep(0.05)
    assert not any(task.done() for task in asked)
    held.unlink()
    await asyncio.to_thread(served.process.wait)
    return await asyncio.gather(*asked)


HOSTILE = [hostile.blank_jpeg(7000, 99), hostile.blank_jpeg(7000, 30, 0xC0), hostile.png(7000, 16, 0)]


@pytest.mark.parametrize("options", [(), trials.PATIENT], ids=["usual", "a deadline of a minute"])
def test_sigterm_ends_it_while_hostile_files_are_decoded(registry, options):
    """Callers are waited for for seconds, then what they asked for is stopped; it would take minutes."""
    with serving(registry, *options) as served:
        asyncio.run(_terminate_under_attack(served))
        assert served.process.returncode == 0


async def _terminate_under_attack(served):
    sent = [("POST", "/v1/search", HOSTILE[number % len(HOSTILE)]) for number in range(24)]
    asked = [asyncio.create_task(Connection(served.port).ask(0, request)) for request in sent]
    async with connection(served.port) as one:
        told = b""
        while (waiting := re.search(rb"\nudml_waiting_images (\d+)", told)) is None or int(waiting[1]) < 6:
            await asyncio.sleep(0.05)
            told = (await one.ask(0, ("GET", "/metrics", b""))).body
    decoding = _children(served.process.pid)
    assert decoding
    served.process.terminate()
    await asyncio.to_thread(served.process.wait, 50)  # under 15 s where nothing else runs
    replies = await asyncio.gather(*asked)
    assert {reply.status for reply in replies} <= {0, 200, 413, 422, 503}  # 0: cut off; never a 500
    assert not any(_runs(number) for number in decoding)


def _runs(process):
    """Whether it does; one that has ended may stay known until somebody asks what became of it."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def _children(process):
    """Numbers of the processes that a process has started."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # gone meanwhile
            if status.read_text().rpartition(")")[2].split()[1] == str(process):
                found.add(int(status.parent.name))
    return found
