"""What a filter costs and finds: search in a share of an index, beside search in all of it.

    python -m benchmarks.serving.filters --images 1000000 --kind flat --directory /tmp/udml-collection

Vectors and queries are those of `benchmarks.collection`, made up in things of about fifty pictures. A share
of them is left, 50 %, 10 %, 1 % and 0.1 %: pictures at random, or whole things, as a folder or a label has
them; of most queries then nothing near is left. Recall@10 is against exact search in what is left. The cost
is told as the ratio to a search in all of the index: the median of 100 queries, one at a time, in turns.
`mask` is the time that a filter on a text column takes the first time, in milliseconds; then it is kept.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.collection import CHUNK_ROWS, PER_THING, make_vectors
from udml.collection.filtering.masks import mask_of, tree_of
from udml.config import load_params
from udml.files import atomic_path
from udml.search.among import Among, search_among
from udml.search.build import build
from udml.search.columns import Column
from udml.search.gallery import search_base
from udml.search.graph import ChunkRows, exact_rows

K = 10
QUERIES = 100
SHARES = (0.5, 0.1, 0.01, 0.001)


def main() -> None:
    """Make the vectors and the index where that is not done yet; measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=("flat", "hnsw", "ivf"), default="flat")
    parser.add_argument("--directory", type=Path, default=Path("/tmp/udml-collection"))
    options = parser.parse_args()
    chunks, stored = make_vectors(options.directory, options.images)
    with np.load(stored) as arrays:
        queries, tuning = arrays["test"][:QUERIES], arrays["tuning"]
    opened = _index(options.directory / f"filters-{options.kind}-{options.images}.faiss", chunks, tuning)
    base: Any = faiss.downcast_index(opened.index)
    exact = exact_rows(options.kind, chunks)
    things = _things(options.images)
    print(f"{options.images:,} x {base.d}, {options.kind}; {faiss.omp_get_max_threads()} threads")
    print("| left | how | recall@10 | cost beside no filter | ms |\n|---|---|---|---|---|")
    for how in ("at random", "whole things"):
        for share in SHARES:
            among = Among(_mask(things, share, how == "whole things"))
            print(_row(base, queries, exact, chunks, among) % (f"{share:.1%}", how), flush=True)
    print(f"mask: {_mask_ms(things):.0f} ms")


def _index(path: Path, chunks: list[np.ndarray], tuning: np.ndarray) -> Any:
    kind = path.stem.split("-")[1]
    if not path.exists():
        count = sum(map(len, chunks))
        built = build(chunks, np.arange(count), kind, tuning, load_params().index.min_recall_at_10)[0]
        with atomic_path(path) as temporary:
            faiss.write_index(built, str(temporary))
        del built
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP if kind == "ivf" else faiss.IO_FLAG_MMAP_IFC)


def _things(images: int) -> np.ndarray:
    """The thing that each picture is of, as `make_vectors` drew them."""
    starts = range(0, images, CHUNK_ROWS)
    drawn = (
        np.random.default_rng([1, number]).integers(0, images // PER_THING, CHUNK_ROWS)
        for number, _ in enumerate(starts)
    )
    return np.concatenate(list(drawn))[:images]


def _mask(things: np.ndarray, share: float, whole: bool) -> np.ndarray:
    rng = np.random.default_rng(7)
    of = int(things.max()) + 1 if whole else len(things)
    drawn = np.zeros(of, np.bool_)
    drawn[rng.permutation(of)[: max(1, round(share * of))]] = True
    return drawn[things] if whole else drawn


def _row(base: Any, queries: np.ndarray, exact: Any, chunks: list[np.ndarray], among: Among) -> str:
    best = _best(queries, chunks, among)
    found = search_among(base, queries, K, exact, among)[0]
    recall = float((found >= best[:, -1:] - 1e-5).mean())
    plain, filtered = _in_turns(
        queries,
        lambda one: search_base(base, one, K, exact),
        lambda one: search_among(base, one, K, exact, among),
    )
    return f"| %s | %s | {recall:.3f} | {filtered / plain:.2f} | {filtered:.2f} to {plain:.2f} |"


def _best(queries: np.ndarray, chunks: list[np.ndarray], among: Among) -> np.ndarray:
    """Similarities of the K nearest of what is left, best first."""
    rows, best = ChunkRows(chunks), np.empty((len(queries), 0), np.float32)
    for start in range(0, len(among), CHUNK_ROWS):
        found = queries @ rows[among.rows[start : start + CHUNK_ROWS]].T
        best = -np.sort(-np.concatenate([best, found], axis=1), axis=1)[:, :K]
    return best


def _in_turns(queries: np.ndarray, *asks: Callable[[np.ndarray], object]) -> list[float]:
    """The median milliseconds of each."""
    taken: list[list[float]] = [[] for _ in asks]
    for query in queries:
        for ask, times in zip(asks, taken, strict=True):
            began = time.perf_counter()
            ask(query[None])
            times.append(1000 * (time.perf_counter() - began))
    return [statistics.median(times) for times in taken]


def _mask_ms(things: np.ndarray) -> float:
    """Of a filter with a pattern and a date, on columns of as many rows."""
    texts = tuple(sorted({f"20{thing % 25:02d}/{thing}" for thing in range(int(things.max()) + 1)}))
    seconds = np.random.default_rng(8).integers(0, 1_700_000_000, len(things))
    columns = {"folder": Column("text", things.astype(np.int32), texts), "taken": Column("time", seconds)}
    tree = tree_of("folder = '2024/*1*' and taken > 2004-05", columns)
    began = time.perf_counter()
    mask_of(tree, columns, len(things))
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
