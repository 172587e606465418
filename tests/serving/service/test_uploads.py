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


def test_there_is_room_for_so_many_bytes_and_no_more():
    async def body():
        limited = reader(max_bytes=100)
        held = []
        for _ in range(8):
            entered = limited.read(request([b"x" * 100], [("content-length", "100")]))
            await entered.__aenter__()
            held.append(entered)
        with pytest.raises(Problem) as refused:
            async with limited.read(request([b"x"], [("content-length", "1")])):
                pass
        assert (refused.value.status, refused.value.code) == (503, "no_room")
        await held.pop().__aexit__(None, None, None)
        async with limited.read(request([b"x"], [("content-length", "1")])) as uploads:
            assert uploads == [Upload("", b"x")]

    asyncio.run(body())


def test_a_large_form_never_touches_the_disk(monkeypatch):
    import tempfile

    def refuse(*_, **__):
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "_TemporaryFileWrapper", refuse)
    data = b"x" * (3 * 2**20)
    assert read(reader(2**23), form(('name="image"; filename="a"', data))) == [Upload("a", data)]
