"""Versions in MLflow: in a database and in a folder."""

from pathlib import Path

import pytest

from tests.registry.workspace import make_sources
from udml.errors import UdmlError
from udml.registry import store
from udml.registry.describing.mlflow import MODEL, export


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for seed in range(2):
        (tmp_path / f"made-{seed}").mkdir()
        store.register(
            tmp_path / "models", make_sources(tmp_path / f"made-{seed}", seed, map_at_r=0.4 + seed / 10)
        )
    store.promote(tmp_path / "models", "v1", "")
    return tmp_path / "models"


@pytest.mark.parametrize("kind", ["sqlite", "folder"])
def test_versions_are_runs_and_model_versions(kind: str, models: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}" if kind == "sqlite" else (tmp_path / "mlruns").as_uri()
    assert export(models, ["v1"], uri, "pictures") == ["v1"]
    assert export(models, [], uri, "pictures") == ["v2"]
    assert export(models, [], uri, "pictures") == []
    from mlflow import MlflowClient

    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("pictures")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"v1", "v2"}
    v2 = runs["v2"]
    assert v2.info.status == "FINISHED"
    assert v2.data.metrics["trained.leave_one_out.map_at_r"] == 0.5
    assert v2.data.params["train.seed"] == "1"
    assert v2.data.tags["udml.model_version"] == "model-1"
    kept = {one.path for one in client.list_artifacts(v2.info.run_id)}
    assert {"model.onnx", "metrics.json", "params.yaml", "dvc.lock", "bom.json", "card.md"} <= kept
    assert "index" not in kept
    assert (tmp_path / "mlflow-files").is_dir() == (kind == "sqlite")
    versions = client.search_model_versions(f"name = '{MODEL}'")
    assert {one.tags["udml.version"]: one.run_id for one in versions} == {
        name: run.info.run_id for name, run in runs.items()
    }
    assert client.get_model_version_by_alias(MODEL, "champion").tags["udml.version"] == "v1"
    store.promote(models, "v2", "")
    export(models, [], uri, "pictures")
    assert client.get_model_version_by_alias(MODEL, "champion").tags["udml.version"] == "v2"


@pytest.mark.parametrize("uri", ["nothing://x", "http://127.0.0.1:1"])
def test_a_place_that_is_none_is_told(uri: str, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UdmlError, match="MLflow"):
        export(models, [], uri, "pictures")
