"""Champion against challenger, on miniature models and a miniature catalogue."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.conftest import ROOT
from tests.fixtures.fakes import write_prepared
from tests.fixtures.models import pictures, tiny_card, write_model
from tests.registry.test_crash import in_a_process_killed_at
from udml import paths
from udml.cli import main
from udml.config import load_params
from udml.errors import UdmlError
from udml.evaluation.evaluate import evaluate
from udml.evaluation.files import write_metrics
from udml.files import read_json, write_json
from udml.registry import lease, store
from udml.registry.bundle import workspace_sources
from udml.registry.challenge import NEIGHBOURS_FILE, RESULT, challenge, conclude, read_challenge
from udml.search.index import index

CLASSES, IMAGES = 24, 96


def make(directory: Path, seed: int, inputs: int, labelled: bool = True) -> Path:
    """What the pipeline leaves, its model seeing `inputs` of twelve numbers; the frozen one sees two."""
    directory.mkdir()
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["evaluate"]["bootstrap_samples"] = 200
    (directory / "params.yaml").write_text(yaml.safe_dump(params))
    (directory / "dvc.lock").write_text("schema: '2.0'\n")
    prepared = directory / paths.PREPARED
    labels = [f"class-{number % CLASSES}" if labelled else None for number in range(IMAGES)]
    write_prepared(prepared, pictures(IMAGES, 0, CLASSES), labels, ["test"] * IMAGES)
    write_json(prepared / "summary.json", {"data_version": "data-0"})
    write_model(
        directory / paths.MODEL, tiny_card(model_version=f"model-{seed}-{inputs}"), seed, inputs=inputs
    )
    write_model(directory / paths.EXPORTED / "frozen.onnx", tiny_card("frozen"), 0, inputs=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        loaded = load_params()
        index(paths.EXPORTED, paths.PREPARED, paths.INDEXED, loaded.index)
        write_metrics(paths.METRICS, evaluate(loaded))
    return directory


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("made")
    return {
        "good": make(folder / "good", 0, 12),
        "other": make(folder / "other", 5, 12),
        "bad": make(folder / "bad", 3, 2),
        "unlabelled": make(folder / "unlabelled", 0, 12, labelled=False),
    }


@pytest.fixture
def models(made: dict[str, Path], tmp_path: Path) -> Path:
    """A registry whose champion is the good one."""
    store.register(tmp_path / "models", workspace_sources(made["good"]))
    store.promote(tmp_path / "models", "v1", "")
    return tmp_path / "models"


def judged(workspace: Path, models: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(workspace)
    return challenge(models)


def test_a_first_version_has_only_the_frozen_backbone_to_beat(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = judged(made["good"], tmp_path / "models", monkeypatch)
    assert result.promote
    assert result.champion == ""
    metrics = read_json(paths.METRICS)
    measured = result.gate["rules"][0]["measured"]
    assert measured["challenger"] == metrics["trained"]["leave_one_out"]["map_at_r"]
    assert measured["difference"]["low"] == metrics["difference"]["leave_one_out"]["map_at_r_low"]
    assert not (RESULT / NEIGHBOURS_FILE).exists()


def test_figures_of_an_older_version_are_told(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = shutil.copytree(made["good"], tmp_path / "old", symlinks=True)
    metrics = read_json(workspace / paths.METRICS)
    write_json(workspace / paths.METRICS, metrics | {"difference": metrics["difference"]["leave_one_out"]})
    with pytest.raises(UdmlError, match="older version"):
        judged(workspace, tmp_path / "models", monkeypatch)


def test_a_model_is_no_worse_than_itself(
    made: dict[str, Path], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = judged(made["good"], models, monkeypatch)
    assert result.promote
    measured = result.gate["rules"][1]["measured"]
    assert measured["opponent"] == "champion v1"
    assert measured["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_champion_and_challenger_see_the_same_images(
    made: dict[str, Path], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said of the champion is what it scores in its own workspace, which holds the same images."""
    result = judged(made["bad"], models, monkeypatch)
    assert not result.promote
    own = read_json(made["good"] / paths.METRICS)["trained"]["leave_one_out"]["map_at_r"]
    assert result.gate["rules"][1]["measured"]["other"] == pytest.approx(own)
    row = next(row for row in result.table if row["figure"] == "MAP@R")
    assert row["champion v1"] == f"{100 * own:.1f}"
    assert float(row["challenger"]) < float(row["champion v1"])
    with Image.open(RESULT / NEIGHBOURS_FILE) as picture:
        assert np.asarray(picture).std() > 10
    kept = read_challenge(made["bad"])
    assert (kept.promote, kept.reason, kept.table) == (False, result.reason, result.table)


