"""Benchmarks say what they do before anything heavy is imported; one is run, on as little as it takes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.fixtures.fakes import write_prepared
from tests.fixtures.models import pictures

HEAVY = {
    "torch",
    "numpy",
    "pandas",
    "faiss",
    "onnxruntime",
    "PIL",
    "sklearn",
    "scipy",
    "prefect",
    "matplotlib",
}


def benchmarks() -> list[str]:
    """Every module that `python -m` runs."""
    files = [path for path in (ROOT / "benchmarks").rglob("*.py") if "__main__" in path.read_text()]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    return sorted(name.removesuffix(".__main__") for name in names if not name.endswith("__init__"))


def imported(module: str, *arguments: str) -> tuple[set[str], str]:
    """What `python -m module` imports, at the top, and prints."""
    command = [sys.executable, "-X", "importtime", "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}, done.stdout


def test_there_are_benchmarks() -> None:
    assert {"benchmarks.grocery", "benchmarks.training.train", "benchmarks.serving"} <= set(benchmarks())


@pytest.mark.parametrize("module", benchmarks())
def test_help_imports_nothing_heavy(module: str) -> None:
    modules, said = imported(module, "--help")
    assert modules.isdisjoint(HEAVY)
    assert said.startswith("usage: ")
    source = ROOT / Path(*module.split("."))
    path = source / "__main__.py" if source.is_dir() else source.with_suffix(".py")
    assert path.read_text().split('"""')[1].strip().splitlines()[0] in said


def test_the_training_loop_beside_the_bare_pass(tmp_path: Path) -> None:
    prepared = write_prepared(tmp_path, pictures(120), ["a", "b"] * 60, ["train"] * 110 + ["test"] * 10)
    small = ["--backbone", "test_vit", "--untrained", "--input-px", "32", "--steps", "1", "--repeats", "1"]
    command = [sys.executable, "-m", "benchmarks.training.loop", "--prepared", str(prepared), *small]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| training loop, images/s |" in done.stdout
    assert "| ratio |" in done.stdout
