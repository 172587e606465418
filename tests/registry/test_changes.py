import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.pipeline import commit, run
from tests.registry.workspace import make_sources
from udml.cli import main
from udml.registry import store
from udml.registry.changes import check_for_news
from udml.registry.lease import LEASE_FILE, hold
from udml.registry.workspace import COPIES

PIPELINE = """
stages:
  train:
    cmd: mkdir -p artifacts && cat data/batch code/learning > artifacts/model
    deps: [data, code]
    params: [train]
    outs: [artifacts/model]
  index:
    cmd: cp artifacts/model artifacts/index
    deps: [artifacts/model]
    outs: [artifacts/index]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that was reproduced; its state is registered as v1."""
    workspace = tmp_path_factory.mktemp("finished") / "workspace"
    for folder in ("data", "code"):
        (workspace / folder).mkdir(parents=True)
    (workspace / "data" / "batch").write_text("images")
    (workspace / "code" / "learning").write_text("code")
    (workspace / "dvc.yaml").write_text(PIPELINE)
    (workspace / "params.yaml").write_text("train: {steps: 4}\nretrain: {max_loss_to_champion: 0.02}\n")
    (workspace / ".gitignore").write_text("/.scratch/\n/models/\n")
    run(workspace, "git", "init", "-q")
    run(workspace, "dvc", "init", "-q")
    run(workspace, "dvc", "add", "-q", "data")
    run(workspace, "dvc", "repro", "-q")
    commit(workspace, "reproduced")
    register(workspace)
    return workspace


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "workspace", symlinks=True)


def register(workspace: Path) -> str:
    made = workspace.parent / f"made-{len(list(workspace.parent.iterdir()))}"
    made.mkdir()
    sources = make_sources(made)
    for name, path in (("params.yaml", sources.params), ("dvc.lock", sources.lock)):
        shutil.copy(workspace / name, path)
    return store.register(workspace / "models", sources).name


def new_batch(workspace: Path) -> None:
    (workspace / "data" / "batch").unlink()
    (workspace / "data" / "batch").write_text("more images")
    run(workspace, "dvc", "add", "-q", "data")


def rewrite(path: str, text: str) -> Callable[[Path], None]:
    return lambda workspace: (workspace / path).write_text(text) and None


@pytest.mark.parametrize(
    "change",
    [
        new_batch,
        rewrite("params.yaml", "train: {steps: 5}\nretrain: {max_loss_to_champion: 0.02}\n"),
        rewrite("code/learning", "better code"),
        rewrite("dvc.yaml", PIPELINE.replace("cat data/batch", "cat data/batch data/batch")),
    ],
    ids=["data", "settings", "code", "command"],
)
def test_whatever_a_stage_depends_on_is_news(workspace: Path, change: Callable[[Path], None]) -> None:
    store.promote(workspace / "models", "v1", "")
    change(workspace)
    assert check_for_news(workspace) == ""


def test_what_no_stage_depends_on_is_not(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_for_news(workspace) == ""  # no version was judged yet
    store.promote(workspace / "models", "v1", "")
    (workspace / "notes.txt").write_text("new")
    shutil.rmtree(workspace / "artifacts")
    shutil.rmtree(workspace / ".dvc" / "cache")  # nothing is run, no data are read
    (workspace / COPIES / "killed").mkdir(parents=True)
    assert "nothing new: data, settings and code are those of v1, the champion" in check_for_news(workspace)
    assert list((workspace / COPIES).iterdir()) == []
    assert json.loads((workspace / "models" / LEASE_FILE).read_text())["holder"] == ""


@pytest.mark.slow
def test_what_was_judged_is_not_tried_again(workspace: Path) -> None:
    models = workspace / "models"
    store.promote(models, "v1", "")
    (workspace / "code" / "learning").write_text("worse code")
    run(workspace, "dvc", "repro", "-q")
    assert register(workspace) == "v2"
    assert check_for_news(workspace) == ""  # registered, but nobody judged it
    store.refuse(models, "v2", "refused: worse", lambda: None, {})
    assert check_for_news(workspace).endswith("are those of v2, which was refused: worse")
    threshold = "train: {steps: 4}\nretrain: {max_loss_to_champion: 0.5}\n"
    (workspace / "params.yaml").write_text(threshold)
    assert check_for_news(workspace) == ""  # by other thresholds it may pass
    (workspace / "params.yaml").write_text(threshold.replace("0.5", "0.02"))
    store.promote(models, "v2", "a person")
    store.rollback(models, "the person changed their mind")
    assert "v2, which was champion before" in check_for_news(workspace)


def test_one_that_is_running_is_named(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workspace)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (workspace / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    with hold(workspace / "models"):
        assert main(["retrain"]) == 1
    assert "another retraining is running: process" in capsys.readouterr().err
