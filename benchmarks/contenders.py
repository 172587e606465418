"""Contenders in fresh processes, alternating, so that load and warm caches hit all of them alike."""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from udml.machine import usable_cores
from udml.progress import progress

Figures = dict[str, Any]
T = TypeVar("T")


def alternate(
    module: str, names: Sequence[str], arguments: Sequence[str], rounds: int
) -> dict[str, list[Figures]]:
    """Run `python -m MODULE --only NAME ARGUMENTS` for each name in turn, `rounds` times over.

    Each prints the figures of one run as its last line, as `report` does.

    Raises:
        RuntimeError: if one fails, with what it said.
    """
    found: dict[str, list[Figures]] = {name: [] for name in names}
    for name in progress([name for _ in range(rounds) for name in names], module, unit="run"):
        command = [sys.executable, "-m", module, "--only", name, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{name} failed:\n{done.stderr}")
        found[name].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def report(work: Callable[[], T], judge: Callable[[T], Figures]) -> None:
    """Time `work` and print its figures, with `seconds` and `peak_mib`, the most memory the process had.

    Args:
        work: what is timed.
        judge: makes figures of what it returned, outside the time and the memory.
    """
    began = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - began
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib, **judge(result)}))


def machine() -> str:
    """Date, processor, cores and how busy the machine is, in one line."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    load = os.getloadavg()[0]
    return f"{time.strftime('%Y-%m-%d')}; {name}, {usable_cores()} cores; load before the run {load:.1f}"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median, and lowest to highest."""
    middle = f"{statistics.median(values):,.{digits}f}"
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})" if len(values) > 1 else middle


def ratios(over: Sequence[Figures], under: Sequence[Figures]) -> str:
    """How many times as long the one took as the other, round by round."""
    return spread([a["seconds"] / b["seconds"] for a, b in zip(over, under, strict=True)])


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Slope of log seconds over log sizes, by least squares: 1 where time grows as the size does."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
