"""Close retraining runs that a killed server or worker left RUNNING on the Prefect server.

Prefect does not notice a worker that is killed together with its run; such a run would occupy the one slot
that the deployment has. `flows/serve.py` does this by itself; run it before `prefect worker start`. It takes
a minute.
"""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Crashed

from udml import paths
from udml.registry.lease import EXPIRY_SECONDS, is_alive, read_lease

FLOW = "retrain"
DEPLOYMENT = "scheduled"
_UNFINISHED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def reconcile(deployment: str = DEPLOYMENT) -> list[UUID]:
    """Mark runs of a dead worker as crashed; returns their ids.

    A run that has been going for longer than a lease lasts, while nobody holds the lease, is dead.
    """
    record = read_lease(Path(paths.MODELS))
    if record is not None and is_alive(record):
        return []
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[deployment])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNFINISHED))
            ),
        )
        dead = [run.id for run in runs if _is_old(run)]
        for run_id in dead:
            # not forced: a run that has ended meanwhile keeps its end
            gone: State[Any] = Crashed(message="its worker is gone; found by flows.reconcile")
            client.set_flow_run_state(run_id, gone)
            print(f"closed run {run_id}: it was left unfinished by a worker that is gone")
    return dead


def _is_old(run: FlowRun) -> bool:
    assert run.state is not None  # one that is filtered by its state has one
    return run.state.timestamp < datetime.now(UTC) - timedelta(seconds=EXPIRY_SECONDS)


def keep_reconciling() -> None:
    """Do it again and again, whatever happens; for a thread beside a server of flows."""
    while True:
        try:
            reconcile()
        except Exception as error:  # the Prefect server may be away for a while
            print(f"could not ask the Prefect server for unfinished runs: {error}")
        time.sleep(EXPIRY_SECONDS)


def main() -> None:
    """Close them now or, as the lease of a run that was killed just now goes on for a while, after that."""
    if not reconcile():
        time.sleep(EXPIRY_SECONDS + 1)  # the lease of a run that was killed just now
        reconcile()
