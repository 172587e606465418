"""A service that wants signatures: it starts on a signed version only, and follows to signed ones only."""

import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.registry.signing.keys import write_keys
from tests.serving.live import make_version
from tests.serving.small_service import BASE
from udml.errors import UdmlError
from udml.registry import store
from udml.registry.signing.sign import sign
from udml.serving.http.app import create_app
from udml.serving.opening import opener
from udml.serving.service.settings import Settings


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def app(registry: Path, key: Path):
    settings = Settings(require_signature=key, deadline_seconds=60.0, requests_per_minute=0)
    return create_app(settings, registry / "models", opener(settings, registry / "data"))


def test_only_what_is_signed_serves(registry: Path, caplog: pytest.LogCaptureFixture) -> None:
    models, key = registry / "models", write_keys(registry, "ours")
    theirs = write_keys(registry, "theirs")
    public = key.with_suffix(".pub")
    with pytest.raises(UdmlError, match=r"v1 is not signed: there is no .*v1\.sig"):
        app(registry, public)
    sign(models, "v1", key)
    with (
        caplog.at_level(logging.ERROR),
        TestClient(app(registry, public), base_url="http://localhost") as http,
    ):

        def version() -> dict:
            return http.get("/v1/version").json()

        def behind() -> list[str]:
            return http.get("/readyz").json()["behind"]

        assert (version()["version"], behind()) == ("v1", [])
        make_version(registry, BASE, seed=7)  # v2, promoted, unsigned
        wait_for(lambda: behind() == ["champion"])
        assert "v2 is not signed" in version()["refused"]
        assert "v2 is not served, v1 goes on: v2 is not signed" in caplog.text
        assert http.post("/v1/search", content=BASE[3][1]).json()["version"] == "v1"
        sign(models, "v2", theirs)
        wait_for(lambda: "was not made with the key of ours.pub" in (version()["refused"] or ""))
        shutil.copy(models / "signatures" / "v1.sig", models / "signatures" / "v2.sig")
        wait_for(lambda: "is the signature of v1, not of v2" in (version()["refused"] or ""))
        sign(models, "v2", key)
        wait_for(lambda: version()["version"] == "v2")
        assert (version()["refused"], behind()) == (None, [])
        store.rollback(models, "")
        wait_for(lambda: version()["version"] == "v1")


def test_checking_a_signature_loads_no_signing_library(registry: Path) -> None:
    key = write_keys(registry, "ours")
    sign(registry / "models", "v1", key)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from udml.registry.signing.check import read_key, require_signed\n"
        f"require_signed(Path({str(registry / 'models')!r}), 'v1', read_key(Path(sys.argv[1])))\n"
        "heavy = {'model_signing', 'sigstore', 'google', 'requests', 'urllib3', 'pydantic'}\n"
        "assert heavy.isdisjoint(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, key.with_suffix(".pub")], check=True)
