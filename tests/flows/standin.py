"""A workspace with the pipeline's own graph whose stages take a moment each, and ways to retrain it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT
from tests.pipeline import commit, environment, run
from udml.files import exclusive, write_json
from udml.registry import lease, store


def make_standin(workspace: Path, real: tuple[str, ...] = ()) -> Path:
    """A committed workspace; stages named in `real` are the project's own."""
    workspace.mkdir(parents=True)
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, stage in graph.items():
        stage.pop("plots", None)
        stage["deps"] = [dep for dep in stage["deps"] if not dep.startswith("src/")]
        if name not in real:
            stage["cmd"] = f"python -m tests.flows.standin_stage {name}"
            stage["deps"] += ["code"] if name == "train" else []
    graph["train"].pop("metrics")
    graph["evaluate"].pop("outs")
    (workspace / "dvc.yaml").write_text(yaml.safe_dump({"stages": graph}, sort_keys=False))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["evaluate"]["bootstrap_samples"] = 200
    (workspace / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    shutil.copytree(ROOT / "flows", workspace / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    (workspace / "code").mkdir()
    (workspace / "code" / "learning.txt").write_text("code")
    (workspace / ".gitignore").write_text("/.scratch/\n/models/\n__pycache__/\n")
    run(workspace, "git", "init", "-q")
    run(workspace, "dvc", "init", "-q")
    shutil.copy(ROOT / ".dvc" / "config", workspace / ".dvc" / "config")
    if "prepare" not in real:
        new_data(workspace, "first batch")
    commit(workspace, "start")
    return workspace


def new_data(workspace: Path, text: str) -> None:
    """What `udml data import` does, as far as DVC can see."""
    (workspace / "data").mkdir(exist_ok=True)
    (workspace / "data" / "batch.txt").unlink(missing_ok=True)
    (workspace / "data" / "batch.txt").write_text(text)
    run(workspace, "dvc", "add", "-q", "data")


def set_params(workspace: Path, section: str, **values: Any) -> None:
    """Change settings on disk; nothing is committed."""
    params = yaml.safe_load((workspace / "params.yaml").read_text())
    params[section] |= values
    (workspace / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def start_retrain(workspace: Path, api_url: str, **variables: str) -> "subprocess.Popen[str]":
    """`udml retrain` in the background, recorded by the server at `api_url`."""
    return subprocess.Popen(
        ["udml", "retrain"], cwd=workspace, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment() | {"PYTHONPATH": str(ROOT), "PREFECT_API_URL": api_url} | variables,
    )  # fmt: skip


def retrain(workspace: Path, api_url: str, fails: bool = False, **variables: str) -> str:
    """`udml retrain`, and what it said."""
    process = start_retrain(workspace, api_url, **variables)
    said, _ = process.communicate()
    assert (process.returncode != 0) == fails, said
    return said


@contextmanager
def paused_retrain(
    workspace: Path, api_url: str, stage: str
) -> Iterator[tuple["subprocess.Popen[str]", Callable[[], None]]]:
    """`udml retrain` up to the middle of a stage; yields it, and what lets it go on."""
    marker = workspace.parent / f"paused-{stage}"
    process = start_retrain(workspace, api_url, STANDIN_PAUSE=f"{stage}:{marker}")
    try:
        while not marker.exists():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        yield process, marker.unlink
    finally:
        process.kill()
        process.wait()
        wait_until_nobody_works_in(workspace / ".scratch")  # or a stage might go on in the moment it has left
        marker.unlink(missing_ok=True)
        assert process.stdout is not None
        process.stdout.close()


def an_hour_passes(models: Path) -> None:
    """As far as the lease can tell: the last heartbeat becomes an hour old, as after a jump of the clock."""
    with exclusive(models / lease.LOCK_FILE):
        record = lease.read_lease(models)
        assert record is not None
        older = replace(record, heartbeat=record.heartbeat - 3600)
        write_json(models / lease.LEASE_FILE, asdict(older))


def assert_nothing_left(workspace: Path) -> None:
    """No copy, no lease, no process, and git sees no change that was not there."""
    assert not list((workspace / ".scratch" / "retrain").glob("*"))
    assert_lease_is_free(workspace / "models")
    assert not processes_in(workspace / ".scratch")


def assert_lease_is_free(models: Path) -> None:
    """Given back, not merely expired."""
    record = lease.read_lease(models)
    assert record is not None
    assert record.holder == ""


def processes_in(directory: Path) -> list[str]:
    """Command lines of the processes that work in a directory or below."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(process / "cwd").removesuffix(" (deleted)")).is_relative_to(directory):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # gone meanwhile, or another person's
            continue
    return found


def wait_until_nobody_works_in(directory: Path) -> None:
    """Raises AssertionError, with what still works there, if that takes too long."""
    for _ in range(600):
        if not processes_in(directory):
            return
        time.sleep(0.2)
    raise AssertionError(processes_in(directory))


def assert_serves(workspace: Path, champion: str) -> None:
    """The champion is the one expected, whole, and answers."""
    from udml import Searcher

    models = workspace / "models"
    assert store.champion_name(models) == champion
    store.verify(models, champion)
    with Searcher.open(models / "champion", workspace / "data") as searcher:
        assert searcher.version.name == champion
        assert len(searcher) > 0


def ask(url: str, what: dict[str, Any] | None = None) -> Any:
    """What a Prefect server answers, however long that takes; `what` is posted."""
    import httpx

    answer = httpx.post(url, json=what, timeout=None) if what is not None else httpx.get(url, timeout=None)
    answer.raise_for_status()
    return answer.json()


def free_port() -> int:
    """A port that nobody listens on now, and that the system gives to nobody who asks for any.

    For a server that must be told its port, and that must get the same one when it is started again.
    """
    import random
    import socket

    while True:
        port = random.randint(20_000, 30_000)  # systems hand out those from 32,768 on
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def start_server(home: Path, port: int) -> "subprocess.Popen[bytes]":
    """A Prefect server by the documented command, its database in `home`; returns once it is healthy."""
    import httpx

    home.mkdir(exist_ok=True)
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            env=environment() | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/api/health").status_code == 200:
                return process
        except httpx.HTTPError:
            assert process.poll() is None, (home / "server.log").read_text()
        time.sleep(0.5)
