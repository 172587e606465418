"""Retrain on what is new, and promote the result if it is better; see docs/retraining.md.

`flows/retrain.py` runs it once, in this process, on the workspace it is started in. Each DVC stage is a
task, in the order of `dvc.yaml`; DVC decides what is to be done. Everything else is done by
`udml.registry`. What only a run that finds something new needs is imported there.
"""

import signal
import sys
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.states import Completed

from udml import paths, tracing
from udml.config import load_params
from udml.config.yaml_file import mapping_at, read_mapping
from udml.errors import UdmlError
from udml.files import SCRATCH, read_json
from udml.flows.telling import and_tell, tell_of_drift
from udml.processes import run_command
from udml.registry import lease, workspace
from udml.registry.bundle import PARAMS_FILE, git_revision
from udml.registry.changes import nothing_new, only_images_differ
from udml.registry.store import CHAMPION

__all__ = ["retrain", "run_command", "stage_names"]

STAGE_TIMEOUT_SECONDS = 24 * 3600
TRANSFER_TIMEOUT_SECONDS = 6 * 3600
CHALLENGE_TIMEOUT_SECONDS = 6 * 3600
PULL_RETRY_SECONDS = [5, 20]
DRIFT = "drift"  # the setting, and the verdict
DRIFT_PAGE = SCRATCH / "drift" / "drift.html"
MONITOR_STATUSES = (0, 3, 4)  # no drift, drift, too few
_SKIPPED = "Skipped"


@flow(name="retrain", log_prints=True)
def retrain() -> State[Any]:
    """Bring the champion up to date; the name and message of the state say how it ended."""
    source = Path.cwd()
    models = source / paths.MODELS

    def do() -> State[Any]:
        load_params(source / PARAMS_FILE)  # wrong ones are said before what follows is done
        try:
            with lease.hold(models) as held, workspace.own_copy(source, held.holder) as copy:
                return _retrain_in(copy, models, held, git_revision())
        except lease.LeaseTaken as taken:
            return Completed(name=_SKIPPED, message=str(taken))

    return and_tell(do, "retrain")


def _retrain_in(copy: Path, models: Path, held: lease.Lease, revision: str) -> State[Any]:
    said = nothing_new(copy, models)
    workspace.take_over_leftovers(copy)
    if said:
        show_that_nothing_is_new(said, models)
        return Completed(name="Nothing new", message=said)
    if not check_out_data(copy):
        pull_data(copy)
    waits_for_drift = load_params(copy / PARAMS_FILE).retrain.when == DRIFT
    asks_for_drift = waits_for_drift and only_images_differ(copy, models)
    for name in stage_names(copy / "dvc.yaml"):
        lease.require_held(held)
        run_stage.with_options(name=name)(name, copy)
        if name == paths.VALIDATED.name and asks_for_drift:
            verdict, summary = watch_for_drift(copy)
            if verdict != DRIFT:
                return Completed(name="No drift", message=f"{verdict}, so nothing was trained: {summary}")
    challenge_champion(copy)
    name, message = conclude(models, copy, held, revision)
    return Completed(name=name, message=message)


def show_that_nothing_is_new(said: str, models: Path) -> None:
    """A line in the run's log, and an artifact that says what was compared."""
    from udml.flows.artifacts import show_nothing_new

    get_run_logger().info(said)
    show_nothing_new(said, models)


@task(timeout_seconds=TRANSFER_TIMEOUT_SECONDS)
def check_out_data(copy: Path) -> bool:
    """Link the data that the DVC cache holds; returns whether that is all of them.

    Raises:
        UdmlError: if some are missing, and there is no remote to pull them from.
    """
    try:
        workspace.run_in(copy, ["dvc", "checkout", *_pointers(copy)], get_run_logger().info)
    except UdmlError:
        if workspace.has_remote(copy):
            return False
        raise
    return True


# a remote may be away for a while
@task(
    timeout_seconds=TRANSFER_TIMEOUT_SECONDS,
    retries=len(PULL_RETRY_SECONDS),
    retry_delay_seconds=list(PULL_RETRY_SECONDS),
)
def pull_data(copy: Path) -> None:
    """Fetch the data from the DVC remote.

    Raises:
        UdmlError: if that fails; DVC's own words are in the message.
    """
    workspace.run_in(copy, ["dvc", "pull", *_pointers(copy)], get_run_logger().info)


def _pointers(copy: Path) -> list[str]:
    return sorted(path.name for path in copy.glob("*.dvc") if path.is_file())


# A stage is deterministic: what failed once fails again, so there are no retries.
@task(timeout_seconds=STAGE_TIMEOUT_SECONDS)
def run_stage(name: str, copy: Path) -> None:
    """Run one DVC stage, its output line by line in the run's log.

    Raises:
        UdmlError: if the stage fails; its last lines are in the message.
    """
    try:
        with tracing.span("stage", stage=name):
            workspace.run_in(copy, ["dvc", "repro", "--single-item", name], get_run_logger().info)
    finally:
        if name == paths.VALIDATED.name:
            from udml.flows.artifacts import show_validation

            show_validation(copy / paths.VALIDATED)


# The same images give the same verdict, so there are no retries.
@task(timeout_seconds=CHALLENGE_TIMEOUT_SECONDS)
def watch_for_drift(copy: Path) -> tuple[str, str]:
    """Whether the images that the champion does not know drift from those it does: verdict and numbers."""
    from udml.flows.artifacts import show_drift

    command = ["udml", "monitor", "--version", CHAMPION, "--out", str(DRIFT_PAGE)]
    workspace.run_in(copy, command, get_run_logger().info, accept=MONITOR_STATUSES)
    found = read_json(copy / DRIFT_PAGE.with_suffix(".json"))
    show_drift(found)
    tell_of_drift(found)
    return found["verdict"], found["summary"]


@task(timeout_seconds=CHALLENGE_TIMEOUT_SECONDS)
def challenge_champion(copy: Path) -> None:
    """Score champion and challenger on the same images."""
    from udml.flows.artifacts import show_challenge
    from udml.registry.challenge import NEIGHBOURS_FILE, RESULT, read_challenge

    with tracing.span("challenge"):
        workspace.run_in(copy, ["udml", "models", "challenge"], get_run_logger().info)
    show_challenge(read_challenge(copy), copy / RESULT / NEIGHBOURS_FILE)


@task
def conclude(models: Path, copy: Path, held: lease.Lease, revision: str) -> tuple[str, str]:
    """Register the challenger, and promote or refuse it; returns which, and why."""
    from udml.registry import challenge

    judged = challenge.read_challenge(copy)
    version = challenge.conclude(models, copy, held, revision)
    return "Promoted" if judged.promote else "Refused", f"{version} {judged.reason}"


def stage_names(dvc_yaml: Path) -> list[str]:
    """The stages of a `dvc.yaml`, in the order they are written, which is the order they run in."""
    return list(mapping_at(read_mapping(dvc_yaml), "stages"))


def main() -> int:
    """Run the flow once; returns the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the lease is released
    state = retrain(return_state=True)
    print(f"{state.name}: {state.message}")
    return 0 if state.is_completed() and state.name != _SKIPPED else 1
