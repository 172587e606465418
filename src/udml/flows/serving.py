"""Serve the retraining on a schedule, whether or not Prefect's server is there all the time."""

import asyncio
import io
import logging
import os
import signal
import sys
import threading
import time
from contextlib import redirect_stdout, suppress
from pathlib import Path

import httpx
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.runner import Runner
from prefect.schedules import Schedule
from prefect.settings import PREFECT_API_URL
from prefect.types.entrypoint import EntrypointType

from udml.flows.reconcile import DEPLOYMENT, keep_reconciling
from udml.flows.retrain import retrain

_RETRY_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
_GRACE_SECONDS = 5.0  # for the server to be told that nobody serves any more
# They log tracebacks, again and again, for as long as the server is away.
_LOGGERS = ("prefect.FlowRunCancellingObserver", "asyncio")


def serve_forever(schedule: Schedule) -> None:
    """Run what falls due until SIGTERM or Ctrl-C; a server that has gone is waited for."""
    signal.signal(signal.SIGTERM, end)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    wait_for_server()
    for background in (keep_reconciling, keep_watching):
        threading.Thread(target=background, daemon=True).start()
    with suppress(KeyboardInterrupt):
        while True:
            try:
                with redirect_stdout(io.StringIO()):  # more of such tracebacks
                    asyncio.run(_serve(schedule))
                return
            except Exception:  # Prefect's client raises many kinds
                if server_answers():
                    raise
            wait_for_server()


async def _serve(schedule: Schedule) -> None:
    """Register the deployment, and run what falls due until the server has been away for minutes."""
    runner = Runner(name=DEPLOYMENT, limit=1)
    runner.handle_sigterm = end  # type: ignore[method-assign]
    limit = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    await runner.aadd_flow(
        retrain,
        name=DEPLOYMENT,
        schedule=schedule,
        concurrency_limit=limit,
        entrypoint_type=EntrypointType.MODULE_PATH,  # its file lies where udml is installed
    )
    say(f"serving {retrain.name}/{DEPLOYMENT}; Ctrl-C or SIGTERM ends it")
    await runner.start()


def say(sentence: str) -> None:
    """Print at once, whatever becomes of what Prefect prints."""
    print(sentence, file=sys.__stdout__, flush=True)


def server_answers() -> bool:
    """Whether the Prefect server that the environment names is there; so is one that this process starts."""
    address = PREFECT_API_URL.value()
    if not address:
        return True
    with suppress(httpx.HTTPError):
        return httpx.get(f"{address}/health", timeout=_ANSWER_SECONDS).is_success
    return False


def wait_for_server() -> None:
    """Until the server answers; says once that it does not."""
    if server_answers():
        return
    say(
        f"no Prefect server answers at {PREFECT_API_URL.value()}: trying again every {_RETRY_SECONDS:.0f} s\n"
        "  -> start it with `prefect server start`; PREFECT_API_URL says where it is"
    )
    while not server_answers():
        time.sleep(_RETRY_SECONDS)
    say("the Prefect server answers")


def keep_watching() -> None:
    """Say when the server goes and when it is back; for a thread. What runs goes on without it."""
    while True:
        wait_for_server()
        time.sleep(_RETRY_SECONDS)


def end(*_: object) -> None:
    """On SIGTERM: end as Prefect does, which tells the server; without it, if that takes too long."""
    threading.Thread(target=_end_without_the_server, daemon=True).start()
    sys.exit(0)


def _end_without_the_server() -> None:
    time.sleep(_GRACE_SECONDS)
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():  # a run in progress gives its lease back
            with suppress(OSError):
                os.kill(int(child), signal.SIGTERM)
    os._exit(0)
