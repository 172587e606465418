"""Search by neighbourhoods beside plain search, and beside a fixed number of neighbours in one round.

    python -m benchmarks.neighbourhood quality --vectors grocery.npz
    python -m benchmarks.neighbourhood scale --images 1000000

`quality` reads arrays `e` (float32 [n, d], unit rows), `y` (int [n], classes), and `split`: those of "test"
are scored, queries never in the gallery: up to five of each class ask, the rest is thinned to 2, 3, 6, 10,
30 and 70 images a class; "across" is the published query and gallery where there is an array `role`. The
number of neighbours is chosen as the index stage does it, without the classes. Percent, with the 95 %
bootstrap interval of the difference to plain search. Fixed: DBA with alpha-QE and k = 3, 5 or 10, one round.

`scale` measures the graph and the mixtures of the vectors of `benchmarks.collection`, and what a query costs.
Its recalls: of the neighbours that images are mixed with, against the nearest of all images, and of a query's
ten best, against candidates found among all images and put in order by the same mixtures.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import faiss
import numpy as np

from benchmarks.collection import make_vectors
from udml.collection.overlay import Overlay
from udml.collection.refined import search_refined
from udml.config import load_params
from udml.evaluation.intervals import paired_bootstrap
from udml.learning.mixing import mix, mix_all, without_copies
from udml.model_card import ModelCard
from udml.search.build import build, kind_for, write_index
from udml.search.gallery import GalleryIndex, IndexInfo, open_index, search
from udml.search.items import IndexedItem
from udml.search.neighbourhood import (
    DEPTH,
    NEIGHBOURS,
    nearest_distinct,
    neighbour_graph,
    neighbours_of,
    refined_order,
    refined_score,
)

SIZES = (2, 3, 6, 10, 30, 70)
FIXED = (3, 5, 10)
QUERIES_A_CLASS = 5
QUERIES = 200  # of `scale`
BOOTSTRAP = 1000
_MODEL, _DATA = "m" * 16, "d" * 16


def main() -> None:
    """Run one of the parts and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=["quality", "scale"])
    parser.add_argument("--vectors", type=Path, nargs="+", default=[])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, default=Path("/tmp/udml-collection"), help="of `scale`")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.part == "scale":
        scale(options.images, options.directory)
        return
    head = ["set", "a class", "plain", "as shipped", "difference: MAP@R", "R@1", "k"]
    print("| " + " | ".join([*head, *(f"fixed {k}" for k in FIXED)]) + " |")
    print("|---" * (7 + len(FIXED)) + "|")
    for path in options.vectors:
        quality(path, options.seed)


def quality(path: Path, seed: int) -> None:
    """Print the rows of one set."""
    vectors, classes, cuts = _cuts(path, seed)
    for name, (asking, asked) in cuts.items():
        print(_row(path.stem, name, vectors, classes, asking, asked), flush=True)


