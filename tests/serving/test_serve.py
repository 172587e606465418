import json
import socket
import urllib.request

import pytest
from benchmarks.serving.client import serving

from tests.serving.small_service import BASE
from tests.test_cli import imported_by
from udml.cli import main
from udml.errors import UdmlError
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
    "wrong", [{"max_waiting": 0}, {"max_pixels": -1}, {"deadline_seconds": 0.0}, {"requests_per_minute": -1}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UdmlError, match=next(iter(wrong))):
        Settings(**wrong)
