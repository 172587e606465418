"""The fault table of docs/retraining.md, row by row."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.flows.standin import (
    an_hour_passes,
    ask,
    assert_lease_is_free,
    assert_nothing_left,
    assert_serves,
    free_port,
    make_standin,
    new_data,
    paused_retrain,
    retrain,
    set_params,
    start_server,
)
from tests.pipeline import SMALL, run, write_pictures
from udml.files import exclusive
from udml.registry import store
from udml.registry.lease import LOCK_FILE, read_lease

pytestmark = pytest.mark.slow
STAGES = ["prepare", "validate", "train", "export", "index", "evaluate"]


def promotions(workspace: Path) -> list[str]:
    return [event["version"] for event in store.events(workspace / "models") if event["event"] == "promote"]


def test_sigkill_in_each_stage(workspace: Path, api_url: str) -> None:
    """Worker killed in every stage in turn, each time further; then one run is left to finish."""
    new_data(workspace, "second batch")
    said = {}
    for stage in STAGES:
        with paused_retrain(workspace, api_url, stage) as (worker, _):
            worker.send_signal(signal.SIGKILL)
            said[stage] = worker.communicate()[0]
        assert_serves(workspace, "v1")
        if stage == STAGES[0]:
            assert "another retraining is running" in retrain(workspace, api_url, fails=True)
        an_hour_passes(workspace / "models")
    # training went on where it was killed, and what was finished before a kill is not done again
    assert "resumed" in said["export"]
    assert "from the start" not in said["export"]
    assert "Stage 'train' is cached" in said["index"]
    assert "Promoted: v2" in retrain(workspace, api_url)
    assert_serves(workspace, "v2")
    assert_nothing_left(workspace)


def test_ctrl_c_leaves_no_lease_behind(workspace: Path, api_url: str) -> None:
    new_data(workspace, "second batch")
    with paused_retrain(workspace, api_url, "train") as (worker, _):
        worker.send_signal(signal.SIGINT)
        worker.wait()
    assert_lease_is_free(workspace / "models")
    assert_serves(workspace, "v1")
    assert "Promoted: v2" in retrain(workspace, api_url)


def test_disk_full_during_export(workspace: Path, api_url: str) -> None:
    """The largest file that the stage may write is smaller than its model (RLIMIT_FSIZE)."""
    set_params(workspace, "train", seed=1)
    whole = (workspace / "dvc.yaml").read_text()
    graph = yaml.safe_load(whole)
    graph["stages"]["export"]["cmd"] = f"ulimit -f 1; {graph['stages']['export']['cmd']}"
    (workspace / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    said = retrain(workspace, api_url, fails=True)
    assert "File too large" in said
    assert_serves(workspace, "v1")
    assert_nothing_left(workspace)
    (workspace / "dvc.yaml").write_text(whole)
    said = retrain(workspace, api_url)
    assert "Stage 'train' is cached" in said
    assert "Promoted: v2" in said


@pytest.fixture(scope="module")
def pictured(api_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose data, `prepare` and `validate` are real; v1 is its champion."""
    folder = tmp_path_factory.mktemp("pictured")
    workspace = make_standin(folder / "workspace", real=("prepare", "validate"))
    for section in ("prepare", "validate"):
        set_params(workspace, section, **SMALL[section])
    set_params(workspace, "prepare", test_share=0.5)  # enough queries for a clear verdict
    run(workspace, "udml", "data", "import", str(write_pictures(folder / "pictures")))
    assert "Promoted: v1" in retrain(workspace, api_url)
    return workspace


