"""What a finished pipeline leaves for the registry, in miniature."""

from pathlib import Path

import faiss
import numpy as np

from tests.fixtures.models import DIM, tiny_card, write_model
from udml.files import write_json
from udml.registry.bundle import Sources
from udml.search.gallery import INDEX_FILE, INFO_FILE
from udml.search.items import ITEMS_FILE, IndexedItem, write_items


def make_sources(directory: Path, seed: int = 0, images: int = 30, map_at_r: float = 0.4) -> Sources:
    """Model, index of random vectors, figures and settings; `seed` makes another model."""
    model = write_model(directory / "model.onnx", tiny_card(model_version=f"model-{seed}"), seed)
    index = directory / "index"
    index.mkdir()
    vectors = np.random.default_rng(seed).standard_normal((images, DIM)).astype(np.float32)
    faiss.normalize_L2(vectors)
    made = faiss.IndexIDMap2(faiss.IndexFlatIP(DIM))
    made.add_with_ids(vectors, np.arange(100, 100 + images))
    faiss.write_index(made, str(index / INDEX_FILE))
    write_json(
        index / INFO_FILE,
        {
            "model_version": f"model-{seed}", "data_version": "data-0", "kind": "flat", "dim": DIM,
            "count": images, "recall_at_10": 1.0, "search_parameters": {},
        },
    )  # fmt: skip
    write_items(
        index / ITEMS_FILE,
        (
            IndexedItem(100 + row, f"{row:03d}.jpg", None, f"{row:064x}", 1, row, 0, 0)
            for row in range(images)
        ),
    )
    figures = {
        "leave_one_out": {"map_at_r": map_at_r, "protocol": "p"},
        "label_free": {"found_again_at_1": 0.5},
    }
    write_json(directory / "metrics.json", {"trained": figures, "frozen": figures})
    (directory / "params.yaml").write_text(f"train:\n  seed: {seed}\n  steps: 4\n")
    (directory / "dvc.lock").write_text("schema: '2.0'\n")
    return Sources(
        model, index, directory / "metrics.json", directory / "params.yaml", directory / "dvc.lock"
    )
