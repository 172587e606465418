"""Ends at any moment: while a version is pushed and promoted, and while images are added.

Deterministic: the n-th request to the store, or change of a file, is the last thing that happens. Slow:
SIGKILLs of processes of their own; `UDML_KILLS=200` for so many.
"""

import multiprocessing
import os
import random
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.collection.made_up import DIM, MODEL, content, embed, vector
from tests.collection.shared.workspace import BASE
from tests.fixtures.lite import Lite
from tests.registry.workspace import make_sources
from tests.serving.live import make_version
from udml.collection.outcome import NewFile
from udml.collection.shared import changes, pushing
from udml.collection.shared.collection import SharedCollection
from udml.collection.shared.connection import Connection
from udml.collection.shared.files import FilesHere
from udml.collection.shared.following import SharedStore, collection_of, push_champion
from udml.collection.shared.rows import CHAMPION, is_version
from udml.registry import store
from udml.search.gallery import IndexInfo

KILLS = int(os.environ.get("UDML_KILLS", "40"))  # 200 take seven minutes on two busy cores
AT_ONCE, PARTS = 4, max(1, KILLS // 40)
INFO = IndexInfo(MODEL, "d" * 16, "flat", DIM, 0, 1.0, {})


# what takes seconds to import, once for all processes; it does not find the tests themselves
_LOADED = ["fastapi.testclient", "hypothesis", "onnx", "pymilvus", "pytest", "udml.serving.engine.shared"]
_LOADED += ["udml.search.build", "udml.serving.http.app"]


class Killed(BaseException):
    """Nothing of ours catches it."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions; v1 is the champion."""
    root = tmp_path_factory.mktemp("registry")
    for seed in range(2):
        (root / str(seed)).mkdir()
        store.register(root / "models", make_sources(root / str(seed), seed))
    store.promote(root / "models", "v1", "")
    return root


def stop_at(moment: int, patch: pytest.MonkeyPatch) -> None:
    """Raise `Killed` instead of the `moment`-th request, or change of the registry's link or log."""
    left = [moment]

    def count() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    ask, switch, append = Connection.ask, store._switch, store._append
    patch.setattr(Connection, "ask", lambda *a, **k: (count(), ask(*a, **k))[1])
    patch.setattr(store, "_switch", lambda *a, **k: (count(), switch(*a, **k))[1])
    patch.setattr(store, "_append", lambda *a, **k: (count(), append(*a, **k))[1])


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    plan=st.lists(
        st.tuples(st.sampled_from(["promote", "rollback"]), st.integers(1, 24)), min_size=1, max_size=3
    )
)
def test_any_moment_of_a_promotion_leaves_the_old_or_the_new_one(
    plan: list[tuple[str, int]], registry: Path, lite: Lite, tmp_path_factory: pytest.TempPathFactory
) -> None:
    models = tmp_path_factory.mktemp("copy") / "models"
    shutil.copytree(registry / "models", models, symlinks=True)
    shared = SharedStore(lite.database())
    push_champion(models, models / "versions" / "v1", shared)
    names = {collection_of(models / "versions" / name): name for name in ("v1", "v2")}
    connection = Connection(shared.uri)
    for action, moment in plan:
        before = connection.behind(CHAMPION)
        with pytest.MonkeyPatch.context() as patch:
            stop_at(moment, patch)
            try:
                if action == "promote":
                    store.promote(models, "v2", "")
                elif len(store.champions_until_now(models)) > 1:
                    store.rollback(models, "")
            except Killed:
                pass
        after = connection.behind(CHAMPION)
        assert after in names
        assert after == before or names[after] == store.champion_name(models)
        for name in filter(is_version, connection.ask("list_collections")):
            assert connection.count(name) == pushing.read_info(connection, name).count  # whole, or not there
    store.promote(models, "v2", "")  # whatever happened, the next change works
    assert names[connection.behind(CHAMPION) or ""] == store.champion_name(models) == "v2"
    connection.close()


def new_collection(uri: str, root: Path) -> SharedCollection:
    connection = Connection(uri)
    return SharedCollection(connection, "udml_v1_00000000", INFO, FilesHere(root, root / "models"), embed)


def make_empty(uri: str) -> None:
    connection = Connection(uri)
    building = pushing.start(connection, INFO)
    connection.ask("load_collection", building)
    pushing.finish(connection, building, "udml_v1_00000000", INFO)
    connection.close()


