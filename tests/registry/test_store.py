import json
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from tests.registry.workspace import make_sources
from udml.errors import UdmlError
from udml.registry import store


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions, none of them promoted."""
    models = tmp_path_factory.mktemp("registry") / "models"
    for seed in range(3):
        sources = make_sources(tmp_path_factory.mktemp("workspace"), seed, map_at_r=0.4 + seed / 10)
        assert store.register(models, sources).name == f"v{seed + 1}"
    return models


@pytest.fixture
def models(registered: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return shutil.copytree(registered, tmp_path / "models", symlinks=True)


def rewrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def forge(version: Path) -> None:
    """Change a file and its hash in the manifest, so that the two agree again."""
    from udml.registry.bundle import record

    rewrite(version / "model.onnx", b"evil")
    manifest = json.loads((version / "bundle.json").read_text())
    manifest["files"]["model.onnx"] = vars(record(version / "model.onnx"))
    rewrite(version / "bundle.json", json.dumps(manifest).encode())


def test_a_version_holds_everything_and_nobody_can_write_to_it(models: Path) -> None:
    bundle = store.verify(models, "v2")
    assert set(bundle.files) == {
        "model.onnx", "metrics.json", "params.yaml", "dvc.lock", "bom.json",
        "index/index.faiss", "index/index.json", "index/items.sqlite",
    }  # fmt: skip
    assert (bundle.model_version, bundle.data_version, bundle.images) == ("model-1", "data-0", 30)
    for path in (models / "versions" / "v2").rglob("*"):
        assert path.is_dir() or stat.S_IMODE(path.stat().st_mode) == 0o444
    assert not list(models.rglob("*.tmp"))


def test_promoting_and_rolling_back_walk_through_the_champions(models: Path) -> None:
    assert store.champion_name(models) is None
    for name in ("v1", "v3", "v2"):
        store.promote(models, name, f"{name} is better")
        assert store.champion_name(models) == name
        assert (models / "champion" / "model.onnx").exists()
    assert store.rollback(models, "no").name == "v3"
    assert store.rollback(models, "no again").name == "v1"
    assert store.champion_name(models) == "v1"
    with pytest.raises(UdmlError, match="no earlier champion"):
        store.rollback(models, "")
    told = [(event["event"], event["version"], event["reason"]) for event in store.events(models)]
    assert told[3:] == [
        ("promote", "v1", "v1 is better"), ("promote", "v3", "v3 is better"),
        ("promote", "v2", "v2 is better"), ("rollback", "v3", "no"), ("rollback", "v1", "no again"),
    ]  # fmt: skip


def test_promoting_the_champion_changes_nothing(models: Path) -> None:
    store.promote(models, "v1", "")
    before = store.events(models)
    store.promote(models, "v1", "")
    assert store.events(models) == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda v: (v / "model.onnx").unlink(), "model.onnx is missing"),
        (lambda v: rewrite(v / "index" / "index.faiss", b"other"), r"index/index.faiss was changed"),
        (lambda v: (v / "extra.bin").write_bytes(b""), "extra.bin does not belong"),
        (lambda v: (v / "bundle.json").unlink(), "incomplete"),
        (lambda v: rewrite(v / "bundle.json", b"{"), "damaged"),
        (lambda v: rewrite(v / "bundle.json", b"[]"), "damaged"),
        (forge, "bundle.json was changed"),
    ],
)
def test_a_version_that_was_tampered_with_is_refused_by_name(models: Path, damage, message: str) -> None:
    store.promote(models, "v1", "")
    damage(models / "versions" / "v2")
    with pytest.raises(UdmlError, match=message) as told:
        store.promote(models, "v2", "")
    assert "v2" in str(told.value)
    assert store.champion_name(models) == "v1"


def test_what_is_not_there_is_named(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UdmlError, match="no version v9"):
        store.promote(models, "v9", "")
    with pytest.raises(UdmlError, match=r"no version \.\./v1"):
        store.promote(models, "../v1", "")
    with pytest.raises(UdmlError, match="no champion"):
        store.version_directory(models, "champion")
    sources = make_sources(tmp_path)
    sources.metrics.unlink()
    with pytest.raises(UdmlError, match=r"no .*metrics\.json"):
        store.register(models, sources)
    assert store.version_names(models) == ["v1", "v2", "v3"]


def test_an_index_of_another_model_is_not_registered(models: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    sources, other = make_sources(first, seed=0), make_sources(second, seed=1)
    mixed = type(sources)(sources.model, other.index, sources.metrics, sources.params, sources.lock)
    with pytest.raises(UdmlError, match="was made by model model-1"):
        store.register(models, mixed)
    assert store.version_names(models) == ["v1", "v2", "v3"]


def test_versions_sort_by_number(models: Path) -> None:
    (models / "versions" / "v2").rename(models / "versions" / "v10")
    assert store.version_names(models) == ["v1", "v3", "v10"]


def test_a_lost_log_is_made_good(models: Path) -> None:
    store.promote(models, "v1", "")
    (models / "log.jsonl").unlink()
    store.promote(models, "v2", "")
    assert store.rollback(models, "").name == "v1"
    assert {e["version"] for e in store.events(models) if e["event"] == "register"} == {"v1", "v2", "v3"}


def test_a_log_line_that_was_cut_short_does_not_count(models: Path) -> None:
    store.promote(models, "v1", "")
    with (models / "log.jsonl").open("ab") as log:
        log.write(b'{"time": "2026')
    assert store.champions_until_now(models) == ["v1"]
    store.promote(models, "v2", "")
    assert store.champions_until_now(models) == ["v1", "v2"]


def test_readers_never_see_a_mixture(models: Path) -> None:
    """One thread promotes to and fro; another keeps opening the champion."""
    from udml import Searcher

    store.promote(models, "v1", "")
    stop, opened = threading.Event(), set()

    def switch() -> None:
        while not stop.is_set():
            store.promote(models, "v2", "")
            store.promote(models, "v1", "")

    thread = threading.Thread(target=switch)
    thread.start()
    try:
        for _ in range(60):
            with Searcher.open(models / "champion") as searcher:
                made_by = searcher.collection.index.info.model_version
                assert searcher.embedder.card.model_version == made_by
                opened.add(made_by)
    finally:
        stop.set()
        thread.join()
    assert opened == {"model-0", "model-1"}


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, Path.touch])
def test_a_champion_that_is_no_link_is_said(tmp_path, make):
    make(tmp_path / "champion")
    for use in (
        lambda: store.champion_name(tmp_path),
        lambda: store.version_directory(tmp_path, "champion"),
        lambda: store.promote(tmp_path, "v1", ""),
        lambda: store.rollback(tmp_path, ""),
    ):
        with pytest.raises(UdmlError, match="not a link to a version"):
            use()


@pytest.mark.parametrize("line", ["[" * 5_000, "nonsense", "[]", "{}", "1"])
def test_a_log_that_is_none_is_said(tmp_path, line):
    (tmp_path / "log.jsonl").write_text(line + "\n")
    with pytest.raises(UdmlError, match="cannot be read"):
        store.events(tmp_path)
