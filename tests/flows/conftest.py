"""One Prefect server for all the flow tests, and a workspace whose champion a real run promoted."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.standin import free_port, make_standin, retrain, start_server


@pytest.fixture(scope="session")
def api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    server = start_server(tmp_path_factory.mktemp("prefect"), port)
    yield f"http://127.0.0.1:{port}/api"
    os.killpg(server.pid, signal.SIGTERM)
    server.wait()


@pytest.fixture(scope="session")
def promoted(api_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in workspace with champion v1."""
    workspace = make_standin(tmp_path_factory.mktemp("promoted") / "workspace")
    assert "Promoted: v1 promoted: MAP@R is" in retrain(workspace, api_url)
    return workspace


@pytest.fixture
def workspace(promoted: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return shutil.copytree(promoted, tmp_path / "workspace", symlinks=True)
