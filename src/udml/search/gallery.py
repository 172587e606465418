"""A built index, opened to be searched: memory-mapped, and only with the model that it was made by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from udml.errors import UdmlError
from udml.files import read_json, sha256_file
from udml.learning.mixing import Rows
from udml.model_card import ModelCard
from udml.search.among import CANDIDATES, ranked
from udml.search.columns import Columns, read_columns
from udml.search.columns.earlier import columns_of_items
from udml.search.mapping.places import Places, read_places

INDEX_FILE = "index.faiss"
INFO_FILE = "index.json"
MIXED_FILE = "mixed.npy"
REFERENCE_FILE = "reference.npy"  # see udml.search.reference
OLD_REFERENCE_FILE = "reference.parquet"  # of indices built before
VECTORS_FILE = "vectors.npy"
_REBUILD = "build the index again with `dvc repro index`"


@dataclass(frozen=True)
class IndexInfo:
    """What stands in index.json.

    Attributes:
        model_version: of the model that made the vectors.
        data_version: of the images in the index.
        kind: "flat", "hnsw" or "ivf".
        dim: length of a vector.
        count: images in the index.
        recall_at_10: share of the exact ten nearest that are found, 0..1; 1 for flat.
        search_parameters: "efSearch" or "nprobe", chosen to reach that recall; empty for flat.
        no_match_below: a query whose nearest image is less similar has no match, -1..1; None where the
            images were too few to tell.
        no_match_error: share of new pictures of the collection's kind that may be so by mistake, 0..1.
        additions_revision: of the additions that are folded in; 0 where there are none.
        mixed_neighbours: how many of its neighbours each image is mixed with, chosen without labels; 0
            where search is by similarity alone.
        mixed_because: why so many, a sentence.
        files: `size_bytes` and `sha256` of each other file of the index, by its name; empty of indices built
            before.
    """

    model_version: str
    data_version: str
    kind: str
    dim: int
    count: int
    recall_at_10: float
    search_parameters: Mapping[str, int]
    no_match_below: float | None = None
    no_match_error: float = 0.0
    additions_revision: int = 0
    mixed_neighbours: int = 0
    mixed_because: str = ""
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class GalleryIndex:
    """An open index.

    Attributes:
        info: what index.json says.
        ids: int64 [count], the image_id at each position.
        faiss_index: the memory-mapped IndexIDMap2.
        base: what it wraps; finds positions instead of ids.
        exact: float32 [count, dim], memory-mapped, for kind ivf, whose FAISS file holds bytes; else None.
        mixed: float16 [count, dim], memory-mapped, each image mixed with its neighbours; None where the
            index has no mixtures.
        by_id: int64 [count], positions by ascending id, for `positions_of`.
        places: its map; None of an index built before there were maps.
        directory: where it was opened from; None of one in memory.
    """

    info: IndexInfo
    ids: np.ndarray
    faiss_index: Any
    base: Any
    exact: np.ndarray | None = None
    mixed: np.ndarray | None = None
    by_id: np.ndarray | None = None
    places: Places | None = None
    directory: Path | None = None

    @cached_property
    def columns(self) -> Columns:
        """What is known of each image besides its pixels, by position; read when first asked for."""
        if self.directory is None:
            return {}
        return read_columns(self.directory, self.info.count) or columns_of_items(self.directory)


def open_index(directory: Path, card: ModelCard) -> GalleryIndex:
    """Open an index, memory-mapped, for queries embedded by the model of `card`.

    Raises:
        UdmlError: if there is none, it is damaged, or another model made it: distances between
            vectors of two models mean nothing.
    """
    info = _read_info(directory)
    if info.model_version != card.model_version:
        raise UdmlError(
            f"the index at {directory} was made by model {info.model_version}, the queries come from "
            f"model {card.model_version}",
            _REBUILD,
        )
    check_files(directory, info, whole=False)
    # FAISS has one way of mapping inverted lists and another for everything else.
    flag = faiss.IO_FLAG_MMAP if info.kind == "ivf" else faiss.IO_FLAG_MMAP_IFC
    try:
        opened = faiss.read_index(str(directory / INDEX_FILE), flag)
    except RuntimeError as error:
        raise UdmlError(f"{directory / INDEX_FILE} cannot be read: {error}", _REBUILD) from error
    if not isinstance(opened, faiss.IndexIDMap2):
        raise UdmlError(f"{directory / INDEX_FILE} is not an index of udml", _REBUILD)
    if (opened.d, opened.ntotal) != (info.dim, info.count) or info.dim != card.embedding_dim:
        raise UdmlError(
            f"the index at {directory} holds {opened.ntotal} vectors of length {opened.d}; expected are "
            f"{info.count} of length {card.embedding_dim}",
            _REBUILD,
        )
    base: Any = faiss.downcast_index(opened.index)
    if info.kind == "ivf":
        # By default every query starts 32 threads that touch its pages, for nothing once they are cached.
        lists: Any = faiss.downcast_InvertedLists(base.invlists)
        lists.prefetch_nthread = 0
    ids = faiss.vector_to_array(opened.id_map)
    exact = _open_rows(directory / VECTORS_FILE, info, np.float32) if info.kind == "ivf" else None
    mixed = _open_rows(directory / MIXED_FILE, info, np.float16) if info.mixed_neighbours else None
    return GalleryIndex(
        info, ids, opened, base, exact, mixed, np.argsort(ids), read_places(directory), directory
    )


def check_index(directory: Path) -> None:
    """Compare all files of an index with what was written; see `check_files`."""
    check_files(directory, _read_info(directory), whole=True)


def check_files(directory: Path, info: IndexInfo, whole: bool) -> None:
    """Compare an index's files with what was written: a mapped one that is too short ends the process.

    Args:
        directory: the index.
        info: what its index.json says.
        whole: compare their content too, not only their sizes.

    Raises:
        UdmlError: naming what is missing or was changed.
    """
    for name, written in info.files.items():
        path = directory / name
        if not path.is_file():
            raise UdmlError(f"{path} is missing", _REBUILD)
        size_bytes = path.stat().st_size
        if size_bytes != written["size_bytes"]:
            raise UdmlError(
                f"{path} has {size_bytes:,} bytes, it was written with {written['size_bytes']:,}", _REBUILD
            )
        if whole and sha256_file(path) != written["sha256"]:
            raise UdmlError(f"{path} was changed since it was written", _REBUILD)


def _open_rows(path: Path, info: IndexInfo, dtype: type[np.floating[Any]]) -> np.ndarray:
    try:
        vectors = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise UdmlError(f"{path} cannot be read: {error}", _REBUILD) from error
    if vectors.shape != (info.count, info.dim) or vectors.dtype != dtype:
        raise UdmlError(
            f"{path} holds {vectors.dtype} {vectors.shape}; expected are {np.dtype(dtype)} "
            f"{(info.count, info.dim)}",
            _REBUILD,
        )
    return vectors


def _read_info(directory: Path) -> IndexInfo:
    path = directory / INFO_FILE
    if not path.exists() or not (directory / INDEX_FILE).exists():
        raise UdmlError(f"no index at {directory}", "run `dvc repro index` first")
    try:
        info = IndexInfo(**read_json(path))
        if not all({"size_bytes", "sha256"} <= written.keys() for written in info.files.values()):
            raise ValueError("what it says of its files")
        return info
    except (TypeError, ValueError, AttributeError) as error:
        raise UdmlError(f"{path} is damaged: {error}", _REBUILD) from error


def search(index: GalleryIndex, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest images of each query, best first; fewer only where the index holds fewer.

    Args:
        index: an open index.
        queries: float32 [n, d], unit rows.
        k: at least 1.

    Returns:
        Cosine similarities float32 [n, min(k, count)], -1..1, and image_ids int64 of the same shape.

    Raises:
        UdmlError: if the queries are not finite or of another length than the index's vectors.
    """
    check_queries(index, queries)
    similarity, positions = search_base(index.base, queries, min(k, index.info.count), index.exact)
    return similarity, index.ids[positions]