def _cuts(path: Path, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Vectors and classes of a set, and by name who asks whom."""
    read = np.load(path)
    test = read["split"] == "test"
    vectors, classes = np.ascontiguousarray(read["e"][test], np.float32), read["y"][test]
    rng = np.random.default_rng(seed)
    cuts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for size in SIZES:
        chosen = [_thinned(rng.permutation(np.flatnonzero(classes == c)), size) for c in np.unique(classes)]
        asking, asked = (np.concatenate([pair[part] for pair in chosen]) for part in (0, 1))
        if size <= 10 or np.bincount(classes[asked]).max() >= 0.8 * size:
            cuts[str(size)] = asking, asked
    if "role" in read and (read["role"][test] == "query").any():
        ask = read["role"][test] == "query"
        cuts["across"] = np.flatnonzero(ask), np.flatnonzero(~ask)
    return vectors, classes, cuts


def _thinned(rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    asking = min(QUERIES_A_CLASS, len(rows) // 3)
    return rows[:asking], rows[asking : asking + size]


def _row(
    name: str, size: str, vectors: np.ndarray, classes: np.ndarray, asking: np.ndarray, asked: np.ndarray
) -> str:
    gallery, queries = vectors[asked], vectors[asking]
    with tempfile.TemporaryDirectory() as directory:
        index = _written(*_built([gallery], "flat", None), [gallery], Path(directory))
        shipped = search_refined(index, _nothing_over(index), queries, len(gallery), -np.inf)[1]
        k = index.info.mixed_neighbours
    order = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")
    plain, ours, *fixed = (
        scores(found, classes[asking], classes[asked])
        for found in (order, shipped, *(_fixed_order(gallery, queries, order, k) for k in FIXED))
    )
    gains = [paired_bootstrap(plain[i], ours[i], BOOTSTRAP, 0) for i in (0, 1)]
    words = [f"{100 * g.value:+.1f} ({100 * g.low:+.1f} to {100 * g.high:+.1f})" for g in gains]
    cells = [name, size, _percent(plain), _percent(ours), *words, str(k), *map(_percent, fixed)]
    return "| " + " | ".join(cells) + " |"


def _percent(scores: tuple[np.ndarray, np.ndarray]) -> str:
    return f"{100 * scores[0].mean():.1f} ({100 * scores[1].mean():.1f})"


def scores(
    found: np.ndarray, asking: np.ndarray, asked: np.ndarray, first: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """MAP@R and whether one of the `first` is right, from whole rankings, of who has something to find."""
    precision, among_first = [], []
    for row, own in zip(found, asking, strict=True):
        matches = int((asked == own).sum())
        if matches:
            hits = asked[row] == own
            best = hits[:matches]
            precision.append(float((np.cumsum(best) / np.arange(1, matches + 1) * best).sum() / matches))
            among_first.append(float(hits[:first].any()))
    return np.array(precision), np.array(among_first)


def flat_index(vectors: np.ndarray) -> faiss.IndexFlatIP:
    """An exact index of vectors, float32 [n, d]."""
    base = faiss.IndexFlatIP(vectors.shape[1])
    base.add(vectors)
    return base


def _fixed_order(gallery: np.ndarray, queries: np.ndarray, order: np.ndarray, k: int) -> np.ndarray:
    """Whole rankings by DBA and alpha-QE with k neighbours, in one round."""
    graph = neighbour_graph(flat_index(gallery), gallery, len(gallery), None)
    positions, similarity = without_copies(*graph, gallery)
    mixtures = np.empty_like(gallery)
    mix_all(gallery, positions[:, :k], similarity[:, :k], mixtures)
    near = order[:, :k]
    weights = np.take_along_axis(queries @ gallery.T, near, axis=1)
    return np.argsort(-(mix(queries, weights, gallery[near]) @ mixtures.T), axis=1, kind="stable")


def _built(chunks: list[np.ndarray], kind: str, tuning: np.ndarray | None) -> tuple[Any, IndexInfo]:
    """An index of these vectors, ids 0, 1, ..., and what is known of it."""
    images, dim = sum(map(len, chunks)), chunks[0].shape[1]
    min_recall = load_params().index.min_recall_at_10
    built, parameters, recall = build(chunks, np.arange(images), kind, tuning, min_recall)
    return built, IndexInfo(_MODEL, _DATA, kind, dim, images, recall, parameters)


def _written(built: Any, info: IndexInfo, chunks: list[np.ndarray], directory: Path) -> GalleryIndex:
    items = (IndexedItem(i, str(i), None, "0" * 64, 0, i, 0, 0) for i in range(info.count))
    write_index(directory, built, chunks, info, items, mix_neighbours=True)
    card = SimpleNamespace(model_version=info.model_version, embedding_dim=info.dim)
    return open_index(directory, cast(ModelCard, card))


def _nothing_over(index: GalleryIndex) -> Overlay:
    empty = np.empty((0, index.info.dim), np.float32)
    return Overlay(0, np.empty(0, np.int64), empty, empty, np.empty(0, np.int64))


def scale(images: int, directory: Path) -> None:
    """Print build time, sizes, recalls and what a query costs, of the vectors of `benchmarks.collection`."""
    chunks, stored = make_vectors(directory, images)
    with np.load(stored) as arrays:
        tuning, queries = arrays["tuning"], arrays["test"][:QUERIES]
    with tempfile.TemporaryDirectory(dir=directory) as made:
        index = _made_of_chunks(chunks, tuning, Path(made))
        info = index.info
        print(f"{images:,} x {info.dim}, {info.kind} {info.search_parameters}, recall@10 {info.recall_at_10}")
        print(f"{info.mixed_neighbours} mixed: {info.mixed_because}")
        assert index.mixed is not None
        print(f"{index.mixed.nbytes / images:.0f} bytes an image for the mixtures")
        vectors, over = np.concatenate(chunks), _nothing_over(index)
        asked = np.random.default_rng(4).integers(0, images, QUERIES)
        print(f"recall of the neighbours mixed {_recall_of_graph(index, vectors, asked):.3f}")
        print(f"recall@10 of the answers {_recall_of_answers(index, vectors, queries):.3f}")
        for name, ask in (
            ("plain", lambda query: search(index, query, 8)),
            (f"plain, {DEPTH}", lambda query: search(index, query, DEPTH)),
            ("neighbourhoods", lambda query: search_refined(index, over, query, 8, -np.inf)),
        ):
            print(f"{name}: p50 {_milliseconds(ask, queries)}", flush=True)


def _made_of_chunks(chunks: list[np.ndarray], tuning: np.ndarray, directory: Path) -> GalleryIndex:
    began = time.perf_counter()
    kind = kind_for(sum(map(len, chunks)), load_params().index)
    built, info = _built(chunks, kind, tuning)
    print(f"index built and tuned in {time.perf_counter() - began:.0f} s", flush=True)
    began = time.perf_counter()
    index = _written(built, info, chunks, directory)
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"graph, mixtures, map and files in {time.perf_counter() - began:.0f} s", flush=True)
    print(f"peak memory {peak_gib:.1f} GiB, mapped files included", flush=True)
    return index


def _nearest_of_all(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    return cast(tuple[np.ndarray, np.ndarray], faiss.knn(queries, vectors, k, faiss.METRIC_INNER_PRODUCT))


def _recall_of_graph(index: GalleryIndex, vectors: np.ndarray, rows: np.ndarray) -> float:
    k = index.info.mixed_neighbours
    found, _ = neighbours_of(index.base, vectors, rows, index.exact)
    _, nearest = _nearest_of_all(vectors, vectors[rows], k + 1)
    pairs = zip(found[:, :k], nearest, rows, strict=True)
    return float(np.mean([np.isin(mine, theirs[theirs != own]).mean() for mine, theirs, own in pairs]))


def _recall_of_answers(index: GalleryIndex, vectors: np.ndarray, queries: np.ndarray) -> float:
    """Share of the ten best that search and a look at all images have in common."""
    assert index.mixed is not None
    _, ours = search_refined(index, _nothing_over(index), queries, 10, -np.inf)
    shared = 0
    for query, found, similarity, ids in zip(
        queries, ours, *_nearest_of_all(vectors, queries, DEPTH), strict=True
    ):
        near = nearest_distinct(
            similarity[:NEIGHBOURS], vectors[ids[:NEIGHBOURS]], index.info.mixed_neighbours
        )
        score = refined_score(query, similarity, np.asarray(index.mixed[ids], np.float32), near)
        shared += len(np.intersect1d(found, ids[refined_order(similarity, score, -np.inf)[:10]]))
    return shared / ours.size


def _milliseconds(ask: Callable[[np.ndarray], object], queries: np.ndarray) -> str:
    taken = []
    for query in np.concatenate([queries[:20], queries]):
        began = time.perf_counter()
        ask(query[None])
        taken.append(1000 * (time.perf_counter() - began))
    return f"{np.median(taken[20:]):.2f} ms, p99 {np.quantile(taken[20:], 0.99):.2f} ms"


if __name__ == "__main__":
    main()
