import logging
import threading
import time

import pytest

from tests.serving.live import make_version
from tests.serving.small_service import BASE, NEW, client
from udml import Searcher
from udml.registry import store


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def serving(http):
    return http.get("/v1/version").json()["version"]


@pytest.fixture
def models(registry):
    """v1, the champion, and v2, by another model."""
    make_version(registry, BASE, seed=7)
    store.promote(registry / "models", "v1", "")
    return registry / "models"


def test_a_promotion_and_a_rollback_are_followed_under_load(registry, models):
    query = BASE[3][1]
    expected = {}
    for name in ("v1", "v2"):
        with Searcher.open(models / "versions" / name, registry / "data") as searcher:
            hits = searcher.neighbours(searcher.embed_images([searcher.decode(query)]), 8)[0]
            expected[name] = [(hit.source, round(hit.similarity, 4)) for hit in hits]
    assert expected["v1"] != expected["v2"]
    seen, faults = set(), []
    stop = threading.Event()

    def load(http):
        while not stop.is_set():
            answer = http.post("/v1/search", content=query)
            body = answer.json()
            found = [(n["source"], round(n["similarity"], 4)) for n in body.get("neighbours", [])]
            name = body.get("version")
            if answer.status_code != 200 or answer.headers["udml-version"] != name or found != expected[name]:
                faults.append((answer.status_code, body))
            seen.add(name)

    with client(registry) as http:
        threads = [threading.Thread(target=load, args=(http,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for step in range(6):
                wanted = "v2" if step % 2 == 0 else "v1"
                store.promote(models, wanted, "") if step % 2 == 0 else store.rollback(models, "")
                wait_for(lambda name=wanted: serving(http) == name)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert 'udml_switches_total{result="done"} 6.0' in http.get("/metrics").text
    assert not faults
    assert seen == {"v1", "v2"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_broken_champion_is_refused_and_the_old_one_goes_on(registry, models, caplog):
    with client(registry) as http, caplog.at_level(logging.ERROR):
        model = models / "versions" / "v2" / "model.onnx"
        whole = model.read_bytes()
        store.promote(models, "v2", "")
        wait_for(lambda: serving(http) == "v2")
        store.rollback(models, "")
        wait_for(lambda: serving(http) == "v1")
        model.chmod(0o644)
        model.write_bytes(whole[:-1])
        link = models / "next"
        link.symlink_to("versions/v2")
        link.replace(models / "champion")
        wait_for(lambda: http.get("/v1/version").json()["refused"])
        told = http.get("/v1/version").json()
        assert told["version"] == "v1"
        assert "model.onnx was changed" in told["refused"]
        assert "v2 is not served, v1 goes on" in caplog.text
        assert http.get("/readyz").status_code == 200
        assert http.post("/v1/search", content=BASE[0][1]).status_code == 200
        (models / "champion").unlink()
        wait_for(lambda: "no champion" in http.get("/v1/version").json()["refused"])
        assert serving(http) == "v1"
        link.symlink_to("versions/v99")
        link.replace(models / "champion")
        wait_for(lambda: http.get("/v1/version").json()["refused"].startswith("v99"))
        (models / "champion").unlink()
        (models / "champion").mkdir()  # not even a link
        wait_for(lambda: http.get("/v1/version").json()["refused"].startswith("nothing"))
        (models / "champion").rmdir()
        model.write_bytes(whole)
        link.symlink_to("versions/v2")
        link.replace(models / "champion")
        wait_for(lambda: serving(http) == "v2")
        assert http.get("/v1/version").json()["refused"] is None


def test_what_was_added_under_one_version_is_found_under_the_next(registry, models):
    with client(registry, open_writes=True) as http:
        assert http.post("/v1/items", params={"name": NEW[0][0]}, content=NEW[0][1]).status_code == 200
        store.promote(models, "v2", "")
        wait_for(lambda: serving(http) == "v2")
        first = http.post("/v1/search?k=1", content=NEW[0][1]).json()["neighbours"][0]
        assert first["source"] == NEW[0][0]
        assert first["similarity"] > 0.999


def test_a_version_that_was_left_is_closed(registry, models, monkeypatch):
    closed = []
    close = Searcher.close
    monkeypatch.setattr(Searcher, "close", lambda self: (closed.append(self.version.name), close(self)))
    with client(registry) as http:
        store.promote(models, "v2", "")
        wait_for(lambda: closed == ["v1"])
        assert http.post("/v1/search", content=BASE[0][1]).json()["version"] == "v2"
    wait_for(lambda: closed == ["v1", "v2"])
