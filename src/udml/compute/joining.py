"""Joining a Ray cluster, and looking whether all of its nodes can take part before any work is done."""

import logging
import os
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from udml import paths
from udml.compute.node import look_around, versions
from udml.errors import UdmlError, install_hint
from udml.files import SCRATCH, remove

_CONNECT_SECONDS = 10
_LOOK_SECONDS = 300  # a node that is busy starts a process late
_START = "`ray start --head` starts one; or set compute.engine to local in params.yaml"


@dataclass(frozen=True)
class Node:
    """A node that is alive: its id in the cluster, its name, whole cores and GPUs."""

    id: str
    name: str
    cores: int
    gpus: int


def require_ray() -> None:
    """Say now what importing Ray would say after minutes.

    Raises:
        UdmlError: if it is not installed.
    """
    found = find_spec("ray")
    if found is None or found.origin is None:  # or a folder of that name, where Python looks for modules
        raise UdmlError("compute.engine is ray, but the package ray is not installed", install_hint("ray"))


def join(address: str) -> Any:
    """The module `ray`, connected to the cluster at `address`, HOST:PORT or auto.

    Raises:
        UdmlError: if there is none, or it is of another Ray or Python; if it is auto, and there are several.
    """
    require_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns of its own plans
    import ray

    if ray.is_initialized():
        return ray
    _require_one(address)
    _require_listening(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        ray.shutdown()
        raise _in_words(address, error) from error
    return ray


def _require_one(address: str) -> None:
    """Of several clusters Ray itself takes the one that was started last, whoever did."""
    if address != "auto" or os.environ.get("RAY_ADDRESS"):
        return
    from ray._private.services import find_gcs_addresses

    found = sorted(find_gcs_addresses())
    if len(found) > 1:
        raise UdmlError(
            f"this machine is part of {len(found)} Ray clusters: {', '.join(found)}",
            "say in params.yaml which: compute.address",
        )


def _require_listening(address: str) -> None:
    """Ray itself waits for minutes, and then ends the process."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UdmlError(f"there is no Ray cluster at {address}", _START) from error


def _in_words(address: str, error: Exception) -> UdmlError:
    said = f"{error}\n{error.__cause__ or ''}"  # Ray wraps its own errors
    found = dict(re.findall(r"^\s*(Ray|Python): (\S+)", said, re.MULTILINE)[:2])
    if "ersion mismatch" in said and found:
        import ray

        cluster = f"Ray {found.get('Ray')} and Python {found.get('Python')}"
        own = f"Ray {ray.__version__} and Python {versions()['Python']}"
        return UdmlError(
            f"the cluster at {address} runs {cluster}, this is {own}", "install the same on all machines"
        )
    if isinstance(error, ConnectionError) and address == "auto":
        return UdmlError("this machine is part of no Ray cluster", _START)
    first = said.strip().splitlines()[0] if said.strip() else type(error).__name__
    return UdmlError(
        f"the Ray cluster at {address} cannot be joined: {first}", "`ray status` shows its state"
    )


def nodes_of(ray: Any) -> list[Node]:
    """Nodes that are alive and have cores, in a fixed order."""
    found = [
        Node(
            node["NodeID"],
            node["NodeManagerHostname"] or node["NodeManagerAddress"],
            int(node["Resources"].get("CPU", 0)),
            int(node["Resources"].get("GPU", 0)),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    return sorted((node for node in found if node.cores), key=lambda node: node.id)


def look_at(ray: Any, nodes: Sequence[Node]) -> dict[Node, str]:
    """What hinders each node from taking part, empty for those that can; nodes that are gone are left out.

    Each must read a file written here, and write one back.
    """
    SCRATCH.mkdir(exist_ok=True)
    token = secrets.token_hex(16)
    question = SCRATCH / f"shared-{token}"
    question.write_text(token)
    inputs = [str(path) for path in (paths.DATA, paths.ARTIFACTS) if path.exists()]
    look = ray.remote(look_around)
    answers = [SCRATCH / f"shared-{token}-{number}" for number in range(len(nodes))]
    try:
        asked = [
            look.options(num_cpus=0, max_retries=0, scheduling_strategy=on_node(node)).remote(
                str(Path.cwd()), inputs, question.name, answer.name
            )
            for node, answer in zip(nodes, answers, strict=True)
        ]
        said = [_hinders(ray, ref, answer, token) for ref, answer in zip(asked, answers, strict=True)]
    finally:
        for file in (question, *answers):
            remove(file)
    return {node: why for node, why in zip(nodes, said, strict=True) if why is not None}


def on_node(node: Node) -> Any:
    """The scheduling strategy that runs something on this node and on no other."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node.id, soft=False)


def _hinders(ray: Any, ref: Any, answer: Path, token: str) -> str | None:
    try:
        why, found = ray.get(ref, timeout=_LOOK_SECONDS)
    except ray.exceptions.GetTimeoutError:
        return f"did not answer for {_LOOK_SECONDS} s"
    except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
        return None
    except ray.exceptions.RayError as error:
        return f"cannot run udml ({str(error).strip().splitlines()[-1]})"
    return _unlike_here(found) or why or _unanswered(answer, token)


def _unlike_here(found: dict[str, str]) -> str:
    own = versions()
    other = [f"{name} {found.get(name)} and not {own[name]}" for name in own if found.get(name) != own[name]]
    return f"has {', '.join(other)}" if other else ""


def _unanswered(answer: Path, token: str) -> str:
    try:
        there = answer.read_text() == token
    except OSError:
        there = False
    return "" if there else f"does not share {Path.cwd()}"
