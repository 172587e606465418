"""Originals from a DVC remote: the bytes of one file, not its shard, and a cache that stays within bounds."""

import hashlib
import json
from pathlib import Path
from typing import Any

import fsspec
import pytest
import yaml

from tests.serving.live import files
from udml.collection.shared import files as module
from udml.collection.shared.disk_cache import DiskCache
from udml.collection.shared.files import FilesHere, FilesOnRemote
from udml.data.identity import image_id
from udml.data.shards import ShardWriter
from udml.errors import StoreLostError, UdmlError

STORED = files(5, seed=3)


def remote(root: Path, url: str) -> list[tuple[int, int, int, int, str]]:
    """What `dvc push` of an import leaves, and a dvc.lock; where each file is."""
    fs, base = fsspec.core.url_to_fs(url)
    places = []
    with ShardWriter(root / "data") as writer:
        for source, data, _ in STORED:
            where = writer.add(image_id(source), source, data)
            places.append((image_id(source), *where, len(data), hashlib.sha256(data).hexdigest()))

    def push(content: bytes, suffix: str = "") -> str:
        md5 = hashlib.md5(content).hexdigest() + suffix
        fs.makedirs(f"{base}/files/md5/{md5[:2]}", exist_ok=True)
        fs.pipe_file(f"{base}/files/md5/{md5[:2]}/{md5[2:]}", content)
        return md5

    shards = sorted((root / "data" / "shards").iterdir())
    listed = [{"md5": push(path.read_bytes()), "relpath": f"shards/{path.name}"} for path in shards]
    deps = [{"path": "data", "hash": "md5", "md5": push(json.dumps(listed).encode(), ".dir")}]
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"prepare": {"deps": deps}}}))
    return places


def check(root: Path, opened: FilesOnRemote, places: list[tuple[int, int, int, int, str]]) -> None:
    for place, (_, data, _) in zip(places, STORED, strict=True):
        assert opened.imported(*place) == data
    name = opened.put(b"added")
    assert opened.added(name) == b"added"
    opened.forget(name)
    opened.forget(name)
    assert opened.added(name) is None
    assert opened.imported(1, 99, 0, 1, "0" * 64) is None
    assert {path.name for path in (root / "cache").iterdir()} == {sha256 for *_, sha256 in places}


def test_from_s3_without_a_copy_of_the_data(
    tmp_path: Path, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    places = remote(tmp_path, "s3://bucket/udml")
    opened = FilesOnRemote("s3://bucket/udml", tmp_path / "dvc.lock", DiskCache(tmp_path / "cache"))
    check(tmp_path, opened, places)


def test_by_range_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path}/remote"
    places = remote(tmp_path, url)
    opened = FilesOnRemote(url, tmp_path / "dvc.lock", DiskCache(tmp_path / "cache"))
    read: list[Any] = []
    cat = type(opened._fs).cat_file
    monkeypatch.setattr(
        type(opened._fs), "cat_file", lambda self, path, **part: read.append(part) or cat(self, path, **part)
    )
    check(tmp_path, opened, places)
    ranges = [part for part in read if part]
    assert [part["end"] - part["start"] for part in ranges] == [size for *_, size, _ in places]
    read.clear()
    assert opened.imported(*places[0]) == STORED[0][1]
    assert read == []  # it was kept
    (tmp_path / "cache" / places[0][-1]).write_bytes(b"damaged")
    assert opened.imported(*places[0]) == STORED[0][1]


def test_what_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = FilesOnRemote(f"file://{tmp_path}/none", tmp_path / "dvc.lock", DiskCache(tmp_path / "cache"))
    with pytest.raises(UdmlError, match="does not say which import"):
        opened.imported(1, 0, 0, 1, "0" * 64)
    remote(tmp_path, f"file://{tmp_path}/remote")
    with pytest.raises(StoreLostError, match="lacks the import"):
        opened.imported(1, 0, 0, 1, "0" * 64)
    with pytest.raises(UdmlError, match="cannot be read"):
        FilesOnRemote("nothing://x", tmp_path / "dvc.lock")
    monkeypatch.setattr(module, "_S3_WAITS", {"connect_timeout": 1, "retries": {"max_attempts": 0}})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreLostError, match="cannot be reached"):
        FilesOnRemote("s3://bucket/x", tmp_path / "dvc.lock").added("name")


def test_the_cache_keeps_within_its_bound_and_what_was_used_last(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, max_bytes=10_000)
    contents = [bytes([number]) * 1000 for number in range(40)]
    names = [hashlib.sha256(content).hexdigest() for content in contents]
    for number, (name, content) in enumerate(zip(names, contents, strict=True)):
        cache.put(name, content)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10_000 * 17 / 16
        assert number < 5 or cache.get(names[5]) == contents[5]
    assert cache.get(names[39]) == contents[39]
    assert cache.get(names[0]) is None
    cache.put("large", bytes(20_000))
    assert cache.get("large") is None


def test_beside_the_registry_files_of_additions_are_on_its_disk(tmp_path: Path) -> None:
    here = FilesHere(tmp_path / "data", tmp_path / "models")
    name = here.put(b"added")
    assert FilesHere(tmp_path / "data", tmp_path / "models").added(name) == b"added"
    here.forget(name)
    assert here.added(name) is None
    assert list((tmp_path / "models" / "added").iterdir()) == []
