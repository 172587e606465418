"""A small registry whose versions hold real pictures, with the originals behind them."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import faiss
import numpy as np
from PIL import Image

from tests.conftest import ROOT
from tests.fixtures.models import DIM, pictures, tiny_card, write_model
from tests.registry.workspace import make_sources
from udml.data.identity import image_id
from udml.data.shards import ShardWriter
from udml.pixels import decode
from udml.registry import store
from udml.search.build import write_index
from udml.search.embedder import Embedder
from udml.search.gallery import REFERENCE_FILE, IndexInfo
from udml.search.items import IndexedItem


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def files(count: int, seed: int, prefix: str = "new") -> list[tuple[str, bytes, str | None]]:
    """`count` different pictures as (source, bytes, label)."""
    images = pictures(count, seed)
    return [(f"{prefix}/{row:03d}.png", png(image), f"label-{row % 3}") for row, image in enumerate(images)]


def make_version(
    root: Path,
    stored: list[tuple[str, bytes, str | None]],
    seed: int = 0,
    no_match_below: float | None = None,
    mixed: bool = False,
    copy_of: Mapping[str, str] | None = None,
) -> str:
    """Put files into data/, index them by a model made from `seed`, register and promote that.

    `copy_of` says by name which files are near-duplicates of which.
    """
    place = root / f"made-{len(store.version_names(root / 'models'))}"
    place.mkdir(parents=True)
    sources = make_sources(place, seed)
    sources.params.write_text((ROOT / "params.yaml").read_text())
    write_model(sources.model, tiny_card(model_version=f"{seed:016x}"), seed)
    embedder = Embedder(sources.model, threads=1)
    items = []
    with ShardWriter(root / "data") as writer:
        for position, (source, data, label) in enumerate(stored):
            key, sha256 = image_id(source), hashlib.sha256(data).hexdigest()
            where = writer.add(key, source, data)
            first = (copy_of or {}).get(source)
            items.append(
                IndexedItem(
                    key, source, label, sha256, len(data), position, *where, first and image_id(first)
                )
            )
    vectors = embedder.embed([decode(data, 40).pixels for _, data, _ in stored])
    built = faiss.IndexIDMap2(faiss.IndexFlatIP(DIM))
    built.add_with_ids(vectors, np.array([item.image_id for item in items]))
    info = IndexInfo(f"{seed:016x}", "data-0", "flat", DIM, len(items), 1.0, {}, no_match_below, 0.05)
    write_index(sources.index, built, [vectors], info, items, mixed)
    (sources.index / REFERENCE_FILE).write_bytes(b"what the model was trained on")
    name = store.register(root / "models", sources).name
    store.promote(root / "models", name, "")
    return name
