"""What a user sees while Redis is full, hangs or is gone, and that it passes with the fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.fleet import Counters, Fleet, fleet
from tests.end_to_end.streams import Caller
from tests.redis_servers import ServerProcess, closing, standalone

SETTINGS: dict[str, object] = {"redis_timeout_seconds": 0.3, "redis_retry_seconds": 0.6}


class Bench:
    """One replica of the service, its Redis, and a sketch that counts."""

    def __init__(self, redis: ServerProcess, replicas: Fleet, caller: Caller) -> None:
        self.redis = redis
        self.replicas = replicas
        self.caller = caller
        self.counters = Counters()
        self._number = 0

    async def add(self) -> httpx.Response:
        """One attempt at an update; counted if it was answered with success."""
        self._number += 1
        self.counters.sent[0] += 1
        answer = await self.caller.attempt(
            self.counters.stream, "POST", "/updates", json={"index": [0], "delta": [1]}
        )
        self.counters.sure[0] += answer.is_success
        return answer

    async def get(self, path: str) -> httpx.Response:
        assert self.replicas.url is not None
        return await self.caller.client.get(self.replicas.url + path)

    async def estimate(self) -> httpx.Response:
        body = {"index": [0]}
        return await self.caller.attempt(self.counters.stream, "POST", "/estimates", json=body)

    async def works(self) -> None:
        """Ready, alive, writing and reading, and every estimate within bounds."""
        assert (await self.get("/healthz")).status_code == 200
        assert (await self.get("/readyz")).status_code == 200
        assert (await self.add()).status_code == 200
        await self.counters.check(self.caller)

    async def recovers(self) -> None:
        """By itself, soon."""
        async with asyncio.timeout(20):
            while (await self.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - as a balancer
                await asyncio.sleep(0.05)
        await self.works()


@asynccontextmanager
async def bench(folder: Path, **settings: object) -> AsyncIterator[Bench]:
    with closing(standalone(durable=True)) as redis:
        async with fleet(folder, redis.url, 1, **(SETTINGS | settings)) as (replicas, caller):
            made = Bench(redis, replicas, caller)
            await caller.call(made.counters.stream, "PUT", json=made.counters.stream.request)
            await made.works()
            yield made


def unavailable(answer: httpx.Response) -> str:
    """The detail of a 503 that says all it should."""
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    problem = answer.json()
    assert problem["code"] == "store_unavailable"
    return str(problem["detail"])


async def test_scripts_are_flushed(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        for _ in range(5):
            made.redis.client.script_flush()
            await made.works()
        assert made.counters.sure == made.counters.sent


async def test_redis_is_full(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        made.redis.client.config_set("maxmemory-policy", "noeviction")
        made.redis.client.config_set("maxmemory", "1mb")
        assert "out of memory" in unavailable(await made.add())
        # Nothing of it was applied, and what there is can be read.
        made.counters.sent[0] -= 1
        await made.counters.check(made.caller)
        assert (await made.get("/healthz")).status_code == 200
        assert (await made.get("/readyz")).status_code == 503
        made.redis.client.config_set("maxmemory", "0")
        await made.recovers()
        assert made.counters.sure == made.counters.sent


@pytest.mark.parametrize("fault", ["hangs", "is gone"])
async def test_redis_does_not_answer(tmp_path: Path, fault: str) -> None:
    async with bench(tmp_path) as made:
        if fault == "hangs":
            made.redis.stop()
        else:
            made.redis.kill()
        writes = await asyncio.gather(*(made.add() for _ in range(20)))
        details = {unavailable(answer) for answer in writes}
        assert all("Redis" in detail for detail in details)
        unavailable(await made.estimate())
        assert (await made.get("/healthz")).status_code == 200
        assert (await made.get("/readyz")).status_code == 503
        if fault == "hangs":
            made.redis.resume()
        else:
            made.redis.restart()
        await made.recovers()


async def test_a_redis_that_stalls_now_and_then_is_only_slow(tmp_path: Path) -> None:
    async with bench(tmp_path, redis_retry_seconds=8) as made:
        for _ in range(3):
            made.redis.stop()
            writing = [asyncio.ensure_future(made.add()) for _ in range(5)]
            # Longer than one attempt's timeout: some are sent twice, and count once.
            await asyncio.sleep(0.5)
            made.redis.resume()
            answers = await asyncio.gather(*writing)
            assert [answer.status_code for answer in answers] == [200] * 5
        await made.counters.check(made.caller)
        assert made.counters.sure == made.counters.sent
