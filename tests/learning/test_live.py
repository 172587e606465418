"""The log of DVCLive, wherever one trains."""

import json
from pathlib import Path

import pytest

from tests.pipeline import commit, run
from udml.learning.train import _live_log

PLACES = {
    "no repository": (),
    "git without a commit": ("git init -q",),
    "git and DVC without a commit": ("git init -q", "dvc init -q"),
    "DVC without git": ("dvc init -q --no-scm",),
    "git and DVC with a commit": ("git init -q", "dvc init -q", "commit"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("inside_dvc_repro", [False, True])
def test_it_is_kept_with_and_without_a_repository_or_a_commit(
    place: str, inside_dvc_repro: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in PLACES[place]:
        if command == "commit":
            commit(tmp_path, "start")
        else:
            run(tmp_path, *command.split())
    monkeypatch.chdir(tmp_path)
    if inside_dvc_repro and "DVC" in place:
        monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    log = _live_log(tmp_path / "live")
    log({"step": 0, "score": 0.5, "churn": None})
    log({"step": 30, "score": 0.75, "churn": 0.25})
    assert json.loads((tmp_path / "live" / "metrics.json").read_text()) == {
        "score": 0.75, "churn": 0.25, "step": 30,
    }  # fmt: skip
    lines = (tmp_path / "live" / "plots" / "metrics" / "score.tsv").read_text().split()
    assert lines == ["step", "score", "0", "0.5", "30", "0.75"]
