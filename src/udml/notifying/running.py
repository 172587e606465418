"""A command that is given a notice: its time is bounded, and nothing of it stays behind."""

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from udml.errors import UdmlError, reason

LIMIT_SECONDS = 30.0
_KEPT_BYTES = 300  # of what it prints, at the end
_BLOCK_BYTES = 1 << 16


def run(command: Sequence[str], notice: bytes, workspace: Path, limit_seconds: float = LIMIT_SECONDS) -> None:
    """Run a command with a notice on its standard input, in a process group of its own.

    When it ends, or its time is over, all of the group is killed. What it prints is not kept, however much.

    Args:
        command: a program and its arguments; no shell reads them.
        notice: what `make_notice` makes.
        workspace: where it runs.
        limit_seconds: how long it may take.

    Raises:
        UdmlError: if it can't be started, fails or takes longer, with the end of what it printed.
    """
    try:
        process = subprocess.Popen(
            list(command),
            cwd=workspace,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise UdmlError(f"{command[0]} can't be started: {reason(error)}", "check notify.command") from error
    said = bytearray()
    helpers = [
        threading.Thread(target=_feed, args=(process, notice), daemon=True),
        threading.Thread(target=_drain, args=(process, said), daemon=True),
    ]
    for helper in helpers:
        helper.start()
    try:
        status = process.wait(limit_seconds)
    except subprocess.TimeoutExpired:
        status = None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for helper in helpers:
        helper.join(1.0)  # what left the group may hold its output open for ever
    if status != 0:
        how = f"took over {limit_seconds:g} s" if status is None else f"ended with status {status}"
        end = bytes(said).decode(errors="replace").strip()
        raise UdmlError(f"{command[0]} {how}{': ' if end else ''}{end}", "check notify.command")


def _feed(process: "subprocess.Popen[bytes]", notice: bytes) -> None:
    """Write the notice; a command need not read it."""
    assert process.stdin is not None
    with suppress(OSError), process.stdin:
        process.stdin.write(notice)


def _drain(process: "subprocess.Popen[bytes]", said: bytearray) -> None:
    """Read all that it prints, and keep the end."""
    assert process.stdout is not None
    with suppress(OSError, ValueError), process.stdout:
        while block := os.read(process.stdout.fileno(), _BLOCK_BYTES):
            said += block
            del said[:-_KEPT_BYTES]
