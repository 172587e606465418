"""Embedding rows of the image store chunk by chunk, wherever the work is done; chunks are files.

Chunks are cut at the same rows whoever makes them, so the vectors are the same to the last bit, as far as
processors agree.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from udml.compute.local import run_here
from udml.compute.work import Count, Place, Run, Work
from udml.files import atomic_path, fingerprint
from udml.learning.views.strong import Look, draw_look, look_at
from udml.search.embedder import Embedder, embed_rows

if TYPE_CHECKING:
    from udml.data.catalog import ImageStore  # needs pandas, which searching does without

CHUNK_ROWS = 1024  # images embedded between two checkpoints


@dataclass(frozen=True)
class Chunk:
    """What one file of vectors is made of.

    Attributes:
        file: to write: float32 [n, d], as `numpy.save` does.
        store: the pixels of the n images.
        looks: how each is shown, n of them; None for the images as they are.
    """

    file: Path
    store: "ImageStore"
    looks: tuple[Look, ...] | None = None


class Views:
    """Strong views of some rows of a store, drawn one after the other, so that they stay the same."""

    def __init__(self, store: "ImageStore", rows: np.ndarray, seed: int) -> None:
        """Draw a look at each of `rows`, int [n]; equal seeds draw equal ones."""
        rng = np.random.default_rng(seed)
        self.rows = rows
        self.looks = tuple(
            draw_look(int(store.width[row]), int(store.height[row]), rng) for row in rows.tolist()
        )
        self.name = fingerprint(rows.tolist(), [astuple(look) for look in self.looks])


class Chunks:
    """Strong views, if any, and rows of a store, as chunks, which are made as they are asked for.

    Attributes:
        view_files, row_files: one a chunk, in this order.
    """

    def __init__(
        self, store: "ImageStore", rows: np.ndarray, scratch: Path, views: Views | None = None
    ) -> None:
        """Nothing is embedded yet.

        Args:
            store: decoded pixels.
            rows: int [n], rows of the store.
            scratch: an existing directory for the files, for one model, these rows and this store only.
            views: of the same store.
        """
        self._store, self._rows, self._views = store, rows, views
        shown = len(views.rows) if views else 0
        name = views.name if views else ""
        self.view_files = [scratch / f"views-{name}-{at:09d}.npy" for at in range(0, shown, CHUNK_ROWS)]
        self.row_files = [scratch / f"vectors-{at:09d}.npy" for at in range(0, len(rows), CHUNK_ROWS)]

    def __len__(self) -> int:
        return len(self.view_files) + len(self.row_files)

    def __getitem__(self, place: int) -> Chunk:
        """The chunk at a place, 0 or more."""
        if self._views and place < len(self.view_files):
            some = slice(place * CHUNK_ROWS, (place + 1) * CHUNK_ROWS)
            part = self._store.part(self._views.rows[some])
            return Chunk(self.view_files[place], part, self._views.looks[some])
        number = place - len(self.view_files)
        rows = self._rows[number * CHUNK_ROWS : (number + 1) * CHUNK_ROWS]
        return Chunk(self.row_files[number], self._store.part(rows))

    def vectors(self) -> Iterator[np.ndarray]:
        """What was made of the rows: float32 [at most CHUNK_ROWS, d] each, read-only and memory-mapped."""
        return (np.load(file, mmap_mode="r") for file in self.row_files)

    def view_vectors(self, dim: int) -> np.ndarray:
        """What was made of the views, by a model of this embedding length: float32 [v, dim]."""
        return np.concatenate([np.empty((0, dim), np.float32), *map(np.load, self.view_files)])


def embed_chunks(embedder: Embedder, chunks: Chunks, description: str, run: Run = run_here) -> None:
    """Embed what is not there yet; chunks that are done survive a kill.

    Args:
        embedder: the model; other processes open its file.
        chunks: what to embed.
        description: of the progress bar.
        run: what does the work.
    """
    work: Work[Embedder, Chunk] = Work(
        description=description,
        open=partial(_open_model, embedder.path),
        do=_embed,
        is_done=_is_there,
        size=_pictures,
        whole_node=True,
        here=embedder,
    )
    run(work, chunks)


def embed_store_resumably(
    embedder: Embedder, store: "ImageStore", rows: np.ndarray, scratch: Path, description: str
) -> Iterator[np.ndarray]:
    """Embed rows of the image store on this machine, chunk by chunk; chunks that are done survive a kill.

    Args:
        embedder: the model.
        store: decoded pixels.
        rows: int [n], rows of the store.
        scratch: an existing directory for this model, these rows and this store only.
        description: of the progress bar.

    Yields:
        float32 [at most CHUNK_ROWS, d], read-only and memory-mapped, in the order of `rows`.
    """
    chunks = Chunks(store, rows, scratch)
    embed_chunks(embedder, chunks, description)
    yield from chunks.vectors()


def _open_model(path: Path, place: Place) -> Embedder:
    return Embedder(path, place.cores, place.gpu)


def _is_there(chunk: Chunk) -> bool:
    return chunk.file.exists()


def _pictures(chunk: Chunk) -> int:
    return len(chunk.store)


def _embed(embedder: Embedder, chunk: Chunk, count: Count) -> None:
    with atomic_path(chunk.file) as temporary, temporary.open("wb") as opened:
        np.save(opened, _vectors(embedder, chunk, count))


def _vectors(embedder: Embedder, chunk: Chunk, count: Count) -> np.ndarray:
    if chunk.looks is None:
        return embed_rows(embedder, chunk.store, np.arange(len(chunk.store)), count)
    shown = [look_at(chunk.store[row], look) for row, look in enumerate(chunk.looks)]
    vectors = embedder.embed(shown)
    count(len(shown))
    return vectors
