"""The batcher, with a stand-in for the engine whose speed and faults the test decides."""

import asyncio
import threading
import types

import numpy as np
import pytest

from udml.serving.engine.answers import Wanted
from udml.serving.service.batching import Batcher
from udml.serving.service.metrics import Metrics
from udml.serving.service.problems import Problem
from udml.serving.service.switching import OpenVersion


class Engine:
    """Decodes "7" to a picture of sevens, whose vector is [7] and whose neighbour is (name, 7, k)."""

    def __init__(self, name="v1"):
        self.version = types.SimpleNamespace(name=name, model_version="m")
        self.batches = []
        self.free = threading.Event()
        self.free.set()
        self.closed = threading.Event()

    def decode(self, data, max_pixels, crop, budget):
        if data == b"bad":
            raise ZeroDivisionError
        return np.full((2, 2, 3), int(data), np.uint8)

    def embed_images(self, images):
        assert not self.closed.is_set()
        self.batches.append(len(images))
        assert self.free.wait(120)
        if any(image[0, 0, 0] == 99 for image in images):
            raise MemoryError
        return np.array([[image[0, 0, 0]] for image in images], np.float32)

    def neighbours(self, vectors, k, threshold, refine, collapse, where=None):
        return [[(self.version.name, int(vector[0]), k, threshold)] for vector in vectors]

    def close(self):
        self.closed.set()


def run(test, max_waiting=100):
    """Run an asynchronous test with a batcher, which must end with nothing waiting."""

    async def body():
        batcher = Batcher(max_waiting, 10**6, Metrics())
        try:
            await asyncio.wait_for(test(batcher), 120)
        finally:
            await asyncio.to_thread(batcher.close)
        await asyncio.sleep(0)
        assert batcher._waiting == 0

    asyncio.run(body())


async def until(condition):
    for _ in range(12_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


def test_each_gets_its_own_answer_and_those_that_wait_run_together():
    engine = Engine()
    version = OpenVersion(engine)

    async def test(batcher):
        engine.free.clear()
        first = asyncio.create_task(batcher.ask(version, b"1", Wanted(3)))
        await until(lambda: engine.batches == [1])
        others = [
            asyncio.create_task(batcher.ask(version, str(n).encode(), Wanted(3 + n % 2)))
            for n in range(2, 50)
        ]
        await until(lambda: len(batcher._queue) == 48)
        engine.free.set()
        answers = [await task for task in [first, *others]]
        assert [answer.vector.tolist() for answer in answers] == [[n] for n in range(1, 50)]
        expected = [[("v1", n, 3 + n % 2 if n > 1 else 3, None)] for n in range(1, 50)]
        assert [answer.hits for answer in answers] == expected
        assert engine.batches == [1, 32, 16]

    run(test)


def test_only_a_vector_where_no_neighbours_are_wanted():
    async def test(batcher):
        assert (await batcher.ask(OpenVersion(Engine()), b"5")).hits == []

    run(test)


def test_more_than_may_wait_are_refused_at_once():
    engine = Engine()
    version = OpenVersion(engine)

    async def test(batcher):
        engine.free.clear()
        tasks = [asyncio.create_task(batcher.ask(version, b"1", Wanted(1))) for _ in range(4)]
        await until(lambda: batcher._waiting == 4)
        with pytest.raises(Problem) as refused:
            await batcher.ask(version, b"1", Wanted(1))
        assert (refused.value.status, refused.value.code) == (503, "overloaded")
        assert refused.value.headers["Retry-After"] == "1"
        engine.free.set()
        await asyncio.gather(*tasks)
        await batcher.ask(version, b"1", Wanted(1))

    run(test, max_waiting=4)


def test_one_image_that_fails_does_not_spoil_the_others():
    engine = Engine()
    version = OpenVersion(engine)

    async def test(batcher):
        engine.free.clear()
        first = asyncio.create_task(batcher.ask(version, b"1"))
        await until(lambda: engine.batches == [1])
        tasks = [asyncio.create_task(batcher.ask(version, data)) for data in (b"2", b"99", b"bad", b"3")]
        await until(lambda: len(batcher._queue) == 3)
        engine.free.set()
        answers = await asyncio.gather(first, *tasks, return_exceptions=True)
        assert [type(a).__name__ for a in answers] == [
            "Answer", "Answer", "MemoryError", "ZeroDivisionError", "Answer",
        ]  # fmt: skip
        assert (await batcher.ask(version, b"4")).vector == [4]

    run(test)


def test_a_batch_is_of_one_version_which_is_closed_after_its_last_answer():
    engines = [Engine("v1"), Engine("v2")]
    old, new = (OpenVersion(engine) for engine in engines)

    async def test(batcher):
        engines[0].free.clear()
        tasks = [asyncio.create_task(batcher.ask(old, b"1", Wanted(1)))]
        await until(lambda: engines[0].batches == [1])
        tasks += [asyncio.create_task(batcher.ask(v, b"2", Wanted(1))) for v in (old, old, new, new, old)]
        await until(lambda: len(batcher._queue) == 5)
        old.release()  # as a switch does
        assert not engines[0].closed.is_set()
        engines[0].free.set()
        names = [(await task).hits[0][0] for task in tasks]
        assert names == ["v1", "v1", "v1", "v2", "v2", "v1"]
        await until(engines[0].closed.is_set)
        assert not engines[1].closed.is_set()

    run(test)


def test_who_gave_up_is_not_computed_for():
    engine = Engine()
    version = OpenVersion(engine)

    async def test(batcher):
        engine.free.clear()
        first = asyncio.create_task(batcher.ask(version, b"1"))
        await until(lambda: engine.batches == [1])
        others = [asyncio.create_task(batcher.ask(version, b"2")) for _ in range(5)]
        await until(lambda: len(batcher._queue) == 5)
        for task in others[:4]:
            task.cancel()
        engine.free.set()
        await first
        await others[4]
        assert engine.batches == [1, 1]

    run(test)
