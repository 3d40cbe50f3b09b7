"""What service/access_ports.py says of tenants, keys and meters, under every store.

Another store is another entry of BACKENDS.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
import redis as redis_py
from hypothesis import given
from hypothesis import strategies as st

from service.access_meters import Level, take
from service.access_ports import AccessKey, Directory, Quota, Rate, Tenant
from service.app import Backend
from service.errors import StoreUnavailable
from service.redis_access import RedisAccess
from service.sqlite_access import SqliteAccess
from service.sqlite_schema import APPLICATION_ID, MIGRATIONS
from service.store_memory import MemoryStore
from service.store_memory_access import MemoryAccess
from service.store_sqlite import SqliteStore
from tests import redis_servers
from tests.contract.changes import ManualClock, record
from tests.contract.conftest import one_server, redis_store, three_masters


def sqlite(clock: ManualClock, path: Path) -> Backend:
    """A file in the folder, as another process would open it too."""
    file = SqliteStore(path / "access.db", clock)
    return Backend(file, SqliteAccess(file))


def redis(url: str, clock: ManualClock) -> Backend:
    """Under a prefix of its own."""
    store = redis_store(url, clock)
    return Backend(store, RedisAccess(store.redis, clock))


#: Name -> a store that is not started yet. The path is an empty directory of the test's own.
BACKENDS: dict[str, Callable[[ManualClock, Path], Backend]] = {
    "memory": lambda clock, _: Backend(MemoryStore(clock), MemoryAccess(clock)),
    "sqlite": sqlite,
    "redis": lambda clock, _: redis(one_server(), clock),
    "redis-cluster": lambda clock, _: redis(three_masters(), clock),
}

ACME = Tenant("acme", 1.5, Quota(10, 1 << 40, 2.5, None, 7))
OTHER = Tenant("other", 2.5)
KEY = AccessKey("0" * 16, "acme", "write", bytes(range(32)), 3.5, 4.5, "ingest")
SLOW = Rate(per_second=2.0, burst=10.0)


@pytest.fixture(params=BACKENDS)
async def backend(
    request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path
) -> AsyncIterator[Backend]:
    """A started store of each kind."""
    opened = BACKENDS[request.param](clock, tmp_path)
    await opened.store.start()
    yield opened
    await opened.store.close()


async def everything(backend: Backend) -> Directory:
    """The directory as it is now."""
    found = await backend.access.directory(None)
    assert found is not None
    return found


class TestTenants:
    async def test_there_are_none_at_first(self, backend: Backend) -> None:
        found = await everything(backend)
        assert (found.tenants, found.keys) == ({}, {})

    async def test_a_new_one_comes_back_whole_and_is_not_added_twice(
        self, backend: Backend
    ) -> None:
        assert await backend.access.put_tenant(ACME, new=True)
        assert not await backend.access.put_tenant(
            dataclasses.replace(ACME, quota=Quota()), new=True
        )
        assert (await everything(backend)).tenants == {"acme": ACME}

    async def test_only_an_old_one_is_replaced(self, backend: Backend) -> None:
        changed = dataclasses.replace(ACME, quota=Quota(updates_per_second=0.125))
        assert not await backend.access.put_tenant(changed, new=False)
        assert (await everything(backend)).tenants == {}
        await backend.access.put_tenant(ACME, new=True)
        assert await backend.access.put_tenant(changed, new=False)
        assert (await everything(backend)).tenants == {"acme": changed}

    async def test_one_goes_with_its_keys_and_not_its_sketches(self, backend: Backend) -> None:
        await backend.access.put_tenant(ACME, new=True)
        await backend.access.put_tenant(OTHER, new=True)
        await backend.access.put_key(KEY)
        theirs = dataclasses.replace(KEY, id="1" * 16, tenant="other")
        await backend.access.put_key(theirs)
        await backend.store.create(record())
        assert await backend.access.remove_tenant("acme")
        assert not await backend.access.remove_tenant("acme")
        found = await everything(backend)
        assert (found.tenants, found.keys) == ({"other": OTHER}, {theirs.id: theirs})
        assert await backend.store.get(record().key) is not None


class TestKeys:
    async def test_one_comes_back_whole(self, backend: Backend) -> None:
        await backend.access.put_tenant(ACME, new=True)
        assert await backend.access.put_key(KEY)
        assert (await everything(backend)).keys == {KEY.id: KEY}

    async def test_not_without_its_tenant(self, backend: Backend) -> None:
        assert not await backend.access.put_key(KEY)
        assert (await everything(backend)).keys == {}

    async def test_the_same_again_is_once_and_another_of_its_id_is_refused(
        self, backend: Backend
    ) -> None:
        await backend.access.put_tenant(ACME, new=True)
        await backend.access.put_key(KEY)
        before = await everything(backend)
        assert await backend.access.put_key(dataclasses.replace(KEY))
        for change in ({"digest": bytes(32)}, {"role": "admin"}, {"expires_at": None}):
            assert not await backend.access.put_key(dataclasses.replace(KEY, **change))
        assert await everything(backend) == before

    async def test_many_at_once_add_it_once(self, backend: Backend) -> None:
        await backend.access.put_tenant(ACME, new=True)
        keys = [dataclasses.replace(KEY, created_at=float(at)) for at in range(20)]
        added = await asyncio.gather(*map(backend.access.put_key, keys))
        assert sum(added) == 1
        assert (await everything(backend)).keys == {KEY.id: keys[added.index(True)]}

    async def test_removed_is_gone(self, backend: Backend) -> None:
        await backend.access.put_tenant(ACME, new=True)
        await backend.access.put_key(KEY)
        assert await backend.access.remove_key(KEY.id)
        assert not await backend.access.remove_key(KEY.id)
        assert (await everything(backend)).keys == {}


async def test_the_version_moves_with_every_change_and_with_nothing_else(backend: Backend) -> None:
    access = backend.access
    changes: list[tuple[Callable[[], Awaitable[object]], bool]] = [
        (lambda: access.put_tenant(ACME, new=True), True),
        (lambda: access.put_tenant(ACME, new=True), False),
        (lambda: access.put_tenant(OTHER, new=False), False),
        (lambda: access.put_key(KEY), True),
        (lambda: access.put_key(KEY), False),
        (lambda: access.take("acme", "requests", 1, 1, SLOW), False),
        (lambda: access.remove_key("2" * 16), False),
        (lambda: access.remove_key(KEY.id), True),
        (lambda: access.put_key(KEY), True),  # the same content as before, and yet new
        (lambda: access.put_tenant(dataclasses.replace(ACME, quota=Quota()), new=False), True),
        (lambda: access.remove_tenant("nobody"), False),
        (lambda: access.remove_tenant("acme"), True),
    ]
    seen = {(await everything(backend)).version}
    for at, (change, moves) in enumerate(changes):
        version = (await everything(backend)).version
        assert await access.directory(version) is None
        await change()
        found = await access.directory(version)
        assert (found is not None) == moves, at
        if found is not None:
            assert found.version not in seen
            seen.add(found.version)


class TestMeters:
    async def test_full_at_first_and_filled_by_time(
        self, backend: Backend, clock: ManualClock
    ) -> None:
        async def taken(need: float, want: float) -> float:
            return (await backend.access.take("acme", "updates", need, want, SLOW)).tokens

        assert await taken(1, 4) == 4
        assert await taken(1, 100) == 6
        empty = await backend.access.take("acme", "updates", 3, 100, SLOW)
        assert (empty.tokens, empty.retry_after) == (0, 1.5)
        clock.advance(1.5)
        assert await taken(3, 100) == 3
        clock.advance(1000)
        assert await taken(1, 1000) == 10

    async def test_less_than_the_need_is_not_taken(
        self, backend: Backend, clock: ManualClock
    ) -> None:
        await backend.access.take("acme", "updates", 8, 8, SLOW)
        assert (await backend.access.take("acme", "updates", 3, 3, SLOW)).tokens == 0
        assert (await backend.access.take("acme", "updates", 2, 3, SLOW)).tokens == 2

    async def test_a_need_above_the_burst_is_met_and_owed(
        self, backend: Backend, clock: ManualClock
    ) -> None:
        assert (await backend.access.take("acme", "updates", 50, 60, SLOW)).tokens == 50
        refused = await backend.access.take("acme", "updates", 50, 60, SLOW)
        assert (refused.tokens, refused.retry_after) == (0, 25)
        assert (await backend.access.take("acme", "updates", 1, 1, SLOW)).retry_after == 20.5
        clock.advance(25)
        assert (await backend.access.take("acme", "updates", 50, 60, SLOW)).tokens == 50

    async def test_tenants_and_meters_are_apart(self, backend: Backend) -> None:
        for tenant in ("acme", "other"):
            for meter in ("updates", "requests"):
                assert (await backend.access.take(tenant, meter, 10, 10, SLOW)).tokens == 10
                assert (await backend.access.take(tenant, meter, 1, 1, SLOW)).tokens == 0

    async def test_a_tenant_made_again_owes_nothing(self, backend: Backend) -> None:
        await backend.access.put_tenant(ACME, new=True)
        await backend.access.take("acme", "updates", 99, 99, SLOW)
        await backend.access.remove_tenant("acme")
        assert (await backend.access.take("acme", "updates", 10, 10, SLOW)).tokens == 10

    async def test_a_rate_that_changes_holds_from_now_on(
        self, backend: Backend, clock: ManualClock
    ) -> None:
        await backend.access.take("acme", "updates", 10, 10, SLOW)
        clock.advance(100)
        small = Rate(per_second=1.0, burst=3.0)
        assert (await backend.access.take("acme", "updates", 1, 100, small)).tokens == 3

    async def test_any_schedule_keeps_the_rate(
        self, backend: Backend, clock: ManualClock, rng: np.random.Generator
    ) -> None:
        granted, largest, start = 0.0, 0.0, clock.time
        for _ in range(60):
            holders = []
            for _ in range(int(rng.integers(1, 5))):
                need = float(rng.choice([0.5, 1, 9, 10, 25]))
                largest = max(largest, need)
                want = need * float(rng.choice([1, 1.5, 40]))
                holders.append(backend.access.take("acme", "updates", need, want, SLOW))
            granted += sum(lot.tokens for lot in await asyncio.gather(*holders))
            passed = clock.time - start
            debt = max(0.0, largest - SLOW.burst)
            assert granted <= SLOW.burst + SLOW.per_second * passed + debt + 1e-6
            clock.advance(float(rng.choice([0, 0.1, 3, 20])))


STEP = st.tuples(
    st.floats(-5, 20), st.floats(0.01, 40), st.floats(0, 60), st.booleans()
)  # seconds, need, what is wanted beyond it, and whether the clock of this holder runs behind


@given(st.lists(STEP, max_size=60), st.floats(0.01, 50), st.floats(0.5, 30))
def test_no_schedule_of_any_holders_gets_more_than_flows_in(
    steps: list[tuple[float, float, float, bool]], per_second: float, burst: float
) -> None:
    rate = Rate(per_second, burst)
    level: Level | None = None
    start = now = latest = 1000.0
    granted = largest = 0.0
    for seconds, need, more, behind in steps:
        now = max(start, now + seconds)
        seen = max(start, now - 3) if behind else now
        latest = max(latest, seen)
        level, lot = take(level, seen, need, need + more, rate)
        assert lot.tokens == 0 or need <= lot.tokens <= need + more
        assert lot.tokens or lot.retry_after > 0
        granted += lot.tokens
        largest = max(largest, need)
        bound = burst + per_second * (latest - start) + max(0.0, largest - burst)
        assert granted <= bound * (1 + 1e-9) + 1e-6
        assert level.tokens <= burst


@given(st.floats(0.01, 40), st.floats(0.01, 50), st.floats(0.5, 30), st.floats(-50, 30))
def test_who_waits_as_advised_gets_the_need(
    need: float, per_second: float, burst: float, held: float
) -> None:
    rate = Rate(per_second, burst)
    level, lot = take(Level(min(held, burst), 0.0), 0.0, need, need, rate)
    if not lot.tokens:
        _, lot = take(level, lot.retry_after * (1 + 1e-9) + 1e-9, need, need, rate)
    assert lot.tokens == need


def test_a_clock_that_runs_behind_neither_adds_nor_takes_away() -> None:
    level, lot = take(Level(5.0, 100.0), 90.0, 1, 5, SLOW)
    assert (level, lot.tokens) == (Level(0.0, 100.0), 5)


async def test_processes_that_share_a_file_share_everything(
    clock: ManualClock, tmp_path: Path
) -> None:
    one, two = sqlite(clock, tmp_path), sqlite(clock, tmp_path)
    await one.store.start()
    await two.store.start()
    await one.access.put_tenant(ACME, new=True)
    assert await two.access.put_key(KEY)
    assert await one.access.directory(None) == await two.access.directory(None)
    lots = await asyncio.gather(
        *(each.access.take("acme", "updates", 1, 1, SLOW) for each in [one, two] * 12)
    )
    assert sum(lot.tokens for lot in lots) == SLOW.burst
    await one.store.close()
    await two.store.close()
    again = sqlite(clock, tmp_path)
    await again.store.start()
    assert (await everything(again)).keys == {KEY.id: KEY}
    assert (await again.access.take("acme", "updates", 1, 1, SLOW)).tokens == 0
    await again.store.close()


async def test_a_file_of_the_first_version_gets_the_tables(
    clock: ManualClock, tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "access.db") as old:
        for statement in MIGRATIONS[0]:
            old.execute(statement)
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute("PRAGMA user_version = 1")
    old.close()
    opened = sqlite(clock, tmp_path)
    await opened.store.start()
    assert await opened.access.put_tenant(ACME, new=True)
    assert (await everything(opened)).version
    await opened.store.close()


async def test_one_record_that_cannot_be_read_hides_no_other_in_redis(clock: ManualClock) -> None:
    store = redis_store(one_server(), clock)
    access = RedisAccess(store.redis, clock)
    await store.start()
    try:
        bad_key = dataclasses.replace(KEY, id="1" * 16)
        newer_key = dataclasses.replace(KEY, id="2" * 16, tenant="other")
        for tenant in (ACME, OTHER):
            assert await access.put_tenant(tenant, new=True)
        for key in (KEY, bad_key, newer_key):
            assert await access.put_key(key)
        base = f"{store.redis.prefix}:{{!access}}"

        async def harm(table: str, field: str, text: str) -> None:
            await store.redis.command("HSET", f"{base}:{table}", field, text, writes=True)

        await harm("keys", bad_key.id, "{")
        newer = {"name": "other", "created_at": 2.5, "quota": {"of_a_newer_release": 1}}
        await harm("tenants", "other", json.dumps(newer))
        found = await access.directory(None)
        assert found is not None
        assert found.tenants == {"acme": ACME}
        assert found.keys == {KEY.id: KEY}  # without a quota that is known nobody comes in
        assert await access.remove_key(KEY.id)
        with pytest.raises(StoreUnavailable):  # no keys would let everybody in
            await access.directory(found.version)
        assert await access.put_key(dataclasses.replace(KEY, id="3" * 16))
        gone = await access.directory(found.version)
        assert gone is not None
        assert list(gone.keys) == ["3" * 16]
    finally:
        await store.close()


def fill(server: redis_servers.ServerProcess, size: int) -> None:
    """Write values of so many bytes until no more is taken."""
    for at in range(100_000):
        try:
            server.client.set(f"filling-{size}-{at}", bytes(size))
        except redis_py.exceptions.OutOfMemoryError:
            return
    raise AssertionError("it is never full")


async def test_on_redis_time_is_the_servers_and_a_full_one_stops_nobody(
    clock: ManualClock,
) -> None:
    with redis_servers.closing(redis_servers.standalone(max_memory=1 << 25)) as server:
        store = redis_store(server.url, clock)
        await store.start()
        access = RedisAccess(store.redis)
        fast = Rate(per_second=1000.0, burst=10.0)
        assert (await access.take("acme", "updates", 10, 10, fast)).tokens == 10
        refused = await access.take("acme", "updates", 10, 10, Rate(0.001, 10.0))
        assert refused.tokens == 0
        assert refused.retry_after > 1
        await asyncio.sleep(0.02)
        assert (await access.take("acme", "updates", 1, 10, fast)).tokens >= 1
        for size in (1 << 20, 1 << 12, 1):
            fill(server, size)
        for _ in range(3):  # thirty tokens of ten
            assert (await access.take("acme", "requests", 10, 10, SLOW)).tokens == 10
        await store.close()
