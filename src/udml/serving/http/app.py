"""The service as one ASGI application."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Response
from starlette.middleware.cors import CORSMiddleware

from udml import __version__, mapview
from udml.serving.engine.pointing import ChampionLink, Pointer
from udml.serving.http import collection_routes, map_routes, operation_routes, search_routes
from udml.serving.http.dependencies import VERSION_HEADER
from udml.serving.http.keys import read_keys
from udml.serving.http.security import Guard
from udml.serving.service import problems
from udml.serving.service.metrics import Metrics
from udml.serving.service.service import Service
from udml.serving.service.settings import Settings
from udml.serving.service.switching import POLL_SECONDS, Opener, Versions
from udml.serving.service.watching import NOTHING_YET, Watch, identity

_SCRIPTS = ("page.js", "cards.js", "crop.js", "query.js", "service.js", "browse-map.js", "where.js")
_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    **{f"/{name}": (name, "text/javascript; charset=utf-8") for name in _SCRIPTS},
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_KEYS_POLL_SECONDS = 0.5


def create_app(
    settings: Settings, models: Path, open_searcher: Opener, pointer: Pointer | None = None
) -> Guard:
    """The service on the champion of a registry.

    Args:
        settings: limits and doors.
        models: the registry.
        open_searcher: opens the directory of a version.
        pointer: says which version serves, instead of the registry's link.

    Raises:
        UdmlError: if there is no champion, it cannot be opened, or the keys cannot be read.
    """
    metrics = Metrics()
    keys = None if settings.keys is None else read_keys(settings.keys)
    versions = Versions(pointer or ChampionLink(models, open_searcher), metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = service = Service(settings, versions, metrics)
        guard.require_room = service.batcher.require_room
        watches = [guard.door.sweep(), versions.watch.follow(POLL_SECONDS)]
        service.watches = {"champion": versions.watch}
        if settings.keys is not None:
            service.watches["keys"] = _watch_keys(guard, settings.keys)
            watches.append(service.watches["keys"].follow(_KEYS_POLL_SECONDS))
        tasks = [asyncio.create_task(watch) for watch in watches]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="udml",
        version=__version__,
        summary="Find the images like this one.",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,  # served below
        telemetry={"tracing": False, "metrics": False, "logs": False},  # udml has its own
        lifespan=lifespan,
    )
    for module in (search_routes, collection_routes, map_routes, operation_routes):
        app.include_router(module.router)
    for path, (name, media_type) in _PAGE.items():
        app.get(path, include_in_schema=False)(_page_file(_page_bytes(name), media_type))
    app.get("/map.js", include_in_schema=False)(
        _page_file(mapview.script().encode(), "text/javascript; charset=utf-8")
    )
    app.get("/map.css", include_in_schema=False)(
        _page_file(mapview.style().encode(), "text/css; charset=utf-8")
    )
    app.get("/openapi.json", include_in_schema=False)(_description(app))
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


def _page_bytes(name: str) -> bytes:
    return (files("udml.serving.http") / "page" / name).read_bytes()


def _page_file(content: bytes, media_type: str) -> Callable[[], object]:
    async def send() -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return send


def _description(app: FastAPI) -> Callable[[], object]:
    """OpenAPI of the application, written once: that takes the event loop's time."""
    written, writing = b"", asyncio.Lock()

    async def send() -> Response:
        nonlocal written
        async with writing:
            written = written or await asyncio.to_thread(_written_description, app)
        return Response(written, media_type="application/json")

    return send


def _written_description(app: FastAPI) -> bytes:
    return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()


def _watch_keys(guard: Guard, path: Path) -> Watch:
    """A removed key is refused within a second, or readiness says that it may not be."""

    async def take_in() -> None:
        guard.keys = await asyncio.to_thread(read_keys, path)

    return Watch(lambda: identity(path), take_in, NOTHING_YET)
