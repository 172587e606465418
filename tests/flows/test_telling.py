"""How a flow's end becomes a notice; that flows call it is tested with a server, in test_retrain."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from flows.telling import and_tell, tell_of_drift
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tests.conftest import ROOT
from udml.config.notify import EVENTS
from udml.errors import UdmlError

NOTE = "import sys; open('told', 'a').write(sys.stdin.read() + '\\n')"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["notify"] |= {"command": [sys.executable, "-c", NOTE], "events": list(EVENTS)}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(workspace: Path) -> list[tuple[str, str]]:
    lines = (workspace / "told").read_text().splitlines() if (workspace / "told").exists() else []
    return [(notice["type"], notice["text"]) for notice in map(json.loads, lines)]


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("Promoted", "promoted"),
        ("Refused", "refused"),
        ("Nothing new", "skipped"),
        ("No drift", "skipped"),
        ("Skipped", "skipped"),
    ],
)
def test_the_state_says_what_is_told(name: str, event: str, workspace: Path) -> None:
    state: State = Completed(name=name, message="so it is")
    assert and_tell(lambda: state, "retrain") is state
    assert told(workspace) == [(event, "so it is")]


def test_what_a_person_can_mend_and_what_not(workspace: Path) -> None:
    def refused() -> None:
        raise UdmlError("the disk is away", "bring it back")

    ended = and_tell(refused, "reindex")
    assert isinstance(ended, State)
    assert ended.is_failed()
    with pytest.raises(ZeroDivisionError):
        and_tell(lambda: 1 / 0, "reindex")
    assert told(workspace) == [
        ("failed", "the disk is away\n  -> bring it back"),
        ("failed", "reindex failed: ZeroDivisionError: division by zero"),
    ]


def test_only_drift_is_told_as_drift(workspace: Path) -> None:
    for verdict in ("no drift", "too few", "drift"):
        tell_of_drift({"verdict": verdict, "summary": "p = 0.001"})
    assert told(workspace) == [("drift", "drift: p = 0.001")]


def test_a_notice_that_nobody_takes_fails_nothing(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (workspace / "params.yaml").read_text().replace(sys.executable, "/nowhere/at/all")
    (workspace / "params.yaml").write_text(text)
    assert and_tell(lambda: "done", "monitor") == "done"
    and_tell(lambda: Completed(name="Promoted", message="v2"), "retrain")
    assert "notify.command was not notified of `promoted`: /nowhere/at/all" in capsys.readouterr().out
