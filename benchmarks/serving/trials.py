"""What the service is put through: too much load, switches, kills. Each trial gives its figures.

The tests run them small, on toy models; `benchmarks.serving` at full size, on real ones.
"""

import asyncio
import itertools
import json
import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.serving.client import Reply, Request, Served, at_a_rate, connection, in_turn, serving
from udml import Searcher
from udml.data.identity import image_id
from udml.registry import store
from udml.serving.service.switching import POLL_SECONDS

Found = list[tuple[str, float]]  # id and similarity, best first
_TOLERANCE = 5e-4  # of a similarity: a batch is summed in another order than a lone image
_K = 8
_SWITCH_WAIT_SECONDS = 60.0
PATIENT = ("--deadline-seconds", "60")  # a busy machine must not pass for a fault


def search(image: bytes) -> Request:
    """The request that searches with an image."""
    return "POST", f"/v1/search?k={_K}", image


def expected(root: Path, version: str, images: Sequence[bytes]) -> list[Found]:
    """What the engine itself finds with each image."""
    with Searcher.open(root / "models" / "versions" / version, root / "data") as searcher:
        vectors = searcher.embed_images([searcher.decode(image) for image in images])
        return [
            [(f"{hit.image_id:016x}", hit.similarity) for hit in hits]
            for hits in searcher.neighbours(vectors, _K)
        ]


def is_right(reply: Reply, right: Found) -> bool:
    """Whether an answer is the engine's: the same similarities, and so the same images but for ties."""
    found = [(hit["id"], hit["similarity"]) for hit in json.loads(reply.body)["neighbours"]]
    close = len(found) == len(right) and np.allclose(
        [s for _, s in found], [s for _, s in right], atol=_TOLERANCE
    )
    same = {i for i, s in right if s > right[-1][1] + 2 * _TOLERANCE} <= {i for i, _ in found}
    return close and same


# --- too much load --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Overload:
    """What came of too much load.

    Attributes:
        sustained_per_second: what it answers when each of 16 clients waits for its answer.
        offered_per_second: what was sent.
        answered, refused: requests with 200, and with 503 that say when to come back.
        wrong: all others, and answers that are not the engine's.
        p50_ms, p99_ms: of those answered.
        rss_mib: after the first quarter, and at the end.
    """

    sustained_per_second: float
    offered_per_second: float
    answered: int
    refused: int
    wrong: int
    p50_ms: float
    p99_ms: float
    rss_mib: tuple[float, float]


def overload(root: Path, queries: Sequence[bytes], seconds: float, times: float = 3.0) -> Overload:
    """Send `times` as much as the service on root's v1 can answer, for so long."""
    right = expected(root, "v1", queries)
    requests = [search(query) for query in queries]
    with serving(root, *PATIENT) as served:
        sustained = throughput(served.port, requests, warm_up=100, count=400)
        offered = times * sustained
        replies, memory = [], []
        for part in (0.25, 0.75):
            sent = at_a_rate(
                served.port, lambda n: requests[n % len(requests)], offered, part * seconds, again=True
            )
            replies += asyncio.run(sent)
            memory.append(served.rss_mib)
    answered = [r for r in replies if r.status == 200 and is_right(r, right[r.request % len(right)])]
    refused = sum(r.status == 503 and "retry-after" in r.headers for r in replies)
    p50, p99 = np.percentile([1000 * r.seconds for r in answered], [50, 99])
    return Overload(
        sustained,
        len(replies) / seconds,
        len(answered),
        refused,
        len(replies) - len(answered) - refused,
        float(p50),
        float(p99),
        (memory[0], memory[1]),
    )


def throughput(port: int, requests: Sequence[Request], warm_up: int, count: int, clients: int = 16) -> float:
    """Answers a second, when each client waits for its answer before it asks again.

    Raises:
        SystemExit: if one is not a 200.
    """
    cycled = [requests[n % len(requests)] for n in range(max(warm_up, count))]
    asyncio.run(in_turn(port, cycled[:warm_up], clients))
    began = time.perf_counter()
    replies = asyncio.run(in_turn(port, cycled[:count], clients))
    seconds = time.perf_counter() - began
    if failed := [r for r in replies if r.status != 200]:
        first = f"{failed[0].status} {failed[0].body.decode()}"
        raise SystemExit(f"{len(failed)} of {count} requests failed, the first with {first}")
    return count / seconds


# --- switches -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Switches:
    """What came of switching to and fro under load.

    Attributes:
        switches: how many were followed.
        requests: sent meanwhile.
        failed: not answered with 200.
        mixed: answers that are not wholly those of the version they name.
        seconds: in all.
        rss_mib: after a tenth of the switches, and at the end.
    """

    switches: int
    requests: int
    failed: int
    mixed: int
    seconds: float
    rss_mib: tuple[float, float]


