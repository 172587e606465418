"""The service as one ASGI application."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Response
from starlette.middleware.cors import CORSMiddleware

from udml import __version__
from udml.errors import UdmlError
from udml.serving.http import collection_routes, operation_routes, search_routes
from udml.serving.http.dependencies import VERSION_HEADER
from udml.serving.http.keys import read_keys
from udml.serving.http.security import Guard
from udml.serving.service import problems
from udml.serving.service.metrics import Metrics
from udml.serving.service.service import Service
from udml.serving.service.settings import Settings
from udml.serving.service.switching import Opener, Versions

_SCRIPTS = ("page.js", "cards.js", "crop.js", "query.js", "service.js")
_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    **{f"/{name}": (name, "text/javascript; charset=utf-8") for name in _SCRIPTS},
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_KEYS_POLL_SECONDS = 1.0
log = logging.getLogger(__name__)


def create_app(settings: Settings, models: Path, open_searcher: Opener) -> Guard:
    """The service on the champion of a registry.

    Args:
        settings: limits and doors.
        models: the registry.
        open_searcher: opens the directory of a version.

    Raises:
        UdmlError: if there is no champion, it cannot be opened, or the keys cannot be read.
    """
    metrics = Metrics()
    keys = None if settings.keys is None else read_keys(settings.keys)
    versions = Versions(models, open_searcher, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = service = Service(settings, versions, metrics)
        guard.require_room = service.batcher.require_room
        watches = [
            asyncio.create_task(guard.door.sweep()),
            asyncio.create_task(versions.watch()),
            asyncio.create_task(_watch_keys(guard, settings.keys)),
        ]
        yield
        for watch in watches:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="udml",
        version=__version__,
        summary="Find the images like this one.",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    for module in (search_routes, collection_routes, operation_routes):
        app.include_router(module.router)
    for path, (name, media_type) in _PAGE.items():
        app.get(path, include_in_schema=False)(_page_file(name, media_type))
    problems.install(app)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=[VERSION_HEADER, "Retry-After"],
        )
    guard = Guard(app, settings, keys, metrics)
    return guard


def _page_file(name: str, media_type: str) -> Callable[[], object]:
    content = (files("udml.serving.http") / "page" / name).read_bytes()

    async def send() -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return send


async def _watch_keys(guard: Guard, path: Path | None) -> None:
    """Follow the file of keys: a removed key is refused within a second."""
    seen = None
    while path is not None:
        try:
            before, seen = seen, path.stat().st_mtime_ns
            if seen != before:
                guard.keys = await asyncio.to_thread(read_keys, path)
        except (UdmlError, OSError) as error:
            log.error("the keys stay as they were: %s", error)
        await asyncio.sleep(_KEYS_POLL_SECONDS)
