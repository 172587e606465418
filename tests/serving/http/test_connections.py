"""What a connection may cost before a request is there, over real sockets and with both parsers."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from udml.serving.http.connections import MAX_HEAD_BYTES, Bounds, Door, bounded

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
FIVE = POST + b"Content-Length: 5\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
pytestmark = pytest.mark.parametrize("protocol", [HttpToolsProtocol, H11Protocol])


async def echo(scope, receive, send):
    size = 0
    while scope["path"] != "/early" and (message := await receive())["type"] == "http.request":
        size += len(message["body"])
        if not message["more_body"]:
            break
    body = str(size).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
    )
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served(protocol, **bounds):
    now = [0.0]
    wanted = {"most": 8, "most_per_caller": 8, "head_seconds": 10.0, "request_seconds": 30.0, **bounds}
    door = Door(Bounds(**wanted), clock=lambda: now[0])
    config = uvicorn.Config(
        echo, http=bounded(protocol, door), h11_max_incomplete_event_size=MAX_HEAD_BYTES, lifespan="off",
        log_level="critical", ws="none", timeout_keep_alive=600, timeout_graceful_shutdown=1,
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        task = asyncio.create_task(server._serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield door, now, lambda: asyncio.open_connection(*listener.getsockname())
        finally:
            server.force_exit = server.should_exit = True
            await task


async def answered(streams, request=GET + b"\r\n"):
    reader, writer = streams
    writer.write(request)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(size)


async def is_closed(streams):
    """Whether the other side ends the connection; what it says before that does not matter."""
    try:
        return (await asyncio.wait_for(streams[0].read(), 60)) is not None
    except ConnectionError:
        return True


async def flood(streams, piece, most=64 * 2**20):
    """Send until the other side has had enough; how many bytes that were."""
    sent = 0
    try:
        while sent < most and not streams[0].at_eof():
            streams[1].write(piece)
            await streams[1].drain()
            sent += len(piece)
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    return sent


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (GET + b"x: ", b"1" * 10_000),
        (GET, b"x: 1\r\n" * 2_000),
        (GET, b"x" * 10_000),
        (b"GET /", b"x" * 10_000),
        (b"", b"X" * 10_000),
        (CHUNKED + b"1;", b"x" * 10_000),
        (CHUNKED + b"1\r\nx\r\n0\r\n", b"x: 1\r\n" * 2_000),
        (CHUNKED + b"0\r\nx: ", b"1" * 10_000),
    ],
)
def test_what_is_not_a_body_has_an_end(protocol, begin, piece):
    async def trial():
        async with served(protocol) as (_, _, connect):
            streams = await connect()
            streams[1].write(begin)
            assert await flood(streams, piece) < 16 * 2**20  # sockets hold some
            assert await is_closed(streams)
            assert await answered(await connect()) == (200, b"0")

    asyncio.run(trial())


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("parts", [[100_000], [10, 200_000], [70_000] * 4, [1, 5_000_000], [1] * 300])
def test_a_body_of_any_size_comes_through_in_any_parts(protocol, parts, chunked):
    async def run():
        async with served(protocol) as (_, _, connect):
            streams = await connect()
            for _ in range(2):
                streams[1].write(CHUNKED if chunked else POST + b"Content-Length: %d\r\n\r\n" % sum(parts))
                for part in parts:
                    await streams[1].drain()
                    await asyncio.sleep(0)  # so that it is often sent by itself
                    streams[1].write(b"%x\r\n%b\r\n" % (part, b"x" * part) if chunked else b"x" * part)
                assert await answered(streams, b"0\r\n\r\n" if chunked else b"") == (
                    200,
                    str(sum(parts)).encode(),
                )
            streams[1].close()

    asyncio.run(run())


def test_requests_sent_ahead_are_few(protocol):
    async def trial():
        async with served(protocol) as (door, _, connect):
            streams = await connect()
            await flood(streams, (GET + b"\r\n") * 5_000, 2**20)
            assert all(len(one.pipeline) <= 8 for own in door._by_caller.values() for one in own)
            assert await answered(await connect(), (GET + b"\r\n") * 3) == (200, b"0")

    asyncio.run(trial())


@pytest.mark.parametrize(
    "sent",
    [b"", b"G", GET, FIVE, FIVE + b"12", CHUNKED],
)
def test_what_does_not_come_is_not_waited_for_for_ever(protocol, sent):
    async def trial():
        async with served(protocol) as (door, now, connect):
            streams = await connect()
            streams[1].write(sent)
            assert await answered(await connect()) == (200, b"0")  # it is there too by now
            now[0] = 9.0
            door.close_late()
            assert len(door) == 2
            now[0] = 31.0
            door.close_late()
            assert await is_closed(streams)
            assert await answered(await connect(), POST + b"Content-Length: 2\r\n\r\nab") == (200, b"2")

    asyncio.run(trial())


@pytest.mark.parametrize("sent", [b"", GET, FIVE + b"1"])
@pytest.mark.parametrize("bounds", [{"most": 4}, {"most_per_caller": 4}])
def test_a_new_connection_takes_the_place_of_one_that_waits(protocol, sent, bounds):
    async def trial():
        async with served(protocol, **bounds) as (door, now, connect):
            slow = []
            for number in range(12):
                now[0] += 1.0
                slow.append(await connect())
                slow[-1][1].write(sent)
                assert await answered(await connect()) == (200, b"0")
                assert len(door) <= 4, number
            assert await is_closed(slow[0])

    asyncio.run(trial())


@pytest.mark.parametrize("bounds", [{"most": 3}, {"most_per_caller": 3}])
def test_a_connection_that_was_just_used_does_not_give_way(protocol, bounds):
    async def trial():
        async with served(protocol, **bounds) as (door, now, connect):
            used = [await connect() for _ in range(3)]
            for round_ in range(3):
                now[0] += 0.4
                for streams in used:
                    assert await answered(streams) == (200, b"0"), round_
                reader, _ = await connect()
                told = await asyncio.wait_for(reader.read(), 60)
                assert told.startswith(b"HTTP/1.1 503 ")
                assert b"retry-after: 1\r\n" in told
            now[0] += 1.0
            assert await answered(await connect()) == (200, b"0")
            assert len(door) == 3

    asyncio.run(trial())


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("closing", ["late", "crowded", "idle"])
def test_a_request_that_is_there_unread_is_answered_not_closed(protocol, closing, used):
    """An event loop that was busy for seconds finds requests and timers that are over at the same time."""

    async def trial():
        async with served(protocol, most=1) as (door, now, connect):
            streams = await connect()
            if used:
                assert await answered(streams) == (200, b"0")
            while not len(door):
                await asyncio.sleep(0.01)
            inside = next(iter(door._by_caller["127.0.0.1"]))
            streams[1].write(GET + b"\r\n")  # arrives at once; nobody has read it
            now[0] += 20.0
            if closing == "late":
                door.close_late()
            elif closing == "crowded":
                assert door.enter(object(), "127.0.0.1") is None
            else:
                inside.timeout_keep_alive_handler()
            assert await answered(streams, b"") == (200, b"0")
            now[0] += 20.0
            door.close_late()
            assert await is_closed(streams)

    asyncio.run(trial())


def test_a_connection_is_used_again_and_forgotten_when_it_ends(protocol):
    async def trial():
        async with served(protocol) as (door, now, connect):
            streams = await connect()
            for _ in range(3):
                now[0] += 9.0
                assert await answered(streams, POST + b"Content-Length: 3\r\n\r\nabc") == (200, b"3")
                door.close_late()
            small = b"".join(b"1\r\nx\r\n" for _ in range(30_000))
            assert await answered(streams, CHUNKED + small + b"0\r\n\r\n") == (200, b"30000")
            streams[1].close()
            while len(door):
                await asyncio.sleep(0.01)

    asyncio.run(trial())


@pytest.mark.parametrize("piece", [b"x: 1\r\n" * 2_000, b"x" * 10_000])
def test_an_answer_that_was_given_early_lets_nobody_go_on(protocol, piece):
    async def trial():
        async with served(protocol) as (_, _, connect):
            streams = await connect()
            begin = CHUNKED.replace(b"POST / ", b"POST /early ") + b"0\r\nx: "
            assert await answered(streams, begin) == (200, b"0")
            assert await flood(streams, piece) < 16 * 2**20
            late = await connect()
            assert await answered(late, FIVE.replace(b"POST / ", b"POST /early ")) == (200, b"0")
            assert await answered(late, b"12345" + GET + b"\r\n") == (200, b"0")  # the next one is heard

    asyncio.run(trial())


def test_a_caller_that_has_no_room_is_refused_without_a_look_at_all_it_has(protocol):
    """Thousands of connections a second must not each cost a look at hundreds."""
    looks, now = [], [0.0]

    class Answering:
        @property
        def waits_since(self):
            looks.append(self)

    door = Door(Bounds(1_000, 250, 10.0, 30.0), clock=lambda: now[0])
    inside = [Answering() for _ in range(250)]
    assert all(door.enter(one, "10.0.0.1") for one in inside)
    for _ in range(1_000):
        now[0] += 1e-5
        assert door.enter(Answering(), "10.0.0.1") is None
    assert len(looks) == 250
    assert door.enter(Answering(), "10.0.0.2") is not None
    door.leave(inside[0], "10.0.0.1")
    assert door.enter(Answering(), "10.0.0.1") is not None
    for closed in (251, 252):
        now[0] += 1.0
        inside[closed - 250].__class__ = Waiting
        assert door.enter(Answering(), "10.0.0.1") is not None
        assert inside[closed - 250].given_up


class Waiting:
    waits_since = 0.0
    given_up = False

    def has_asked(self):
        return False

    def give_up(self):
        self.given_up = True
