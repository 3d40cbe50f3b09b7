"""What the Redis store asks of a server and of itself where there is much."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from service import redis_index
from service.errors import QuotaExceeded
from service.ports import Allowance, SketchKey
from service.store_redis import RedisStore
from tests.contract.changes import ManualClock, record
from tests.contract.conftest import one_server, redis_store


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[RedisStore]:
    """A started store on one server."""
    opened = redis_store(one_server(), clock)
    await opened.start()
    yield opened
    await opened.close()


async def test_a_tenant_at_its_quota_is_refused_cheaply(
    store: RedisStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Allowance(sketches=250)
    for number in range(250):
        await store.create(replace(record(), key=SketchKey("acme", f"s{number}")))
    spread = store.redis.spread
    asked = 0

    async def counted(batch: Any) -> Any:
        nonlocal asked
        asked += len(batch)
        return await spread(batch)

    monkeypatch.setattr(store.redis, "spread", counted)
    for _ in range(10):
        with pytest.raises(QuotaExceeded):
            await store.create(replace(record(), key=SketchKey("acme", "new")), full)
    assert asked == 250  # once for all of them
    clock.advance(60)
    with pytest.raises(QuotaExceeded):
        await store.create(replace(record(), key=SketchKey("acme", "new")), full)
    assert asked == 500


async def test_long_definitions_are_read_only_to_be_shown(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = bytes(10_000)
    for number in range(20):
        await store.create(replace(record(), key=SketchKey("acme", f"s{number:02}"), spec=long))
    spread = store.redis.spread
    received = 0

    async def counted(batch: Any) -> Any:
        nonlocal received
        replies = await spread(batch)
        received += sum(
            len(part or b"") for row in replies if isinstance(row, list) for part in row
        )
        return replies

    monkeypatch.setattr(store.redis, "spread", counted)
    assert (await store.usage(5)).sketches == {"acme": 20}
    assert received < 10_000
    page = await store.list("acme", prefix="", limit=20, after=None, max_bytes=35_000)
    assert [one.key.name for one in page] == ["s00", "s01", "s02", "s03"]
    assert page[3].spec == long
    assert received < 60_000


async def test_only_records_that_will_be_shown_are_read(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        name = f"{'in' if number % 10 == 3 else 'out'}{number:02}"
        await store.create(replace(record(), key=SketchKey("acme", name)))
    monkeypatch.setattr(redis_index, "_NAMES_AT_ONCE", 4)
    spread = store.redis.spread
    asked = 0

    async def counted(batch: Any) -> Any:
        nonlocal asked
        asked += len(batch)
        return await spread(batch)

    monkeypatch.setattr(store.redis, "spread", counted)

    async def names(limit: int, after: str | None) -> list[str]:
        found = await store.list("acme", prefix="", limit=limit, after=after, contains="IN")
        return [one.key.name for one in found]

    assert await names(2, None) == ["in03", "in13"]
    assert await names(2, "in13") == ["in23"]
    assert asked == 3
