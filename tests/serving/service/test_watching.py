"""What an operator changes is in force once it can be read, however often that has failed."""

import asyncio
import errno
import os

import pytest

from tests.serving.live import make_version
from tests.serving.service.test_switching import serving, wait_for
from tests.serving.small_service import BASE, client
from udml.errors import UdmlError
from udml.registry import store
from udml.serving.http import app, keys
from udml.serving.service import watching
from udml.serving.service.watching import Watch

CAUSES = [
    OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    OSError(errno.EIO, "io"),
    UdmlError("half a file"),
]


def test_it_is_tried_until_it_was_taken_in(monkeypatch):
    now, taken, tries = ["a"], [], []

    def look():
        if isinstance(now[0], OSError):
            raise now[0]
        return now[0]

    async def take_in():
        tries.append(now[0])
        if now[0].startswith("bad"):
            raise UdmlError(f"{now[0]} can't be read")
        taken.append(now[0])

    async def trial():
        watch = Watch(look, take_in, "a")
        seen = []
        for state in ("a", "bad b", "bad b", "b", OSError(errno.EIO, "io"), "b", "bad c", "bad d", "a"):
            now[0] = state
            await watch.look_once()
            seen.append(watch.behind)
        return seen

    monkeypatch.setattr(watching, "_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(watching, "_SHARE_OF_TIME", 0)
    seen = asyncio.run(trial())
    assert tries == ["bad b", "bad b", "b", "bad c", "bad d", "a"]
    assert taken == ["b", "a"]
    assert [behind is None for behind in seen] == [True, False, False, True, False, True, False, False, True]


def behind(http):
    return http.get("/readyz").json()["behind"]


@pytest.mark.parametrize("cause", CAUSES, ids=str)
def test_a_removed_key_is_refused_once_the_file_can_be_read_again(registry, tmp_path, monkeypatch, cause):
    path = tmp_path / "keys.json"
    anna, ben = keys.add_key(path, "anna"), keys.add_key(path, "ben")
    read, broken = keys.read_keys, [False]

    def failing(path):
        if broken[0]:
            raise cause
        return read(path)

    monkeypatch.setattr(app, "read_keys", failing)
    with client(registry, keys=path) as http:
        broken[0] = True
        keys.remove_key(path, "anna")
        wait_for(lambda: behind(http) == ["keys"])
        assert 'udml_behind{what="keys"} 1.0' in http.get("/metrics", headers=bearer(ben)).text
        broken[0] = False
        wait_for(lambda: http.get("/v1/version", headers=bearer(anna)).status_code == 401)
        wait_for(lambda: behind(http) == [])
        assert http.get("/v1/version", headers=bearer(ben)).status_code == 200


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("cause", CAUSES, ids=str)
def test_a_promotion_is_followed_once_the_version_can_be_opened(registry, monkeypatch, cause):
    make_version(registry, BASE, seed=7)
    store.promote(registry / "models", "v1", "")
    from udml import Searcher

    opened, broken = Searcher.open, [False]

    def failing(*arguments):
        if broken[0]:
            raise cause
        return opened(*arguments)

    monkeypatch.setattr(Searcher, "open", failing)
    with client(registry) as http:
        broken[0] = True
        store.promote(registry / "models", "v2", "")
        wait_for(lambda: behind(http) == ["champion"])
        assert serving(http) == "v1"
        broken[0] = False
        wait_for(lambda: serving(http) == "v2")
        wait_for(lambda: behind(http) == [])
        assert http.get("/v1/version").json()["refused"] is None
