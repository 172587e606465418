"""Connections of bounded number, age and size, in front of uvicorn's own protocols.

What a connection may cost before the application sees a request: the bytes of a request's head, seconds
for it to arrive, bytes around a body that are no part of it (chunks' extensions, trailers), requests sent
ahead. Neither parser bounds all of these: httptools none, h11 the size of a head.
"""

import asyncio
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11

from udml.machine import open_files_limit
from udml.serving.addresses import UNKNOWN, Network, caller_network, is_trusted
from udml.serving.http.quiet import Quiet
from udml.serving.service.settings import Settings

MAX_HEAD_BYTES = 64 * 2**10
_FRAMING_PER_BYTE = 8  # a chunk of one byte comes with five others
_MAX_FIELDS = 256  # with trailers; an answer tells of fewer that are too many
_MAX_AHEAD = 8  # requests of one connection that wait for the one that is answered
_SWEEP_SECONDS = 0.5
_HEAD_SECONDS = 10.0
_MAX_CONNECTIONS, _LEAST_CONNECTIONS = 1000, 64
_OWN_FILES = 100
_WAITED_SECONDS = 1.0  # before a connection gives way: one that has just been answered may be in use again
_UNWANTED_PER_SECOND = 32 * 2**20  # bytes of bodies whose requests were answered before they had come
_FULL_SECONDS = 0.05  # that nobody looks again for one to close: thousands of connections a second may ask
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 34\r\nconnection: close\r\n\r\nthe head of the request is too big"
)
_NO_ROOM = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 1\r\n"
    b"content-length: 30\r\nconnection: close\r\n\r\ntoo many connections are open\n"
)


@dataclass(frozen=True)
class Bounds:
    """Of connections.

    Attributes:
        most: in all.
        most_per_caller: of one caller; trusted proxies may have as many as there are.
        head_seconds: for the head of a request to arrive, from the start or the last answer.
        request_seconds: from there until the answer has been read.
        trusted: proxies.
    """

    most: int
    most_per_caller: int
    head_seconds: float
    request_seconds: float
    trusted: tuple[Network, ...] = ()


class Door:
    """All open connections. One that waits for its caller gives way to a new one when there are too many."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self.bounds = bounds
        self.clock = clock
        self._by_caller: dict[str, dict[Any, None]] = {}
        self._full_since: dict[str, float] = {}  # callers of whom no connection could be closed
        self._count = 0
        self._unwanted_until = 0.0

    def __len__(self) -> int:
        return self._count

    def enter(self, connection: Any, address: str) -> str | None:
        """Let a connection in, as what counts as its caller; None where there is no room even so."""
        caller = caller_network(address)
        own = self._by_caller.get(caller, {})
        if len(own) >= self.bounds.most_per_caller and not is_trusted(address, self.bounds.trusted):
            if not self._make_room(caller):
                return None
        elif self._count >= self.bounds.most and not self._make_room(
            max(self._by_caller, key=lambda one: len(self._by_caller[one]))
        ):
            return None
        self._by_caller.setdefault(caller, {})[connection] = None
        self._count += 1
        return caller

    def leave(self, connection: Any, caller: str) -> None:
        """Forget a connection, if it is still known."""
        own = self._by_caller.get(caller, {})
        if connection in own:
            del own[connection]
            self._count -= 1
            self._full_since.pop(caller, None)
            if not own:
                del self._by_caller[caller]

    def unwanted_seconds(self, size_bytes: int) -> float:
        """How long to wait after so many bytes that nobody wants: all connections share what is read of them.

        They are read at all since few clients look for an answer before they have sent everything.
        """
        now = self.clock()
        self._unwanted_until = max(now, self._unwanted_until) + size_bytes / _UNWANTED_PER_SECOND
        return self._unwanted_until - now

    def _make_room(self, caller: str) -> bool:
        """Close the connection of a caller that has been waiting for it the longest, if one is."""
        now = self.clock()
        if now - self._full_since.get(caller, -_FULL_SECONDS) < _FULL_SECONDS:
            return False
        before = now - _WAITED_SECONDS
        waiting = [
            one
            for one in self._by_caller[caller]
            if one.waits_since is not None and one.waits_since <= before
        ]
        waiting.sort(key=lambda one: one.waits_since)
        given_up = next((one for one in waiting if not one.has_asked()), None)
        if given_up is None:
            self._full_since[caller] = now
            return False
        self.leave(given_up, caller)
        given_up.give_up()
        return True

    async def sweep(self) -> None:
        """Close what takes too long, for ever."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self.close_late()

    def close_late(self) -> None:
        """Close what takes too long now."""
        now = self.clock()
        for own in [*self._by_caller.values()]:
            for connection in [*own]:
                waits = connection.waiting_since is not None
                since = connection.waiting_since if waits else connection.asked_since
                late = now - since > (self.bounds.head_seconds if waits else self.bounds.request_seconds)
                if late and not connection.has_asked():
                    connection.give_up()


