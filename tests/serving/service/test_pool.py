import asyncio
import threading

import pytest

from tests.serving.service.test_batching import Engine
from udml.serving.service.pool import BoundedPool
from udml.serving.service.problems import Problem
from udml.serving.service.switching import OpenVersion


def test_a_version_stays_open_until_the_work_is_done_even_if_nobody_waits_any_more():
    engine, free, begun = Engine(), threading.Event(), threading.Event()
    version = OpenVersion(engine)

    def work():
        begun.set()
        assert free.wait(120)
        assert not engine.closed.is_set()

    async def test():
        pool = BoundedPool(max_waiting=100, seconds=600.0)
        task = asyncio.create_task(pool.run(version, work))
        await asyncio.to_thread(begun.wait, 120)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        version.release()  # as a switch does
        assert not engine.closed.is_set()
        free.set()
        assert await asyncio.to_thread(engine.closed.wait, 120)
        pool.close()

    asyncio.run(test())


def test_more_than_may_wait_are_refused_and_errors_are_passed_on():
    version, free = OpenVersion(Engine()), threading.Event()

    async def test():
        pool = BoundedPool(max_waiting=3, seconds=600.0)
        tasks = [asyncio.create_task(pool.run(version, free.wait)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Problem) as refused:
            await pool.run(version, free.wait)
        assert (refused.value.status, refused.value.code) == (503, "overloaded")
        free.set()
        assert await asyncio.gather(*tasks) == [True] * 3
        await asyncio.sleep(0)
        with pytest.raises(ZeroDivisionError):
            await pool.run(version, lambda: 1 / 0)
        pool.close()

    asyncio.run(test())
