"""What a decoding process does: take a file, decode it within its budget, give back pixels, take the next.

Too much CPU time ends the process, by a timer of the kernel's that no decoder can hold up; too much memory
is not given to it. It never writes a file. `udml.decoding.process` is the other end.
"""

import os
import resource
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import Any

import pi_heif
import pillow_jxl  # noqa: F401 - loaded before memory is limited, as is pi_heif
from PIL import AvifImagePlugin, Image

from udml.decoding.channel import receive, send
from udml.decoding.cut import Crop
from udml.decoding.plain import Decoded, Wish, decode_plainly
from udml.formats.reasons import Undecodable, damage
from udml.machine import give_back_freed_memory

_SLACK_BYTES = 64 * 2**20  # of address space that is not used, such as stacks of threads


def main(descriptor: int) -> None:
    """Serve the other end of a socket until it is closed."""
    channel = socket.socket(fileno=descriptor)
    for number in (signal.SIGINT, signal.SIGTERM):  # they are for whoever waits for the answer
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    Image.init()
    AvifImagePlugin.DEFAULT_MAX_THREADS = pi_heif.options.DECODE_THREADS = 1
    with open(os.devnull, "w") as nowhere:  # libraries in C write their warnings there
        os.dup2(nowhere.fileno(), 2)
    threading.Thread(target=_end_with_caller, args=(descriptor,), daemon=True).start()
    send(channel, "ready")
    with suppress(EOFError):
        while True:
            head, data = receive(channel, sys.maxsize)
            _answer(channel, head, bytes(data))
            del data
            give_back_freed_memory()


def _end_with_caller(descriptor: int) -> None:
    """A killed caller closes the socket; whatever is being decoded is of no use then."""
    hung_up = select.poll()
    hung_up.register(descriptor, 0)
    hung_up.poll()
    os._exit(1)


def _answer(channel: socket.socket, head: dict[str, Any], data: bytes) -> None:
    crop = None if head["crop"] is None else Crop(*head["crop"])
    wish = Wish(head["short_side_px"], head["min_side_px"], head["max_pixels"], crop)
    _lower_priority(head["niceness"])
    try:
        image = _within_budget(data, wish, head["cpu_seconds"], head["memory_bytes"])
    except Undecodable as problem:
        send(channel, {"reason": str(problem.reason), "detail": problem.detail})
        return
    said = {"width": image.width, "height": image.height, "format": image.format}
    send(channel, {**said, "shape": image.pixels.shape}, image.pixels.data.cast("B"))


def _within_budget(data: bytes, wish: Wish, cpu_seconds: float, memory_bytes: int) -> Decoded:
    _limit_memory(_address_space_bytes() + memory_bytes + 2 * len(data) + _SLACK_BYTES)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)  # SIGPROF ends the process
    try:
        return decode_plainly(data, wish)
    except Undecodable:
        raise
    except Exception as error:
        raise damage(error) from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        _limit_memory(resource.RLIM_INFINITY)


def _limit_memory(size_bytes: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        size_bytes = most if size_bytes == resource.RLIM_INFINITY else min(most, size_bytes)
    with suppress(OSError, ValueError):  # macOS has none
        resource.setrlimit(resource.RLIMIT_AS, (size_bytes, most))


def _address_space_bytes() -> int:
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 2**34  # not Linux: nothing that could be added to is known


def _lower_priority(niceness: int) -> None:
    if niceness > os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
