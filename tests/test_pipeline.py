"""The whole pipeline as its users run it: commands in a workspace, with DVC and git."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.pipeline import commit, environment, make_workspace, run, write_pictures

pytestmark = pytest.mark.slow
STAGES = ["prepare", "validate", "train", "export", "index", "evaluate"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with labelled pictures and everything reproduced and committed."""
    folder = tmp_path_factory.mktemp("labelled")
    workspace = make_workspace(folder / "workspace")
    run(workspace, "udml", "data", "import", str(write_pictures(folder / "pictures")))
    done = run(workspace, "dvc", "repro")
    (workspace / "repro.log").write_text(done.stdout)
    commit(workspace, "reproduced")
    return workspace


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_one_command_ends_with_the_table_the_report_and_a_search(finished: Path) -> None:
    said = (finished / "repro.log").read_text()
    assert "frozen backbone" in said
    assert "trained" in said
    assert "MAP@R" in said
    assert (finished / "artifacts" / "report" / "index.html").exists()
    line = next(line for line in said.splitlines() if "udml search" in line)
    command = line[line.index("udml") :].split()
    matches, nearest = (
        [one for one in run(finished, *command, *more).stdout.splitlines() if "kind-" in one]
        for more in (["--plain"], ["--plain", "--all"])
    )
    assert len(nearest) == 8
    assert matches == nearest[: len(matches)]
    assert matches


def test_what_ships_is_what_was_measured(finished: Path) -> None:
    metrics = json.loads((finished / "artifacts" / "metrics.json").read_text())
    words = json.loads((finished / "artifacts" / "protocols.json").read_text())
    whitened, trained = (metrics[kind]["leave_one_out"] for kind in ("whitened", "trained"))
    for kind in ("frozen", "whitened", "trained"):
        assert 0 <= metrics[kind]["leave_one_out"]["map_at_r"] <= 1
        assert "leave-one-out" in words[kind]["leave_one_out"]
    table = run(finished, "dvc", "metrics", "diff", "--all").stdout
    assert max(map(len, table.splitlines())) < 120
    ratio = trained["map_at_r"] / whitened["map_at_r"]
    assert metrics["ratio"]["map_at_r"] == pytest.approx(ratio)
    model = json.loads((finished / "artifacts" / "index" / "index.json").read_text())["model_version"]
    assert f"model {model}" in words["trained"]["leave_one_out"]


def test_nothing_is_run_again_when_nothing_changed(finished: Path) -> None:
    said = run(finished, "dvc", "repro").stdout
    assert "Running stage" not in said
    assert "up to date" in said


def test_a_change_reruns_what_depends_on_it_and_nothing_else(finished: Path) -> None:
    run(finished, "dvc", "exp", "run", "-S", "evaluate.report_queries=5", "-n", "queries")
    difference = run(finished, "dvc", "params", "diff", "--json").stdout
    assert json.loads(difference)["params.yaml"]["evaluate.report_queries"]["new"] == 5
    status = run(finished, "dvc", "status").stdout
    assert "up to date" in status
    run(finished, "git", "checkout", "-q", ".")
    run(finished, "dvc", "checkout")


def test_experiments_metrics_and_plots(finished: Path) -> None:
    run(finished, "dvc", "exp", "run", "-S", "train.rotation_weight=0", "-n", "no-rotation")
    changed = json.loads(run(finished, "dvc", "metrics", "diff", "--json").stdout)
    assert changed["artifacts/live/metrics.json"]["rotation_loss"]["new"] == 0
    run(finished, "dvc", "plots", "show", "-o", "plots-page")
    assert "recall" in (finished / "plots-page" / "index.html").read_text()
    run(finished, "git", "checkout", "-q", ".")
    run(finished, "dvc", "checkout")


