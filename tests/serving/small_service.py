"""The service in this process, on a small registry."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from tests.serving.live import files
from udml import Searcher
from udml.serving.http.app import create_app
from udml.serving.service.settings import Settings

BASE = files(24, seed=1, prefix="base")
NEW = files(6, seed=2)


@contextmanager
def client(root: Path, **settings: Any) -> Iterator[TestClient]:
    """A client of the service on root/models, with one thread."""
    wanted = Settings(**{"requests_per_minute": 0, "deadline_seconds": 60.0, **settings})
    app = create_app(wanted, root / "models", lambda directory: Searcher.open(directory, root / "data", 1))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as opened:
        yield opened


def problem(response: Any, status: int, code: str) -> str:
    """The sentence of a problem, which must be one of this status and code."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    body = response.json()
    assert (body["status"], body["code"]) == (status, code)
    assert len(body["detail"].split()) >= 3
    return body["detail"]
