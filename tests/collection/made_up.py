"""A small index and additions with made-up vectors: no model, a file's bytes decide its vector."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import faiss
import numpy as np

from udml.collection.additions import ADDITIONS_FILE, Additions
from udml.collection.collection import Collection
from udml.data.identity import image_id
from udml.search.build import write_index
from udml.search.gallery import IndexInfo, open_index
from udml.search.items import ITEMS_FILE, IndexedItem, Items

DIM = 16
MODEL = "m" * 16


def vector(data: bytes) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(data).digest()[:8], "big")
    made = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    return made / np.linalg.norm(made)


def embed(files):
    return [vector(data) for data in files]


def content(source: str) -> bytes:
    """The bytes of the file of this name."""
    return (source * 50).encode()


def write_base(directory: Path, count: int) -> None:
    sources = [f"base-{number}" for number in range(count)]
    items = [
        IndexedItem(image_id(s), s, None, hashlib.sha256(content(s)).hexdigest(), len(content(s)), row, 0, 0)
        for row, s in enumerate(sources)
    ]
    built = faiss.IndexIDMap2(faiss.IndexFlatIP(DIM))
    vectors = np.stack(embed([content(s) for s in sources]))
    built.add_with_ids(vectors, np.array([item.image_id for item in items]))
    directory.mkdir(parents=True)
    write_index(directory, built, [vectors], IndexInfo(MODEL, "d" * 16, "flat", DIM, count, 1.0, {}), items)


def open_collection(directory: Path) -> Collection:
    card = SimpleNamespace(model_version=MODEL, embedding_dim=DIM)
    additions = Additions(directory / ADDITIONS_FILE)
    return Collection(
        open_index(directory, card), Items(directory / ITEMS_FILE), additions, directory / "data", embed
    )
