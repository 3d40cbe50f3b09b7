"""What only the Redis store has: lanes, parts, places, a format, and servers that forget."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from service import redis_url
from service.errors import NotFound, QuotaExceeded, StoreUnavailable
from service.ports import EMPTY_DIGEST, Allowance, Checkpoint, SketchKey, chain
from service.redis_connection import RedisConnection, RedisOptions, Script
from service.redis_layout import Layout
from service.redis_parts import CHUNK_BYTES
from service.store_redis import RedisStore
from tests import redis_servers
from tests.contract.changes import (
    FIRST,
    KEY,
    NO_LIMIT,
    SECOND,
    ManualClock,
    append,
    append_many,
    compact,
    entry,
    idempotency,
    read,
    read_all,
    record,
)
from tests.contract.conftest import one_server, redis_store
from tests.redis_process import wait_for


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[RedisStore]:
    """A started store on one server."""
    opened = redis_store(one_server(), clock)
    await opened.start()
    yield opened
    await opened.close()


def keys_of(store: RedisStore, key: SketchKey = KEY) -> Any:
    return Layout(store.redis.prefix).sketch(key)


async def all_keys(store: RedisStore) -> set[str]:
    """Every key under the store's prefix, without the prefix."""
    found = await store.redis.on_masters("KEYS", f"{store.redis.prefix}:*")
    return {key.decode().partition(":")[2] for keys in found for key in keys}


async def fold(store: RedisStore, state: bytes = b"state", *, position: int | None = None) -> bool:
    """Offer a checkpoint at a position, by default the head."""
    tail = await read_all(store)
    folded, digest = 0, EMPTY_DIGEST
    if tail.checkpoint is not None:
        folded, digest = tail.checkpoint.position, tail.checkpoint.digest
    at = tail.head if position is None else position
    for one in tail.entries[: at - folded]:
        digest = chain(digest, one.id)
    return await compact(store, folded, at, digest, state=state)


