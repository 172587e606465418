"""The neighbour graph of a collection, stretch by stretch of its images, wherever the work is done.

Of every image is kept what its mixture needs (see `udml.search.neighbourhood`): the nearest others that are
no copies, and the first of its copies. Stretches are files, cut at the same images whoever makes them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faiss
import numpy as np

from udml.compute.local import run_here
from udml.compute.work import Count, Place, Run, Work
from udml.files import atomic_path, remove, sha256_file
from udml.learning.mixing import STRETCH_ROWS, Rows, without_copies
from udml.search.neighbourhood import MAX_MIXED, choose_mixed, lowest_copies, neighbours_of, reciprocity


class ChunkRows:
    """Rows of several arrays as if they were one; what is asked for is copied."""

    def __init__(self, chunks: Sequence[np.ndarray]) -> None:
        self._chunks = chunks
        self._starts = np.cumsum([0, *map(len, chunks)])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """float32 [n, d], in the order of `rows`, int [n]."""
        found = np.empty((len(rows), self._chunks[0].shape[1]), np.float32)
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(owner):
            own = owner == number
            found[own] = self._chunks[number][rows[own] - self._starts[number]]
        return found


def exact_rows(kind: str, chunks: Sequence[np.ndarray]) -> ChunkRows | None:
    """What an index of this kind ranks its candidates by, before it is written; see `search_base`."""
    return ChunkRows(chunks) if kind == "ivf" else None


@dataclass(frozen=True)
class Spread:
    """Who finds neighbours, and where what is found outlives a kill; None where it need not."""

    run: Run = run_here
    scratch: Path | None = None


HERE = Spread()


@dataclass(frozen=True)
class Gallery:
    """What a stretch is searched in.

    Attributes:
        base: the FAISS index of all images, as it is searched.
        vectors: of all images, by position.
        exact: as for `udml.search.gallery.search_base`.
        owner: of the base, which goes with it.
    """

    base: Any
    vectors: Rows
    exact: Rows | None
    owner: Any = None


@dataclass(frozen=True)
class Stretch:
    """Images `start` to before `end`, and the file to write: the arrays of `Found`."""

    file: Path
    start: int
    end: int


@dataclass(frozen=True)
class Found:
    """What was found of n images.

    Attributes:
        positions: int32 [n, 32], each image's nearest others, copies among them; -1 behind the last one.
        near, weights: int32 [n, 32] and float32 [n, 4], the same less copies, and how similar the first are.
        lowest: int32 [n], the lowest position among each image's copies and itself.
    """

    positions: np.ndarray
    near: np.ndarray
    weights: np.ndarray
    lowest: np.ndarray


def find_neighbours(
    gallery: Gallery, kind: str, index_file: Path, chunks: Sequence[np.ndarray], spread: Spread
) -> Found:
    """The neighbour graph of an index that was written; see `udml.search.neighbourhood.neighbour_graph`.

    Args:
        gallery: the index, open.
        kind: of index.
        index_file: the same index, for other processes.
        chunks: its vectors; memory-mapped where other processes do the work.
        spread: who does the work.
    """
    count = sum(map(len, chunks))
    with _kept(spread.scratch, index_file) as scratch:
        stretches = [
            Stretch(scratch / f"{start:09d}.npz", start, min(count, start + STRETCH_ROWS))
            for start in range(0, count, STRETCH_ROWS)
        ]
        spread.run(_work(gallery, kind, index_file, chunks), stretches)
        return _joined(stretches)


def whom_to_mix_of(found: Found) -> tuple[np.ndarray, np.ndarray, str]:
    """As `udml.search.neighbourhood.whom_to_mix`."""
    shares = reciprocity(found.near, found.lowest[found.lowest])
    k, because = choose_mixed(shares, len(found.near))
    return found.near[:, :k], found.weights[:, :k], because


@contextmanager
def _kept(scratch: Path | None, index_file: Path) -> Iterator[Path]:
    """A directory for what is found in this very index: hnsw comes out another way each time it is built."""
    if scratch is None:
        with TemporaryDirectory(dir=index_file.parent) as passing:
            yield Path(passing)
        return
    keep = scratch / f"graph-{sha256_file(index_file)[:16]}"
    for old in set(scratch.glob("graph-*")) - {keep}:
        remove(old)
    keep.mkdir(exist_ok=True)
    yield keep


def _work(
    gallery: Gallery, kind: str, index_file: Path, chunks: Sequence[np.ndarray]
) -> Work[Gallery, Stretch]:
    files = [Path(str(getattr(chunk, "filename", ""))) for chunk in chunks]
    return Work(
        description="neighbours",
        open=partial(_open_gallery, index_file, kind, files),
        do=_find,
        is_done=_is_there,
        size=_images,
        whole_node=True,
        here=gallery,
    )


def _open_gallery(index_file: Path, kind: str, files: Sequence[Path], place: Place) -> Gallery:
    faiss.omp_set_num_threads(place.cores)
    flag = faiss.IO_FLAG_MMAP if kind == "ivf" else faiss.IO_FLAG_MMAP_IFC
    opened: Any = faiss.read_index(str(index_file), flag)
    chunks = [np.load(file, mmap_mode="r") for file in files]
    base = faiss.downcast_index(opened.index)
    return Gallery(base, ChunkRows(chunks), exact_rows(kind, chunks), opened)


def _is_there(stretch: Stretch) -> bool:
    return stretch.file.exists()


def _images(stretch: Stretch) -> int:
    return stretch.end - stretch.start


def _find(gallery: Gallery, stretch: Stretch, count: Count) -> None:
    rows = np.arange(stretch.start, stretch.end)
    positions, similarity = neighbours_of(gallery.base, gallery.vectors, rows, gallery.exact)
    near, weights = without_copies(positions, similarity, gallery.vectors)
    with atomic_path(stretch.file) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            positions=positions,
            near=near,
            weights=weights[:, :MAX_MIXED],
            lowest=lowest_copies(positions, similarity, stretch.start),
        )
    count(len(rows))


def _joined(stretches: Sequence[Stretch]) -> Found:
    parts = [_read(stretch.file) for stretch in stretches]
    names = ("positions", "near", "weights", "lowest")
    return Found(*(np.concatenate([part[name] for part in parts]) for name in names))


def _read(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as arrays:
        return dict(arrays)
