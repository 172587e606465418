"""Commands that hang, print without end or fail; who is told of what; and that nothing is told unasked."""

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.notifying.server import receiver
from udml.config import parse_params
from udml.errors import UdmlError
from udml.notifying.notice import resolve, tell
from udml.notifying.running import run

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, sys, time\n{code}"]


def settings(workspace: Path, **notify: Any) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["notify"] |= notify
    (workspace / "params.yaml").write_text(yaml.safe_dump(values))


def test_a_command_gets_the_notice(tmp_path: Path) -> None:
    settings(tmp_path, command=python("open('got', 'w').write(sys.stdin.read())"))
    said: list[str] = []
    tell("promoted", "v2 promoted: it is better", tmp_path, said.append, version="v2")
    assert said == []
    got = json.loads((tmp_path / "got").read_text())
    assert (got["type"], got["text"]) == ("promoted", "v2 promoted: it is better")
    assert got["data"]["version"] == "v2"
    assert got["data"]["workspace"] == str(tmp_path)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("time.sleep(600)", "took over 2 s"),
        ("print('x' * 5_000_000, 'its end', flush=True); sys.exit(3)", "ended with status 3.*its end"),
        ("os.close(0); sys.exit(1)", "ended with status 1"),
        ("os.kill(os.getpid(), 11)", "ended with status -11"),
    ],
)
def test_a_command_that_goes_wrong(code: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UdmlError, match=why) as caught:
        run(python(code), b"{}" * 200_000, tmp_path, limit_seconds=2.0 if "sleep" in code else 120.0)
    assert len(caught.value.what) < 700


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UdmlError, match="nothing-of-this-name can't be started"):
        run(["nothing-of-this-name"], b"{}", tmp_path)


def test_what_a_command_leaves_behind_is_killed(tmp_path: Path) -> None:
    child = "import time; time.sleep(600)"
    code = f"import subprocess\nchild = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
    run(python(code + "open('pid', 'w').write(str(child.pid))"), b"{}", tmp_path)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.05)


def test_only_what_is_wanted_is_told_and_a_failure_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "s" * 24)
    (tmp_path / "address").write_text("http://127.0.0.1:1/in-vain\n")
    mark = python("open(sys.argv[1], 'a').write('told ')")
    monkeypatch.setattr("udml.notifying.posting.post.__defaults__", (0.5, ()))
    settings(tmp_path, url="file:address", secret="env:SECRET", command=[*mark, "told"], events=["drift"])
    said: list[str] = []
    for event in ("promoted", "drift", "skipped"):
        tell(event, "", tmp_path, said.append)
    assert (tmp_path / "told").read_text() == "told "
    [line] = said
    assert line.startswith("notify.url was not notified of `drift`: http://127.0.0.1:1 failed")
    assert "in-vain" not in line
    with receiver(OK) as opened:
        settings(tmp_path, url=opened.url, events=["drift"])
        tell("drift", "", tmp_path, said.append)
    assert len(opened.requests) == 1


def test_unless_asked_nothing_is_opened_or_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("something was opened")

    for where, name in ((socket, "socket"), (os, "posix_spawn"), (__import__("subprocess"), "Popen")):
        monkeypatch.setattr(where, name, never)
    settings(tmp_path)
    said: list[str] = []
    tell("promoted", "", tmp_path, said.append)
    (tmp_path / "params.yaml").write_text("train: {}\n")  # of before there were notices
    tell("failed", "", tmp_path, said.append)
    assert said == []
    (tmp_path / "params.yaml").write_text("notify: [\n")
    tell("failed", "", tmp_path, said.append)
    assert "params.yaml is not YAML" in said[0]


def test_where_a_secret_is_not(tmp_path: Path) -> None:
    for reference, why in (
        ("env:NOT_SET_ANYWHERE", "is empty or not there"),
        ("file:nothing", "can't be read"),
    ):
        with pytest.raises(UdmlError, match=why):
            resolve("notify.secret", reference, tmp_path)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"url": "ftp://x"}, "must be an http"),
        ({"url": "https://user:pass@x/"}, "must be an http"),
        ({"url": "https://"}, "must be an http"),
        ({"url": "http://x", "secret": "literal-words"}, r"notify\.secret must be env:NAME"),
        ({"secret": "env:X"}, "which is not set"),
        ({"command": "echo x"}, "expected"),
        ({"command": [1]}, "expected"),
        ({"command": [""]}, "name of a program"),
        ({"events": ["promotion"]}, "names promotion; there are"),
        ({"webhook": "x"}, "unknown key `webhook`"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], why: str) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["notify"] |= changes
    with pytest.raises(UdmlError, match=why) as caught:
        parse_params(values)
    assert "literal-words" not in str(caught.value)


def test_settings_of_before_there_were_notices_are_settings() -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    del values["notify"]
    assert parse_params(values).notify.url is None