class Recorder(RedisConnection):
    """Keeps what was sent, to send it again."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sent: list[tuple[Script, list[str], list[Any]]] = []

    async def run(self, script: Script, keys: Any, args: Any, *, writes: bool) -> Any:
        self.sent.append((script, list(keys), list(args)))
        return await super().run(script, keys, args, writes=writes)

    async def again(self, number: int) -> Any:
        """The answer to what was sent as the number-th, sent once more."""
        script, keys, args = self.sent[number]
        return await super().run(script, keys, args, writes=True)


class TestLanes:
    async def test_an_append_that_arrives_late_is_refused_for_ever(
        self, clock: ManualClock
    ) -> None:
        store = redis_store(one_server(), clock, connect=Recorder)
        recorder = store.redis
        assert isinstance(recorder, Recorder)
        await store.start()
        await store.create(record())
        recorder.sent.clear()
        for _ in range(3):
            await append(store)
        before = await store.get(KEY)
        assert (await recorder.again(2))[0] == b"ok"  # the last one: a retry
        assert (await recorder.again(0))[0] == b"ghost"
        assert (await recorder.again(1))[0] == b"ghost"
        clock.advance(10**6)
        assert (await recorder.again(0))[0] == b"ghost"
        assert await store.get(KEY) == before
        await store.close()

    async def test_as_many_as_are_under_way_at_once(self, store: RedisStore) -> None:
        await store.create(record())
        for _ in range(5):
            await asyncio.gather(*(append(store) for _ in range(7)))
        assert await store.redis.command("HLEN", keys_of(store).lanes, writes=False) <= 7
        assert (await read(store)).head == 35

    async def test_those_of_replicas_long_gone_are_forgotten(
        self, store: RedisStore, clock: ManualClock
    ) -> None:
        await store.create(record())
        lanes = keys_of(store).lanes
        old = [part for at in range(300) for part in (f"gone.{at}", f"1 1 1 {clock.now()}")]
        await store.redis.command("HSET", lanes, *old, writes=True)
        clock.advance(601)
        await append(store)
        assert await store.redis.command("HLEN", lanes, writes=False) == 1


class TestParts:
    async def test_large_states_are_stored_in_chunks(self, store: RedisStore) -> None:
        await store.create(record())
        done = await append(store)
        state = bytes(3 * CHUNK_BYTES + 5)
        assert await fold(store, state=state)
        assert done.position == 1
        tail = await read(store)
        assert tail.checkpoint is not None
        assert tail.checkpoint.state == state
        (part,) = [key for key in await all_keys(store) if ":part:" in key]
        length = await store.redis.command("HLEN", f"{store.redis.prefix}:{part}", writes=False)
        assert length == 4

    async def test_what_is_replaced_or_refused_leaves_nothing_behind(
        self, store: RedisStore
    ) -> None:
        await store.create(record())
        once = idempotency()
        for _ in range(3):
            await append(store, entry(b"p", attachment=b"a" * 100), once=once)
        await store.seal(KEY, FIRST, "a", None)
        with pytest.raises(Exception, match="sealed"):
            await append(store, entry(b"p", attachment=b"b" * 100))
        assert len([key for key in await all_keys(store) if ":part:" in key]) == 1
        assert await fold(store, state=b"one")
        tail = await read(store)
        assert not await store.compact(
            KEY, FIRST, 0, Checkpoint(1, EMPTY_DIGEST, b"lost"), exact=True
        )
        assert tail.checkpoint is not None
        assert len([key for key in await all_keys(store) if ":part:" in key]) == 1

    async def test_a_part_lost_on_the_way_is_staged_again(
        self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = redis_store(one_server(), clock)
        await store.start()
        await store.create(record())
        run = store.redis.run
        lost = 0

        async def lossy(script: Script, keys: Any, args: Any, *, writes: bool) -> Any:
            nonlocal lost
            if script.name in ("append", "compact") and lost < 3:
                lost += 1
                await store.redis.command("UNLINK", keys[6 if len(keys) > 6 else 2], writes=True)
            return await run(script, keys, args, writes=writes)

        monkeypatch.setattr(store.redis, "run", lossy)
        await append(store, entry(b"p", attachment=b"whole"))
        assert lost == 3
        lost = 0
        assert await fold(store, state=b"state")
        assert lost == 3
        await store.close()

    async def test_compaction_trims_the_stream(self, store: RedisStore) -> None:
        await store.create(record())
        await append_many(store, 600)
        assert await fold(store, position=590)
        length = await store.redis.command("XLEN", keys_of(store).log, writes=False)
        assert length == 10
        tail = await read(store)
        assert [one.position for one in tail.entries] == list(range(591, 601))


class TestNothingIsLeft:
    async def fill(self, store: RedisStore, ttl: float | None = None) -> None:
        await store.create(record(ttl_seconds=ttl))
        await append(store, entry(b"p", attachment=b"a" * 100), once=idempotency())
        await append(store)
        assert await fold(store, state=b"state")
        await append(store, entry(b"p", attachment=b"a" * 100))

    async def test_of_a_deleted_sketch(self, store: RedisStore) -> None:
        await self.fill(store)
        assert await store.delete(KEY)
        assert await all_keys(store) == {"format", "tenants", "{acme}:total"}

    async def test_of_an_expired_one(self, store: RedisStore, clock: ManualClock) -> None:
        await self.fill(store, ttl=5)
        clock.advance(5)
        assert await store.sweep(10) == 1
        assert await all_keys(store) == {"format", "tenants", "{acme}:total"}

    async def test_of_an_expired_one_made_again(
        self, store: RedisStore, clock: ManualClock
    ) -> None:
        await self.fill(store, ttl=5)
        clock.advance(5)
        assert (await store.create(record(incarnation=SECOND)))[1]
        assert not [key for key in await all_keys(store) if ":part:" in key or ":log" in key]


class TestPlaces:
    async def test_one_left_behind_blocks_no_quota_for_long(
        self, store: RedisStore, clock: ManualClock
    ) -> None:
        one = Allowance(sketches=1)
        await store._index.reserve(record(), None, clock.now())  # and its replica dies here
        other = replace(record(incarnation=SECOND), key=SketchKey("acme", "other"))
        with pytest.raises(QuotaExceeded):
            await store.create(other, one)
        clock.advance(60)
        assert (await store.create(other, one))[1]
        assert [found.key.name for found in await names(store)] == ["other"]

    async def test_one_taken_by_a_loser_is_mended(
        self, store: RedisStore, clock: ManualClock
    ) -> None:
        await store.create(record(state_bytes=100))
        loser = record(incarnation=SECOND, state_bytes=10**9)
        await store._index.reserve(loser, None, clock.now())  # and its replica dies here
        await store.sweep(1000)
        small = replace(record(), key=SketchKey("acme", "small"))
        await store.create(small, Allowance(state_bytes=2000))
        await store.delete(KEY)
        await store.delete(small.key)
        total = await store.redis.command(
            "GET", f"{store.redis.prefix}:{{acme}}:total", writes=False
        )
        assert total == b"0"

    async def test_a_late_deletion_spares_the_next_of_the_name(self, clock: ManualClock) -> None:
        store = redis_store(one_server(), clock, connect=Recorder)
        recorder = store.redis
        assert isinstance(recorder, Recorder)
        await store.start()
        await store.create(record())
        recorder.sent.clear()
        assert await store.delete(KEY)
        deletion = len(recorder.sent)
        second, new = await store.create(record(incarnation=SECOND))
        assert new
        for number in range(deletion):
            await recorder.again(number)
        assert await store.get(KEY) == second
        other = replace(record(), key=SketchKey("acme", "other"))
        with pytest.raises(QuotaExceeded):
            await store.create(other, Allowance(sketches=1))
        await store.close()


async def names(store: RedisStore) -> list[Any]:
    return await store.list("acme", prefix="", limit=10, after=None)


class TestFormat:
    async def test_newer_data_is_left_alone(self, store: RedisStore, clock: ManualClock) -> None:
        await store.redis.command("SET", f"{store.redis.prefix}:format", "2", writes=True)
        with pytest.raises(StoreUnavailable, match=r"format 2.*reads format 1.*newer release"):
            await store.ping()
        late = redis_store(one_server(), clock, store.redis.prefix)
        with pytest.raises(StoreUnavailable, match="format 2"):
            await late.start()
        await late.close()

    async def test_a_newer_sketch_is_not_served_and_its_neighbours_are(
        self, store: RedisStore
    ) -> None:
        await store.create(record())
        other = replace(record(), key=SketchKey("acme", "other"))
        await store.create(other)
        await store.redis.command("HSET", keys_of(store).sketch, "v", "7", writes=True)
        for ask in (
            lambda: store.get(KEY),
            lambda: append(store),
            lambda: read(store),
            lambda: store.delete(KEY),
            lambda: store.create(record(incarnation=SECOND)),
            lambda: store.set_ttl(KEY, 5),
        ):
            with pytest.raises(StoreUnavailable, match="format 7"):
                await ask()
        assert (await append(store, key=other.key)).position == 1
        # Nor does it keep the neighbours from being counted and swept.
        assert (await store.usage(5)).sketches == {"acme": 1}
        await store.sweep(1000)
        await store.redis.command("HSET", keys_of(store).sketch, "e", "1.0", writes=True)
        expiring = f"{store.redis.prefix}:{{acme}}:expiring"
        await store.redis.command("ZADD", expiring, "1.0", KEY.name, writes=True)
        await store.set_ttl(other.key, 0)
        assert await store.sweep(1000) == 1


async def test_usage_is_counted_once_for_all_replicas(clock: ManualClock) -> None:
    stores = [redis_store(one_server(), clock, "shared-usage") for _ in range(2)]
    for store in stores:
        store._report._seconds = 60.0
        await store.start()
    await stores[0].create(record())
    await stores[0].mark_inexact(KEY, FIRST)
    first = await stores[0].usage(5)
    assert (first.sketches, first.inexact) == ({"acme": 1}, {"acme": 1})
    await stores[0].create(replace(record(), key=SketchKey("acme", "other")))
    assert await stores[1].usage(5) == first
    for store in stores:
        await store.close()


async def test_a_log_that_lost_its_end_is_read_anew(store: RedisStore) -> None:
    """As after a failover to a replica that had not heard of the last entries."""
    await store.create(record())
    keys = keys_of(store)
    digest, dumps = EMPTY_DIGEST, {}
    for position in range(3):
        if position == 2:  # all that the promoted replica has
            for key in (keys.sketch, keys.log):
                dumps[key] = await store.redis.command("DUMP", key, writes=False)
        one = entry()
        await append(store, one)
        digest = chain(digest, one.id)
    assert (await read(store)).head == 3
    for key, dump in dumps.items():
        await store.redis.command("RESTORE", key, 0, dump, "REPLACE", writes=True)
    await append(store, entry(b"after the failover"))
    tail = await store.read(KEY, FIRST, 3, digest, max_bytes=NO_LIMIT)
    assert tail.checkpoint is not None
    assert [one.payload for one in tail.entries][-1] == b"after the failover"
    assert [one.position for one in tail.entries] == [1, 2, 3]


async def test_a_log_with_a_gap_is_not_read_past_it(store: RedisStore) -> None:
    await store.create(record())
    await append_many(store, 5)
    await store.redis.command("XDEL", keys_of(store).log, "3-0", writes=True)
    with pytest.raises(StoreUnavailable, match="lacks its entry before 4-0"):
        await read(store)
    await store.redis.command("XTRIM", keys_of(store).log, "MAXLEN", 0, writes=True)
    with pytest.raises(StoreUnavailable, match="lacks its entry before 1-0"):
        await read(store)


async def test_a_long_log_comes_in_pieces(store: RedisStore) -> None:
    await store.create(record())
    await append_many(store, 300)
    position, digest, sizes = 0, EMPTY_DIGEST, []
    while position < 300:
        tail = await store.read(KEY, FIRST, position, digest, max_bytes=NO_LIMIT)
        assert [one.position for one in tail.entries] == list(
            range(position + 1, position + 1 + len(tail.entries))
        )
        for one in tail.entries:
            digest = chain(digest, one.id)
        position += len(tail.entries)
        sizes.append(len(tail.entries))
    assert sizes == [256, 44]


async def test_a_lost_part_is_reported_and_not_waited_for_for_ever(store: RedisStore) -> None:
    await store.create(record())
    await append(store, entry(b"p", attachment=b"a"))
    for key in await all_keys(store):
        if ":part:" in key:
            await store.redis.command("UNLINK", f"{store.redis.prefix}:{key}", writes=True)
    with pytest.raises(StoreUnavailable):
        await read(store)
    await store.delete(KEY)
    with pytest.raises(NotFound):
        await read(store)


class TestConfirmedReads:
    async def test_nobody_confirms_for_a_server_alone(self, clock: ManualClock) -> None:
        options = RedisOptions(wait_replicas=1, wait_seconds=0.05, retry_seconds=0.2)
        prefix = f"confirm{secrets.token_hex(4)}"
        url = redis_url.parse(f"{one_server()}?prefix={prefix}")
        plain = redis_store(one_server(), clock, prefix)
        await plain.start()
        await plain.create(record())
        await append(plain)
        for confirm_reads in (False, True):
            waiting = RedisStore(RedisConnection(url, options), clock, confirm_reads=confirm_reads)
            await waiting.redis.start()
            if confirm_reads:
                with pytest.raises(StoreUnavailable, match="0 of 1"):
                    await read(waiting)
            else:
                assert (await read(waiting)).head == 1
            await waiting.close()
        await plain.close()

    async def test_a_master_that_wakes_up_replaced_tells_nothing_old(
        self, clock: ManualClock
    ) -> None:
        options = RedisOptions(timeout_seconds=0.5, retry_seconds=15, wait_replicas=1)
        with redis_servers.closing(redis_servers.cluster(3, 1)) as servers:
            url = redis_url.parse(servers.url)
            before = RedisStore(RedisConnection(url, options), clock, confirm_reads=True)
            await before.start()
            await before.create(record())
            await append(before)
            assert (await read(before)).head == 1
            master = servers.owner("{acme/clicks}")
            master.stop()
            others = [node for node in servers.nodes if node is not master]
            rest = redis_servers.Cluster(others, 2)
            await asyncio.to_thread(
                wait_for, "the replica is promoted", lambda: rest.owner("{acme/clicks}")
            )
            unconfirmed = RedisOptions(timeout_seconds=0.5, retry_seconds=15)
            after = redis_store(rest.url, clock, "sketchd", options=unconfirmed)
            await after.start()
            await append(after)
            asking = asyncio.create_task(read(before))  # over the connections it has
            master.resume()
            assert (await asking).head == 2
            await before.close()
            await after.close()
