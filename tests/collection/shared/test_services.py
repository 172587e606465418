"""Several services on one store: what one does, the others show at once; and the store's loss."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.collection.shared.workspace import BASE, NEW, make_shared, service
from tests.fixtures.lite import Lite
from tests.serving.live import make_version
from tests.serving.small_service import problem
from udml.collection.shared.connection import Connection
from udml.collection.shared.rows import CHAMPION
from udml.errors import UdmlError
from udml.registry import store


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def test_two_services_show_the_same_and_switch_together(
    tmp_path: Path, lite: Lite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shared = make_shared(tmp_path, lite.database())
    with service(tmp_path, shared) as one, service(tmp_path, shared) as other:
        (added,) = one.post("/v1/items?name=new.png", content=NEW[0][1]).json()["items"]
        assert added["status"] == "added"
        (hit, *_) = other.post("/v1/search", content=NEW[0][1]).json()["neighbours"]
        assert (hit["id"], hit["source"]) == (added["id"], "new.png")
        assert other.get(f"/v1/items/{added['id']}/image").headers["content-type"] == "image/jpeg"
        assert other.delete(f"/v1/items?id={added['id']}").status_code == 200
        assert one.get(f"/v1/items/{added['id']}").status_code == 404
        assert one.get("/v1/clusters").json()["images"] == len(BASE)
        one.post("/v1/items?name=new.png", content=NEW[1][1])
        make_version(tmp_path, BASE, seed=7, mixed=True)  # promoted, so pushed and pointed to
        for client in (one, other):
            until(lambda client=client: client.get("/v1/version").json()["version"] == "v2")
            assert client.get("/v1/version").json()["images"] == len(BASE) + 1
            (hit, *_) = client.post("/v1/search", content=NEW[1][1]).json()["neighbours"]
            assert hit["source"] == "new-2.png"  # a name stays with the image that had it
        store.rollback(tmp_path / "models", "")
        until(lambda: one.get("/v1/version").json()["version"] == "v1")


@pytest.mark.slow
def test_a_store_that_is_lost_is_said_and_comes_back(tmp_path: Path) -> None:
    server = Lite(tmp_path)
    try:
        shared = make_shared(tmp_path, server.uri)
        with service(tmp_path, shared) as client:
            (added,) = client.post("/v1/items?name=new.png", content=NEW[0][1]).json()["items"]
            assert client.get("/readyz").status_code == 200
            server.kill()
            for answer in (
                client.post("/v1/search", content=BASE[0][1]),
                client.get(f"/v1/items/{added['id']}"),
                client.get("/v1/version"),
                client.post("/v1/items", content=NEW[1][1]),
                client.delete(f"/v1/items?id={added['id']}"),
            ):
                assert "does not answer" in problem(answer, 503, "store_lost")
                assert answer.headers["retry-after"] == "1"
            until(lambda: client.get("/readyz").status_code == 503)  # it is looked at twice a second
            problem(client.get("/readyz"), 503, "store_lost")
            assert client.get("/healthz").status_code == 200
            until(lambda: 'udml_behind{what="champion"} 1.0' in client.get("/metrics").text)
            with pytest.raises(UdmlError, match="does not answer"):
                make_version(tmp_path, BASE, seed=7)  # nothing is promoted that services could not follow
            assert store.champion_name(tmp_path / "models") == "v1"
            server.start()
            until(lambda: client.get("/readyz").status_code == 200)
            # a store that has only just begun may miss a deadline once more on a busy machine
            until(lambda: client.post("/v1/search", content=NEW[0][1]).status_code == 200)
            (hit, *_) = client.post("/v1/search", content=NEW[0][1]).json()["neighbours"]
            assert hit["id"] == added["id"]
            released = Connection(shared.uri)  # as after a restart
            released.ask("release_collection", released.behind(CHAMPION))
            released.close()
            assert client.post("/v1/search", content=NEW[0][1]).json()["neighbours"][0]["id"] == added["id"]
    finally:
        server.kill()


def test_a_service_that_lacks_the_version_says_so(tmp_path: Path, lite: Lite) -> None:
    shared = make_shared(tmp_path, lite.database())
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(UdmlError, match="udml models pull"), service(tmp_path / "elsewhere", shared):
        pass
    with pytest.raises(UdmlError, match="nothing serves"), service(tmp_path, type(shared)(lite.database())):
        pass
