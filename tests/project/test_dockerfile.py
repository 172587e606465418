"""The steps of the Dockerfile, read from it and run without a container engine."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.registry.workspace import make_sources
from udml.registry import store


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it: the name of what it builds on, and (instruction, text) pairs."""

    base: str
    steps: list[tuple[str, str]]


def stages() -> dict[str, Stage]:
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: dict[str, Stage] = {}
    steps: list[tuple[str, str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        instruction, rest = line.split(maxsplit=1)
        if instruction == "FROM":
            base, name = rest.split(" AS ")
            steps = []
            found[name] = Stage(base, steps)
        else:
            steps.append((instruction, rest))
    return found


def steps_of(name: str) -> list[tuple[str, str]]:
    """All steps of a stage, those of the stages it builds on first."""
    stage = stages()[name]
    return [*(steps_of(stage.base) if stage.base in stages() else []), *stage.steps]


def build(name: str, root: Path) -> Path:
    """Run a stage's steps with /opt and /build below `root`; returns the environment they made."""
    here, environment = root, {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def moved(text: str) -> str:
        return re.sub(r"/(opt|build)\b", lambda found: f"{root}{found[0]}", text)

    for instruction, text in steps_of(name):
        match instruction:
            case "WORKDIR":
                here = Path(moved(text))
                here.mkdir(parents=True, exist_ok=True)
            case "ENV":
                environment |= dict(pair.split("=", 1) for pair in moved(text).split())
            case "COPY":
                *sources, target = text.split()
                for source in sources:
                    copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                    copy(ROOT / source, here / target / ("" if source == target else source))
            case "RUN":
                done = subprocess.run(
                    ["bash", "-c", moved(text)], cwd=here, env=environment, capture_output=True, text=True,
                    check=False,
                )  # fmt: skip
                assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            case _:
                pytest.fail(f"{instruction} in {name}: this test does not know how to do that")
    return root / "opt" / "udml"


def as_nobody(root: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as `docker run --read-only --tmpfs /tmp --user 65534` would, in `root`/workspace.

    The whole file system is read-only, in a mount namespace of its own; /tmp holds nothing but `root`, whose
    programs are the first to be found and say where they lie; there is no home.
    """
    script = (
        'mount --make-rprivate / && mount --bind "$1" /mnt && mount -o remount,ro,bind / && '
        "mount -o remount,ro,bind /mnt && mount -t tmpfs none /tmp && "
        'mkdir -p "$1" && mount --bind /mnt "$1" && cd "$1/workspace" && shift && '
        "exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all,+dac_read_search "
        '--ambient-caps=-all,+dac_read_search "$@"'  # our own Python may lie where nobody may look
    )
    # not the checkout's own programs: they would answer where these don't
    environment = {"PATH": f"{root}/opt/udml/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent"}
    return subprocess.run(
        ["unshare", "--mount", "bash", "-c", script, "-", root, *command],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_what_serves_runs_as_nobody_and_is_checked() -> None:
    steps = dict(steps_of("serve"))
    assert steps["USER"] == "65534:65534"
    assert "/readyz" in steps["HEALTHCHECK"]
    assert (steps["ENTRYPOINT"], steps["CMD"]) == ('["udml"]', '["serve", "--host", "0.0.0.0"]')
    assert dict(steps_of("train"))["CMD"] == '["dvc", "repro"]'
    for name in ("serve", "train"):
        assert ("COPY", f"--from={name}-environment /opt/udml /opt/udml") in steps_of(name)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the serving environment in it, and a workspace with a champion."""
    root = tmp_path_factory.mktemp("image")
    build("serve-environment", root)
    workspace = root / "workspace"
    (workspace / "made").mkdir(parents=True)
    store.register(workspace / "models", make_sources(workspace / "made"))
    store.promote(workspace / "models", "v1", "")
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(workspace / "query.png")
    subprocess.run(["chmod", "-R", "a+rX", root], check=True)
    return root


@pytest.mark.slow
def test_the_serving_environment_answers_without_torch(served: Path) -> None:
    """Under a read-only root, as nobody, with nothing but what the steps installed."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a read-only root needs the right to mount")
    done = as_nobody(served, "udml", "search", "query.png", "--version", "champion", "-k", "3")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4
    whose = as_nobody(served, "python", "-c", "import udml; print(udml.__file__)")
    assert whose.stdout.startswith(f"{served}/opt/udml/lib/"), whose.stderr
    assert "Read-only file system" in as_nobody(served, "touch", "written").stderr


@pytest.mark.slow
def test_the_serving_environment_is_small_and_holds_no_torch(served: Path) -> None:
    packages = served / "opt" / "udml" / "lib"
    names = {path.name.split("-")[0] for path in packages.glob("*/site-packages/*.dist-info")}
    assert {"udml", "fastapi", "faiss_cpu", "onnxruntime"} <= names
    assert names.isdisjoint({"torch", "torchvision", "timm", "dvc", "prefect", "pandas", "pyarrow"})
    assert sum(path.stat().st_size for path in packages.rglob("*") if path.is_file()) < 400e6


@pytest.mark.slow
def test_the_training_environment_runs_the_stages(tmp_path: Path) -> None:
    environment = build("train-environment", tmp_path)
    # a fresh environment compiles what it imports: what fits together or not is imported, the rest looked for
    code = (
        "import torchvision, udml; from importlib.util import find_spec; print(udml.__file__); "
        "assert all(map(find_spec, ('dvc', 'faiss', 'great_expectations', 'prefect', 'timm')))"
    )
    done = subprocess.run(
        [environment / "bin" / "python", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(environment))
    for command in ("dvc", "udml"):
        subprocess.run([environment / "bin" / command, "--help"], capture_output=True, check=True)
