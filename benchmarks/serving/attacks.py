"""What strangers may try, each against a running service while others search: the table of docs/security.md.

    udml serve --port 8000 --requests-per-minute 0 &
    python -m benchmarks.serving.attacks --port 8000 --photo query.jpg

An attack comes from 127.0.0.2, in a process of its own; the searches, 20 a second, from 127.0.0.1. Linux
only: elsewhere loopback has one address. Besides sockets that misbehave, all files of `hostile` are sent,
a row for each format. How busy the machine is for other reasons is printed in front of the table.
"""

import argparse
import asyncio
import itertools
import multiprocessing as mp
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving import hostile
from benchmarks.serving.client import Reply, at_a_rate, connection
from udml.machine import usable_cores

_ATTACKER = "127.0.0.2"
_PER_SECOND = 20.0
_PROBE_SECONDS = 0.2
_GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
_POST = b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
_PICTURES = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Attack:
    """Sockets that say something, then go on and on.

    Attributes:
        sockets: at a time; one that the service closes is opened again.
        begin: what each says first.
        piece: what it says again and again.
        pause_seconds: between pieces.
        reads: what it is answered.
        asks: whole requests, sent instead, one after the other, each when the one before is answered.
    """

    sockets: int
    begin: bytes
    piece: bytes = b""
    pause_seconds: float = 0.0
    reads: bool = True
    asks: tuple[bytes, ...] = ()


ATTACKS = {
    "nothing (for comparison)": Attack(0, b""),
    "header fields without end": Attack(4, _GET, b"x: 1\r\n" * 10_000),
    "one header field without end": Attack(4, _GET + b"x: ", b"1" * 65_536),
    "an address without end": Attack(4, b"GET /", b"x" * 65_536),
    "chunks with extensions without end": Attack(4, _CHUNKED + b"1;", b"x" * 65_536),
    "trailers without end": Attack(4, _CHUNKED + b"0\r\n", b"x: 1\r\n" * 10_000),
    "requests sent ahead": Attack(4, b"", (_GET + b"\r\n") * 2_000),
    "answers that nobody reads": Attack(50, b"", _PICTURES, 0.01, reads=False),
    "500 sockets, a byte of a header a second": Attack(500, _GET, b"x", 1.0),
    "1,500 sockets that say nothing": Attack(1_500, b"", b"", 1.0),
    "200 bodies that do not come": Attack(200, _POST + b"Content-Length: 20971519\r\n\r\n", b"", 1.0),
    "200 bodies, a byte a second": Attack(200, _POST + b"Content-Length: 20971519\r\n\r\n", b"x", 1.0),
    "8 bodies of 20 MiB all the time": Attack(8, _POST + b"Content-Length: 20971519\r\n\r\n", b"x" * 65_536),
}


_FORMATS = ("JPEG 2000", "progressive JPEG", "JPEG", "PNG", "TIFF", "BMP", "PPM", "PGM", "WebP", "GIF")
_ASKING = 8  # sockets that send hostile files


def hostile_files() -> dict[str, Attack]:
    """An attack for each format: all the files of `hostile` that are of it, again and again."""
    by_format: dict[str, list[bytes]] = {}
    for name, data in hostile.attack_files().items():
        head = _POST + b"Content-Length: %d\r\n\r\n" % len(data)
        kind = next(kind for kind in _FORMATS if kind in name)
        by_format.setdefault(kind, []).append(head + data)
    return {
        f"{len(asks)} hostile files of {kind}": Attack(_ASKING, b"", asks=tuple(asks))
        for kind, asks in by_format.items()
    }


@dataclass(frozen=True)
class Row:
    """What came of an attack.

    Attributes:
        sent_mib, opened: what it cost the attacker: bytes, connections.
        p99_ms: of ordinary searches before, during and after it.
        unanswered: of those during it, by whatever reason.
        health_ms: the slowest answer of /healthz during it.
        unready: answers of /readyz during it that were no 200.
        rss_mib: the service's memory, the most that was seen.
    """

    sent_mib: float
    opened: int
    p99_ms: tuple[float, float, float]
    unanswered: int
    health_ms: float
    unready: int
    rss_mib: float


