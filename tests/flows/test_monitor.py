import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.fixtures.models import pictures, warmer
from tests.monitor.workspace import make_workspace, save
from tests.pipeline import environment, run


@pytest.mark.slow
def test_the_flow_says_whether_a_folder_drifts_from_the_champion(tmp_path: Path) -> None:
    """A real flow run, with Prefect's own temporary server."""
    workspace = make_workspace(tmp_path / "workspace")
    folder = save(tmp_path / "new", warmer(pictures(60, seed=5)))
    run(workspace, "udml", "models", "register")
    run(workspace, "udml", "models", "promote", "v1")
    settings = {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "flows.monitor", str(folder)],
        cwd=workspace, env=environment() | settings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "**drift**: p = 0.0005" in said
    assert "most of all warmth" in said
    assert json.loads((workspace / "drift.json").read_text())["verdict"] == "drift"
