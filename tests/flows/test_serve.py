"""Scheduled retraining as its users start it: a Prefect server, and flows/serve.py beside it."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT
from tests.flows.standin import assert_nothing_left, assert_serves, make_standin
from tests.pipeline import environment

pytestmark = pytest.mark.slow
SCHEDULED_WITHIN_SECONDS = 120


def runs(api_url: str, deployment: str = "scheduled") -> list[dict[str, Any]]:
    """The deployment's runs that are over, oldest first."""
    wanted = {
        "sort": "EXPECTED_START_TIME_ASC",
        "deployments": {"name": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}},
    }
    return httpx.post(f"{api_url}/flow_runs/filter", json=wanted).json()


def start_serving(workspace: Path, api_url: str) -> "subprocess.Popen[bytes]":
    with (workspace.parent / "serve.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "flows/serve.py", "--cron", "* * * * *"], cwd=workspace, stdout=log, stderr=log,
            env=environment() | {"PREFECT_API_URL": api_url, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )  # fmt: skip


def test_scheduled_runs_promote_and_then_find_nothing_new(api_url: str, tmp_path: Path) -> None:
    """The acceptance test: two runs, each over within two minutes of when it was due."""
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
    for run in (first, second):
        due, over = (datetime.fromisoformat(run[key]) for key in ("expected_start_time", "end_time"))
        assert over - due < timedelta(seconds=SCHEDULED_WITHIN_SECONDS)
    assert_serves(workspace, "v1")
    assert_nothing_left(workspace)


def test_a_run_that_a_killed_worker_left_running_is_closed(
    api_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.reconcile import reconcile

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", api_url)
    flow = httpx.post(f"{api_url}/flows/", json={"name": "retrain"}).json()["id"]
    deployment = httpx.post(f"{api_url}/deployments/", json={"name": "killed", "flow_id": flow}).json()["id"]
    begun = {
        old: httpx.post(
            f"{api_url}/deployments/{deployment}/create_flow_run",
            json={"state": {"type": "RUNNING", "timestamp": (datetime.now(UTC) - age).isoformat()}},
        ).json()["id"]
        for old, age in ((True, timedelta(hours=1)), (False, timedelta()))
    }
    (tmp_path / "models").mkdir()
    held = {"token": 1, "holder": "somebody", "name": "process 1", "since": 0.0, "heartbeat": time.time()}
    (tmp_path / "models" / "retrain.lease").write_text(json.dumps(held))
    assert reconcile("killed") == []  # somebody is at work
    (tmp_path / "models" / "retrain.lease").write_text(json.dumps(held | {"heartbeat": 0.0}))
    assert [str(run) for run in reconcile("killed")] == [begun[True]]
    states = [httpx.get(f"{api_url}/flow_runs/{run}").json()["state_type"] for run in begun.values()]
    assert states == ["CRASHED", "RUNNING"]
