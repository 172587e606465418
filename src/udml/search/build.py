"""Building what is searched: from vectors to a FAISS index that reaches the recall demanded.

| images              | kind | parameters                                                            |
|---------------------|------|-----------------------------------------------------------------------|
| below exact_below   | flat | none; exact                                                           |
| below hnsw_below    | hnsw | 32 links a node, efConstruction 200 (Malkov and Yashunin, 1603.09320)  |
| hnsw_below or more  | ivf  | 4 sqrt(images) lists, k-means on at most 64 images a list; a byte a    |
|                     |      | dimension, four times the candidates ranked by the vectors themselves  |

hnsw and ivf are approximate: efSearch or nprobe is raised until the recall@10 against exact search
reaches min_recall_at_10. hnsw answers fastest, but takes long to build and touches its whole file at
random; ivf reads a few lists of bytes and a handful of vectors.
"""

import math
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from udml import config
from udml.errors import UdmlError
from udml.files import atomic_path, sha256_file, write_json
from udml.learning.mixing import Rows, mix_all
from udml.machine import usable_cores
from udml.progress import progress
from udml.search.columns import column_files
from udml.search.gallery import INDEX_FILE, INFO_FILE, MIXED_FILE, VECTORS_FILE, IndexInfo, search_base
from udml.search.graph import (
    HERE,
    ChunkRows,
    Found,
    Gallery,
    Spread,
    exact_rows,
    find_neighbours,
    whom_to_mix_of,
)
from udml.search.items import ITEMS_FILE, IndexedItem, write_items
from udml.search.mapping.places import PLACES_FILE, write_places
from udml.search.neighbourhood import ROUNDS

_LINKS = 32
_EF_CONSTRUCTION = 200
_LISTS_PER_ROOT = 4
_TRAINING_IMAGES_PER_LIST = 64
_FIRST_EF_SEARCH, _MAX_EF_SEARCH = 32, 4096
_FIRST_NPROBE = 8
_RECALL_AT = 10
_TIE = 1e-6  # a neighbour that is as similar as the exact one is as good


def kind_for(count: int, params: config.Index) -> str:
    """The kind of index for `count` images: "flat", "hnsw" or "ivf"."""
    if count < params.exact_below:
        return "flat"
    return "hnsw" if count < params.hnsw_below else "ivf"


def build(
    chunks: list[np.ndarray],
    ids: np.ndarray,
    kind: str,
    queries: np.ndarray | None,
    min_recall_at_10: float,
) -> tuple[Any, dict[str, int], float]:
    """Build a FAISS index over inner products.

    Args:
        chunks: float32 [c, d] each, n rows in all, unit length; may be memory-mapped.
        ids: int64 [n], what a search is to return for each row.
        kind: "flat", "hnsw" or "ivf".
        queries: float32 [q, d] to tune hnsw and ivf with; not used for flat.
        min_recall_at_10: recall demanded of hnsw and ivf, 0..1.

    Returns:
        The IndexIDMap2, its search parameters and its recall@10.

    Raises:
        UdmlError: if no parameter reaches that recall.
    """
    faiss.omp_set_num_threads(usable_cores())
    base = _empty(chunks, kind)
    built = faiss.IndexIDMap2(base)
    start = 0
    for chunk in chunks if kind == "flat" else progress(chunks, f"build {kind} index", unit="chunk"):
        built.add_with_ids(np.ascontiguousarray(chunk), ids[start : start + len(chunk)])
        start += len(chunk)
    if kind == "flat" or queries is None:
        return built, {}, 1.0
    return built, *_tune(base, queries, exact_rows(kind, chunks), chunks, min_recall_at_10)


def write_index(
    directory: Path,
    built: Any,
    chunks: Sequence[np.ndarray],
    info: IndexInfo,
    items: Iterable[IndexedItem],
    mix_neighbours: bool = False,
    spread: Spread = HERE,
) -> None:
    """Write a built index and what is behind it to an existing directory, for `gallery.open_index`.

    Columns that `udml.search.columns.write_columns` wrote there before belong to it.
    With `mix_neighbours` each image's mixture with its neighbours is written too, and searched by; `spread`
    says who finds them. The map is laid out from the same neighbours.
    """
    with atomic_path(directory / INDEX_FILE) as temporary:
        faiss.write_index(built, str(temporary))
    if info.kind == "ivf":
        with atomic_path(directory / VECTORS_FILE) as temporary:
            shape = (info.count, info.dim)
            vectors = np.lib.format.open_memmap(temporary, "w+", np.dtype(np.float32), shape)
            np.concatenate(chunks, out=vectors)
            vectors.flush()
    write_items(directory / ITEMS_FILE, items)
    info, near = replace(info, mixed_neighbours=0, mixed_because=""), None
    if mix_neighbours:
        gallery = Gallery(faiss.downcast_index(built.index), ChunkRows(chunks), exact_rows(info.kind, chunks))
        found = find_neighbours(gallery, info.kind, directory / INDEX_FILE, chunks, spread)
        near = found.positions
        info = _write_mixed(directory / MIXED_FILE, found, chunks, info)
    write_places(directory / PLACES_FILE, faiss.vector_to_array(built.id_map), ChunkRows(chunks), near)
    write_json(directory / INFO_FILE, asdict(replace(info, files=_written(directory))))


