"""The pool: bounded, and never running for a caller who was told otherwise."""

from __future__ import annotations

import asyncio
import threading

import pytest

from service.errors import Overloaded
from service.pool import BoundedPool


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
