"""What orchestration costs: `udml retrain` beside plain `dvc repro`, and a retraining without news.

    python -m benchmarks.retrain

Three clones of this repository train on the built-in sample `places`: by `dvc repro`, by a flow run on a
running Prefect server, as scheduled ones are, and by `udml retrain` alone, which starts a temporary one.
The flow's times hold registration and promotion. Then one is asked again, with nothing new: as `udml retrain`
answers by itself, by a flow run on a running server, and by one that starts its own. Wall-clock time depends
on what else the machine does; processor time (of the command and all it started) hardly does.
"""

import argparse
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from udml.machine import usable_cores

REPOSITORY = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
FLOW = [sys.executable, "-m", "flows.retrain"]


@dataclass(frozen=True)
class Cost:
    """Of a command and all that it started."""

    wall_seconds: float
    processor_seconds: float

    def __str__(self) -> str:
        return f"{self.wall_seconds:7.1f} s wall clock, {self.processor_seconds:7.1f} s processor"


def main() -> None:
    """Run and print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="of each retraining without news")
    options = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {usable_cores()} cores, load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as name:
        plain, scheduled, alone = (_clone(Path(name, kind)) for kind in ("plain", "scheduled", "alone"))
        repro = _timed(plain, ["dvc", "repro"])
        _say("dvc repro", repro)
        with _server(scheduled) as url:
            _say("first version, running server", _timed(scheduled, FLOW, PREFECT_API_URL=url), repro)
            for _ in range(options.repeats):
                _say("nothing new, running server", _timed(scheduled, FLOW, PREFECT_API_URL=url))
        _say("first version, udml retrain", _timed(alone, ["udml", "retrain"]), repro)
        for _ in range(options.repeats):
            _say("nothing new, udml retrain", _timed(alone, ["udml", "retrain"]))
            _say("nothing new, temporary server", _timed(alone, FLOW))


def _say(what: str, cost: Cost, beside: Cost | None = None) -> None:
    line = f"{what:32} {cost}"
    if beside is not None:
        wall = cost.wall_seconds / beside.wall_seconds - 1
        processor = cost.processor_seconds / beside.processor_seconds - 1
        line += f"; over dvc repro {100 * wall:+.1f} %, {100 * processor:+.1f} %"
    print(line, flush=True)


@contextmanager
def _server(directory: Path) -> Iterator[str]:
    """A Prefect server on a free port of the loopback device; yields its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    server = _start(directory, ["prefect", "server", "start", "--host", "127.0.0.1", "--port", port])
    url = f"http://127.0.0.1:{port}/api"
    try:
        while not _answers(f"{url}/health"):
            if server.poll() is not None:
                raise SystemExit("the Prefect server did not start")
            time.sleep(0.5)
        yield url
    finally:
        server.terminate()
        server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _clone(directory: Path) -> Path:
    """A clone with the sample's data and a DVC cache of its own."""
    _run(REPOSITORY, ["git", "clone", "--quiet", str(REPOSITORY), str(directory)])
    _run(directory, ["udml", "data", "import", "places"])
    return directory


def _timed(directory: Path, command: Sequence[str], **variables: str) -> Cost:
    start = time.monotonic()
    process = _start(directory, command, **variables)
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{output.decode(errors='replace')}")
    return Cost(time.monotonic() - start, usage.ru_utime + usage.ru_stime)


def _run(directory: Path, command: Sequence[str]) -> None:
    _timed(directory, command)


def _start(directory: Path, command: Sequence[str], **variables: str) -> "subprocess.Popen[bytes]":
    ours = {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(directory / "src"),
        "PREFECT_HOME": str(directory.parent / "prefect-home"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DVC_NO_ANALYTICS": "1",
    }
    inherited = {key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"}
    return subprocess.Popen(
        command,
        cwd=directory,
        env=inherited | ours | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


if __name__ == "__main__":
    main()
