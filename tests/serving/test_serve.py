import gc
import json
import socket
import urllib.request

import httpx
import numpy as np
import pytest
from benchmarks.serving.client import serving

from tests.serving.live import png
from tests.serving.small_service import BASE
from tests.test_cli import imported_by
from udml.cli import main
from udml.errors import UdmlError
from udml.serving import serve
from udml.serving.service.settings import Settings


def test_the_service_imports_no_training_code():
    loaded = imported_by("import udml.serving.http.app, udml.serving.serve")
    assert loaded.isdisjoint({"torch", "dvc", "prefect", "pandas", "sklearn", "great_expectations"})


def test_it_listens_on_loopback_only_and_answers(registry):
    with serving(registry) as served:
        with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/v1/version") as answer:
            assert json.load(answer)["images"] == len(BASE)
        for own in {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}:
            if not own.startswith("127."):
                with (
                    pytest.raises((ConnectionError, TimeoutError)),
                    socket.create_connection((own, served.port), timeout=5),
                ):
                    pass


def test_photos_of_every_size_are_searched_with(registry):
    noise = np.random.default_rng(0)
    with serving(registry) as served:
        for side_px in (100, 200, 300, 500, 800, 1200, 1900):
            photo = png(noise.integers(0, 256, (side_px, side_px, 3), np.uint8))
            answer = httpx.post(f"http://127.0.0.1:{served.port}/v1/search", content=photo, timeout=60)
            assert answer.status_code == 200, f"{len(photo)} bytes: {answer.text}"


def test_what_stops_it_from_starting_is_said(registry, monkeypatch, capsys, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    assert main(["serve"]) == 1
    assert "no champion" in capsys.readouterr().err
    monkeypatch.chdir(registry)
    assert main(["serve", "--keys", "none.json"]) == 1
    assert "udml keys add" in capsys.readouterr().err
    assert main(["serve", "--port", "99999"]) == 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 1
    assert "cannot listen" in capsys.readouterr().err
    assert main(["serve", "--deadline-seconds", "nan"]) == 1


@pytest.mark.parametrize(
    "options", [["--port", "65536"], ["--host", "192.0.2.1"], ["--host", "no such host"], []]
)
def test_the_address_is_taken_before_a_model_is_loaded(options, registry, monkeypatch, capsys):
    """Nothing listens behind it until the model is there."""
    monkeypatch.chdir(registry)
    monkeypatch.setattr("udml.serving.engine.searcher.Searcher.open", lambda *_: pytest.fail("it was loaded"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", *(options or ["--port", str(taken.getsockname()[1])])]) == 1
    said = capsys.readouterr().err
    assert "cannot listen on" in said or "it must be between 0 and 65535" in said


def test_nobody_is_let_in_before_it_can_answer(registry, monkeypatch):
    seen = []

    def refused(directory, data):
        [port] = (held.getsockname()[1] for held in bound)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        seen.append(port)
        raise UdmlError("enough seen")

    bound, bind = [], serve._bound
    monkeypatch.chdir(registry)
    monkeypatch.setattr(serve, "_bound", lambda *address: bound.append(bind(*address)) or bound[0])
    monkeypatch.setattr("udml.serving.engine.searcher.Searcher.open", refused)
    assert main(["serve", "--port", "0"]) == 1
    assert len(seen) == 1
    assert bound[0].fileno() == -1  # given back


def test_two_that_start_at_once_are_told_apart():
    with serve._bound("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with serve._bound("127.0.0.1", port) as second:
            first.listen()
            with pytest.raises(UdmlError, match="cannot listen"), serve._refusals_said("127.0.0.1", port):
                second.listen()


def test_what_was_loaded_is_no_garbage_to_look_for_while_it_serves(registry, monkeypatch):
    seen = []
    monkeypatch.chdir(registry)
    monkeypatch.setattr(
        "uvicorn.Server.run", lambda *_, **__: seen.append((gc.get_freeze_count(), len(gc.get_objects())))
    )
    loaded = len(gc.get_objects())
    assert main(["serve", "--port", "0"]) == 0
    gc.unfreeze()
    [(frozen, looked_at)] = seen
    assert frozen > loaded / 2  # some of it was garbage
    assert looked_at < loaded / 10


@pytest.mark.parametrize(
    "wrong", [{"max_waiting": 0}, {"max_pixels": -1}, {"deadline_seconds": 0.0}, {"requests_per_minute": -1}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UdmlError, match=next(iter(wrong))):
        Settings(**wrong)
