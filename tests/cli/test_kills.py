"""SIGKILL at random points of every command that makes something: it ends as if nobody had disturbed it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

from tests.conftest import ROOT
from tests.fixtures.kills import kill_again_and_again
from tests.pipeline import environment, make_workspace, write_pictures

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("UDML_KILLS", "4"))  # 20 take 14 minutes of two cores
# A network that is trained and exported in seconds; from a file, so that every run begins with the same.
TINY = {
    "backbone": "test_resnet",
    "weights": "tiny.safetensors",
    "weights_licence": "none",
    "frozen_blocks": 0,
}
COMMANDS = {
    "prepare": (["artifacts/prepare"], ["udml.data.prepare"]),
    "train": (
        ["artifacts/train", "artifacts/live"],
        ["udml.learning.train", "udml.judgement.answers", "dvclive.live"],
    ),
    "export": (
        ["artifacts/export"],
        ["udml.export.export", "torch.onnx._internal.exporter._core", "torch._dynamo"],
    ),
    "index": (["artifacts/index"], ["udml.search.index"]),
    "evaluate": (
        ["artifacts/report", "artifacts/plots", "artifacts/metrics.json", "artifacts/protocols.json"],
        ["udml.evaluation.evaluate", "udml.report.report", "udml.registry.judged.models"],
    ),
}
IMPORTING = [
    "tests.fixtures.small_shards",
    "udml.data.importing.importer",
    "udml.data.importing.tracking",
    "udml.registry.originals",
]
# How long something took is another figure each time; what DVC notes for itself says when it looked.
TIMES = ("images_per_second", "seconds")
NOT_COMPARED = (".git", "src", ".dvc/tmp", "artifacts/live/plots/metrics/images_per_second.tsv")


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A workspace of some pictures, and the same with more of them and all stages done."""
    folder = tmp_path_factory.mktemp("undisturbed")
    begun, done = make_workspace(folder / "begun"), folder / "done"
    torch.manual_seed(0)
    weights = timm.create_model(TINY["backbone"], num_classes=0).state_dict()
    save_file(weights, begun / str(TINY["weights"]))
    params = yaml.safe_load((begun / "params.yaml").read_text())
    params["train"] |= TINY
    (begun / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    pictures = write_pictures(folder / "pictures", kinds=12, each=12)
    in_turn(begun, [["data", "import", str(pictures / "kind-00")]])
    subprocess.run(["cp", "-a", begun, done], check=True)
    in_turn(done, [["data", "import", str(pictures)], *([stage] for stage in COMMANDS)])
    return begun, done


def in_turn(workspace: Path, commands: list[list[str]]) -> None:
    """Run commands one after the other, in one process that imports everything once."""
    code = (
        "import json, sys, tests.fixtures.small_shards; from udml.cli import main; "
        "sys.exit(any(map(main, json.loads(sys.argv[1]))))"
    )
    one_thread = {**environment(), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", code, json.dumps(commands)]
    done = subprocess.run(
        arguments, cwd=workspace, env=one_thread, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def contents(workspace: Path) -> dict[str, bytes]:
    """Every file, folder and link of a workspace, less what is another one each time."""
    found = {}
    for path in workspace.rglob("*"):
        name = str(path.relative_to(workspace))
        if any(name == one or name.startswith(f"{one}/") for one in NOT_COMPARED):
            continue
        if path.is_symlink():
            found[name] = str(path.readlink()).encode()
        else:
            found[name] = b"" if path.is_dir() else path.read_bytes()
            if path.name in ("rounds.json", "metrics.json"):
                found[name] = json.dumps(timeless(json.loads(found[name]))).encode()
    return found


def timeless(value: object) -> object:
    if isinstance(value, dict):
        return {key: timeless(one) for key, one in value.items() if key not in TIMES}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def require_same(workspace: Path, undisturbed: Path) -> None:
    """What is there, then what it holds; a folder of scratch that was made, and is empty, is nothing."""
    found, wanted = (
        {k: v for k, v in contents(one).items() if k != ".scratch"} for one in (workspace, undisturbed)
    )
    assert found.keys() ^ wanted.keys() == set()
    assert [name for name, held in found.items() if held != wanted[name]] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_stage_ends_as_if_it_had_not_been(
    command: str, workspaces: tuple[Path, Path], tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    subprocess.run(["cp", "-a", workspaces[1], workspace], check=True)
    outputs, modules = COMMANDS[command]
    again = f"rm -r {' '.join(outputs)}"  # as `dvc repro` does
    subprocess.run(again, shell=True, cwd=workspace, check=True)
    kill_again_and_again(workspace, [command], again, KILLS, modules)
    require_same(workspace, workspaces[1])


def test_a_killed_import_ends_as_if_it_had_not_been(workspaces: tuple[Path, Path], tmp_path: Path) -> None:
    """It takes the place of an earlier one."""
    begun, done = workspaces
    workspace = tmp_path / "workspace"
    subprocess.run(["cp", "-a", begun, workspace], check=True)
    again = f"rm -rf data data.dvc .dvc && cp -a {begun}/data {begun}/data.dvc {begun}/.dvc ."
    command = ["data", "import", str(begun.with_name("pictures"))]
    kill_again_and_again(workspace, command, again, KILLS, IMPORTING)
    shutil.copytree(done / "artifacts", workspace / "artifacts")
    require_same(workspace, done)
