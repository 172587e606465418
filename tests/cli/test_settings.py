"""Wrong settings are said before anything is loaded that takes seconds, by every command and flow."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

HEAVY = {
    "torch", "prefect", "great_expectations", "dvclive", "dvc", "pandas", "pyarrow", "sklearn", "scipy",
    "onnxruntime", "faiss", "numpy", "matplotlib", "timm",
}  # fmt: skip
STAGES = ("prepare", "validate", "train", "export", "index", "evaluate")
COMMANDS = (*([stage] for stage in STAGES), ["monitor"], ["models", "challenge"], ["retrain"])
FLOWS = (
    ["flows.retrain"],
    ["flows.monitor", "folder"],
    ["flows.serve", "--cron", "0 3 * * *"],
)
WRONG = {
    "section train: unknown key `stepz`": ("  steps:", "  stepz:"),
    "learning_rate_schedule": ("learning_rate_schedule: ", "learning_rate_schedule: no"),
    "params.yaml is not YAML": ("train:", "train: ["),
    "train.backbone: timm knows no model `tf_efficientnet_lite0x`": ("_lite0", "_lite0x"),
}


def wrong_settings(root: Path, sentence: str) -> None:
    text = (ROOT / "params.yaml").read_text()
    before, after = WRONG[sentence]
    assert before in text
    (root / "params.yaml").write_text(text.replace(before, after, 1))


def traced(root: Path, code: str) -> tuple[str, set[str]]:
    """What a fresh interpreter says, and the top-level modules that it has loaded in the end."""
    at_the_end = "import atexit, sys\natexit.register(lambda: print('loaded:', *sys.modules))\n"
    done = subprocess.run(
        [sys.executable, "-c", at_the_end + code],
        cwd=root, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr, {name.split(".")[0] for name in done.stdout.split("loaded: ")[-1].split()}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command(command: list[str], tmp_path: Path) -> None:
    sentence = list(WRONG)[len(command[0]) % len(WRONG)]
    wrong_settings(tmp_path, sentence)
    said, loaded = traced(tmp_path, f"from udml.cli import main\nsys.exit(main({command!r}))")
    assert sentence in said
    assert "->" in said
    assert loaded.isdisjoint(HEAVY)
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize("name", ["missing.safetensors", "folder"])
def test_weights_that_are_not_there(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    text = (ROOT / "params.yaml").read_text()
    assert "  weights: null" in text
    (tmp_path / "params.yaml").write_text(text.replace("  weights: null", f"  weights: {name}"))
    said, loaded = traced(tmp_path, "from udml.cli import main\nsys.exit(main(['train']))")
    assert f"train.weights: no file {name}" in said
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize("flow", FLOWS, ids=" ".join)
@pytest.mark.parametrize("sentence", WRONG)
def test_every_flow(flow: list[str], sentence: str, tmp_path: Path) -> None:
    wrong_settings(tmp_path, sentence)
    code = f"import runpy\nsys.argv[1:] = {flow[1:]!r}\nrunpy.run_module({flow[0]!r}, run_name='__main__')"
    said, loaded = traced(tmp_path, code)
    assert said.startswith("udml: ")
    assert sentence in said
    assert loaded.isdisjoint(HEAVY)


def test_retrain_where_no_flows_are_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    done = subprocess.run(
        [sys.executable, "-c", "import sys\nfrom udml.cli import main\nsys.exit(main(['retrain']))"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PREFECT_API_URL": "http://127.0.0.1:9/api", "PATH": ""},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("udml: there is no flows/ in ")
    assert "\n  -> run it from the top of the project" in done.stderr


@pytest.mark.parametrize("flow", ["flows.monitor", "flows.reindex"])
@pytest.mark.parametrize("arguments", [[], [""]])
def test_flows_on_folders_want_one_named(flow: str, arguments: list[str], tmp_path: Path) -> None:
    code = f"import runpy\nsys.argv[1:] = {arguments!r}\nrunpy.run_module({flow!r}, run_name='__main__')"
    said, loaded = traced(tmp_path, code)
    assert f"python -m {flow} FOLDER" in said
    assert loaded.isdisjoint(HEAVY)


def test_a_run_that_a_server_started_fails_with_the_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from udml.flows.retrain import retrain

    wrong_settings(tmp_path, "section train: unknown key `stepz`")
    monkeypatch.chdir(tmp_path)
    state = retrain.fn()
    assert state.is_failed()
    assert "section train: unknown key `stepz`" in str(state.message)
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
