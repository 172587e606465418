"""Shared fixtures: the real photographs, and a tiny training set."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core: threads that spin would only take turns
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# A shell that starts the tests in the background lets them ignore Ctrl-C, and so all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes depends on what else runs.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

if TYPE_CHECKING:
    from tests.fixtures.lite import Lite

ROOT = Path(__file__).parent.parent
GROCERY = ROOT.parent / "shared" / "data" / "grocery"


@pytest.fixture(scope="session")
def grocery() -> Path:
    """The Grocery Store Dataset; it is not part of the project."""
    if not (GROCERY / "train.txt").exists():
        pytest.skip(f"the Grocery Store Dataset is not at {GROCERY}")
    return GROCERY


@pytest.fixture(scope="session")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Lite"]:
    """A running Milvus Lite; every test takes a database of its own."""
    from tests.fixtures.lite import Lite

    server = Lite(tmp_path_factory.mktemp("milvus"))
    yield server
    server.kill()


@pytest.fixture
def s3_endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Address of an S3 server on this machine that holds one empty bucket, `bucket`."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    log = (tmp_path / "s3.log").open("w")
    server = subprocess.Popen(
        [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", "0"],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        address = _address_in(Path(log.name), server)
        _make_bucket(f"{address}/bucket")
        yield address
    finally:
        server.terminate()
        server.wait()
        log.close()


def _address_in(log: Path, server: "subprocess.Popen[bytes]") -> str:
    """Where the server says it listens: a port that it was given, not one that was free a moment ago."""
    while not (said := re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text())):
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    return said.group(1)


def _make_bucket(address: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(address, method="PUT")).close()
            return
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
