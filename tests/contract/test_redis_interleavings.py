"""The Redis store between two of its steps: what another replica may do there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from service.ports import Allowance, SketchKey
from service.redis_connection import Script
from service.store_redis import RedisStore
from tests.contract.changes import FIRST, KEY, SECOND, ManualClock, append, record
from tests.contract.conftest import one_server, redis_store


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[RedisStore]:
    """A started store on one server."""
    opened = redis_store(one_server(), clock)
    await opened.start()
    yield opened
    await opened.close()


@pytest.fixture
async def other(store: RedisStore, clock: ManualClock) -> AsyncIterator[RedisStore]:
    """Another replica."""
    opened = redis_store(one_server(), clock, store.redis.prefix)
    await opened.start()
    yield opened
    await opened.close()


def before(
    store: RedisStore, name: str, act: Callable[[], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let something happen just before the store's script of that name arrives, once."""
    run = store.redis.run
    waiting = True

    async def late(script: Script, *args: Any, **kwargs: Any) -> Any:
        nonlocal waiting
        if script.name == name and waiting:
            waiting = False
            await act()
        return await run(script, *args, **kwargs)

    monkeypatch.setattr(store.redis, "run", late)


async def test_an_append_sent_before_the_expiry_is_not_lost_to_a_creation(
    store: RedisStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = redis_store(one_server(), ManualClock(), store.redis.prefix)
    await sender.start()
    await store.create(record(ttl_seconds=5))
    clock.advance(6)
    sender._clock.advance(4)  # type: ignore[attr-defined]
    before(store, "delete", lambda: append(sender), monkeypatch)
    stored, new = await store.create(record(incarnation=SECOND))
    assert (stored.incarnation, stored.position, new) == (FIRST, 1, False)
    await sender.close()


class TestTheSweepForgetsNobody:
    async def nothing_is_left(self, store: RedisStore, clock: ManualClock) -> None:
        clock.advance(1000)
        await store.sweep(100)  # visits it, and
        assert await store.sweep(100) == 1
        found = await store.redis.on_masters("KEYS", f"{store.redis.prefix}:*acme/clicks*")
        assert found == [[]]

    async def test_made_again_between_its_deletion_and_its_creation(
        self,
        store: RedisStore,
        other: RedisStore,
        clock: ManualClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await store.create(record(ttl_seconds=5))
        clock.advance(6)
        again = record(incarnation=SECOND, ttl_seconds=5, now=clock.now())
        remove = store._removal.remove

        async def then_sweep(*args: Any, **kwargs: Any) -> bool:
            done = await remove(*args, **kwargs)
            await other.sweep(100)
            return done

        monkeypatch.setattr(store._removal, "remove", then_sweep)
        assert (await store.create(again))[1]
        await self.nothing_is_left(store, clock)

    async def test_a_ttl_given_while_the_sweep_looks(
        self,
        store: RedisStore,
        other: RedisStore,
        clock: ManualClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await store.create(record(ttl_seconds=5))
        await store.set_ttl(KEY, None)
        clock.advance(6)
        later = other._index.look_later

        async def too_late(*args: Any) -> None:
            await store.set_ttl(KEY, 5)
            await later(*args)

        monkeypatch.setattr(other._index, "look_later", too_late)
        # Only what the sweep does first, since it would mend this right afterwards.
        await other._janitor._expire("acme", clock.now(), 100)
        await self.nothing_is_left(store, clock)


async def test_a_place_freed_slowly_is_not_taken_for_one_left_behind(
    store: RedisStore, other: RedisStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = record(SketchKey("acme", "former"), ttl_seconds=5)
    await store.create(former)
    clock.advance(6)
    reclaim = store._janitor.reclaim

    async def slow(*args: Any) -> None:
        await reclaim(*args)
        clock.advance(61)

    monkeypatch.setattr(store._janitor, "reclaim", slow)
    before(store, "create", lambda: other.sweep(100), monkeypatch)
    assert (await store.create(record(), Allowance(sketches=1)))[1]
    found = await store.list("acme", prefix="", limit=10, after=None)
    assert [one.key for one in found] == [KEY]