def connection_bounds(settings: Settings) -> Bounds:
    """As many as the process may have files open, less what the service itself needs."""
    most = max(_LEAST_CONNECTIONS, min(_MAX_CONNECTIONS, open_files_limit() - _OWN_FILES))
    return Bounds(
        most, most // 4, _HEAD_SECONDS, 3 * settings.deadline_seconds + _HEAD_SECONDS, settings.proxy_networks
    )


class _Bounded(asyncio.Protocol):
    """Laid over a protocol of uvicorn's: counts what comes in, and when."""

    door: Door
    # of uvicorn's
    transport: Any
    client: Any
    cycle: Any
    flow: Any
    conn: Any  # of h11
    pipeline: Any = ()
    calls_back: bool  # for each part of a request

    waiting_since: float | None = None  # for its caller; None while a request is answered
    asked_since = 0.0
    _caller: str | None = None
    _head_bytes = 0
    _framing_bytes = 0
    _body_bytes = 0  # of all bodies
    _fields = 0  # of this request
    _is_whole = True  # this request, as httptools reads it

    @property
    def waits_since(self) -> float | None:
        """Since when its caller owes it something: the head of a request, or the rest of a body."""
        if self.waiting_since is None and self.cycle is not None and self.cycle.more_body:
            return self.asked_since
        return self.waiting_since

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(Quiet(transport))  # type: ignore[arg-type]
        self.waiting_since = self.door.clock()
        self._caller = self.door.enter(self, self.client[0] if self.client else UNKNOWN)
        if self._caller is None:
            self.transport.write(_NO_ROOM)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._caller is not None:
            self.door.leave(self, self._caller)
        super().connection_lost(exc)

    def give_up(self) -> None:
        """Close it at once, whatever is still to be sent."""
        self.transport.abort()

    def has_asked(self) -> bool:
        """Whether the beginning of a request is there, which an event loop that is behind has not read yet.

        Who has sent it would take a close for a request that was begun and came to nothing.
        """
        if (
            self.waiting_since is None
            or self._head_bytes
            or self.transport.is_closing()
            or self._is_unwanted()
        ):
            return False
        unread = select.poll()
        unread.register(self.transport.get_extra_info("socket"), select.POLLIN)
        return bool(unread.poll(0))

    def timeout_keep_alive_handler(self) -> None:
        if not self.has_asked():
            super().timeout_keep_alive_handler()  # type: ignore[misc]

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        before, body_before, seen_before = self.cycle, _body_bytes(self.cycle), self._body_bytes
        in_body = before is not None and before.more_body  # the last part of a body is no head
        super().data_received(data)
        if self.cycle is not before:  # the head is whole
            self._head_bytes = self._framing_bytes = 0
            if self.waiting_since is not None and not self.cycle.response_complete:
                self.waiting_since, self.asked_since = None, self.door.clock()
        elif not in_body:
            self._head_bytes += len(data)
        elif self.calls_back or not before.response_complete:
            body = max(_body_bytes(before) - body_before, self._body_bytes - seen_before)
            self._framing_bytes = max(0, self._framing_bytes + len(data) - _FRAMING_PER_BYTE * body)
        if max(self._head_bytes, self._framing_bytes) > MAX_HEAD_BYTES:
            self._refuse()
        elif self._is_unwanted():
            self.flow.pause_reading()
            wait_seconds = self.door.unwanted_seconds(len(data))
            asyncio.get_running_loop().call_later(wait_seconds, self.flow.resume_reading)

    def _is_unwanted(self) -> bool:
        """Whether what comes next is the rest of a body whose request has been answered."""
        if self.cycle is None or not (self.cycle.response_complete and self.cycle.more_body):
            return False
        return not self._is_whole if self.calls_back else self.conn.their_state is h11.SEND_BODY

    # Of httptools only: h11 bounds all these, and reads no further while a request is answered.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > _MAX_FIELDS:
            raise ValueError("more fields than anybody needs")  # ends the parsing, with a 400
        super().on_header(name, value)  # type: ignore[misc]

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)  # type: ignore[misc]

    def on_message_begin(self) -> None:
        self._fields, self._is_whole = 0, False
        super().on_message_begin()  # type: ignore[misc]

    def on_message_complete(self) -> None:
        self._is_whole = True
        super().on_message_complete()  # type: ignore[misc]

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= _MAX_AHEAD:
            self.transport.abort()
        if not self.transport.is_closing():
            super().on_headers_complete()  # type: ignore[misc]

    def on_response_complete(self) -> None:
        self.waiting_since = self.door.clock()
        super().on_response_complete()  # type: ignore[misc]
        if not self.cycle.response_complete:  # the next request was there already
            self.waiting_since, self.asked_since = None, self.door.clock()

    def _refuse(self) -> None:
        if self.cycle is not None and self.cycle.more_body:  # an answer may be under way, or was given
            self.transport.abort()
            return
        if not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()


def bounded(protocol: type[asyncio.Protocol], door: Door) -> type[asyncio.Protocol]:
    """One of uvicorn's HTTP protocols, kept within the bounds of `door`."""
    return type(
        "BoundedProtocol", (_Bounded, protocol), {"door": door, "calls_back": hasattr(protocol, "on_body")}
    )


def _body_bytes(cycle: Any) -> int:
    return 0 if cycle is None else len(cycle.body)