def main() -> None:
    """Run all attacks, or those named, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, required=True, help="of the service, on 127.0.0.1")
    parser.add_argument("--photo", type=Path, required=True, help="what the others search with")
    parser.add_argument("--seconds", type=float, default=10, help="of each attack, and before and after it")
    parser.add_argument("--only", default="", help="attacks whose names hold this")
    options = parser.parse_args()
    print(f"{usable_cores()} cores, load before it {os.getloadavg()[0]:.1f}, {options.seconds:.0f} s each\n")
    print("| attack | attacker sent, MiB | connections | p99, ms: before, during, after | unanswered | "
          "healthz at most, ms | readyz not 200 | memory, MiB |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for name, attack in (ATTACKS | hostile_files()).items():
        if options.only in name:
            row = asyncio.run(run(attack, options.port, options.photo.read_bytes(), options.seconds))
            times = ", ".join(f"{ms:.0f}" for ms in row.p99_ms)
            print(f"| {name} | {row.sent_mib:.1f} | {row.opened:,} | {times} | {row.unanswered} | "
                  f"{row.health_ms:.0f} | {row.unready} | {row.rss_mib:.0f} |", flush=True)  # fmt: skip


async def run(attack: Attack, port: int, photo: bytes, seconds: float) -> Row:
    """Search before, during and after an attack of this many seconds."""
    before = await _search(port, photo, seconds)
    context = mp.get_context("spawn")
    sent, opened = context.Value("q", 0), context.Value("q", 0)
    attacker = context.Process(target=_attack, args=(attack, port, seconds + 1, sent, opened))
    attacker.start()
    await asyncio.sleep(1)  # it takes that long to start
    probing = asyncio.create_task(_probe(port, seconds))
    during = await _search(port, photo, seconds)
    health_ms, unready, rss_mib = await probing
    await asyncio.to_thread(attacker.join)
    after = await _search(port, photo, seconds)
    return Row(
        sent.value / 2**20,
        opened.value,
        (_p99_ms(before), _p99_ms(during), _p99_ms(after)),
        sum(reply.status != 200 for reply in during),
        health_ms,
        unready,
        rss_mib,
    )


async def _search(port: int, photo: bytes, seconds: float) -> list[Reply]:
    return await at_a_rate(port, lambda _: ("POST", "/v1/search?k=8", photo), _PER_SECOND, seconds)


def _p99_ms(replies: list[Reply]) -> float:
    return 1000 * float(np.quantile([reply.seconds for reply in replies], 0.99))


async def _probe(port: int, seconds: float) -> tuple[float, int, float]:
    """The slowest /healthz in ms, answers of /readyz that were no 200, the most memory in MiB."""
    slowest, unready, rss_mib = 0.0, 0, 0.0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        async with connection(port) as one:  # a new one each time, as probes are
            slowest = max(slowest, (await one.ask(0, ("GET", "/healthz", b""))).seconds)
            unready += (await one.ask(0, ("GET", "/readyz", b""))).status != 200
            told = await one.ask(0, ("GET", "/metrics", b""))
            if found := re.search(rb"^process_resident_memory_bytes (\S+)", told.body, re.MULTILINE):
                rss_mib = max(rss_mib, float(found[1]) / 2**20)
        await asyncio.sleep(_PROBE_SECONDS)
    return 1000 * slowest, unready, rss_mib


# --- in the attacker's process --------------------------------------------------------------------


def _attack(attack: Attack, port: int, seconds: float, sent: "Synchronized[Any]", opened: Any) -> None:
    async def all_sockets() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                every = (_one_socket(attack, port, sent, opened) for _ in range(attack.sockets))
                await asyncio.gather(*every)

    asyncio.run(all_sockets())


async def _one_socket(attack: Attack, port: int, sent: "Synchronized[Any]", opened: Any) -> None:
    while True:
        with suppress(OSError, EOFError):
            streams = await asyncio.open_connection("127.0.0.1", port, local_addr=(_ATTACKER, 0))
            opened.value += 1
            try:
                await (_ask if attack.asks else _talk)(attack, streams, sent)
            finally:
                streams[1].transport.abort()
        await asyncio.sleep(0.05)


async def _ask(attack: Attack, streams: Streams, sent: "Synchronized[Any]") -> None:
    reader, writer = streams
    first = sent.value % len(attack.asks)  # not all sockets the same
    for request in itertools.cycle(attack.asks[first:] + attack.asks[:first]):
        writer.write(request)
        sent.value += len(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))


async def _talk(attack: Attack, streams: Streams, sent: "Synchronized[Any]") -> None:
    reader, writer = streams
    ended = asyncio.create_task(reader.read() if attack.reads else asyncio.sleep(3600, b""))

    async def say(words: bytes) -> None:
        writer.write(words)
        await writer.drain()
        sent.value += len(words)

    try:
        await say(attack.begin)
        while not ended.done():
            await say(attack.piece)
            await asyncio.sleep(attack.pause_seconds)
    finally:
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)


if __name__ == "__main__":
    main()
