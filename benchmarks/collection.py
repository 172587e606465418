"""A large collection: how fast it opens and answers, how much it finds, how much memory it takes.

    python -m benchmarks.collection --directory /tmp/udml-collection

Vectors are made up: things of about fifty pictures each, whose centres and scatter use the directions
of the space unevenly, as learnt embeddings do (variance falls with the direction's number). A query is
another picture of one of the things. The index is built as the index stage builds it, kept in
the directory, and opened by a fresh process as a service does: memory-mapped, from the disk; then every
file's hash is checked, which leaves it in the page cache; then come queries, one at a time. Neighbours
are compared with those of exact search.

The second table is of the same index with images added over it and others removed.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from udml.collection.additions import ADDITIONS_FILE, Additions
from udml.collection.collection import Collection
from udml.config import load_params
from udml.files import atomic_path, read_json, sha256_file, write_json
from udml.machine import usable_cores
from udml.search.build import build, kind_for, write_index
from udml.search.gallery import IndexInfo, open_index
from udml.search.items import ITEMS_FILE, IndexedItem, Item, Items

DIM = 512
PER_THING = 50
CHUNK_ROWS = 50_000
K = 10
TUNING_QUERIES, TEST_QUERIES = 500, 1000
ADDED, REMOVED = 10_000, 10_000
THREADS = 2
MODEL_VERSION = "0" * 16
_SCATTER = 0.8  # length of a picture's step away from its thing's centre, which has length 1
_FALL = 0.7  # the deviation along direction i is i^-0.7


def main() -> None:
    """Make the vectors and build the index where that is not done yet; measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, default=Path("/tmp/udml-collection"))
    parser.add_argument("--kind", choices=("flat", "hnsw", "ivf"), help="default: what params.yaml says")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)  # the fresh process
    options = parser.parse_args()
    params = load_params().index
    kind = options.kind or kind_for(options.images, params)
    made = options.directory / f"{kind}-{options.images}"
    if options.measure:
        print(json.dumps(measure(made, options.directory / f"queries-{options.images}.npz")))
        return
    vectors, queries = make_vectors(options.directory, options.images)
    if not (made / "build.json").exists():
        _build(made, kind, vectors, queries, params.min_recall_at_10)
    command = [sys.executable, "-m", "benchmarks.collection", "--measure", "--kind", kind]
    command += ["--images", str(options.images), "--directory", str(options.directory)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    _print(made, json.loads(done.stdout))


def make_vectors(directory: Path, images: int) -> tuple[list[np.ndarray], Path]:
    """Chunks float32 [<= CHUNK_ROWS, DIM], memory-mapped, and a file of queries with their exact neighbours.

    The file holds `tuning` and `test`, float32 [q, DIM], and `exact`, the similarities [q, K] of the
    nearest rows to `test`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    chunks = []
    for number, start in enumerate(range(0, images, CHUNK_ROWS)):
        path = directory / f"vectors-{images}-{number:04d}.npy"
        if not path.exists():
            things = np.random.default_rng([1, number]).integers(0, images // PER_THING, CHUNK_ROWS)
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.save(file, _pictures(things, np.random.default_rng([2, number])))
        chunks.append(np.load(path, mmap_mode="r")[: images - start])
    queries = directory / f"queries-{images}.npz"
    if not queries.exists():
        rng = np.random.default_rng(3)
        asked = _pictures(rng.integers(0, images // PER_THING, TUNING_QUERIES + TEST_QUERIES), rng)
        tuning, test = asked[:TUNING_QUERIES], asked[TUNING_QUERIES:]
        with atomic_path(queries) as temporary, temporary.open("wb") as file:
            np.savez(file, tuning=tuning, test=test, exact=_exact(chunks, test))
    return chunks, queries


def _pictures(things: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture of each of the things, float32 [n, DIM] unit rows; a thing's centre depends on its number."""
    deviation = (np.arange(1, DIM + 1) ** -_FALL).astype(np.float32)
    deviation /= np.linalg.norm(deviation)
    names, own = np.unique(things, return_inverse=True)
    centres = np.stack([np.random.default_rng([0, n]).standard_normal(DIM, np.float32) for n in names])
    made = centres[own] * deviation
    made += _SCATTER * rng.standard_normal((len(things), DIM), np.float32) * deviation
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def _exact(chunks: list[np.ndarray], queries: np.ndarray) -> np.ndarray:
    """Similarities of the K nearest rows of each query, best first."""
    best = np.empty((len(queries), 0), np.float32)
    for chunk in chunks:
        best = -np.sort(-np.concatenate([best, queries @ chunk.T], axis=1), axis=1)[:, :K]
    return best


def _build(made: Path, kind: str, vectors: list[np.ndarray], queries: Path, min_recall: float) -> None:
    count = sum(len(chunk) for chunk in vectors)
    with np.load(queries) as stored:
        tuning_queries = stored["tuning"]
    began = time.perf_counter()
    ids = np.random.default_rng(4).permutation(count).astype(np.int64) + 2**40
    built, tuning, recall = build(vectors, ids, kind, tuning_queries, min_recall)
    build_seconds = time.perf_counter() - began
    made.mkdir(exist_ok=True)
    info = IndexInfo(MODEL_VERSION, "made up", kind, DIM, count, recall, tuning)
    write_index(
        made,
        built,
        vectors,
        info,
        (IndexedItem(int(i), f"{i}.jpg", None, f"{i:064x}", 10**5, p, 0, 0) for p, i in enumerate(ids)),
    )
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    write_json(made / "build.json", {"seconds": build_seconds, "peak_mib": peak_mib, "cores": usable_cores()})


def measure(made: Path, queries: Path) -> dict[str, Any]:
    """Open the index in this process and ask it; alone, then with images added over it and others removed."""
    with np.load(queries) as stored:
        test, exact = stored["test"], stored["exact"]
    faiss.omp_set_num_threads(THREADS)
    _forget_pages(made)
    before_mib = _resident_mib()
    began = time.perf_counter()
    collection = _open(made, None)
    open_seconds = time.perf_counter() - began
    opened_mib = _resident_mib() - before_mib
    began = time.perf_counter()
    collection.search(test[:1], K)
    first_ms = 1000 * (time.perf_counter() - began)
    began = time.perf_counter()
    for path in made.glob("[iv]*.*"):
        sha256_file(path)
    hash_seconds = time.perf_counter() - began
    answers = _ask(collection, test, exact) | {
        "open_seconds": open_seconds,
        "opened_mib": opened_mib,
        "first_ms": first_ms,
        "hash_seconds": hash_seconds,
    }
    answers["asked_mib"] = _resident_mib() - before_mib
    collection.close()
    return {"alone": answers, "changed": _measure_changed(made, test, exact)}


def _measure_changed(made: Path, test: np.ndarray, exact: np.ndarray) -> dict[str, Any]:
    """The same with ADDED images, far from all queries' neighbours, and REMOVED of the index."""
    path = made / ADDITIONS_FILE
    for leftover in made.glob(f"{ADDITIONS_FILE}*"):
        leftover.unlink()
    additions = Additions(path)
    unlike = np.random.default_rng(5).standard_normal((ADDED, DIM), np.float32)
    unlike /= np.linalg.norm(unlike, axis=1, keepdims=True)
    items = Items(made / ITEMS_FILE)
    found = _open(made, None).search(test, K)
    far = sorted(set(range(2**40, 2**40 + 20 * REMOVED)) - set(found[1].ravel().tolist()))[:REMOVED]
    with additions.change() as change:
        for i, vector in enumerate(unlike):
            change.add(Item(i, f"new-{i}.jpg", None, f"{2**50 + i:064x}", 4), b"jpeg")
            change.add_vector(i, MODEL_VERSION, vector)
        for item in items.get_many(far).values():
            change.remove(item)
    additions.close()
    began = time.perf_counter()
    collection = _open(made, path)
    open_seconds = time.perf_counter() - began
    return _ask(collection, test, exact) | {"open_seconds": open_seconds, "images": len(collection)}


def _open(made: Path, additions: Path | None) -> Collection:
    card: Any = argparse.Namespace(model_version=MODEL_VERSION, embedding_dim=DIM)
    opened = None if additions is None else Additions(additions)
    return Collection(open_index(made, card), Items(made / ITEMS_FILE), opened, Path("nowhere"), lambda _: [])


def _ask(collection: Collection, queries: np.ndarray, exact: np.ndarray) -> dict[str, Any]:
    """Latency of one query at a time, and the share of the exact neighbours that is found.

    CPU time, of both threads together, tells the cost where other work keeps the cores busy.
    """
    milliseconds, cpu_milliseconds, found = [], [], []
    for query in queries:
        began, cpu_began = time.perf_counter(), time.process_time()
        similarity, ids = collection.search(query[None], K)
        collection.items(ids.ravel().tolist())
        milliseconds.append(1000 * (time.perf_counter() - began))
        cpu_milliseconds.append(1000 * (time.process_time() - cpu_began))
        found.append(similarity[0])
    recall = float((np.array(found) >= exact[:, -1:] - 1e-6).mean())
    cuts = statistics.quantiles(milliseconds, n=100)
    cpu_ms = statistics.median(cpu_milliseconds)
    return {"recall": recall, "p50_ms": cuts[49], "p95_ms": cuts[94], "p99_ms": cuts[98], "cpu_ms": cpu_ms}


def _forget_pages(made: Path) -> None:
    """Ask the kernel to drop what it has cached of the files, so that opening is from the disk."""
    for path in made.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _resident_mib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def _print(made: Path, measured: dict[str, Any]) -> None:
    built, info = read_json(made / "build.json"), read_json(made / "index.json")
    size_mib = sum(path.stat().st_size for path in made.glob("[iv]*.*")) // 2**20
    alone, changed = measured["alone"], measured["changed"]
    print(f"{info['count']:,} x {info['dim']}, {info['kind']} {info['search_parameters']}, {THREADS} threads")
    print(f"built in {built['seconds']:.0f} s on {built['cores']} cores, peak {built['peak_mib']:,} MiB")
    print(f"{size_mib:,} MiB on disk, checking their hashes takes {alone['hash_seconds']:.1f} s, cold")
    print(f"opens in {alone['open_seconds']:.2f} s, cold; {alone['opened_mib']} MiB resident then,")
    print(f"{alone['asked_mib']:,} MiB after {TEST_QUERIES:,} queries, mapped pages included")
    print(f"first query {alone['first_ms']:.0f} ms, cold")
    for title, row in (("the index alone", alone), (f"+ {ADDED:,} - {REMOVED:,} images", changed)):
        times = ", ".join(f"{name} {row[name + '_ms']:.2f} ms" for name in ("p50", "p95", "p99"))
        print(f"{title}: recall@10 {row['recall']:.4f}, {times}, CPU p50 {row['cpu_ms']:.2f} ms")
    print(f"opens with them in {changed['open_seconds']:.2f} s")


if __name__ == "__main__":
    main()