def import_with_broken(pictured: Path, workspace: Path, broken: int) -> None:
    """A new batch: the old pictures, and some files that are none."""
    folder = shutil.copytree(pictured.parent / "pictures", workspace.parent / f"with-{broken}")
    for number in range(broken):
        (folder / "kind-00" / f"broken-{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    run(workspace, "udml", "data", "import", str(folder))


def test_corrupt_images_in_a_new_batch(pictured: Path, api_url: str, tmp_path: Path) -> None:
    """Few go to quarantine; the rest is trained on."""
    workspace = shutil.copytree(pictured, tmp_path / "workspace", symlinks=True)
    import_with_broken(pictured, workspace, broken=5)
    assert "Promoted: v2" in retrain(workspace, api_url)
    assert_serves(workspace, "v2")
    assert json.loads((workspace / "models/champion/index/index.json").read_text())["count"] == 240


def test_validation_failure(pictured: Path, api_url: str, tmp_path: Path) -> None:
    """Many stop it before anything is trained, and the run says which files."""
    workspace = shutil.copytree(pictured, tmp_path / "workspace", symlinks=True)
    import_with_broken(pictured, workspace, broken=40)
    said = retrain(workspace, api_url, fails=True)
    assert "rule quarantined_share" in said
    assert "broken-0.jpg" in said
    assert "Running stage 'train'" not in said
    assert_serves(workspace, "v1")
    assert_nothing_left(workspace)
    import_with_broken(pictured, workspace, broken=3)
    assert "Promoted: v2" in retrain(workspace, api_url)


def test_remote_unreachable(workspace: Path, api_url: str, tmp_path: Path) -> None:
    """On a machine that has none of the data yet."""
    remote, away = tmp_path / "remote", tmp_path / "away"
    run(workspace, "dvc", "remote", "add", "-q", "-d", "store", str(remote))
    new_data(workspace, "second batch")
    run(workspace, "dvc", "push", "-q")
    shutil.rmtree(workspace / "data")
    shutil.rmtree(workspace / ".dvc" / "cache")
    remote.rename(away)
    said = retrain(workspace, api_url, fails=True)
    assert "failed to pull data from the cloud" in said
    assert said.count("Retry") >= 2
    assert_serves(workspace, "v1")
    assert_nothing_left(workspace)
    away.rename(remote)
    assert "Promoted: v2" in retrain(workspace, api_url)


def test_server_restarted_in_mid_run(workspace: Path, tmp_path: Path) -> None:
    home, port = tmp_path / "prefect", free_port()
    url = f"http://127.0.0.1:{port}/api"
    server = start_server(home, port)
    new_data(workspace, "second batch")
    try:
        with paused_retrain(workspace, url, "train") as (worker, go_on):
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            server = start_server(home, port)
            go_on()
            said, _ = worker.communicate()
        assert worker.returncode == 0, said
        assert "Promoted: v2" in said
        [flow_run] = ask(f"{url}/flow_runs/filter", {})
        assert (flow_run["state_type"], flow_run["state_name"]) == ("COMPLETED", "Promoted")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
    assert_serves(workspace, "v2")
    assert_nothing_left(workspace)


def test_two_runs_at_once(workspace: Path, api_url: str) -> None:
    new_data(workspace, "second batch")
    with paused_retrain(workspace, api_url, "train") as (first, go_on):
        said = retrain(workspace, api_url, fails=True)
        assert "Skipped: another retraining is running: process" in said
        go_on()
        said, _ = first.communicate()
    assert "Promoted: v2" in said
    assert promotions(workspace) == ["v1", "v2"]
    assert_nothing_left(workspace)


def test_clock_jump_past_the_lease(workspace: Path, api_url: str) -> None:
    """A second run takes the lease of one that is still at work; the first notices, and promotes nothing."""
    new_data(workspace, "second batch")
    with paused_retrain(workspace, api_url, "train") as (first, go_on):
        with suspended_holder(workspace / "models"):
            assert "Promoted: v2" in retrain(workspace, api_url)
        go_on()
        said, _ = first.communicate()
    assert first.returncode != 0, said
    assert promotions(workspace) == ["v1", "v2"]
    assert_serves(workspace, "v2")
    assert_nothing_left(workspace)


@contextmanager
def suspended_holder(models: Path) -> Iterator[None]:
    """An hour passes while the holder of the lease, whose heartbeats would set that right, is suspended."""
    with exclusive(models / LOCK_FILE):  # which it must not keep locked
        record = read_lease(models)
        assert record is not None
        holder = int(record.name.split()[1])  # "process 123 on ..."
        os.kill(holder, signal.SIGSTOP)
    try:
        an_hour_passes(models)
        yield
    finally:
        os.kill(holder, signal.SIGCONT)


def test_every_row_of_the_fault_table_names_a_test_that_exists() -> None:
    rows = [line for line in (ROOT / "docs" / "retraining.md").read_text().splitlines() if "::test_" in line]
    assert len(rows) >= 10
    for row in rows:
        path, name = row.split("`")[-2].split("::") if "::" in row else ("", "")
        assert f"def {name}(" in (ROOT / "tests" / path).read_text(), row
