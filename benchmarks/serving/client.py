"""The service in a process of its own, and a client of it that costs little: one core serves both.

HTTP/1.1 over loopback, on raw streams: the usual client libraries need as long for a request as a
small model does.
"""

import asyncio
import os
import select
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

Request = tuple[str, str, bytes]  # method, path, body
_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Reply:
    """An answer; status 0 where the connection broke.

    Attributes:
        request: position of the request in what was sent.
        status: of HTTP.
        headers: names in lower case.
        body: as it came.
        seconds: from the first byte sent to the last received.
    """

    request: int
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


@dataclass(frozen=True)
class Served:
    """A running service.

    Attributes:
        process: it.
        port: on 127.0.0.1.
    """

    process: "subprocess.Popen[str]"
    port: int

    @property
    def rss_mib(self) -> float:
        """Memory that it holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def serving(root: Path, *options: str, before: str = "") -> Iterator[Served]:
    """`udml serve` in directory `root`; ended with SIGTERM, which it must obey, unless it has ended.

    Args:
        root: holds models/ and data/.
        options: of the command.
        before: Python code that its process runs first.
    """
    arguments = ["serve", "--port", "0", "--requests-per-minute", "0", *options]
    code = f"{before}\nimport sys\nfrom udml.cli import main\nsys.exit(main({arguments!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("serving on"):
            raise SystemExit(f"the service did not start: {line}")
        yield Served(process, int(line.rstrip("/\n").rpartition(":")[2]))
        if process.poll() is None:
            process.terminate()
            if process.wait(_WAIT_SECONDS) != 0:
                raise SystemExit(f"the service ended with {process.returncode}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


class Connection:
    """One connection that is kept, and opened again when the service closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, number: int, request: Request) -> Reply:
        """Send a request and read its answer."""
        began = time.perf_counter()
        try:
            status, headers, body = await asyncio.wait_for(self._exchange(request), _WAIT_SECONDS)
        except (OSError, EOFError, TimeoutError):
            await self.close()
            status, headers, body = 0, {}, b""
        return Reply(number, status, headers, body, time.perf_counter() - began)

    async def close(self) -> None:
        """Close it, if it is open."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        if self._streams is not None and _is_closed(self._streams[1]):  # the service closes idle connections
            await self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        method, path, body = request
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
        answer = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            await self.close()
        return int(lines[0].split()[1]), headers, answer


def _is_closed(writer: asyncio.StreamWriter) -> bool:
    """Whether the other side has ended a connection, though the event loop may not have heard of it yet."""
    said = select.poll()
    if not writer.transport.is_closing():
        said.register(writer.get_extra_info("socket"), select.POLLIN)
    return writer.transport.is_closing() or bool(said.poll(0))  # nothing else is said unasked


async def in_turn(port: int, requests: Sequence[Request], connections: int) -> list[Reply]:
    """Send requests over a few connections, each sending its next one when it has its answer."""
    numbers = iter(range(len(requests)))
    replies: list[Reply] = []

    async def work() -> None:
        async with connection(port) as open_one:
            replies.extend([await open_one.ask(number, requests[number]) for number in numbers])

    await asyncio.gather(*(work() for _ in range(connections)))
    return sorted(replies, key=lambda reply: reply.request)


async def at_a_rate(
    port: int, request: Callable[[int], Request], per_second: float, seconds: float, again: bool = False
) -> list[Reply]:
    """Send requests at a fixed rate, whether the ones before are answered or not.

    With `again` one that was cut off is sent once more, as clients do: where there are too many connections,
    one gives way to another, perhaps as its next request is under way.
    """
    idle: list[Connection] = []
    replies: list[Reply] = []

    async def send(number: int) -> None:
        one = idle.pop() if idle else Connection(port)
        reply = await one.ask(number, request(number))
        if again and reply.status == 0:
            reply = await one.ask(number, request(number))
        replies.append(reply)
        idle.append(one)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        number = 0
        while (now := time.perf_counter() - began) < seconds:
            while number < now * per_second:
                tasks.create_task(send(number))
                number += 1
            await asyncio.sleep(0.002)
    for one in idle:
        await one.close()
    return sorted(replies, key=lambda reply: reply.request)


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[Connection]:
    """A connection that is closed at the end."""
    one = Connection(port)
    try:
        yield one
    finally:
        await one.close()
