"""The stages of the stand-in workspace: real files of real formats, made in a moment.

`STANDIN_PAUSE=train:FILE` makes a stage create FILE and wait for it to be removed (or to be killed).
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from udml import paths
from udml.config import load_params
from udml.files import fingerprint, write_json

CLASSES, IMAGES = 48, 288


def prepare() -> None:
    """Half of the classes for training, half for testing; the data's own text makes the pictures.

    A second line says how many more there are, of other things, a third one in which light.
    """
    from tests.fixtures.fakes import write_prepared
    from tests.fixtures.models import pictures, warmer

    text, more, light = [*Path("data/batch.txt").read_text().split("\n"), "0", ""][:3]
    seed = int(fingerprint(text)[:6], 16)
    others = pictures(int(more), seed + 1)
    if light == "warm":
        others = warmer(others)
    images = pictures(IMAGES, seed, CLASSES) + others
    labels = [f"class-{number % CLASSES}" for number in range(len(images))]
    splits = ["train" if number % CLASSES < CLASSES // 2 else "test" for number in range(len(images))]
    write_prepared(paths.PREPARED, images, labels, splits)
    write_json(paths.PREPARED / "summary.json", {"data_version": f"data-{seed:06x}"})


def validate() -> None:
    """The data meet a rule."""
    rule = {"name": "fits", "sentence": "images fit", "met": True, "required": True, "failing": 0,
            "examples": []}  # fmt: skip
    write_json(paths.VALIDATED / "result.json", {"success": True, "data_version": "data", "rules": [rule]})


def train() -> None:
    """Work in two halves; the first is kept in .scratch when the stage is killed in the second."""
    half = Path(".scratch/train-0/half")
    resumed = half.exists()
    half.parent.mkdir(parents=True, exist_ok=True)
    half.write_text("done")
    pause("train")
    paths.TRAINED.mkdir(parents=True)
    (paths.TRAINED / "how.json").write_text(json.dumps({"seed": load_params().train.seed}))
    half.unlink()
    half.parent.rmdir()
    print("resumed" if resumed else "from the start")


def export() -> None:
    """A model that sees all of twelve numbers, or, at seeds from 100, as few as the frozen one: two."""
    from tests.fixtures.models import tiny_card, write_model

    params = load_params().train
    card = tiny_card(model_version=f"model-{params.seed}-{params.steps}")
    write_model(paths.MODEL, card, params.seed, inputs=2 if params.seed >= 100 else 12)
    write_model(paths.EXPORTED / "frozen.onnx", tiny_card("frozen"), 0, inputs=2)


def index() -> None:
    """The real stage."""
    from udml.search.index import index

    index(paths.EXPORTED, paths.PREPARED, paths.INDEXED, load_params().index)


def evaluate() -> None:
    """The real figures without the report."""
    from udml.evaluation.evaluate import evaluate
    from udml.evaluation.files import write_metrics, write_protocols

    found = evaluate(load_params())
    write_metrics(paths.METRICS, found)
    write_protocols(paths.PROTOCOLS, found)


def pause(stage: str) -> None:
    """Wait while the test wants this stage to."""
    wanted, _, name = os.environ.get("STANDIN_PAUSE", "").partition(":")
    if stage == wanted:
        Path(name).touch()
        while Path(name).exists():
            time.sleep(0.05)


STAGES: dict[str, Callable[[], None]] = {
    stage.__name__: stage for stage in (prepare, validate, train, export, index, evaluate)
}

if __name__ == "__main__":
    if sys.argv[1] != "train":
        pause(sys.argv[1])
    STAGES[sys.argv[1]]()
