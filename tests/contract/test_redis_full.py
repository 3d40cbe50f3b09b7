"""A Redis server without memory to give: what frees some must work, and nothing may take more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from service.store_redis import RedisStore
from tests.contract.changes import KEY, ManualClock, record
from tests.contract.conftest import redis_store
from tests.redis_servers import ServerProcess, closing, standalone


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    """A server with little memory."""
    with closing(standalone(max_memory=16 << 20)) as made:
        yield made


@pytest.fixture
async def store(server: ServerProcess, clock: ManualClock) -> AsyncIterator[RedisStore]:
    """A started store in it."""
    opened = redis_store(server.url, clock, "full")
    await opened.start()
    yield opened
    await opened.close()


async def test_a_sketch_is_deleted_with_its_place(store: RedisStore, server: ServerProcess) -> None:
    await store.create(record())
    server.client.config_set("maxmemory", "1mb")
    assert await store.delete(KEY)
    assert sorted(server.client.keys("full:*")) == [
        "full:format",
        "full:tenants",
        "full:{acme}:total",
    ]
