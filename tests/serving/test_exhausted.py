"""Keys and promotions while the service has no descriptor left, or the disk no room: in force once it has."""

import http.client
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from benchmarks.serving.client import serving

from tests.serving.live import make_version
from tests.serving.small_service import BASE
from udml.errors import UdmlError
from udml.registry import store
from udml.serving.http import keys

HOARD = """
import os, resource, threading, time
resource.setrlimit(resource.RLIMIT_NOFILE, (300, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
def hoard():
    held = []
    while True:
        if os.path.exists("full"):
            try:
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                if not os.path.exists("is-full"):
                    os.mkdir("is-full")
        while held and not os.path.exists("full"):
            os.close(held.pop())
        time.sleep(0.02)
threading.Thread(target=hoard, daemon=True).start()
"""

ERRING = """
import errno, io, os, builtins
stat = os.stat
def erring(function):
    def call(path, *arguments, **named):
        text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
        if "models" in text or "keys.json" in text:
            try:
                stat("erring")
            except FileNotFoundError:
                pass
            else:
                raise OSError(errno.EIO, os.strerror(errno.EIO), text)
        return function(path, *arguments, **named)
    return call
for module, names in ((os, ("stat", "lstat", "readlink", "open", "scandir")), (io, ("open",))):
    for name in names:
        setattr(module, name, erring(getattr(module, name)))
builtins.open = io.open
"""


def wait_for(condition):
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def asked(connection, path, key):
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}", "Host": "localhost"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_without_descriptors_it_says_that_it_is_behind_and_with_them_it_catches_up(registry):
    make_version(registry, BASE, seed=7)
    store.promote(registry / "models", "v1", "")
    anna, ben = (keys.add_key(registry / "keys.json", name) for name in ("anna", "ben"))
    with serving(registry, "--keys", "keys.json", before=HOARD) as served:
        kept = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        assert asked(kept, "/v1/version", anna)[1]["version"] == "v1"
        (registry / "full").touch()
        wait_for(lambda: asked(kept, "/readyz", ben) and (registry / "is-full").exists())
        keys.remove_key(registry / "keys.json", "anna")
        store.promote(registry / "models", "v2", "")
        wait_for(lambda: asked(kept, "/readyz", ben)[1]["behind"] == ["champion", "keys"])
        assert asked(kept, "/v1/version", ben)[1]["version"] == "v1"  # it goes on meanwhile
        (registry / "full").unlink()
        wait_for(lambda: asked(kept, "/readyz", ben)[1]["behind"] == [])
        assert asked(kept, "/v1/version", anna)[0] == 401
        assert asked(kept, "/v1/version", ben)[1]["version"] == "v2"
        kept.close()
        again = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        assert asked(again, "/v1/version", anna)[0] == 401
        again.close()


def test_while_its_files_cannot_be_read_it_says_so_and_then_it_catches_up(registry):
    """A disk, or a server of files, that answers every look with an error of input or output."""
    make_version(registry, BASE, seed=7)
    store.promote(registry / "models", "v1", "")
    anna, ben = (keys.add_key(registry / "keys.json", name) for name in ("anna", "ben"))
    with serving(registry, "--keys", "keys.json", before=ERRING) as served:
        one = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        (registry / "erring").touch()
        wait_for(lambda: asked(one, "/readyz", ben)[1]["behind"] == ["champion", "keys"])
        keys.remove_key(registry / "keys.json", "anna")
        eva = keys.add_key(registry / "keys.json", "eva")
        store.promote(registry / "models", "v2", "")
        assert asked(one, "/healthz", ben)[0] == 200
        assert asked(one, "/v1/version", eva)[0] == 401
        (registry / "erring").unlink()
        began = time.monotonic()
        wait_for(lambda: asked(one, "/v1/version", anna)[0] == 401)
        wait_for(lambda: asked(one, "/v1/version", eva)[1].get("version") == "v2")
        print(f"in force after {time.monotonic() - began:.2f} s")  # under 2 where nothing else runs
        wait_for(lambda: asked(one, "/readyz", ben)[1]["behind"] == [])
        one.close()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount on this machine")
    if made.returncode:
        pytest.skip(f"this user cannot mount a small disk: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path):
    """Take all the room there is."""
    content = os.urandom(shutil.disk_usage(place).free + 4096)
    with pytest.raises(OSError, match="No space"):
        (place / "filling").write_bytes(content)


def test_on_a_full_disk_keys_stay_what_they_were_and_change_when_there_is_room(small_disk):
    path = small_disk / "keys.json"
    anna, ben = (keys.add_key(path, name) for name in ("anna", "ben"))
    before = path.read_bytes()
    fill(small_disk)
    for change in (lambda: keys.remove_key(path, "anna"), lambda: keys.add_key(path, "eva")):
        with pytest.raises((OSError, UdmlError)) as refused:
            change()
        assert "No space" in str(refused.value)
        assert path.read_bytes() == before
    assert sorted(p.name for p in small_disk.iterdir()) == [".keys.json.lock", "filling", "keys.json"]
    (small_disk / "filling").unlink()
    keys.remove_key(path, "anna")
    known = keys.read_keys(path)
    assert (keys.owner(known, anna), keys.owner(known, ben)) == (None, "ben")


def test_on_a_full_disk_the_champion_stays_and_the_next_one_serves_when_there_is_room(small_disk):
    make_version(small_disk, BASE)
    make_version(small_disk, BASE, seed=7)
    models, long = small_disk / "models", "because " * 1000  # a short one fits into the log's last block
    store.promote(models, "v1", "")
    key = keys.add_key(small_disk / "keys.json", "anna")
    with serving(small_disk, "--keys", "keys.json") as served:
        one = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        fill(small_disk)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                store.promote(models, "v2", long)
        assert store.champion_name(models) == "v1"
        assert asked(one, "/readyz", key) == (200, {"status": "ok", "behind": []})
        assert asked(one, "/v1/version", key)[1]["version"] == "v1"
        (small_disk / "filling").unlink()
        store.promote(models, "v2", long)
        wait_for(lambda: asked(one, "/v1/version", key)[1].get("version") == "v2")
        one.close()
    assert store.champions_until_now(models)[-2:] == ["v1", "v2"]
