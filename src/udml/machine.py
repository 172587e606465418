"""What this process may use of the machine it runs on."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

_MANY_FILES = 4096


def usable_cores() -> int:
    """Cores this process may use: the CPU affinity, further limited by a container's CPU quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity call
        cores = os.cpu_count() or 1
    quota = _cgroup_cores(Path("/sys/fs/cgroup/cpu.max"))
    return max(1, min(cores, int(quota))) if quota else cores


def _cgroup_cores(cpu_max: Path) -> float | None:
    """The CPU quota of a cgroup v2 `cpu.max` file in cores, or None where there is none."""
    try:
        quota, period = cpu_max.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1.0, int(quota) / int(period))


def open_files_limit() -> int:
    """How many files, connections too, this process may have open; raised to what the system lets it."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit
        return _MANY_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = _MANY_FILES if hard == unlimited else min(hard, _MANY_FILES)
    if soft == unlimited or soft >= wanted:
        return min(soft, _MANY_FILES) if soft != unlimited else _MANY_FILES
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def keep_freed_memory() -> None:
    """Tell glibc's allocator to keep large blocks that are freed, where there is glibc.

    Every training step frees and asks again for the same large activations. By default they go back
    to the kernel each time and come back as page faults: a third of a step's time on two cores.
    """
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 2**30)
        libc.mallopt(trim_threshold, 2**31 - 1)


def give_back_freed_memory() -> None:
    """Tell glibc's allocator to give what was freed back to the kernel, where there is glibc.

    A model that is opened and closed leaves holes, in an arena of each thread that had a part in it:
    some 300 MB after twenty models. They hold nothing, and are not given back by themselves.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
