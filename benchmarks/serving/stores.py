"""The same collection through both stores, FAISS on this machine and Milvus: what is found, and how fast.

    python -m benchmarks.serving.stores --images 10000 --uri http://127.0.0.1:19530/benchmark

The vectors are those of `benchmarks.collection`, made up. Each kind of index is built as the index stage
builds it, with mixtures, opened from the disk, pushed to Milvus as `udml index push` does, and asked the same
queries one at a time; the two stores take turns, so that whatever else the machine does falls on both.
Without --uri a server of Milvus Lite is started for it: one Python process, which says what is found, but
nothing of how fast a cluster is.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.collection import DIM, MODEL_VERSION, K, make_vectors
from benchmarks.contenders import machine
from udml.collection.collection import Collection
from udml.collection.contract import CollectionStore
from udml.collection.shared import pushing
from udml.collection.shared.collection import SharedCollection
from udml.collection.shared.connection import Connection
from udml.collection.shared.files import FilesHere
from udml.errors import StoreLostError
from udml.search.build import build, write_index
from udml.search.gallery import GalleryIndex, IndexInfo, open_index
from udml.search.items import ITEMS_FILE, IndexedItem, Items

_PORT = 19540
_MIN_RECALL = 0.97
_TIE = 1e-5


def main() -> None:
    """Build, push, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--directory", type=Path, default=Path("/tmp/udml-stores"))
    parser.add_argument("--uri", help="Milvus, an empty database (default: Milvus Lite is started)")
    options = parser.parse_args()
    chunks, queries = make_vectors(options.directory, options.images)
    with np.load(queries) as stored:
        tuning, test = stored["tuning"], stored["test"][: options.queries]
    exact = -np.sort(-(test @ np.concatenate(chunks).T), axis=1)[:, :K]
    print(f"{machine()}; {options.images:,} images, {len(test)} queries\n")
    print("| index | search | store | recall@10 | same ten | ms, median | ms, 95 % | times FAISS |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with lite(options.directory) if options.uri is None else contextlib.nullcontext(options.uri) as uri:
        for kind in ("flat", "hnsw", "ivf"):
            index = _built(options.directory / f"{kind}-{options.images}", chunks, kind, tuning)
            _compare(index, options.directory / f"{kind}-{options.images}", uri, test, exact)


@contextlib.contextmanager
def lite(directory: Path) -> Iterator[str]:
    """A server of Milvus Lite on this machine; its address."""
    command = [sys.executable, "-m", "milvus_lite", "server", "--host", "127.0.0.1", "--port", str(_PORT)]
    command += ["--data-dir", str(directory / f"lite-{time.time_ns()}"), "--max-workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        uri = f"http://127.0.0.1:{_PORT}"
        connection = Connection(uri)
        try:
            while True:
                with contextlib.suppress(StoreLostError):
                    connection.ask("list_collections")
                    break
                time.sleep(1)
            connection.close()
            yield uri
        finally:
            server.kill()


def _built(made: Path, chunks: list[np.ndarray], kind: str, tuning: np.ndarray) -> GalleryIndex:
    card: Any = argparse.Namespace(model_version=MODEL_VERSION, embedding_dim=DIM)
    if not (made / "index.json").exists():
        made.mkdir(parents=True, exist_ok=True)
        count = sum(map(len, chunks))
        ids = np.random.default_rng(4).permutation(count).astype(np.int64) + 2**40
        built, parameters, recall = build(chunks, ids, kind, tuning, _MIN_RECALL)
        info = IndexInfo(MODEL_VERSION, "made up", kind, DIM, count, recall, parameters)
        items = (
            IndexedItem(int(i), f"{i}.jpg", None, f"{i:064x}", 10**5, p, 0, 0) for p, i in enumerate(ids)
        )
        write_index(made, built, chunks, info, items, mix_neighbours=True)
    return open_index(made, card)


def _compare(index: GalleryIndex, made: Path, uri: str, test: np.ndarray, exact: np.ndarray) -> None:
    items = Items(made / ITEMS_FILE)
    connection = Connection(uri)
    began = time.perf_counter()
    building = pushing.start(connection, index.info)
    pushing.upload(connection, building, index, items)
    name = f"udml_v1_{index.info.kind}0000"
    pushing.finish(connection, building, name, index.info)
    push_seconds = time.perf_counter() - began
    here = Collection(index, items, None, Path("nowhere"), lambda _: [])
    there = SharedCollection(connection, name, index.info, FilesHere(made, made), lambda _: [])
    faiss.omp_set_num_threads(1)
    for search in ("search", "search_refined"):
        answers = _ask((here, there), search, test)
        for store, (similarity, ids, ms) in zip(("FAISS", "Milvus"), answers, strict=True):
            # neighbourhoods go by more than similarity
            recall = f"{(similarity >= exact[:, -1:] - _TIE).mean():.4f}" if search == "search" else ""
            same = statistics.mean(set(a) == set(b) for a, b in zip(ids, answers[0][1].tolist(), strict=True))
            high = statistics.quantiles(ms, n=20)[-1]
            print(
                f"| {index.info.kind} | {search} | {store} | {recall} | {same:.1%} "
                f"| {statistics.median(ms):.2f} | {high:.2f} | {_times(ms, answers[0][2]):.1f} |",
                flush=True,
            )
    print(f"\n{index.info.kind}: {index.info.count:,} images pushed in {push_seconds:.1f} s\n")
    there.close()


def _times(ms: list[float], of_faiss: list[float]) -> float:
    """How many times as long as FAISS, query by query, the median: the two were asked one after the other."""
    return statistics.median(a / b for a, b in zip(ms, of_faiss, strict=True))


def _ask(
    stores: tuple[CollectionStore, ...], search: str, test: np.ndarray
) -> list[tuple[np.ndarray, Any, list[float]]]:
    """Similarities, ids and milliseconds of each store, one query at a time, the stores in turns."""
    found: list[tuple[list[np.ndarray], list[list[int]], list[float]]] = [([], [], []) for _ in stores]
    for query in test:
        for store, (similarities, ids, ms) in zip(stores, found, strict=True):
            began = time.perf_counter()
            similarity, image_ids = getattr(store, search)(query[None], K)
            ms.append(1000 * (time.perf_counter() - began))
            similarities.append(similarity[0])
            ids.append(image_ids[0].tolist())
    return [(np.stack(similarities), np.array(ids), ms) for similarities, ids, ms in found]


if __name__ == "__main__":
    main()