def check_queries(index: GalleryIndex, queries: np.ndarray) -> None:
    """Raise a UdmlError where queries are not float [n, d] of finite numbers, as the index's vectors."""
    if queries.ndim != 2 or queries.shape[1] != index.info.dim or not np.isfinite(queries).all():
        raise UdmlError(
            f"queries {queries.shape} do not fit an index of vectors of {index.info.dim} finite numbers",
            "embed them with the model that made the index",
        )


def search_base(
    base: Any, queries: np.ndarray, k: int, exact: Rows | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Search a FAISS index without ids: similarities and positions, [n, k], best first; k at most its size.

    An approximate search that comes back with fewer than k (FAISS then fills up with -1) is done
    again exactly, so that there are always k.

    Args:
        base: the index.
        queries: float32 [n, d].
        k: at least 1.
        exact: where the index holds its vectors in bytes, the vectors themselves: more are found than
            asked for, and ranked by these.
    """
    queries = np.ascontiguousarray(queries, np.float32)
    wanted = k if exact is None else min(base.ntotal, CANDIDATES * k)
    similarity, positions = base.search(queries, wanted)
    short = np.flatnonzero((positions < 0).any(axis=1))
    if len(short):
        similarity[short], positions[short] = _search_exactly(base, queries[short], wanted)
    if exact is not None:
        similarity, positions = ranked(similarity, positions, queries, k, exact)
    return within_cosines(similarity), positions


def within_cosines(similarity: np.ndarray) -> np.ndarray:
    """Products of unit vectors, brought back from where rounding took them: changed in place to -1..1."""
    return np.clip(similarity, -1, 1, out=similarity)


def _search_exactly(base: Any, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    base = faiss.downcast_index(base)
    if isinstance(base, faiss.IndexIVF):
        every_list = faiss.IVFSearchParameters()
        every_list.nprobe = base.nlist
        return base.search(queries, k, params=every_list)
    return faiss.downcast_index(base.storage).search(queries, k)


def vectors_of(index: GalleryIndex, image_ids: np.ndarray) -> np.ndarray:
    """The stored vectors of these images, float32 [n, d], in the order asked for.

    Raises:
        UdmlError: if the index lacks one of them.
    """
    positions = positions_of(index, image_ids)
    missing = np.flatnonzero(positions < 0)
    if len(missing):
        first = image_ids[missing[0]]
        raise UdmlError(f"{len(missing)} images are not in the index, the first has id {first}", _REBUILD)
    return index.base.reconstruct_batch(positions) if index.exact is None else index.exact[positions]


def positions_of(index: GalleryIndex, image_ids: np.ndarray) -> np.ndarray:
    """Where these images stand in the index, int64 [n]; -1 for those that it lacks."""
    order = np.argsort(index.ids) if index.by_id is None else index.by_id
    at = np.minimum(np.searchsorted(index.ids, image_ids, sorter=order), len(order) - 1)
    positions = order[at]
    return np.where(index.ids[positions] == image_ids, positions, -1)


def vector_at(index: GalleryIndex, position: int) -> np.ndarray:
    """The stored vector at a position, float32 [d]."""
    return index.base.reconstruct(position) if index.exact is None else np.array(index.exact[position])
