"""Forty rounds of what two may do at once: nothing lost, nothing back, nothing in between."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.serving.live import files, make_version
from udml.data.importing.importer import import_data
from udml.data.importing.manifest import read_manifest
from udml.errors import UdmlError
from udml.registry import store

ROUNDS = 40


def test_promotions_and_rollbacks_at_once_are_all_in_the_log_and_the_last_one_counts(tmp_path: Path) -> None:
    pictures = files(4, seed=1)
    for seed in range(3):
        make_version(tmp_path, pictures, seed=seed)
    models = tmp_path / "models"
    for number in range(ROUNDS):
        with ThreadPoolExecutor(4) as threads:
            done = [threads.submit(store.promote, models, f"v{1 + n}", f"round {number}") for n in range(3)]
            back = threads.submit(store.rollback, models, f"round {number}")
            before = {one.result().name for one in done}
            assert back.result().name in {"v1", "v2", "v3"}
        assert before == {"v1", "v2", "v3"}
        assert store.champions_until_now(models)[-1] == store.champion_name(models)
        assert {path.name for path in models.iterdir() if path.name.startswith(".")} == {".lock"}
    told = [event for event in store.events(models) if event["reason"].startswith("round")]
    assert sum(event["event"] == "rollback" for event in told) == ROUNDS
    with pytest.raises(UdmlError, match="made to replace"):
        store.promote(models, "v1", "", instead_of="v9")


def test_imports_of_two_folders_at_once_leave_one_of_them_whole(tmp_path: Path) -> None:
    wanted = {}
    for folder, count in (("a", 3), ("b", 5)):
        (tmp_path / folder).mkdir()
        for source, data, _ in files(count, seed=count):
            (tmp_path / folder / Path(source).name).write_bytes(data)
        wanted[folder] = {path.name for path in (tmp_path / folder).iterdir()}
    data_root = tmp_path / "project" / "data"
    for _ in range(ROUNDS):
        with ThreadPoolExecutor(2) as threads:
            done = [threads.submit(import_data, tmp_path / folder, None, data_root) for folder in "ab"]
            counts = [one.result().stored for one in done]
        assert counts == [3, 5]
        rows = read_manifest(data_root).to_pylist()
        assert {row["source"] for row in rows} in wanted.values()
        assert all(row["problem"] is None for row in rows)
        assert list((data_root.parent / ".scratch").iterdir()) == []
