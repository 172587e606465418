"""The page of `udml judge` as one ASGI application, behind the same guard as the service's."""

import re
from collections.abc import Callable
from importlib.resources import files
from typing import Annotated

import anyio.to_thread
from fastapi import FastAPI, Path, Response
from PIL import Image
from pydantic import BaseModel, Field

from udml import __version__
from udml.judgement.answers import ANSWERS, Key
from udml.judgement.pairs import key_of
from udml.judgement.standing import Standing, as_json
from udml.serving.engine.pictures import to_jpeg
from udml.serving.http.security import Guard
from udml.serving.judging.table import Table
from udml.serving.service import problems
from udml.serving.service.metrics import Metrics
from udml.serving.service.settings import Settings

_HERE, _SERVICE = "udml.serving.judging", "udml.serving.http"
_PAGE = {
    "/": (_HERE, "judge.html", "text/html; charset=utf-8"),
    "/judge.css": (_HERE, "judge.css", "text/css; charset=utf-8"),
    "/judge.js": (_HERE, "judge.js", "text/javascript; charset=utf-8"),
    "/page.css": (_SERVICE, "page.css", "text/css; charset=utf-8"),
    "/icon.svg": (_SERVICE, "icon.svg", "image/svg+xml"),
}
_PICTURE_SECONDS = 3600
_HEX = "^[0-9a-f]{64}$"


class Seat(BaseModel):
    """Who asks: a name that a browser's tab gives itself."""

    seat: str = Field(min_length=1, max_length=64)
    name: str = Field("", max_length=80, description="of the judge, kept with the answers if given")


class Given(Seat):
    """An answer."""

    pictures: tuple[Annotated[str, Field(pattern=_HEX)], Annotated[str, Field(pattern=_HEX)]]
    answer: str = Field(pattern=f"^({'|'.join(map(re.escape, ANSWERS))})$")


def create_app(table: Table, name: str, keep: Callable[[Standing], None]) -> Guard:
    """The page and what it asks for.

    Args:
        table: the pairs and the answers.
        name: the judge's, to begin with; "" for none.
        keep: told of what is known after each answer.
    """
    app = FastAPI(title="udml judge", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)

    def turn(seat: str, pairs: list[Key]) -> dict[str, object]:
        standing = table.standing()
        ahead = [sha256 for pair in pairs[1:] for sha256 in pair]
        said = {"pair": pairs[0] if pairs else None, "ahead": ahead, "undo": table.can_undo(seat)}
        return said | {"name": name, "standing": as_json(standing)}

    def answered(given: Given) -> dict[str, object]:
        pairs = table.answer(given.seat, key_of(*given.pictures), given.answer, given.name.strip())
        keep(table.standing())
        return turn(given.seat, pairs)

    @app.post("/v1/next")
    def ask(seat: Seat) -> dict[str, object]:
        return turn(seat.seat, table.ask(seat.seat))

    @app.post("/v1/answers")
    def answer(given: Given) -> dict[str, object]:
        return answered(given)

    @app.post("/v1/undo")
    def undo(seat: Seat) -> dict[str, object]:
        return turn(seat.seat, table.undo(seat.seat))

    @app.get("/v1/pictures/{sha256}")
    async def picture(sha256: Annotated[str, Path(pattern=_HEX)]) -> Response:
        content = await anyio.to_thread.run_sync(lambda: to_jpeg(Image.fromarray(table.picture(sha256))))
        headers = {"Cache-Control": f"private, max-age={_PICTURE_SECONDS}"}
        return Response(content, media_type="image/jpeg", headers=headers)

    for path, place in _PAGE.items():
        app.get(path)(_page_file(*place))
    problems.install(app)
    settings = Settings(open_writes=True, requests_per_minute=0)
    return Guard(app, settings, None, Metrics())


def _page_file(package: str, name: str, media_type: str) -> Callable[[], object]:
    content = (files(package) / "page" / name).read_bytes()

    async def send() -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return send
