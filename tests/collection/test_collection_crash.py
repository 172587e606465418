"""SIGKILL while images are added and removed, 200 times, each time a process of its own."""

import multiprocessing
import random
import sqlite3
import time
from contextlib import closing

import numpy as np

from tests.collection.made_up import content, open_collection, vector, write_base
from udml.collection.additions import ADDITIONS_FILE
from udml.collection.outcome import NewFile, Status
from udml.data.identity import image_id
from udml.errors import UdmlError

KILLS = 200
BASE = 50
FILES_AT_ONCE = 3


def work(directory, run, pipe):
    """Add three files at a time and remove one now and then; report what has been acknowledged."""
    collection = open_collection(directory)
    pipe.send(("open", []))
    for step in range(10_000):
        names = [f"{run}-{step}-{number}" for number in range(FILES_AT_ONCE)]
        added = collection.add([NewFile(name, content(name), name) for name in names])
        assert all(done.status == Status.ADDED for done in added)
        pipe.send(("added", names))
        if step % 3 == 2:
            gone = f"{run}-{step - 1}-0"
            pipe.send(("removing", [gone]))
            collection.remove([image_id(gone)])
            pipe.send(("removed", [gone]))


def test_nothing_acknowledged_is_lost_and_nothing_is_half_there(tmp_path):
    directory = tmp_path / "index"
    write_base(directory, BASE)
    context = multiprocessing.get_context("fork")  # 200 fresh interpreters would take minutes
    rng = random.Random(0)
    acknowledged, unsure, killed = {}, set(), 0
    for run in range(KILLS):
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(directory, run, writer))
        process.start()
        writer.close()
        told = [reader.recv() for _ in range(1 + rng.randrange(5))]  # it is open, and some has happened
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.join()
        killed += process.exitcode == -9
        told += rest_of(reader)
        for event, names in told:
            # a removal that was under way may have happened or not
            unsure = {*names} if event == "removing" else set()
            acknowledged |= dict.fromkeys(names, event != "removed")
        check(directory, run, acknowledged, unsure)
    assert killed == KILLS
    assert sum(acknowledged.values()) > KILLS


def rest_of(reader):
    """What is left in a pipe whose writer is gone."""
    left = []
    while True:
        try:
            left.append(reader.recv())
        except EOFError:
            return left


def check(directory, run, acknowledged, unsure):
    """Open the collection after the kill and compare it with what the killed process had acknowledged."""
    collection = open_collection(directory)
    there = set(collection.refresh().ids.tolist())
    # this run's files one by one, the earlier ones, whom nothing should have touched, by their ids
    for name, is_there in acknowledged.items():
        if name in unsure:
            continue
        assert (image_id(name) in there) == is_there, name
        if is_there and name.startswith(f"{run}-"):
            assert collection.original(image_id(name)) == content(name)
            similarity, ids = collection.search(vector(content(name))[None], 1)
            assert ids[0, 0] == image_id(name)
            np.testing.assert_allclose(similarity[0, 0], 1.0, atol=1e-5)
    path = directory / ADDITIONS_FILE
    if not path.exists():
        assert not acknowledged
        collection.close()
        return
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        # an item has its original and its vector, or neither
        (halves,) = database.execute(
            "SELECT count(*) FROM items "
            "LEFT JOIN originals USING (image_id) LEFT JOIN vectors USING (image_id) "
            "WHERE (state = 'added') != (bytes IS NOT NULL) OR (state = 'added') != (vector IS NOT NULL)"
        ).fetchone()
        assert halves == 0
        # what is added together is there together, also where nobody was told
        batches = database.execute(
            "SELECT count(*) FROM items WHERE source LIKE ? || '-%' "
            "GROUP BY substr(source, 1, length(source) - 2)",
            [str(run)],
        ).fetchall()
        assert {count for (count,) in batches} <= {FILES_AT_ONCE}
    for name in unsure:
        acknowledged[name] = image_id(name) in there
    try:
        assert len(collection) == BASE + len(there)
    except UdmlError as error:
        raise AssertionError(f"after {run + 1} kills: {error}") from error
    collection.close()
