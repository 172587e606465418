"""Callers that leave, or go on when they have been answered: no tracebacks, and little of the loop's time."""

import asyncio
import logging

import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.serving.http.test_connections import GET, POST, answered, served
from udml.serving.http.quiet import Quiet

pytestmark = pytest.mark.parametrize("protocol", [HttpToolsProtocol, H11Protocol])
TOO_LONG = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
PIECE = bytes(2**16)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    def with_loop(work):
        factory = pytest.importorskip("uvloop").new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(work)

    return with_loop


@pytest.mark.parametrize("ahead", [1, 40])
def test_answers_to_those_who_have_left_are_dropped_without_a_word(protocol, run, ahead, caplog):
    async def leave():
        async with served(protocol) as (door, _, connect):
            for _ in range(5):
                _, writer = await connect()
                writer.write((GET + b"\r\n") * ahead)
                await writer.drain()
                await asyncio.sleep(0.02)
                for own in [*door._by_caller.values()]:
                    for one in [*own]:
                        one.transport.abort()
                        one.transport.write(b"too late")  # what an answer does that was just being made
                writer.transport.abort()
            assert (await answered(await connect()))[0] == 200

    caplog.set_level(logging.ERROR)
    run(leave())
    assert not caplog.records


def test_an_open_transport_is_written_to(protocol, run):
    class Transport:
        said, closing = b"", False

        def is_closing(self):
            return self.closing

        def write(self, data):
            self.said += data

    inner = Transport()
    quiet = Quiet(inner)
    quiet.write(b"a")
    inner.closing = True
    quiet.write(b"b")
    assert (inner.said, quiet.closing) == (b"a", True)


def test_a_body_that_nobody_wants_is_read_slowly_by_all_connections_together(protocol, run):
    """The clock stands still, so each piece waits behind all that were read before."""

    async def send():
        async with served(protocol) as (door, _, connect):
            assert door.unwanted_seconds(2**25) == pytest.approx(1)
            assert door.unwanted_seconds(2**25) == pytest.approx(2)
            streams = await connect()
            assert await answered(streams, TOO_LONG % 2**30 + PIECE) == (200, b"0")
            streams[1].write(PIECE)
            (own,) = door._by_caller.values()
            (one,) = own
            while not one.flow.read_paused:
                streams[1].write(PIECE)
                await asyncio.sleep(0.01)
            assert one._is_unwanted()
            assert not one.has_asked()  # what is there is no request, so it keeps nobody from closing it
            streams[1].transport.abort()

    run(send())


def test_when_it_has_come_the_connection_is_used_again(protocol, run):
    async def send():
        async with served(protocol) as (door, now, connect):
            streams = await connect()
            size = 20 * len(PIECE)
            assert await answered(streams, TOO_LONG % size + PIECE) == (200, b"0")
            for _ in range(19):
                streams[1].write(PIECE)
                await streams[1].drain()
                now[0] += 1
            assert await answered(streams) == (200, b"0")
            assert await answered(streams, POST + b"Content-Length: 5\r\n\r\nabcde") == (200, b"5")
            (own,) = door._by_caller.values()
            assert not next(iter(own))._is_unwanted()

    run(send())
