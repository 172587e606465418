"""Registries for the serving benchmark: models of the workspace, collections of real photos."""

import hashlib
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import torch
from torch import nn

from benchmarks.settings import STORE_PX
from udml.data.identity import image_id
from udml.data.shards import ShardWriter
from udml.export.export import model_card
from udml.export.graph import export_network
from udml.files import write_json
from udml.learning.model.network import ModelSpec, Network, load
from udml.pixels import decode
from udml.registry import store
from udml.registry.bundle import Sources
from udml.search.embedder import Embedder
from udml.search.gallery import INDEX_FILE, INFO_FILE
from udml.search.items import ITEMS_FILE, IndexedItem, write_items

OPSET = 18
_EMBEDDED_AT_ONCE = 256
File = tuple[str, bytes]


def photos(folder: Path, count: int) -> list[File]:
    """`count` JPEG files of a folder, evenly spread over it, as (name, bytes)."""
    found = sorted(folder.rglob("*.jpg"))
    if len(found) < count:
        raise SystemExit(f"{folder} holds {len(found)} photos, {count} are needed")
    picked = np.linspace(0, len(found) - 1, count).round().astype(int)
    return [(str(found[i].relative_to(folder)), found[i].read_bytes()) for i in picked]


def network_at(trained: Path, input_px: int, seed: int = 0) -> tuple[Network, ModelSpec]:
    """The workspace's network at another input size; with a `seed`, with another embedding head."""
    network, spec = load(trained)
    if seed:
        torch.manual_seed(seed)
        nn.init.orthogonal_(network.embedding_head.weight)
    return network, replace(spec, input_px=input_px, store_short_side_px=STORE_PX[input_px])


def export_model(network: Network, spec: ModelSpec, path: Path) -> Path:
    """Write a network as the export stage does."""
    card = model_card(network, spec, "trained", spec.embedding_dim)
    export_network(network, card, spec.mean, spec.std, OPSET, path)
    return path


def write_originals(root: Path, files: list[File]) -> list[IndexedItem]:
    """Put files into root/data; returns what an index of them lists."""
    items = []
    with ShardWriter(root / "data") as writer:
        for position, (name, data) in enumerate(files):
            where = writer.add(image_id(name), name, data)
            sha256 = hashlib.sha256(data).hexdigest()
            items.append(IndexedItem(image_id(name), name, None, sha256, len(data), position, *where))
    return items


def register(root: Path, model: Path, files: list[File], items: list[IndexedItem]) -> str:
    """Index `files` by `model`, register that in root/models; returns the version's name."""
    embedder = Embedder(model)
    made = root / f"made-{model.stem}"
    (made / "index").mkdir(parents=True)
    built = faiss.IndexIDMap2(faiss.IndexFlatIP(embedder.card.embedding_dim))
    for start in range(0, len(files), _EMBEDDED_AT_ONCE):
        some = files[start : start + _EMBEDDED_AT_ONCE]
        vectors = embedder.embed([decode(data, embedder.card.store_short_side_px).pixels for _, data in some])
        ids = [item.image_id for item in items[start : start + _EMBEDDED_AT_ONCE]]
        built.add_with_ids(vectors, np.array(ids))
    faiss.write_index(built, str(made / "index" / INDEX_FILE))
    write_items(made / "index" / ITEMS_FILE, items)
    card = embedder.card
    info = {
        "model_version": card.model_version, "data_version": card.data_version, "kind": "flat",
        "dim": card.embedding_dim, "count": len(items), "recall_at_10": 1.0, "search_parameters": {},
    }  # fmt: skip
    write_json(made / "index" / INFO_FILE, info)
    others = [made / name for name in ("metrics.json", "params.yaml", "dvc.lock")]
    for path in others:
        path.write_text("{}\n")
    return store.register(root / "models", Sources(model, made / "index", *others)).name