def test_without_labels_the_label_free_figures_decide(
    made: dict[str, Path], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = judged(made["unlabelled"], models, monkeypatch)
    assert [rule["measured"]["metric"] for rule in result.gate["rules"]] == ["neighbours_found_again"] * 2
    assert result.gate["rules"][1]["met"]
    assert "MAP@R" not in str(result.table)


def test_a_collapsed_challenger_is_refused(
    made: dict[str, Path], models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = shutil.copytree(made["good"], tmp_path / "collapsed")
    metrics = read_json(workspace / paths.METRICS)
    metrics["trained"]["label_free"]["effective_rank"] = 0.1
    write_json(workspace / paths.METRICS, metrics)
    assert "refused: the embeddings collapsed" in judged(workspace, models, monkeypatch).reason


def test_the_command_says_it_all(
    made: dict[str, Path], models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shutil.copytree(made["bad"], models.parent / "workspace"))
    Path("models").symlink_to(models)
    assert main(["models", "challenge"]) == 0
    said = capsys.readouterr().out
    assert "champion v1" in said.splitlines()[0]
    assert "refused: MAP@R is" in said
    Path("artifacts/metrics.json").unlink()
    assert main(["models", "challenge"]) == 1
    assert "dvc repro" in capsys.readouterr().err


@pytest.fixture
def ready(made: dict[str, Path], models: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A workspace whose model was judged fit, and the registry."""
    workspace = shutil.copytree(made["other"], models.parent / "ready")
    assert judged(workspace, models, monkeypatch).promote
    return workspace, models


def test_the_decision_is_carried_out_and_logged(ready: tuple[Path, Path]) -> None:
    workspace, models = ready
    with lease.hold(models) as held:
        assert conclude(models, workspace, held, "0123abc") == "v2"
    assert store.champion_name(models) == "v2"
    assert store.verify(models, "v2").git_revision == "0123abc"
    event = store.events(models)[-1]
    assert (event["event"], event["version"]) == ("promote", "v2")
    assert event["reason"].startswith("promoted: MAP@R is")
    assert len(event["gate"]["rules"]) == 2


def test_a_lost_lease_promotes_nothing(ready: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, models = ready
    first = lease.take(models)
    record = read_json(models / lease.LEASE_FILE)
    write_json(models / lease.LEASE_FILE, record | {"heartbeat": 0.0})
    lease.take(models)
    with pytest.raises(UdmlError, match="lost its lease"):
        conclude(models, workspace, first, "")
    assert store.champion_name(models) == "v1"
    assert store.version_names(models) == ["v1"]


def test_a_champion_that_a_person_changed_meanwhile_stays(ready: tuple[Path, Path]) -> None:
    workspace, models = ready
    store.register(models, workspace_sources(workspace))
    store.promote(models, "v2", "by hand")
    with lease.hold(models) as held, pytest.raises(UdmlError, match="changed from v1 to v2"):
        conclude(models, workspace, held, "")
    assert store.champion_name(models) == "v2"


@pytest.mark.parametrize("moment", range(1, 90, 6))
def test_a_kill_while_it_is_carried_out_leaves_a_whole_champion(
    ready: tuple[Path, Path], moment: int
) -> None:
    workspace, models = ready
    held = lease.take(models)
    in_a_process_killed_at(moment, lambda: conclude(models, workspace, held, ""))
    champion = store.champion_name(models)
    assert champion in ("v1", "v2")
    store.verify(models, champion)
    if champion == "v1":  # the next retraining
        assert conclude(models, workspace, held, "") in ("v2", "v3")
    last = store.champion_name(models)
    assert last is not None
    assert store.verify(models, last).model_version == "model-5-12"
