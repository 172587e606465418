"""Reading the bodies of requests: never more memory than was set aside for them, never a file.

A body is an image as it is, or multipart/form-data with parts named `image`, and others where they mean
something.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from udml.serving.service.metrics import Metrics
from udml.serving.service.problems import Problem, busy

_BUDGET_BODIES = 8  # this many bodies of the largest size allowed fit into memory at once
_MAX_FILES = 100
_MAX_FIELDS = 4
_IMAGE = "image"


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
    """Reads uploads, within a budget of bytes that all requests share."""

    def __init__(self, max_bytes: int, deadline_seconds: float, metrics: Metrics) -> None:
        self._max_bytes = max_bytes
        self._deadline_seconds = deadline_seconds
        self._free_bytes = _BUDGET_BODIES * max_bytes
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
        wanted = self._size(request)
        if wanted > self._free_bytes:
            raise busy("no_room", "too many uploads at once; try again shortly")
        self._reserve(wanted)
        try:
            with self._metrics.stage_seconds.labels("read").time():
                uploads = await self._read(request, name or "", fields)
            yield uploads
        finally:
            self._reserve(-wanted)

    def _reserve(self, size_bytes: int) -> None:
        self._free_bytes -= size_bytes
        self._metrics.uploading_bytes.inc(size_bytes)

    def _size(self, request: Request) -> int:
        """What the body says it has, else the most it may have."""
        stated = request.headers.get("content-length")
        if stated is None:
            return self._max_bytes
        if int(stated) > self._max_bytes:  # the server has checked that these are digits
            raise self._too_large()
        return int(stated)

    async def _read(self, request: Request, name: str, fields: Sequence[str]) -> list[Upload]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            async with asyncio.timeout(self._deadline_seconds):
                if kind == "multipart/form-data":
                    return await self._read_form(request, fields)
                body = b"".join([chunk async for chunk in self._stream(request)])
        except TimeoutError:
            raise Problem(408, "upload_too_slow", "the upload did not arrive in time") from None
        return [Upload(name, body)] if body else []

    async def _read_form(self, request: Request, fields: Sequence[str]) -> list[Upload]:
        parser = MultiPartParser(
            request.headers, self._stream(request), max_files=_MAX_FILES, max_fields=_MAX_FIELDS
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
            uploads.append(Upload(value.filename or "", value.file.read(), field))
        await form.close()
        return uploads

    async def _stream(self, request: Request) -> AsyncGenerator[bytes, None]:
        """The body in chunks, refused once it exceeds what is allowed, whatever it said of itself."""
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > self._max_bytes:
                raise self._too_large()
            yield chunk

    def _too_large(self) -> Problem:
        return Problem(413, "upload_too_large", f"an upload may have {self._max_bytes} bytes at most")