@pytest.mark.parametrize("moment", range(1, 14, 2))
def test_any_moment_of_an_addition_or_a_removal_leaves_all_or_nothing(
    moment: int, lite: Lite, empty: str, tmp_path: Path
) -> None:
    one = new_collection(empty, tmp_path)
    (there,) = one.add([NewFile(f"there-{moment}", content(f"there-{moment}"))])
    for work, name in (
        (lambda: one.add([NewFile(f"new-{moment}", content(f"new-{moment}"))]), f"new-{moment}"),
        (lambda: one.remove([there.image_id]), f"there-{moment}"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            stop_at(moment, patch)
            try:
                work()
                killed = False
            except Killed:
                killed = True
        other = new_collection(empty, tmp_path)
        (similarity, ids) = other.search(vector(content(name))[None], 1)
        found = similarity[0, 0] > 0.999
        if found:
            assert other.original(int(ids[0, 0])) == content(name)
        assert killed or found == name.startswith("new")
        other.close()
    one.close()


@pytest.fixture(scope="module")
def empty(lite: Lite) -> str:
    """An empty collection."""
    uri = lite.database()
    make_empty(uri)
    return uri


def add_and_remove(uri: str, root: Path, run: int, pipe: Any) -> None:
    """Add three at a time and remove one now and then; report what has been acknowledged."""
    collection = new_collection(uri, root)
    pipe.send(("open", []))
    for step in range(10_000):
        names = [f"{run}-{step}-{number}" for number in range(3)]
        added = collection.add([NewFile(name, content(name)) for name in names])
        pipe.send(("added", names))
        if step % 3 == 2:
            pipe.send(("removing", names[:1]))
            collection.remove([added[0].image_id])
            pipe.send(("removed", names[:1]))


def killed_processes(
    target: Any, arguments: list[tuple[Any, ...]], rng: random.Random, most: int
) -> list[list[Any]]:
    """Start some at once, kill each a while after its first to `most`-th message; what they told."""
    context = multiprocessing.get_context("forkserver")  # gRPC's threads do not survive a fork
    context.set_forkserver_preload(_LOADED)
    started = []
    for own in arguments:
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=target, args=(*own, writer))
        process.start()
        writer.close()
        started.append((reader, process))
    told: list[list[Any]] = [[reader.recv() for _ in range(1 + rng.randrange(most))] for reader, _ in started]
    time.sleep(rng.uniform(0, 0.1))
    for (reader, process), events in zip(started, told, strict=True):
        process.kill()
        process.join()
        assert process.exitcode == -9
        while True:
            try:
                events.append(reader.recv())
            except EOFError:
                break
    return told


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_kills_lose_nothing_that_was_acknowledged(part: int, lite: Lite, tmp_path: Path) -> None:
    uri = lite.database()
    make_empty(uri)
    rng = random.Random(part)
    acknowledged: dict[str, bool] = {}
    for first in range(0, KILLS // PARTS, AT_ONCE):
        runs = [(uri, tmp_path, run) for run in range(first, first + AT_ONCE)]
        for told in killed_processes(add_and_remove, runs, rng, most=3):
            unsure: list[str] = []
            for event, names in told:
                unsure = names if event == "removing" else []
                acknowledged |= dict.fromkeys(names, event != "removed")
            for name in unsure:
                del acknowledged[name]
    other = new_collection(uri, tmp_path)
    names = list(acknowledged)
    similarity, ids = other.search(np.stack([vector(content(name)) for name in names]), 1)
    for name, row, image_id in zip(names, similarity[:, 0], ids[:, 0].tolist(), strict=True):
        assert (row > 0.999) == acknowledged[name], name
        if acknowledged[name]:
            assert other.original(image_id) == content(name)
    every = [one for some in changes.since(Connection(uri), 0) for one in some]
    assert sum(one.state == "added" for one in every) == len(other)  # rows are what the changes say
    assert sum(acknowledged.values()) > KILLS // PARTS
    other.close()


def promote_for_ever(models: Path, pipe: Any) -> None:
    while True:
        pipe.send("about to")
        store.promote(models, "v2", "")
        store.promote(models, "v1", "")


@pytest.mark.slow
def test_kills_over_promotions_mix_nothing(
    lite: Lite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_version(tmp_path, BASE[:12])
    make_version(tmp_path, BASE[12:], seed=7)
    models = tmp_path / "models"
    shared = SharedStore(lite.database())
    push_champion(models, models / "versions" / "v2", shared)
    store.promote(models, "v1", "")
    names = {collection_of(models / "versions" / name): name for name in ("v1", "v2")}
    sources = {"v1": {name for name, *_ in BASE[:12]}, "v2": {name for name, *_ in BASE[12:]}}
    seen, faults, stop = set(), [], threading.Event()

    def read() -> None:
        connection = Connection(shared.uri)
        while not stop.is_set():
            name = connection.behind(CHAMPION) or ""
            rows = connection.every(name, "", ["source"])
            found = {row["source"] for some in rows for row in some}
            if found != sources[names[name]]:
                faults.append((name, found))
            seen.add(names[name])
            time.sleep(0.05)  # Lite answers one at a time: leave it to those who promote
        connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    rng = random.Random(0)
    for _ in range(KILLS):
        killed_processes(promote_for_ever, [(models,)], rng, most=2)
        assert store.champion_name(models) in ("v1", "v2")
    stop.set()
    reader.join()
    assert not faults
    assert seen == {"v1", "v2"}
