import subprocess
import sys
import time
from pathlib import Path

import pytest
from flows.retrain import run_command, stage_names

from tests.conftest import ROOT


def test_the_flow_takes_its_stages_from_dvc_yaml() -> None:
    assert stage_names(ROOT / "dvc.yaml") == ["prepare", "validate", "train", "export", "index", "evaluate"]


def test_lines_are_handed_on_as_they_come() -> None:
    said: list[str] = []
    script = "print('one'); import sys; print('two', file=sys.stderr)"
    run_command([sys.executable, "-c", script], said.append)
    assert sorted(said) == ["one", "two"]


def test_a_failing_command_is_an_error_that_repeats_its_last_lines() -> None:
    with pytest.raises(RuntimeError, match="status 3:\nthe reason"):
        run_command([sys.executable, "-c", "print('the reason'); raise SystemExit(3)"], lambda line: None)


def test_what_ends_the_flow_ends_the_whole_process_group(tmp_path: Path) -> None:
    marker = tmp_path / "alive"
    child = f"import time, pathlib\nwhile True:\n pathlib.Path({str(marker)!r}).touch(); time.sleep(0.05)"
    parent = (
        f"import subprocess, sys; print('on', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    )

    def cancel(line: str) -> None:
        while not marker.exists():
            time.sleep(0.05)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_command([sys.executable, "-c", parent], cancel)
    time.sleep(0.5)
    marker.unlink()
    time.sleep(0.5)
    assert not marker.exists()


@pytest.mark.slow
def test_the_flow_runs_once_in_process(tmp_path: Path) -> None:
    """On a pipeline of one small stage: a real flow run, with Prefect's own temporary server."""
    from tests.pipeline import environment, run

    run(tmp_path, "git", "init", "-q")
    run(tmp_path, "dvc", "init", "-q")
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  hello:\n    cmd: echo good morning > out.txt\n    outs: [out.txt]\n"
    )
    settings = {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "flows.retrain"],
        cwd=tmp_path, env=environment() | settings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out.txt").read_text() == "good morning\n"
    assert "Running stage 'hello'" in done.stdout + done.stderr
