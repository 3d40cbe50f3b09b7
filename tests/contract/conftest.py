"""Every store under one suite. Another store is another entry of STORES."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from service import redis_url
from service.ports import Store
from service.redis_connection import RedisConnection, RedisOptions, Script
from service.store_memory import MemoryStore
from service.store_redis import RedisStore
from service.store_sqlite import SqliteStore
from tests import redis_servers
from tests.contract.changes import ManualClock


@cache
def one_server() -> str:
    """The URL of a Redis server of this test run."""
    server = redis_servers.standalone()
    return server.url


@cache
def three_masters() -> str:
    """The URL of a cluster of this test run, without replicas: nothing here is killed."""
    cluster = redis_servers.cluster(masters=3, replicas=0)
    return cluster.url


class Twice(RedisConnection):
    """Sends every script twice and answers with the second: what a retry does whose first
    attempt had arrived after all.
    """

    async def run(self, script: Script, *args: Any, **kwargs: Any) -> Any:
        first = await super().run(script, *args, **kwargs)
        # forget says how many went, which is for the log and no promise; a sketch whose ttl
        # became 0 is gone when it is asked again.
        if script.name in ("forget", "set_ttl"):
            return first
        return await super().run(script, *args, **kwargs)


def redis_store(
    url: str,
    clock: ManualClock,
    prefix: str | None = None,
    *,
    connect: Callable[[redis_url.RedisUrl, RedisOptions], RedisConnection] = RedisConnection,
    options: RedisOptions = RedisOptions(),
) -> RedisStore:
    """A store under a prefix of its own, or the given one."""
    prefix = prefix if prefix is not None else f"t{secrets.token_hex(6)}"
    connection = connect(redis_url.parse(f"{url}?prefix={prefix}"), options)
    return RedisStore(connection, clock, usage_seconds=0)


#: Name -> a store that is not started yet. The path is an empty directory of the test's own.
STORES: dict[str, Callable[[ManualClock, Path], Store]] = {
    "memory": lambda clock, _: MemoryStore(clock),
    "sqlite": lambda clock, path: SqliteStore(path / "sketches.db", clock),
    "redis": lambda clock, _: redis_store(one_server(), clock),
    "redis-cluster": lambda clock, _: redis_store(three_masters(), clock),
    "redis-twice": lambda clock, _: redis_store(one_server(), clock, connect=Twice),
}


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture(params=STORES)
async def store(
    request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path
) -> AsyncIterator[Store]:
    """A started store of each kind."""
    opened = STORES[request.param](clock, tmp_path)
    await opened.start()
    yield opened
    await opened.close()
