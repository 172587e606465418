"""Scheduled retraining as its users start it: a Prefect server, and flows/serve.py beside it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.flows.standin import ask, assert_nothing_left, assert_serves, free_port, make_standin, start_server
from tests.pipeline import environment
from udml.registry import lease

pytestmark = pytest.mark.slow
EVERY_20_SECONDS = "* * * * * */20"  # a sixth field, of seconds, so that no test waits for minutes


def runs(api_url: str, deployment: str = "scheduled") -> list[dict[str, Any]]:
    """The deployment's runs that are over, oldest first."""
    wanted = {
        "sort": "EXPECTED_START_TIME_ASC",
        "deployments": {"name": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}},
    }
    return ask(f"{api_url}/flow_runs/filter", wanted)


def start_serving(workspace: Path, api_url: str) -> "subprocess.Popen[bytes]":
    with (workspace.parent / "serve.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "flows/serve.py", "--cron", EVERY_20_SECONDS], cwd=workspace,
            stdout=log, stderr=log, env=environment() | {"PREFECT_API_URL": api_url, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )  # fmt: skip


def test_scheduled_runs_promote_and_then_find_nothing_new(api_url: str, tmp_path: Path) -> None:
    """The acceptance test: two runs by the clock, one after the other."""
    workspace = make_standin(tmp_path / "workspace")
    process = start_serving(workspace, api_url)
    try:
        while len(found := runs(api_url)) < 2:
            assert process.poll() is None, (tmp_path / "serve.log").read_text()
            time.sleep(1)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
    first, second = found[:2]
    assert (first["state_type"], first["state_name"]) == ("COMPLETED", "Promoted")
    assert first["state"]["message"].startswith("v1 promoted: MAP@R is")
    assert (second["state_type"], second["state_name"]) == ("COMPLETED", "Nothing new")
    assert_serves(workspace, "v1")
    assert_nothing_left(workspace)


def test_a_server_that_is_away_is_waited_for_and_sigterm_ends_it_all_the_same(tmp_path: Path) -> None:
    """Without a server, with one, and after it has gone."""
    port = free_port()
    url, log = f"http://127.0.0.1:{port}/api", tmp_path / "serve.log"
    workspace = tmp_path / "workspace"
    shutil.copytree(ROOT / "flows", workspace / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", workspace)

    def wait_for(sentence: str, times: int = 1) -> None:
        while log.read_text().count(sentence) < times:
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)

    def end() -> None:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 0

    process = start_serving(workspace, url)
    wait_for(f"no Prefect server answers at {url}: trying again")
    end()
    process = start_serving(workspace, url)
    wait_for("no Prefect server answers", 2)
    server = start_server(tmp_path / "prefect", port)
    try:
        wait_for("serving retrain/scheduled")
        os.killpg(server.pid, signal.SIGKILL)
        wait_for("no Prefect server answers", 3)
        end()
        assert "Traceback" not in log.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        process.kill()
        process.wait()


def test_a_run_that_a_killed_worker_left_running_is_closed(
    api_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from udml.flows.reconcile import reconcile

    monkeypatch.chdir(tmp_path)
    flow = ask(f"{api_url}/flows/", {"name": "retrain"})["id"]
    deployment = ask(f"{api_url}/deployments/", {"name": "killed", "flow_id": flow})["id"]
    begun = ask(f"{api_url}/deployments/{deployment}/create_flow_run", {"state": {"type": "RUNNING"}})["id"]
    with temporary_settings({PREFECT_API_URL: api_url}):
        monkeypatch.setattr("udml.flows.reconcile.EXPIRY_SECONDS", 1e6)
        assert reconcile("killed") == []  # it may have begun just now
        monkeypatch.setattr("udml.flows.reconcile.EXPIRY_SECONDS", 0.0)
        with lease.hold(tmp_path / "models"):
            assert reconcile("killed") == []  # somebody is at work
        assert [str(run) for run in reconcile("killed")] == [begun]
        assert ask(f"{api_url}/flow_runs/{begun}")["state_type"] == "CRASHED"
        assert reconcile("killed") == []
