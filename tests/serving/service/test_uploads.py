"""Reading bodies, from requests that the test makes by hand."""

import asyncio

import pytest
from fastapi import Request

from udml.serving.service.metrics import Metrics
from udml.serving.service.problems import Problem
from udml.serving.service.uploads import Upload, UploadReader


def request(chunks, headers=(), pause_seconds=0.0):
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        await asyncio.sleep(pause_seconds)
        return messages.pop(0)

    raw = [(name.encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def read(reader, made, name=None):
    async def body():
        async with reader.read(made, name) as uploads:
            return uploads

    return asyncio.run(body())


def reader(max_bytes=100, deadline_seconds=60.0):
    return UploadReader(max_bytes, deadline_seconds, Metrics())


def form(*parts):
    body = b"".join(
        b"--b\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + data + b"\r\n"
        for head, data in parts
    )
    return request([body + b"--b--\r\n"], [("content-type", "multipart/form-data; boundary=b")])


def test_a_body_and_a_form_are_read():
    assert read(reader(), request([b"ab", b"cd"]), "n.png") == [Upload("n.png", b"abcd")]
    assert read(reader(), request([])) == []
    parts = [
        (f'name="image"; filename="{name}"', data) for name, data in (("a.png", b"1"), ("b/ü.png", b"2"))
    ]
    assert read(reader(1000), form(*parts)) == [Upload("a.png", b"1"), Upload("b/ü.png", b"2")]


def test_a_body_is_refused_by_what_it_says_and_by_what_it_is():
    for made in (request([], [("content-length", "101")]), request([b"x" * 60, b"x" * 60])):
        with pytest.raises(Problem) as refused:
            read(reader(), made)
        assert (refused.value.status, refused.value.code) == (413, "upload_too_large")


@pytest.mark.parametrize(
    "made",
    [
        form(('name="other"; filename="a"', b"1")),
        form(('name="image"', b"1")),
        form(("filename=a", b"1")),
        request([b"nonsense"], [("content-type", "multipart/form-data; boundary=b")]),
        request([b"nonsense"], [("content-type", "multipart/form-data")]),
    ],
)
def test_a_form_that_cannot_be_read_is_a_400(made):
    with pytest.raises(Problem) as refused:
        read(reader(1000), made)
    assert (refused.value.status, refused.value.code) == (400, "bad_form")


def test_a_body_that_comes_too_slowly_is_a_408():
    with pytest.raises(Problem) as refused:
        read(reader(deadline_seconds=0.05), request([b"x"] * 5, pause_seconds=0.03))
    assert refused.value.status == 408


def of(caller, made):
    made.scope["state"] = {"caller": caller}
    return made


def test_there_is_room_for_so_many_bytes_and_no_more():
    async def body():
        limited = reader(max_bytes=100)
        held = []
        for number in range(8):
            entered = limited.read(of(f"caller {number // 2}", request([b"x" * 100])))
            await entered.__aenter__()
            held.append(entered)
        for made in (request([b"x"]), request([b"x"], [("content-length", "1")])):
            with pytest.raises(Problem) as refused:
                async with limited.read(of("another", made)):
                    pass
            assert (refused.value.status, refused.value.code) == (503, "no_room")
        async with limited.read(request([], [("content-length", "0")])) as uploads:
            assert uploads == []  # no body, no room
        await held.pop().__aexit__(None, None, None)
        async with limited.read(of("another", request([b"x"]))) as uploads:
            assert uploads == [Upload("", b"x")]

    asyncio.run(body())


@pytest.mark.parametrize("stated", [True, False])
def test_bodies_that_do_not_come_take_no_room_and_one_caller_never_takes_all(stated):
    async def never():
        await asyncio.Event().wait()

    async def body():
        limited = reader(max_bytes=100)
        headers = [("content-length", "100")] if stated else []
        raw = [(name.encode(), value.encode()) for name, value in headers]
        unfinished = [Request({"type": "http", "method": "POST", "headers": raw}, never) for _ in range(500)]
        tasks = [asyncio.create_task(limited.read(made).__aenter__()) for made in unfinished]
        await asyncio.sleep(0)
        greedy = [limited.read(of("greedy", request([b"x" * 100], headers))) for _ in range(2)]
        for one in greedy:
            await one.__aenter__()
        with pytest.raises(Problem, match="too many uploads"):
            await limited.read(of("greedy", request([b"x" * 100], headers))).__aenter__()
        async with limited.read(of("another", request([b"x" * 100], headers))) as uploads:
            assert len(uploads) == 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(body())


@pytest.mark.parametrize(
    "charset",
    ["utf-7", "unicode_escape", "raw_unicode_escape", "utf-16", "rot13", "zlib", "idna", "none", "x" * 99],
)
def test_the_sender_does_not_choose_how_names_are_read(charset):
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="\\ud800 \xc3\xbc.png"\r\n\r\n'
    kind = ("content-type", f"multipart/form-data; charset={charset}; boundary=b")
    [upload] = read(reader(1000), request([head + b"1\r\n--b--\r\n"], [kind]))
    upload.name.encode()
    assert upload.name.endswith("ü.png")


@pytest.mark.parametrize(
    "told",
    [
        "UTF-8''%e2%82%ac.png", "ascii'en'%ff.png", "no-such''x", "", "''", "UTF-8''%1b%5b2J%0a",
        "utf-16''%d8%00", "utf-8''%ED%A0%80", "unicode_escape''%5cud800", "zlib''x",
        "punycode''" + "9" * 3000,
    ],
)  # fmt: skip
def test_a_name_in_an_encoding_of_the_senders_choice_is_not_read(told):
    """RFC 7578 forbids `filename*` in forms; where a `filename` stands beside it, that is the name."""
    for star in ("filename*", "filename*0*", "filename*1"):
        parts = [(f'name="image"; filename="a.png"; {star}={told}', b"1")]
        assert read(reader(8_000), form(*parts)) == [Upload("a.png", b"1")]
        with pytest.raises(Problem) as refused:
            read(reader(8_000), form((f'name="image"; {star}={told}', b"1")))
        assert (refused.value.status, refused.value.code) == (400, "bad_form")


@pytest.mark.parametrize(
    "name",
    ["\ud800", "\udc80\ud800", "a\x1b[2J", "a\r\nb", "\u202egnp.exe", "x" * 10_000 + "\x00"],
)
def test_names_are_made_safe_where_they_come_in(name):
    [upload] = read(reader(), request([b"1"]), name)
    assert upload.name.encode().decode().isprintable()
    assert 0 < len(upload.name) <= 500


def test_a_large_form_never_touches_the_disk(monkeypatch):
    import tempfile

    def refuse(*_, **__):
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "_TemporaryFileWrapper", refuse)
    data = b"x" * (3 * 2**20)
    assert read(reader(2**23), form(('name="image"; filename="a"', data))) == [Upload("a", data)]


@pytest.mark.parametrize("kind", ["body", "form"])
@pytest.mark.parametrize("mib", [0.5, 1.5, 3])
def test_what_is_large_is_put_together_in_another_thread(kind, mib, monkeypatch):
    elsewhere = []
    to_thread = asyncio.to_thread

    async def noted(work, *arguments):
        elsewhere.append(work)
        return await to_thread(work, *arguments)

    monkeypatch.setattr(asyncio, "to_thread", noted)
    data = bytes(range(256)) * int(mib * 2**12)
    made = form(('name="image"; filename="a"', data)) if kind == "form" else request([data[:9], data[9:]])
    assert read(reader(4 * 2**20), made)[0].data == data
    assert len(elsewhere) == (mib > 1)
