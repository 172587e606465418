"""What `udml monitor` finds in a workspace, in miniature."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import ROOT
from tests.fixtures.fakes import write_prepared
from tests.fixtures.models import pictures, tiny_card, write_model
from udml.config import load_params
from udml.data.catalog import SUMMARY_FILE
from udml.files import write_json
from udml.search.index import index

COUNT = 120


def make_workspace(root: Path) -> Path:
    """Settings, a model, the index of 120 pictures, and what else a version is registered from."""
    splits = ["train"] * COUNT
    prepared = write_prepared(root / "artifacts" / "prepare", pictures(COUNT), [None] * COUNT, splits)
    write_json(prepared / SUMMARY_FILE, {"data_version": "a" * 16})
    write_model(root / "artifacts" / "export" / "model.onnx", tiny_card())
    (root / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    for name in ("dvc.lock", "artifacts/metrics.json"):
        (root / name).write_text("{}")
    before = Path.cwd()
    os.chdir(root)
    try:
        index(
            Path("artifacts/export"), Path("artifacts/prepare"), Path("artifacts/index"), load_params().index
        )
    finally:
        os.chdir(before)
    return root


def save(folder: Path, images: list[np.ndarray]) -> Path:
    """Write images as PNG files, numbered."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03d}.png")
    return folder
