"""SIGKILL at random points of a command, again and again: by a process that has imported it all and forks."""

import json
import subprocess
import sys
from pathlib import Path

from tests.pipeline import environment

_FORKING = """
import json, os, random, signal, subprocess, sys, time
kills, command, again, modules = json.loads(sys.argv[1])
for name in modules:
    __import__(name)
from udml.cli import main

def begin():
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_RDWR)
        for number in (1, 2):
            os.dup2(null, number)
        status = 1
        try:
            status = main(command)
        finally:
            os._exit(status)
    try:
        os.setpgid(child, child)
    except OSError:
        pass
    return child

def ended(child):
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

rng, killed, seconds = random.Random(0), 0, None
while killed < kills:
    began, child = time.monotonic(), begin()
    if seconds is not None:
        until = began + rng.uniform(0, seconds)
        while time.monotonic() < until and not ended(child):
            time.sleep(0.002)
        os.killpg(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    killed += os.WIFSIGNALED(status)
    if not os.WIFSIGNALED(status):
        assert os.waitstatus_to_exitcode(status) == 0, status
        seconds = seconds or time.monotonic() - began
        subprocess.run(again, shell=True, check=True)
assert os.waitstatus_to_exitcode(os.waitpid(begin(), 0)[1]) == 0
"""


def kill_again_and_again(
    folder: Path, command: list[str], again: str, kills: int, modules: list[str]
) -> None:
    """Run a command in a folder, kill it at `kills` random points of the time it takes, then let it end.

    Whenever it came to its end by itself, `again`, a line of shell, makes that there is something to do;
    `modules` are what it imports.
    """
    arguments = json.dumps([kills, command, again, modules])
    subprocess.run([sys.executable, "-c", _FORKING, arguments], cwd=folder, env=environment(), check=True)
