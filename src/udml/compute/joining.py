"""Joining a Ray cluster."""

import atexit
import logging
import os
import re
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from udml.compute.node import versions
from udml.errors import UdmlError, install_hint

_CONNECT_SECONDS = 10
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
    atexit.register(ray.shutdown)  # before Ray's own, which first waits for what workers print
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


def on_node(node: Node) -> Any:
    """The scheduling strategy that runs something on this node and on no other."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node.id, soft=False)