@pytest.fixture(params=["directory", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> list[list[str]]:
    """The commands that make an empty remote, of both kinds, the default one of a workspace."""
    if request.param == "directory":
        return [["dvc", "remote", "add", "-f", "-d", "store", str(tmp_path / "remote")]]
    endpoint = request.getfixturevalue("s3_endpoint")
    return [
        ["dvc", "remote", "add", "-f", "-d", "store", "s3://bucket/udml"],
        ["dvc", "remote", "modify", "store", "endpointurl", endpoint],
    ]


def test_a_clone_pulls_data_results_and_versions_from_a_remote(
    finished: Path, tmp_path: Path, remote: list[list[str]]
) -> None:
    clone = tmp_path / "clone"
    run(finished, "udml", "models", "register")
    for command in remote:
        run(finished, *command)
    run(finished, "dvc", "push", "-q")
    run(finished, "udml", "models", "push")
    run(tmp_path, "git", "clone", "-q", str(finished), str(clone))
    for command in remote:
        run(clone, *command)
    assert "pulled" in run(clone, "udml", "data", "ensure").stdout
    run(clone, "dvc", "pull", "-q")
    model = Path("artifacts/export/model.onnx")
    assert digest(clone / model) == digest(finished / model)
    assert "Running stage" not in run(clone, "dvc", "repro").stdout
    assert "v1" in run(clone, "udml", "models", "pull").stdout
    run(clone, "udml", "models", "promote", "v1")
    query = next((finished.parent / "pictures").rglob("*.jpg"))
    assert query.name in run(clone, "udml", "search", str(query), "--version", "champion").stdout
    shutil.rmtree(finished / "models")
    run(finished, "git", "checkout", "-q", ".dvc/config")


def test_no_labels_at_all(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    run(workspace, "udml", "data", "import", str(write_pictures(tmp_path / "flat", labelled=False)))
    said = run(workspace, "dvc", "repro").stdout
    assert "Found again" in said
    assert "MAP@R" not in said
    assert (workspace / "artifacts" / "report" / "index.html").exists()
    result = run(workspace, "udml", "search", str(tmp_path / "flat" / "03-07.jpg"), "-k", "1").stdout
    assert "03-07.jpg" in result.splitlines()[1]
    assert "1.0000" in result.splitlines()[1]


def test_embed_and_report_of_a_folder(finished: Path, tmp_path: Path) -> None:
    import pandas as pd

    folder = write_pictures(tmp_path / "queries", kinds=2, each=2)
    (folder / "broken.jpg").write_bytes(b"no picture")
    done = run(finished, "udml", "embed", str(folder), "--out", str(tmp_path / "vectors.parquet"))
    assert "left out" in done.stderr
    assert "not an image" in done.stderr
    vectors = pd.read_parquet(tmp_path / "vectors.parquet")
    assert len(vectors) == 4
    assert all(len(vector) == 16 for vector in vectors["embedding"])
    run(finished, "udml", "report", str(folder), "-k", "3", "--out", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 4
    assert "broken.jpg" in page


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_killed_at_any_moment_ends_the_same(stage: str, finished: Path, tmp_path: Path) -> None:
    """SIGKILL the stage twice, early and later, then let it finish: same results, no leftovers."""
    workspace = tmp_path / "workspace"
    run(tmp_path, "cp", "-r", "--reflink=auto", str(finished), str(workspace))
    outputs = {
        "prepare": ["artifacts/prepare/catalog.parquet", "artifacts/prepare/store/pixels-00000.bin"],
        "validate": ["artifacts/validate/result.json"],
        "train": ["artifacts/train/model.safetensors", "artifacts/train/clusters.parquet"],
        "export": ["artifacts/export/model.onnx", "artifacts/export/frozen.onnx"],
        "index": ["artifacts/index/index.faiss", "artifacts/index/items.sqlite"],
        "evaluate": ["artifacts/metrics.json"],
    }[stage]
    expected = [digest(workspace / output) for output in outputs]
    run(workspace, "rm", "-rf", f"artifacts/{stage}", ".scratch")
    for delay_seconds in (2.0, 5.0):
        process = subprocess.Popen(
            ["udml", stage], cwd=workspace, env=environment(), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(delay_seconds)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    run(workspace, "udml", stage)
    assert [digest(workspace / output) for output in outputs] == expected
    assert [path.name for path in (workspace / "artifacts").glob(".*")] == [".gitignore"]
    assert not list((workspace / ".scratch").glob(f"{stage}-*"))


def test_a_failed_validation_stops_the_pipeline_and_names_the_rows(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    folder = write_pictures(tmp_path / "pictures")
    for number in range(40):
        (folder / "kind-00" / f"broken-{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    run(workspace, "udml", "data", "import", str(folder))
    done = run(workspace, "dvc", "repro", fails=True)
    assert "broken-0.jpg" in done.stdout + done.stderr
    assert (workspace / "artifacts" / "validate" / "result.json").exists()
    assert not (workspace / "artifacts" / "train").exists()
