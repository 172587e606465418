"""Ordinary retrainings, by a real Prefect server, on a pipeline whose stages take a moment."""

import json
import sys
import time
from pathlib import Path

import pytest
from flows.retrain import stage_names

from tests.conftest import ROOT
from tests.flows.standin import ask, assert_nothing_left, assert_serves, new_data, retrain, set_params
from tests.pipeline import run
from udml.registry import store


def test_the_flow_takes_its_stages_from_dvc_yaml() -> None:
    assert stage_names(ROOT / "dvc.yaml") == ["prepare", "validate", "train", "export", "index", "evaluate"]


def artifacts(api_url: str) -> dict[str, list[str]]:
    """What the server shows, by key."""
    found: dict[str, list[str]] = {}
    for one in ask(f"{api_url}/artifacts/filter", {"limit": 200}):
        found.setdefault(one["key"] or "", []).append(json.dumps(one["data"]))
    return found


@pytest.mark.slow
def test_a_first_version_is_promoted_and_told_of(promoted: Path, api_url: str) -> None:
    assert_serves(promoted, "v1")
    assert_nothing_left(promoted)
    [event] = [event for event in store.events(promoted / "models") if event["event"] == "promote"]
    assert "the frozen backbone has" in event["reason"]
    [rule] = event["gate"]["rules"]
    assert rule["met"]
    assert rule["measured"]["difference"]["low"] > 0
    assert "promoted" in "".join(artifacts(api_url)["decision"])
    assert "The data meet every rule" in "".join(artifacts(api_url)["validation"])


@pytest.mark.slow
def test_without_news_nothing_is_run(promoted: Path, api_url: str) -> None:
    before = store.events(promoted / "models")
    without_server = run(promoted, "env", f"PYTHONPATH={ROOT}", "udml", "retrain").stdout
    assert without_server == "nothing new: data, settings and code are those of v1, the champion\n"
    said = retrain(promoted, api_url)
    assert "Nothing new: nothing new: data, settings and code are those of v1, the champion" in said
    assert "Running stage" not in said
    assert store.events(promoted / "models") == before
    shown = "".join(artifacts(api_url)["nothing-new"])
    assert "are those of v1, the champion" in shown
    assert store.versions(promoted / "models")[0].data_version in shown
    deadline = time.monotonic() + 120
    wanted = {"limit": 200, "sort": "TIMESTAMP_DESC"}  # other tests' runs are logged there, too
    while "nothing new: data, settings and code are those of v1, the champion" not in (
        logged := [one["message"] for one in ask(f"{api_url}/logs/filter", wanted)]
    ):
        assert time.monotonic() < deadline, logged  # Prefect sends what is logged some seconds later
        time.sleep(1)
    assert_nothing_left(promoted)


@pytest.mark.slow
def test_new_data_are_trained_on_and_shown_beside_the_champion(workspace: Path, api_url: str) -> None:
    checkout = run(workspace, "git", "status", "--porcelain").stdout
    new_data(workspace, "second batch")
    said = retrain(workspace, api_url)
    assert "Running stage 'prepare'" in said
    assert "Promoted: v2 promoted" in said
    assert "champion v1 has" in said
    assert_serves(workspace, "v2")
    assert_nothing_left(workspace)
    assert run(workspace, "git", "status", "--porcelain").stdout == checkout + " M data.dvc\n"
    assert not (workspace / "dvc.lock").exists()
    shown = artifacts(api_url)
    assert "champion v1" in "".join(shown["champion-against-challenger"])
    assert "data:image/jpeg;base64," in "".join(shown["changed-neighbours"])


@pytest.mark.slow
def test_where_asked_to_only_drift_is_trained_on(workspace: Path, api_url: str) -> None:
    set_params(workspace, "retrain", when="drift")
    new_data(workspace, "first batch\n10")
    said = retrain(workspace, api_url)
    assert "No drift: too few, so nothing was trained: 10 independent images against" in said
    assert "Running stage 'validate'" in said
    assert "Running stage 'train'" not in said
    assert "10 independent images" in "".join(artifacts(api_url)["drift"])
    assert_serves(workspace, "v1")
    assert_nothing_left(workspace)
    new_data(workspace, "first batch\n60")
    assert "No drift: no drift, so nothing was trained: p = " in retrain(workspace, api_url)
    new_data(workspace, "first batch\n60\nwarm")
    said = retrain(workspace, api_url)
    assert "drift: p = 0.0005" in said
    assert "most of all warmth" in said
    assert "Running stage 'train'" in said
    assert "v2" in said
    set_params(workspace, "train", seed=1)  # people who change settings want them tried
    assert "Running stage 'train'" in retrain(workspace, api_url)


@pytest.mark.slow
def test_a_worse_challenger_is_refused_kept_and_not_tried_again(workspace: Path, api_url: str) -> None:
    told = workspace / "told"
    note = [sys.executable, "-c", f"import sys; open({str(told)!r}, 'a').write(sys.stdin.read() + '\\n')"]
    set_params(workspace, "notify", command=note, events=["refused", "skipped"])
    assert "are those of v1, the champion" in retrain(workspace, api_url)  # who is told is no news
    set_params(workspace, "train", seed=100)
    said = retrain(workspace, api_url)
    assert "Refused: v2 refused: MAP@R is" in said
    assert [json.loads(line)["type"] for line in told.read_text().splitlines()] == ["skipped", "refused"]
    assert_serves(workspace, "v1")
    refusal = store.events(workspace / "models")[-1]
    assert (refusal["event"], refusal["version"]) == ("refuse", "v2")
    assert [rule["met"] for rule in refusal["gate"]["rules"]][1] is False
    assert "are those of v2, which was refused" in retrain(workspace, api_url)
    assert len(store.events(workspace / "models")) == 4  # register, promote, register, refuse
    run(workspace, "udml", "models", "promote", "v2", "--reason", "a person knows better")
    assert_serves(workspace, "v2")
