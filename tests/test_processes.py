import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from udml.errors import UdmlError
from udml.processes import run_command


def test_lines_are_handed_on_as_they_come() -> None:
    said: list[str] = []
    script = "print('one'); import sys; print('two', file=sys.stderr)"
    run_command([sys.executable, "-c", script], said.append)
    assert sorted(said) == ["one", "two"]


def test_a_failing_command_is_an_error_that_repeats_its_last_lines() -> None:
    with pytest.raises(UdmlError, match="status 3:\nthe reason"):
        run_command([sys.executable, "-c", "print('the reason'); raise SystemExit(3)"], lambda line: None)


def test_it_runs_where_and_with_what_it_is_told_to(tmp_path: Path) -> None:
    said: list[str] = []
    script = "import os; print(os.getcwd(), os.environ['COLOUR'])"
    run_command([sys.executable, "-c", script], said.append, tmp_path, {"COLOUR": "blue"})
    assert said == [f"{tmp_path} blue"]


def grandchildren(marker: Path) -> str:
    """A script that starts a process which touches `marker` again and again."""
    child = f"import time, pathlib\nwhile True:\n pathlib.Path({str(marker)!r}).touch(); time.sleep(0.05)"
    return (
        f"import subprocess, sys; print('on', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    )


def assert_nobody_touches(marker: Path) -> None:
    """Whoever did may be slow to go."""
    for _ in range(600):
        marker.unlink(missing_ok=True)
        time.sleep(0.2)
        if not marker.exists():
            return
    raise AssertionError(f"{marker} is still touched")


def wait_for(marker: Path) -> None:
    while not marker.exists():
        time.sleep(0.05)


def test_what_ends_the_caller_ends_the_whole_process_group(tmp_path: Path) -> None:
    marker = tmp_path / "alive"

    def cancel(line: str) -> None:
        wait_for(marker)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_command([sys.executable, "-c", grandchildren(marker)], cancel)
    assert_nobody_touches(marker)


def test_a_killed_caller_leaves_nobody_running(tmp_path: Path) -> None:
    marker = tmp_path / "alive"
    script = (
        "import sys; from udml.processes import run_command\n"
        f"run_command([sys.executable, '-c', {grandchildren(marker)!r}], print)"
    )
    caller = subprocess.Popen([sys.executable, "-c", script])
    wait_for(marker)
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    assert_nobody_touches(marker)


def test_a_killed_command_leaves_nobody_running(tmp_path: Path) -> None:
    marker = tmp_path / "alive"
    script = f"import os; print(os.getpid(), flush=True)\n{grandchildren(marker)}"

    def kill(line: str) -> None:
        if line.isdigit():
            wait_for(marker)
            os.kill(int(line), signal.SIGKILL)

    with pytest.raises(UdmlError, match="status 137"):
        run_command([sys.executable, "-c", script], kill)
    assert_nobody_touches(marker)
