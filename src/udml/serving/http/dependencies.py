"""What several routes have in common: who may call, which version answers, what OpenAPI says."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import Depends, Path, Request, Response, Security
from fastapi.security import HTTPBearer

from udml.serving.http import schemas
from udml.serving.http.security import check_access
from udml.serving.service.problems import MEDIA_TYPE
from udml.serving.service.service import Service
from udml.serving.service.switching import OpenVersion

VERSION_HEADER = "Udml-Version"


class _Access(HTTPBearer):
    """Lets a caller in, by its key where one is needed; gives the service.

    All in one: FastAPI takes a tenth of a millisecond for each dependency.
    """

    def __init__(self, writes: bool) -> None:
        super().__init__(auto_error=False, description="a key that `udml keys add` made")
        self._writes = writes

    async def __call__(self, request: Request) -> Service:  # type: ignore[override]
        service: Service = request.app.state.service
        check_access(request.scope, service.settings, self._writes)
        return service


async def _service(request: Request) -> Service:
    return request.app.state.service


async def _version(request: Request, response: Response) -> AsyncIterator[OpenVersion]:
    """The version that answers, kept open until the answer is made."""
    with request.app.state.service.versions.lease() as version:
        response.headers[VERSION_HEADER] = version.name
        yield version


ForReaders = Annotated[Service, Security(_Access(writes=False))]
ForWriters = Annotated[Service, Security(_Access(writes=True))]
ForAnyone = Annotated[Service, Depends(_service)]
CurrentVersion = Annotated[OpenVersion, Depends(_version)]
IdInPath = Annotated[schemas.Id, Path(alias="id")]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI of the answers that any route, and this one, may give instead."""
    content = {MEDIA_TYPE: {"schema": schemas.ProblemBody.model_json_schema()}}
    return {
        status: {"description": "Not done, and why", "content": content}
        for status in sorted({401, 403, 421, 422, 429, 503, *statuses})
    }


def upload_body(required: bool = True, many: bool = False, others: Sequence[str] = ()) -> dict[str, Any]:
    """OpenAPI of an upload. FastAPI itself would write large ones to disk, so `UploadReader` reads them."""
    image: dict[str, Any] = {"type": "string", "format": "binary"}
    part = {"type": "array", "items": image, "minItems": 1} if many else image
    parts = {"image": part, **{name: {"type": "array", "items": image} for name in others}}
    form = {"type": "object", "properties": parts, "required": ["image"] if required else []}
    content = {"application/octet-stream": {"schema": image}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"content": content, "required": required}}
