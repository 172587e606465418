"""A workspace in which every command ends well, and the process that runs commands in it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.conftest import ROOT
from tests.fixtures.models import tiny_card, write_model
from tests.pipeline import environment, make_workspace, run, write_pictures
from tests.registry.signing.keys import write_keys
from udml.files import read_json, write_json
from udml.judgement.answers import append, stamped

TIMEOUT_SECONDS = 600  # ends what hangs
HEAVY = (
    "torch", "timm", "peft", "onnxscript", "torch.onnx", "accelerate", "pandas", "pyarrow.parquet",
    "sklearn.cluster", "matplotlib.pyplot", "dvc.repo", "dvclive.live", "great_expectations",
    "fastapi", "uvicorn",
)  # fmt: skip
LIGHT = ("faiss", "onnxruntime", "PIL.Image", "simplejpeg", "tqdm")
Step = Sequence[object]


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    status: int | None
    out: str
    err: str
    unfinished: str


class Driver:
    """A process that runs commands, each in a child of its own."""

    def __init__(self, modules: Sequence[str], variables: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.driver", *modules],
            cwd=ROOT,
            env={**environment(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, cwd: Path, argv: Sequence[str], steps: Sequence[Step] = ()) -> Said:
        """Run one command; `steps` are functions of the driver, with their arguments, done before it."""
        request = {"cwd": str(cwd), "argv": argv, "steps": steps, "timeout_seconds": TIMEOUT_SECONDS}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request, default=os.fspath) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return Said(**answer)

    def close(self) -> None:
        self._process.communicate()


@contextmanager
def driver(modules: Sequence[str], **variables: str) -> Iterator[Driver]:
    """A driver that has imported `modules` and runs with these variables of the environment."""
    opened = Driver(modules, variables)
    try:
        yield opened
    finally:
        opened.close()


def make(folder: Path, commands: Driver) -> Path:
    """The workspace: v1, and v2 which is the champion, with an image added; v3 is on the remote only."""
    write_pictures(folder / "pictures", kinds=8, each=12)
    workspace = make_workspace(folder / "w")
    (folder / "remote").mkdir()
    run(workspace, "dvc", "remote", "add", "-q", "-d", "store", "../remote")
    save(folder / "more", ("0.png", "1.png"), seed=0)
    save(folder / "added", ("0.png", "1.png", "caf\udce9.png"), seed=1)

    def udml(line: str) -> None:
        said = commands.run(workspace, line.split())
        assert said.status == 0, f"{line}: {said}"

    for stage in ("data import ../pictures", "prepare", "validate", "train"):
        udml(stage)
    made = read_json(workspace / "artifacts" / "prepare" / "summary.json")["data_version"]
    for kind, name, inputs in (("trained", "model", 12), ("frozen", "frozen", 6)):  # quicker than real ones
        card = replace(tiny_card(kind), data_version=made)
        write_model(workspace / "artifacts" / "export" / f"{name}.onnx", card, inputs=inputs)
    write_json(workspace / "artifacts" / "export" / "parity.json", {"quantization": {"verdict": "float32"}})
    for stage in ("index", "evaluate"):
        udml(stage)
    run(workspace, "dvc", "commit", "-f", "-q")
    for name in ("v1", "v2"):
        udml("models register")
        udml(f"models promote {name}")
    udml("models register")
    udml("models push")
    shutil.rmtree(workspace / "models" / "versions" / "v3")
    log = workspace / "models" / "log.jsonl"
    log.write_text("".join(line for line in log.open() if '"v3"' not in line))
    udml("index add ../added")
    udml("keys add ann")
    write_keys(folder, "signing")
    append([stamped("0" * 64, "1" * 64, "same", "ann")], workspace / "judgements.jsonl")
    return workspace


def save(folder: Path, names: Sequence[str], seed: int = 0) -> Path:
    """Pictures of these names, none like another."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in names:
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
        with (folder / name).open("wb") as file:
            small.resize((60, 70)).save(file, "PNG")
    return folder
