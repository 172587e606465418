"""A small registry whose collection is in Milvus, and services of it in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi.testclient import TestClient

from tests.serving.live import files, make_version
from udml.collection.shared.connection import Connection
from udml.collection.shared.following import SharedStore, push_champion
from udml.registry import store
from udml.serving.engine.pointing import ChampionAlias
from udml.serving.engine.shared import open_shared
from udml.serving.http.app import create_app
from udml.serving.service.settings import Settings

BASE = files(24, seed=1, prefix="base")
NEW = files(4, seed=2)


def make_shared(root: Path, uri: str, originals: str | None = None) -> SharedStore:
    """A registry with one version, pushed."""
    make_version(root, BASE, mixed=True)
    shared = SharedStore(uri, originals)
    models = root / "models"
    push_champion(models, store.version_directory(models, "champion"), shared, root / "data")
    return shared


@contextmanager
def service(root: Path, shared: SharedStore, data: str = "data") -> Iterator[TestClient]:
    """A client of a service on the store."""

    def opened(name: str):
        return open_shared(name, shared, root / "models", root / data, 1)

    pointer = ChampionAlias(Connection(shared.uri), opened)
    settings = Settings(requests_per_minute=0, deadline_seconds=60.0, open_writes=True)
    app = create_app(settings, root / "models", lambda _: None, pointer)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client
