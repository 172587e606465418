"""Fold what was added and removed into a new version's index; the version before it stays for rollback.

Nothing is taken out of the file of additions: it says what the collection is whichever version serves,
and keeps the originals. What the new index holds already is simply not laid over it any more.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from udml.collection.collection import Collection
from udml.collection.overlay import Overlay
from udml.config import Index, section_as_made
from udml.errors import UdmlError
from udml.learning.views.strong import strong_view
from udml.processes import own_directory
from udml.registry import store
from udml.registry.bundle import (
    INDEX_DIRECTORY,
    LOCK_FILE,
    METRICS_FILE,
    MODEL_FILE,
    PARAMS_FILE,
    PROTOCOLS_FILE,
    Bundle,
    Sources,
    read_bundle,
)
from udml.registry.describing.bom import BOM_FILE
from udml.search.build import build, kind_for, write_index
from udml.search.columns import Columns, joined, take, write_columns
from udml.search.gallery import OLD_REFERENCE_FILE, REFERENCE_FILE, vectors_of
from udml.search.items import NOT_IN_DATA, IndexedItem
from udml.serving.engine.searcher import Searcher

_CHUNK_ROWS = 16_384
_VIEWS_SEED = 0


def compact(models: Path, data: Path, min_share: float = 0.0) -> Bundle | None:
    """Make the champion's collection, as it is now, a version of its own, and promote that.

    Model, figures and ids stay. Changes made meanwhile lie over the new version like over the old.

    Args:
        models: the registry's directory.
        data: the imported data.
        min_share: do nothing while less than this share of the index has been added or removed.

    Returns:
        The new champion, or None where there was nothing, or too little, to fold.

    Raises:
        UdmlError: if there is no champion, all its images were removed, the recall demanded cannot be
            reached, or another version became the champion meanwhile (the new one is then registered,
            but not promoted).
    """
    old = store.version_directory(models, store.CHAMPION)
    with Searcher.open(old, data) as searcher:
        collection = searcher.collection
        assert isinstance(collection, Collection)  # as `Searcher.open` opens them
        overlay = collection.refresh()
        changes = len(overlay.ids) + len(overlay.hidden)
        if changes == 0 or changes < min_share * collection.info.count:
            return None
        if len(searcher) == 0:
            raise UdmlError("every image was removed: there is nothing to index", "add some first")
        # beside the versions, so that it is on the disk that has the room
        with own_directory(models, ".compact-") as scratch:
            index = scratch / "index"
            index.mkdir()
            _write_folded(searcher, overlay, section_as_made(old / PARAMS_FILE, Index, "index"), index)
            for name in (REFERENCE_FILE, OLD_REFERENCE_FILE):
                reference = old / INDEX_DIRECTORY / name
                if reference.exists():  # what the model was trained on stays what it was
                    shutil.copyfile(reference, index / name)
            made = read_bundle(old)
            new = store.register(models, _sources(old, index), made.git_revision, made.name)
    reason = f"{len(overlay.ids)} added and {len(overlay.hidden)} removed images folded into {old.name}"
    return store.promote(models, new.name, reason, instead_of=old.name)


def _sources(version: Path, index: Path) -> Sources:
    metrics, params, lock = (version / name for name in (METRICS_FILE, PARAMS_FILE, LOCK_FILE))
    kept = (version / PROTOCOLS_FILE, version / BOM_FILE)
    return Sources(version / MODEL_FILE, index, metrics, params, lock, *kept)


def _write_folded(searcher: Searcher, overlay: Overlay, params: Index, out: Path) -> None:
    collection = searcher.collection
    assert isinstance(collection, Collection)
    firsts = searcher.copies.firsts(overlay.ids.tolist(), overlay)
    items = list(_folded_items(collection, overlay, firsts))
    ids = np.array([item.image_id for item in items], np.int64)
    kind = kind_for(len(items), params)
    views = _strong_views(searcher, ids, params.recall_queries) if kind != "flat" else None
    with tempfile.TemporaryDirectory(prefix="vectors-", dir=out.parent) as scratch:
        chunks = _chunks(collection, overlay, ids, Path(scratch))
        built, tuning, recall = build(chunks, ids, kind, views, params.min_recall_at_10)
        info = replace(
            collection.index.info,
            kind=kind,
            count=len(items),
            recall_at_10=recall,
            search_parameters=tuning,
            additions_revision=overlay.revision,
        )
        write_columns(out, _folded_columns(collection, overlay, ids))
        write_index(out, built, chunks, info, items, params.mix_neighbours)


def _folded_items(
    collection: Collection, overlay: Overlay, firsts: Mapping[int, int]
) -> Iterator[IndexedItem]:
    """What stays of the index, in its order, then what was added, by `firsts` in groups."""
    hidden = set(overlay.hidden.tolist())
    ids = [i for i in collection.index.ids.tolist() if i not in hidden]
    position = 0
    for start in range(0, len(ids), _CHUNK_ROWS):
        some = ids[start : start + _CHUNK_ROWS]
        found = collection.indexed_items(some)
        for i in some:
            yield replace(found[i], position=position)
            position += 1
    for i, item in collection.items(overlay.ids.tolist()).items():
        place = (position, NOT_IN_DATA, NOT_IN_DATA)
        copy_of = None if firsts[i] == i else firsts[i]
        yield IndexedItem(i, item.source, item.label, item.sha256, item.size_bytes, *place, copy_of)
        position += 1


def _folded_columns(collection: Collection, overlay: Overlay, ids: np.ndarray) -> Columns:
    """The columns of `ids`: those that stay of the index, then those that were added."""
    stay = np.flatnonzero(~np.isin(collection.index.ids, overlay.hidden))
    row_of = {int(i): row for row, i in enumerate(overlay.ids)}
    rows = np.array([row_of[int(i)] for i in ids[len(stay) :]], np.int64)
    added = take(collection.added_columns.of(overlay), rows)
    return joined([(take(collection.index.columns, stay), len(stay)), (added, len(rows))])


def _chunks(collection: Collection, overlay: Overlay, ids: np.ndarray, scratch: Path) -> list[np.ndarray]:
    """The vectors of `ids`, float32 [<= _CHUNK_ROWS, d] each, kept in files: memory holds the new index."""
    stay = len(ids) - len(overlay.ids)
    row_of = {int(i): row for row, i in enumerate(overlay.ids)}
    chunks = []
    for start in range(0, len(ids), _CHUNK_ROWS):
        some = ids[start : start + _CHUNK_ROWS]
        indexed, added = some[: max(0, stay - start)], some[max(0, stay - start) :]
        path = scratch / f"{start}.npy"
        parts = [vectors_of(collection.index, indexed)] if len(indexed) else []
        np.save(path, np.concatenate([*parts, overlay.vectors[[row_of[int(i)] for i in added]]]))
        chunks.append(np.load(path, mmap_mode="r"))
    return chunks


def _strong_views(searcher: Searcher, ids: np.ndarray, count: int) -> np.ndarray:
    """Vectors of strongly changed views of images spread evenly over the collection: float32 [count, d]."""
    rng = np.random.default_rng(_VIEWS_SEED)
    chosen = ids[np.unique(np.linspace(0, len(ids) - 1, count).round().astype(np.int64))]
    images = (searcher.decode(searcher.image_bytes(int(i))) for i in chosen)
    return searcher.embed_images([strong_view(image, rng) for image in images])
