"""Reading the bodies of requests: never more memory than was set aside for them, never a file.

A body is an image as it is, or multipart/form-data with parts named `image`, and others where they mean
something.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from udml.serving.service.metrics import Metrics
from udml.serving.service.problems import Problem, busy
from udml.text import foreign_name

_BUDGET_BODIES = 8  # this many bodies of the largest size allowed fit into memory at once
_SHARE_BODIES = 2  # of one caller
_MAX_NAME = 500
_MAX_FILES = 100
_MAX_FIELDS = 4
_IMAGE = "image"
_LARGE_BYTES = 2**20  # what is put together of more takes milliseconds: not on the event loop


@dataclass
class _Room:
    """What a request holds: whose it is, and how many bytes."""

    caller: str
    bytes: int = 0


@dataclass(frozen=True)
class Upload:
    """One image of a request.

    Attributes:
        name: what the sender calls it, or "".
        data: the bytes of the file.
        field: the part of the form it was; "image" where it was the whole body.
    """

    name: str
    data: bytes
    field: str = _IMAGE


class UploadReader:
    """Reads uploads, within a budget of bytes that all requests share.

    What has arrived counts, not what is announced: a body that never comes takes no room.
    """

    def __init__(self, max_bytes: int, deadline_seconds: float, metrics: Metrics) -> None:
        self._max_bytes = max_bytes
        self._deadline_seconds = deadline_seconds
        self._held: Counter[str] = Counter()  # bytes, by caller
        self._metrics = metrics

    @asynccontextmanager
    async def read(
        self, request: Request, name: str | None = None, fields: Sequence[str] = (_IMAGE,)
    ) -> AsyncIterator[list[Upload]]:
        """The images of a request; their room is given back when the block ends.

        Args:
            request: whose body to read.
            name: of an image that is the whole body.
            fields: names that the parts of a form may have.

        Raises:
            Problem: 413 too large, 503 no room, 408 too slow, 400 not multipart, or no image in it.
        """
        room = _Room(request.scope.get("state", {}).get("caller", ""))
        self._require(room, self._stated(request))
        try:
            with self._metrics.stage_seconds.labels("read").time():
                uploads = await self._read(request, room, foreign_name(name or "", _MAX_NAME), fields)
            yield uploads
        finally:
            self._take(room, -room.bytes)

    def _require(self, room: "_Room", size_bytes: int) -> None:
        """Raise a 503 where there is no room for so much more."""
        is_full = self._held.total() + size_bytes > _BUDGET_BODIES * self._max_bytes
        if size_bytes and (is_full or self._held[room.caller] + size_bytes > _SHARE_BODIES * self._max_bytes):
            raise busy("no_room", "too many uploads at once; try again shortly")

    def _take(self, room: "_Room", size_bytes: int) -> None:
        room.bytes += size_bytes
        self._held[room.caller] += size_bytes
        if not self._held[room.caller]:
            del self._held[room.caller]
        self._metrics.uploading_bytes.inc(size_bytes)

    def _stated(self, request: Request) -> int:
        """What the body says it has; 0 where it doesn't say."""
        stated = int(request.headers.get("content-length", 0))  # the server has checked that these are digits
        if stated > self._max_bytes:
            raise self._too_large()
        return stated

    async def _read(self, request: Request, room: "_Room", name: str, fields: Sequence[str]) -> list[Upload]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            async with asyncio.timeout(self._deadline_seconds):
                if kind == "multipart/form-data":
                    return await self._read_form(request, room, fields)
                body = await _joined([chunk async for chunk in self._stream(request, room)])
        except ClientDisconnect:
            raise Problem(408, "upload_cut_off", "the upload did not come to its end") from None
        except TimeoutError:
            raise Problem(408, "upload_too_slow", "the upload did not arrive in time") from None
        return [Upload(name, body)] if body else []

    async def _read_form(self, request: Request, room: "_Room", fields: Sequence[str]) -> list[Upload]:
        parser = MultiPartParser(
            _without_charset(request.headers),
            self._stream(request, room),
            max_files=_MAX_FILES,
            max_fields=_MAX_FIELDS,
        )
        parser.spool_max_size = self._max_bytes + 1  # nothing goes to a temporary file
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise Problem(400, "bad_form", f"the form cannot be read: {error.message}") from error
        uploads = []
        for field, value in form.multi_items():
            if field not in fields or not isinstance(value, UploadFile):
                names = " or ".join(f"`{one}`" for one in fields)
                raise Problem(400, "bad_form", f"every part must be a file named {names}")
            content = await _content(value)
            uploads.append(Upload(foreign_name(value.filename or "", _MAX_NAME), content, field))
        await form.close()
        return uploads

    async def _stream(self, request: Request, room: "_Room") -> AsyncGenerator[bytes, None]:
        """The body in chunks, refused once it exceeds what is allowed, whatever it said of itself."""
        async for chunk in request.stream():
            if room.bytes + len(chunk) > self._max_bytes:
                raise self._too_large()
            self._require(room, len(chunk))
            self._take(room, len(chunk))
            yield chunk

    def _too_large(self) -> Problem:
        return Problem(413, "upload_too_large", f"an upload may have {self._max_bytes} bytes at most")


async def _joined(chunks: Sequence[bytes]) -> bytes:
    """A body in one piece. In a thread, joining a large one lets the event loop go on."""
    if sum(map(len, chunks)) <= _LARGE_BYTES:
        return b"".join(chunks)
    return await asyncio.to_thread(b"".join, chunks)


async def _content(part: UploadFile) -> bytes:
    """The bytes of a part of a form."""
    if (part.size or 0) <= _LARGE_BYTES:
        return part.file.read()
    return await asyncio.to_thread(part.file.read)


def _without_charset(headers: Headers) -> Headers:
    """Only what a form needs: names in it are UTF-8 (RFC 7578), whatever encoding its sender chooses."""
    boundary = parse_options_header(headers["content-type"])[1].get(b"boundary")
    told = b"" if boundary is None else b'; boundary="' + boundary.replace(b'"', b'\\"') + b'"'
    return Headers(raw=[(b"content-type", b"multipart/form-data" + told)])
