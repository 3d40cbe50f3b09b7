"""A Redis server without memory to give: what frees some must work, and nothing may take more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from service.errors import StoreUnavailable
from service.ports import EMPTY_DIGEST, chain
from service.redis_connection import Script
from service.redis_parts import CHUNK_BYTES
from service.store_redis import RedisStore
from tests.contract.changes import KEY, ManualClock, append, append_many, compact, entry, record
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


def parts(server: ServerProcess) -> Any:
    """Large parts, referred to or not."""
    return server.client.keys("full:*:part:*")


async def test_a_state_without_room_leaves_room_for_others(
    store: RedisStore, server: ServerProcess
) -> None:
    await store.create(record())
    first = entry()
    await append(store, first)
    digest = chain(EMPTY_DIGEST, first.id)
    with pytest.raises(StoreUnavailable, match="out of memory"):
        await compact(store, 0, 1, digest, state=bytes(30 << 20))
    assert not parts(server)
    assert await compact(store, 0, 1, digest, state=bytes(5 << 20))


async def test_an_attachment_whose_sender_goes_leaves_nothing(
    store: RedisStore, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.create(record())
    run = store.redis.run
    reached = asyncio.Event()

    async def stuck(script: Script, keys: Any, args: Any, **how: Any) -> Any:
        if script.name == "stage" and args[0] == 2:
            reached.set()
            await asyncio.Event().wait()
        return await run(script, keys, args, **how)

    monkeypatch.setattr(store.redis, "run", stuck)
    sending = asyncio.create_task(append(store, entry(b"p", attachment=bytes(4 * CHUNK_BYTES))))
    async with asyncio.timeout(20):
        await reached.wait()
    assert parts(server)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not parts(server)


async def test_a_state_staged_again_leaves_the_first_nowhere(
    store: RedisStore, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.create(record())
    digests = await append_many(store, 2)
    assert await compact(store, 0, 1, digests[1])
    command = store.redis.command

    async def stale(*words: Any, **how: Any) -> Any:
        found = await command(*words, **how)
        if words[0] == "HGET" and words[2] == "B":
            monkeypatch.setattr(store.redis, "command", command)
            return b""  # as it was before another replica compacted
        return found

    monkeypatch.setattr(store.redis, "command", stale)
    assert await compact(store, 1, 2, digests[2])
    assert len(parts(server)) == 1