def _written(directory: Path) -> dict[str, dict[str, Any]]:
    """What `gallery.check_files` compares with later."""
    paths = [directory / name for name in (INDEX_FILE, VECTORS_FILE, ITEMS_FILE, MIXED_FILE, PLACES_FILE)]
    paths += column_files(directory)
    return {
        path.name: {"size_bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in paths
        if path.exists()
    }


def _write_mixed(path: Path, found: Found, chunks: Sequence[np.ndarray], info: IndexInfo) -> IndexInfo:
    """Write each image's mixture with its neighbours, float16 [n, d], if any are to be mixed.

    Returns:
        The info with how many are, and why.
    """
    vectors = ChunkRows(chunks)
    near, weights, reason = whom_to_mix_of(found)
    mixed = near.shape[1]
    if mixed:
        with atomic_path(path) as temporary:
            shape = (info.count, info.dim)
            mixtures = np.lib.format.open_memmap(temporary, "w+", np.dtype(np.float16), shape)
            with tempfile.TemporaryDirectory(dir=path.parent) as scratch:  # a million are a gigabyte
                turns = [np.memmap(Path(scratch, turn), np.float16, "w+", shape=shape) for turn in "ab"]
                before: Rows = vectors
                for number in range(ROUNDS):
                    out = mixtures if number == ROUNDS - 1 else turns[number % 2]
                    mix_all(before, near, weights, out)
                    before = out
            mixtures.flush()
    return replace(info, mixed_neighbours=mixed, mixed_because=reason)


def _tune(
    base: Any,
    queries: np.ndarray,
    exact: ChunkRows | None,
    chunks: list[np.ndarray],
    min_recall_at_10: float,
) -> tuple[dict[str, int], float]:
    """Set the smallest search parameter that reaches the recall; returns it with the recall."""
    kind = "ivf" if isinstance(base, faiss.IndexIVF) else "hnsw"
    name, values = _settings(base, kind)
    tenth = _exact_tenth(chunks, queries)
    recall = 0.0
    for value in values:
        faiss.ParameterSpace().set_index_parameter(base, name, value)
        recall = _recall(search_base(base, queries, tenth.shape[1], exact)[0], tenth)
        if recall >= min_recall_at_10:
            return {name: value}, recall
    raise UdmlError(
        f"the {kind} index finds {recall:.1%} of the true neighbours, {min_recall_at_10:.1%} are demanded",
        "raise index.exact_below in params.yaml above the number of images, or lower index.min_recall_at_10",
    )


def _empty(chunks: list[np.ndarray], kind: str) -> Any:
    dim = chunks[0].shape[1]
    if kind == "flat":
        return faiss.IndexFlatIP(dim)
    if kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dim, _LINKS, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = _EF_CONSTRUCTION
        return graph
    count = sum(len(chunk) for chunk in chunks)
    lists = max(1, min(count, round(_LISTS_PER_ROOT * math.sqrt(count))))
    inverted: Any = faiss.index_factory(dim, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    inverted.cp.min_points_per_centroid = 1
    inverted.cp.max_points_per_centroid = _TRAINING_IMAGES_PER_LIST
    inverted.train(_sample(chunks, lists * _TRAINING_IMAGES_PER_LIST))
    return inverted


def _sample(chunks: list[np.ndarray], at_most: int) -> np.ndarray:
    """Rows spread evenly over all chunks, float32 [at most `at_most`, d]."""
    step = math.ceil(sum(len(chunk) for chunk in chunks) / at_most)
    return np.concatenate([chunk[::step] for chunk in chunks])


def _settings(base: Any, kind: str) -> tuple[str, list[int]]:
    """The search parameter's name and the values to try: doubled in two steps each."""
    name, first, last = ("efSearch", _FIRST_EF_SEARCH, _MAX_EF_SEARCH)
    if kind == "ivf":
        name, first, last = "nprobe", _FIRST_NPROBE, base.nlist
    values = [round(first * 2 ** (step / 2)) for step in range(64)]
    return name, [*(value for value in values if value < last), last]


def _exact_tenth(chunks: Iterable[np.ndarray], queries: np.ndarray) -> np.ndarray:
    """Similarities of each query's ten (or all, if fewer) nearest rows, best first: float32 [q, <= 10]."""
    best = np.empty((len(queries), 0), np.float32)
    for chunk in chunks:
        found = np.concatenate([best, queries @ chunk.T], axis=1)
        best = -np.sort(-found, axis=1)[:, :_RECALL_AT]
    return best


def _recall(found: np.ndarray, exact: np.ndarray) -> float:
    """Share of the `exact` neighbours among those `found`, both similarities [q, k].

    A found one counts if it is at least as similar as the last exact one, so that ties don't hurt.
    """
    return float((found >= exact[:, -1:] - _TIE).mean())
