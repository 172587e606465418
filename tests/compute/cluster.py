"""A real Ray cluster of several nodes on this machine, small: one core and 80 MB of shared memory a node.

It has a directory of its own: in /tmp/ray it would write down that it is the machine's cluster, which whoever
works there takes from then on, and at its end it would take away what another cluster wrote.
"""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

_STARTED_SECONDS = 600  # a busy machine takes its time, and Ray by itself waits for 30


@contextmanager
def small_cluster(nodes: int) -> Iterator[Any]:
    """A cluster of `nodes` nodes that is reached from this machine only, and tells nobody of itself."""
    own = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets in it may have 107 characters
    variables = {
        "RAY_TMPDIR": own,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_agent_register_timeout_ms": str(1000 * _STARTED_SECONDS),
        "RAY_worker_register_timeout_seconds": str(_STARTED_SECONDS),  # or it is killed, and started again
        "RAY_worker_niceness": "0",
    }
    with mock.patch.dict(os.environ, variables):
        os.environ.pop("RAY_ADDRESS", None)
        import ray
        from ray.cluster_utils import Cluster

        _be_patient()
        cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **_node()})
        try:
            for _ in range(nodes - 1):
                cluster.add_node(wait=False, **_node())
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
            shutil.rmtree(own, ignore_errors=True)


def _node() -> dict[str, Any]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return {
        "num_cpus": 1,
        "object_store_memory": 80 * 2**20,
        "node_ip_address": "127.0.0.2",  # Ray takes 127.0.0.1 for the address that others see
        "include_log_monitor": False,
        "runtime_env_agent_port": port,
    }


def _be_patient() -> None:
    """Ray gives a node 30 s to appear, and its agents 15 s to say their ports: too little on a busy machine.

    The ports are known before: without the dashboard's packages there are none but the one chosen above.
    """
    from ray._private import services

    start, get = services.start_raylet, services.get_node
    if getattr(start, "patient", False):
        return

    def start_raylet(redis: str, gcs: str, node_id: str, *rest: Any, **options: Any) -> Any:
        session = Path(rest[8])  # the parameter `session_dir`
        ports = {"runtime_env_agent": options["runtime_env_agent_port"]}
        for name in ("metrics_agent", "metrics_export", "dashboard_agent_listen", "runtime_env_agent"):
            (session / f"{name}_port_{node_id}").write_text(str(ports.get(name, -1)))
        return start(redis, gcs, node_id, *rest, **options)

    def get_node(*which: Any) -> Any:
        deadline = time.monotonic() + _STARTED_SECONDS
        while True:
            try:
                return get(*which)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    start_raylet.patient = True  # type: ignore[attr-defined]
    services.start_raylet, services.get_node = start_raylet, get_node
