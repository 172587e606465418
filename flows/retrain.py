"""The pipeline as a Prefect flow: one task per DVC stage, in the order `dvc.yaml` gives.

    python -m flows.retrain

runs it once, in this process, on the workspace it is started in. DVC decides what has changed; a
stage that is up to date takes seconds. Logs are live, and cancelling the run stops the stage.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml
from prefect import flow, get_run_logger, task

STAGE_TIMEOUT_SECONDS = 24 * 3600


@flow(name="retrain", log_prints=True)
def retrain() -> None:
    """Bring every stage of the workspace up to date."""
    for name in stage_names(Path("dvc.yaml")):
        run_stage.with_options(name=name)(name)


# A stage is deterministic: what failed once fails again, so there are no retries.
@task(timeout_seconds=STAGE_TIMEOUT_SECONDS)
def run_stage(name: str) -> None:
    """Run one DVC stage, its output line by line in the run's log.

    Raises:
        RuntimeError: if the stage fails; its last lines are in the message.
    """
    run_command([sys.executable, "-m", "dvc", "repro", "--single-item", name], get_run_logger().info)


def run_command(command: list[str], say: Callable[[str], None]) -> list[str]:
    """Run a command in a process group of its own, handing each line it prints to `say`.

    Whatever ends the caller early (a timeout, a cancelled run) ends the whole group: DVC started alone
    would leave its stage running and writing.

    Returns:
        The last lines printed.

    Raises:
        RuntimeError: if the command fails, with its last lines.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    last: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                say(line.rstrip())
                last = [*last[-9:], line.rstrip()]
        status = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise
    if status != 0:
        raise RuntimeError(f"{' '.join(command[2:])} failed with status {status}:\n" + "\n".join(last))
    return last


def stage_names(dvc_yaml: Path) -> list[str]:
    """The stages of a `dvc.yaml`, in the order they are written, which is the order they run in."""
    return list(yaml.safe_load(dvc_yaml.read_text())["stages"])


if __name__ == "__main__":
    retrain()
