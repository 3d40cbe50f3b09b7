"""The pool: bounded, and never running for a caller who was told otherwise."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from service.errors import Overloaded
from service.pool import BoundedPool, working_for


async def test_what_does_not_fit_is_refused_and_fits_again_later() -> None:
    depths: list[int] = []
    pool = BoundedPool(1, 1, retry_after=3.0, depth_changed=depths.append)
    release = threading.Event()
    jobs = [asyncio.create_task(pool.run(release.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as caught:
        await pool.run(release.wait)
    assert caught.value.retry_after == 3.0
    release.set()
    assert await asyncio.gather(*jobs) == [True, True]
    assert await pool.run(int, "7") == 7
    pool.close()
    assert pool.unfinished == 0
    assert max(depths) == 2
    assert depths[-1] == 0


async def test_an_iterator_at_its_end_is_an_error_like_any_other() -> None:
    pool = BoundedPool(1, 0)
    async with asyncio.timeout(10):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await pool.run(next, iter(()))
    pool.close()


async def test_an_error_comes_back_and_frees_its_place() -> None:
    pool = BoundedPool(1, 0)
    for _ in range(3):
        with pytest.raises(ValueError, match="literal"):
            await pool.run(int, "seven")
    pool.close()


async def test_a_cancelled_caller_of_a_running_job_waits_for_its_end() -> None:
    pool = BoundedPool(1, 1)
    started, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        release.wait()
        ended.set()

    task = asyncio.create_task(pool.run(work))
    await asyncio.to_thread(started.wait)
    for _ in range(3):  # however often
        task.cancel()
        await asyncio.sleep(0.005)
        assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    pool.close()


async def test_a_cancelled_caller_of_a_waiting_job_takes_it_back() -> None:
    pool = BoundedPool(1, 1)
    release, ran = threading.Event(), threading.Event()
    busy = asyncio.create_task(pool.run(release.wait))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(pool.run(ran.set))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.unfinished == 1
    release.set()
    await busy
    pool.close()
    assert not ran.is_set()


class Flood:
    """A pool of one thread that one tenant has filled. done: whose jobs were done, in order."""

    def __init__(self, queue: int) -> None:
        self.pool = BoundedPool(1, queue)
        self.started = threading.Event()
        self.release = threading.Event()
        self.done: list[str] = []
        self.tasks: list[asyncio.Task[object]] = []

    async def ask(self, tenant: str, *jobs: str) -> None:
        """Jobs of a tenant, all of them in the pool, or refused, when this returns."""
        for name in jobs:
            self.tasks.append(asyncio.create_task(self._run(tenant, name)))
            await asyncio.sleep(0)
            await asyncio.to_thread(self.started.wait)  # the first runs, the others wait

    async def _run(self, tenant: str, name: str) -> None:
        working_for(tenant)
        await self.pool.run(self._job, name)

    def _job(self, name: str) -> None:
        self.started.set()
        self.release.wait()
        self.done.append(name)

    async def outcomes(self) -> list[str]:
        """What became of the jobs, in the order they were asked for."""
        self.release.set()
        found = await asyncio.gather(*self.tasks, return_exceptions=True)
        self.pool.close()
        assert self.pool.unfinished == 0
        return ["done" if one is None else type(one).__name__ for one in found]


async def test_tenants_take_turns() -> None:
    flood = Flood(9)
    await flood.ask("a", "a1", "a2", "a3", "a4")
    await flood.ask("b", "b1", "b2")
    await flood.ask("c", "c1")
    assert await flood.outcomes() == ["done"] * 7
    assert flood.done == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


async def test_a_full_queue_has_room_for_a_tenant_with_a_shorter_line() -> None:
    flood = Flood(4)
    await flood.ask("a", "a1", "a2", "a3", "a4", "a5", "a6")
    await flood.ask("b", "b1", "b2", "b3")  # the third would have the longer line
    assert flood.pool.unfinished == 5
    assert await flood.outcomes() == [
        "done", "done", "done", "Overloaded", "Overloaded", "Overloaded",
        "done", "done", "Overloaded",
    ]  # fmt: skip
    assert sorted(flood.done) == ["a1", "a2", "a3", "b1", "b2"]


async def test_a_tenant_alone_has_the_whole_queue() -> None:
    flood = Flood(4)
    await flood.ask("a", "a1", "a2", "a3", "a4", "a5")
    assert await flood.outcomes() == ["done"] * 5


async def test_a_cancelled_job_leaves_its_line() -> None:
    flood = Flood(2)
    await flood.ask("a", "a1", "a2", "a3")
    flood.tasks[1].cancel()
    await asyncio.sleep(0)
    await flood.ask("a", "a4")
    assert await flood.outcomes() == ["done", "CancelledError", "done", "done"]


async def test_what_waits_when_the_pool_closes_is_dropped() -> None:
    flood = Flood(2)
    await flood.ask("a", "a1", "a2", "a3")
    closing = asyncio.create_task(asyncio.to_thread(flood.pool.close))
    for task in flood.tasks[1:]:
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await flood.outcomes() == ["done", "CancelledError", "CancelledError"]
    await closing
    with pytest.raises(RuntimeError, match="after shutdown"):
        await flood.pool.run(int, "7")
    assert flood.done == ["a1"]


async def test_what_a_job_returns_is_not_kept_while_others_are_done() -> None:
    class Large:
        pass

    pool = BoundedPool(1, 1)
    begin, release = threading.Event(), threading.Event()

    def make() -> Large:
        begin.wait()
        return Large()

    making = asyncio.create_task(pool.run(make))
    await asyncio.sleep(0)
    busy = asyncio.create_task(pool.run(release.wait))  # the thread goes on with this
    await asyncio.sleep(0)
    begin.set()
    kept = weakref.ref(await making)
    del making
    await asyncio.sleep(0)  # what woke us up holds it too
    gc.collect()
    assert pool.unfinished == 1
    assert kept() is None
    release.set()
    await busy
    pool.close()