def switches(root: Path, queries: Sequence[bytes], count: int, clients: int = 4) -> Switches:
    """Promote root's v2 and v1 in turn, `count` times, while clients search."""
    right = {name: expected(root, name, queries) for name in ("v1", "v2")}
    if right["v1"] == right["v2"]:
        raise SystemExit("the two versions find the same: mixed answers could not be told")
    requests = [search(query) for query in queries]
    store.promote(root / "models", "v1", "")
    with serving(root, *PATIENT) as served:
        began = time.perf_counter()
        replies, memory = asyncio.run(_switch_under_load(served, root, requests, count, clients))
        seconds = time.perf_counter() - began
    answered = [reply for reply in replies if reply.status == 200]
    mixed = sum(
        reply.headers["udml-version"] != (name := json.loads(reply.body)["version"])
        or not is_right(reply, right[name][reply.request])
        for reply in answered
    )
    failed = len(replies) - len(answered)
    return Switches(count, len(replies), failed, mixed, seconds, (memory[0], memory[-1]))


async def _switch_under_load(
    served: Served, root: Path, requests: Sequence[Request], count: int, clients: int
) -> tuple[list[Reply], list[float]]:
    """Every answer, and the memory held after each tenth of the switches."""
    stop = asyncio.Event()
    replies: list[Reply] = []
    memory: list[float] = []

    async def load() -> None:
        async with connection(served.port) as one:
            for number in itertools.cycle(range(len(requests))):
                if stop.is_set():
                    return
                replies.append(await one.ask(number, requests[number]))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(load())
        for step in range(count):
            await _switch(served.port, root, ("v2", "v1")[step % 2])
            if (step + 1) % max(1, count // 10) == 0:
                memory.append(served.rss_mib)
        stop.set()
    return replies, memory


async def _switch(port: int, root: Path, wanted: str) -> None:
    """Promote a version and wait until it serves."""
    await asyncio.to_thread(store.promote, root / "models", wanted, "")
    deadline = time.monotonic() + _SWITCH_WAIT_SECONDS
    async with connection(port) as one:
        while json.loads((await one.ask(0, ("GET", "/v1/version", b""))).body)["version"] != wanted:
            if time.monotonic() > deadline:
                raise SystemExit(f"the switch to {wanted} was not followed")
            await asyncio.sleep(POLL_SECONDS / 2)


# --- kills ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kills:
    """What came of killing the service while images were added.

    Attributes:
        kills: how often.
        acknowledged: additions that were answered.
        lost: acknowledged ones that a search with the same image did not find after the restart.
        unanswered: additions that were cut off.
        kept: unanswered ones that are there, all of each: item, thumbnail, found by a search.
        halves: ones of which only a part is there.
    """

    kills: int
    acknowledged: int
    lost: int
    unanswered: int
    kept: int
    halves: int


def kills(root: Path, images: Iterator[bytes], count: int, seed: int = 0) -> Kills:
    """SIGKILL the service `count` times at random moments while four clients add images."""
    chance = random.Random(seed)
    sums = {"acknowledged": 0, "lost": 0, "unanswered": 0, "kept": 0, "halves": 0}
    pending: dict[str, tuple[bytes, bool]] = {}  # name: image, whether it was acknowledged
    for turn in range(count + 1):
        with serving(root, "--open-writes", *PATIENT) as served:
            for name, (image, acknowledged) in pending.items():
                parts = asyncio.run(_parts(served.port, name, image))
                sums["acknowledged" if acknowledged else "unanswered"] += 1
                sums["lost"] += acknowledged and not all(parts)
                sums["kept"] += not acknowledged and all(parts)
                sums["halves"] += any(parts) and not all(parts)
            pending.clear()
            if turn < count:
                killer = threading.Timer(
                    chance.uniform(0.0, 0.6), served.process.send_signal, [signal.SIGKILL]
                )
                killer.start()
                pending.update(asyncio.run(_add_until_it_dies(served, images, turn)))
                killer.join()
                served.process.wait()
    return Kills(count, **sums)


async def _add_until_it_dies(
    served: Served, images: Iterator[bytes], turn: int
) -> dict[str, tuple[bytes, bool]]:
    sent: dict[str, tuple[bytes, bool]] = {}

    async def work(client: int) -> None:
        async with connection(served.port) as one:
            number = 0
            while True:
                name, image = f"turn-{turn}-{client}-{number}.jpg", next(images)
                reply = await one.ask(0, ("POST", f"/v1/items?name={name}", image))
                sent[name] = (image, reply.status == 200)
                if reply.status == 0:
                    return
                number += 1

    await asyncio.gather(*(work(client) for client in range(4)))
    return sent


async def _parts(port: int, name: str, image: bytes) -> tuple[bool, bool, bool]:
    """Whether an added image is listed, has its picture, and is found by searching with it."""
    identity = f"{image_id(name):016x}"
    async with connection(port) as one:
        item = await one.ask(0, ("GET", f"/v1/items/{identity}", b""))
        picture = await one.ask(0, ("GET", f"/v1/items/{identity}/image?side_px=32", b""))
        found = await one.ask(0, ("POST", "/v1/search?k=1", image))
    nearest = json.loads(found.body)["neighbours"]
    is_found = bool(nearest) and nearest[0]["id"] == identity and nearest[0]["similarity"] > 1 - _TOLERANCE
    return item.status == 200, picture.status == 200, is_found
