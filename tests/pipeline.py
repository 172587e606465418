"""A whole workspace, small enough to run through in seconds: 240 pictures, 4 training steps."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from tests.conftest import ROOT

BIN = Path(sys.executable).parent
SMALL: dict[str, dict[str, Any]] = {
    "prepare": {"store_short_side_px": 48, "test_share": 0.25},
    "validate": {"min_train_images": 60, "min_test_images": 20, "sharpness_min": 0.0},
    "train": {
        "input_px": 32, "embedding_dim": 16, "rotation_hidden_dim": 8, "clusters": 8, "clusters_per_batch": 4,
        "images_per_cluster": 2, "rotation_images": 4, "recluster_every_steps": 2, "steps": 4,
        "frozen_blocks": 8, "device": "cpu", "holdout_share": 0.15, "light_stops": 0.0, "cast_stops": 0.0,
    },
    "export": {"parity_images": 16},
    "evaluate": {"bootstrap_samples": 50, "report_queries": 4},
}  # fmt: skip


def write_pictures(folder: Path, kinds: int = 12, each: int = 20, labelled: bool = True) -> Path:
    """JPEG pictures of some kinds: a kind is a coarse pattern, a picture a noisy crop of it."""
    rng = np.random.default_rng(0)
    for kind in range(kinds):
        pattern = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8)).resize((120, 120))
        for number in range(each):
            left, top, side = (int(v) for v in rng.integers((0, 0, 40), (50, 50, 70)))
            crop = pattern.rotate(rng.uniform(-40, 40)).crop((left, top, left + side, top + side))
            light = rng.uniform(0.5, 1.0, 3) * np.asarray(crop.resize((60, 70)), np.float64)
            noisy = np.clip(light + rng.normal(0, 20, light.shape), 0, 255).astype(np.uint8)
            place = folder / f"kind-{kind:02d}" if labelled else folder
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy).save(place / f"{kind:02d}-{number:02d}.jpg", quality=90)
    return folder


def make_workspace(workspace: Path) -> Path:
    """A fresh clone, as far as the pipeline can see: same stages and code, small params, DVC and git."""
    workspace.mkdir(parents=True)
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, workspace)
    (workspace / "src").symlink_to(ROOT / "src")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, changes in SMALL.items():
        params[section] |= changes
    (workspace / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (workspace / ".gitignore").write_text("/.scratch/\n/models/\n")
    run(workspace, "git", "init", "-q")
    run(workspace, "dvc", "init", "-q")
    shutil.copy(ROOT / ".dvc" / "config", workspace / ".dvc" / "config")
    commit(workspace, "start")
    return workspace


def environment() -> dict[str, str]:
    """The environment a person has after activating the project's virtual environment."""
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@localhost",
        "GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@localhost",
    }  # fmt: skip


def run(workspace: Path, *command: str, fails: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run a command in the workspace; its status must be 0, or not 0 if it is to fail."""
    done = subprocess.run(
        command, cwd=workspace, env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode != 0) == fails, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def commit(workspace: Path, message: str) -> None:
    """Commit everything that git does not ignore."""
    run(workspace, "git", "add", "-A")
    run(workspace, "git", "commit", "-q", "-m", message)
