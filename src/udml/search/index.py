"""The index stage: embed every image with the model that ships, and build what is searched.

Approximate kinds are tuned with strongly changed views of indexed images, embedded like any query:
indexed vectors themselves would be found too easily.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from udml import config
from udml.compute.local import run_here
from udml.compute.work import Run
from udml.data.catalog import CATALOG_FILE, SUMMARY_FILE, ImageStore, open_store, read_catalog
from udml.errors import UdmlError
from udml.files import (
    atomic_directory,
    discard_scratch,
    fingerprint,
    read_json,
    scratch_directory,
    sha256_file,
)
from udml.search.build import build, kind_for, write_index
from udml.search.chunks import CHUNK_ROWS, Chunks, Views, embed_chunks
from udml.search.columns import write_columns
from udml.search.columns.catalogue import columns_of_catalog
from udml.search.embedder import Embedder
from udml.search.gallery import IndexInfo
from udml.search.graph import ChunkRows, Spread, exact_rows
from udml.search.items import IndexedItem
from udml.search.no_match import nearest_others, spread_rows, threshold_at
from udml.search.reference import write_reference

_VIEWS_SEED = 0
_ITEM_COLUMNS = ("image_id", "source", "label", "sha256", "size_bytes", "data_shard", "data_offset", "group")


def index(exported: Path, prepared: Path, out: Path, params: config.Index, run: Run = run_here) -> None:
    """Write index.faiss, index.json, items.sqlite, columns and reference.npy to `out`.

    Every catalogue row is indexed, whatever its split: people search all their pictures. Ids are the
    catalogue's image_ids. Embeddings survive a kill; the same inputs give the same index.

    Args:
        exported: what the export stage wrote.
        prepared: what the prepare stage wrote.
        out: replaced as a whole.
        params: sizes at which the kind of index changes, the recall demanded, the reference's size.
        run: what does the work.

    Raises:
        UdmlError: if an input is missing or broken, or the recall demanded cannot be reached.
    """
    catalog = read_catalog(prepared)
    if catalog.empty:
        raise UdmlError("the catalogue has no images to index", "import pictures that can be decoded")
    store = open_store(prepared, catalog)
    model = exported / "model.onnx"
    embedder = Embedder(model)
    scratch = scratch_directory(
        "index", fingerprint(sha256_file(model), sha256_file(prepared / CATALOG_FILE), CHUNK_ROWS)
    )
    kind, dim = kind_for(len(catalog), params), embedder.card.embedding_dim
    views = _strong_views(store, params.recall_queries) if kind != "flat" else None
    work = Chunks(store, np.arange(len(catalog)), scratch, views)
    embed_chunks(embedder, work, "index", run)
    chunks = list(work.vectors())
    ids = catalog["image_id"].to_numpy().astype(np.int64)
    built, tuning, recall = build(
        chunks, ids, kind, work.view_vectors(dim) if views else None, params.min_recall_at_10
    )
    rows = spread_rows(len(catalog))
    groups = catalog["group"].to_numpy()
    nearest = nearest_others(built.index, ChunkRows(chunks)[rows], groups, rows, exact_rows(kind, chunks))
    info = IndexInfo(
        model_version=embedder.card.model_version,
        data_version=read_json(prepared / SUMMARY_FILE)["data_version"],
        kind=kind,
        dim=dim,
        count=len(catalog),
        recall_at_10=recall,
        search_parameters=tuning,
        no_match_below=threshold_at(nearest, params.no_match_error),
        no_match_error=params.no_match_error,
    )
    with atomic_directory(out) as unfinished:
        write_columns(unfinished, columns_of_catalog(catalog))
        write_index(
            unfinished, built, chunks, info, _items(catalog), params.mix_neighbours, Spread(run, scratch)
        )
        write_reference(unfinished, catalog, store, params.reference_images)
    discard_scratch(scratch)


def _strong_views(store: ImageStore, count: int) -> Views:
    """Strongly changed views of images spread evenly over the store."""
    rows = np.unique(np.linspace(0, len(store) - 1, count).round().astype(np.int64))
    return Views(store, rows, _VIEWS_SEED)


def _items(catalog: pd.DataFrame) -> Iterator[IndexedItem]:
    columns = [catalog[name].tolist() for name in _ITEM_COLUMNS]
    for position, (image_id, source, label, sha256, size_bytes, shard, offset, group) in enumerate(
        zip(*columns, strict=True)
    ):
        named = label if isinstance(label, str) else None  # a missing one is NaN to pandas
        copy_of = None if group == image_id else group
        yield IndexedItem(image_id, source, named, sha256, size_bytes, position, shard, offset, copy_of)
