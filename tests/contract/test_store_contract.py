"""What service/ports.py says of a sketch's life: creation, listing, expiry, sealing, totals."""

from __future__ import annotations

import pytest

from service.errors import Conflict, InvalidRequest, NotFound
from service.ports import EMPTY_DIGEST, Checkpoint, Record, SketchKey, SketchUsage, Store
from tests.contract.changes import (
    FIRST,
    KEY,
    SECOND,
    ManualClock,
    append,
    append_many,
    compact,
    entry,
    idempotency,
    read,
    record,
)

ELSEWHERE = SketchKey("other", "clicks")


async def names(
    store: Store,
    *,
    tenant: str = "acme",
    prefix: str = "",
    limit: int = 100,
    after: str | None = None,
) -> list[str]:
    found = await store.list(tenant, prefix=prefix, limit=limit, after=after)
    return [one.key.name for one in found]


async def test_ping_returns_on_a_started_store(store: Store) -> None:
    await store.ping()
    await store.ping()


class TestCreate:
    async def test_the_stored_record_comes_back(self, store: Store) -> None:
        new = record(ttl_seconds=60.5)
        assert await store.create(new) == (new, True)
        assert await store.get(KEY) == new

    async def test_an_existing_name_is_kept_and_returned(self, store: Store) -> None:
        await store.create(record())
        await append(store)
        stored = await store.get(KEY)
        assert await store.create(record(incarnation=SECOND)) == (stored, False)
        assert await store.get(KEY) == stored

    async def test_tenants_do_not_share_names(self, store: Store) -> None:
        await store.create(record())
        assert (await store.create(record(ELSEWHERE, SECOND)))[1]
        await append(store)
        found = await store.get(ELSEWHERE)
        assert found is not None
        assert found.position == 0

    async def test_an_expired_name_is_replaced_and_shares_nothing(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.create(record(ttl_seconds=10))
        digests = await append_many(store, 3)
        await append(store, once=idempotency())
        assert await compact(store, 0, 2, digests[2])
        clock.advance(11)
        new = record(incarnation=SECOND, now=clock.now())
        assert await store.create(new) == (new, True)
        tail = await read(store, incarnation=SECOND)
        assert (tail.checkpoint, tail.entries, tail.head) == (None, [], 0)
        assert not (await append(store, incarnation=SECOND, once=idempotency())).replayed


class TestGet:
    async def test_nothing_where_nothing_was_created(self, store: Store) -> None:
        assert await store.get(KEY) is None

    async def test_nothing_once_expires_at_has_passed(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.create(record(ttl_seconds=10))
        clock.advance(9.5)
        assert await store.get(KEY) is not None
        clock.advance(0.5)
        assert await store.get(KEY) is None


class TestList:
    async def test_by_name_in_byte_order(self, store: Store) -> None:
        wanted = ["B", "a", "a-b", "a.b", "aa", "b", "ä", "\uffff", "\U00010000"]
        for name in reversed(wanted):
            await store.create(record(SketchKey("acme", name)))
        assert await names(store) == wanted
        assert wanted == sorted(wanted, key=str.encode)

    async def test_prefix_limit_and_after(self, store: Store) -> None:
        for name in ["a", "ab", "ab1", "ab2", "ab3", "ac", "b", "a%"]:
            await store.create(record(SketchKey("acme", name)))
        assert await names(store, prefix="ab") == ["ab", "ab1", "ab2", "ab3"]
        assert await names(store, prefix="ab", limit=2) == ["ab", "ab1"]
        assert await names(store, prefix="ab", limit=2, after="ab1") == ["ab2", "ab3"]
        assert await names(store, prefix="ab", after="ab3") == []
        assert await names(store, prefix="ab", after="a") == ["ab", "ab1", "ab2", "ab3"]
        assert await names(store, prefix="a%") == ["a%"]
        assert await names(store, after="ab2x") == ["ab3", "ac", "b"]
        assert await names(store, limit=0) == []

    async def test_long_definitions_end_a_page_early(self, store: Store) -> None:
        size = record().definition_bytes
        for name in "abcd":
            await store.create(record(SketchKey("acme", name)))

        async def count(max_bytes: int | None, limit: int = 9) -> int:
            return len(
                await store.list("acme", prefix="", limit=limit, after=None, max_bytes=max_bytes)
            )

        assert await count(None) == 4
        # The one that exceeds the bytes is there, so that the caller sees that more follows.
        assert [await count(bytes_) for bytes_ in (0, size, 2 * size, 4 * size)] == [2, 2, 3, 4]
        assert await count(0, limit=1) == 1

    async def test_whole_records_of_this_tenant(self, store: Store) -> None:
        await store.create(record())
        await store.create(record(ELSEWHERE))
        await append(store)
        assert await store.list("acme", prefix="", limit=9, after=None) == [await store.get(KEY)]
        assert await names(store, tenant="nobody") == []

    async def test_expired_ones_neither_show_nor_count(
        self, store: Store, clock: ManualClock
    ) -> None:
        for number in range(6):
            ttl = 10 if number % 2 == 0 else None
            await store.create(record(SketchKey("acme", f"s{number}"), ttl_seconds=ttl))
        clock.advance(10)
        assert await names(store, prefix="s", limit=2) == ["s1", "s3"]


class TestDelete:
    async def test_says_whether_it_existed(self, store: Store) -> None:
        assert not await store.delete(KEY)
        await store.create(record())
        assert await store.delete(KEY)
        assert not await store.delete(KEY)
        assert await store.get(KEY) is None

    async def test_an_expired_one_did_not_exist(self, store: Store, clock: ManualClock) -> None:
        await store.create(record(ttl_seconds=10))
        clock.advance(10)
        assert not await store.delete(KEY)

    async def test_log_checkpoint_and_keys_are_forgotten(self, store: Store) -> None:
        await store.create(record())
        digests = await append_many(store, 5)
        await append(store, once=idempotency())
        await compact(store, 0, 3, digests[3])
        await store.seal(KEY, FIRST, "a", None)
        await store.delete(KEY)
        with pytest.raises(NotFound):
            await read(store)
        await store.create(record(incarnation=SECOND))
        assert (await append(store, incarnation=SECOND, once=idempotency())).position == 1
        tail = await read(store, 3, digests[3], incarnation=SECOND)
        assert tail.checkpoint == Checkpoint(0, EMPTY_DIGEST, b"")
        assert [one.position for one in tail.entries] == [1]
        assert (await store.usage(9)).idempotency_keys == 1

    async def test_the_former_incarnation_is_not_found(self, store: Store) -> None:
        await store.create(record())
        await store.delete(KEY)
        await store.create(record(incarnation=SECOND))
        with pytest.raises(NotFound):
            await append(store)
        with pytest.raises(NotFound):
            await read(store)
        with pytest.raises(NotFound):
            await store.seal(KEY, FIRST, "a", None)
        assert not await compact(store, 0, 1, "d" * 40)
        assert not await store.acquire_lease(KEY, FIRST, "me", 10)


class TestSetTtl:
    async def test_from_now_and_after_each_append(self, store: Store, clock: ManualClock) -> None:
        await store.create(record())
        clock.advance(5)
        changed = await store.set_ttl(KEY, 10)
        assert changed is not None
        assert (changed.ttl_seconds, changed.expires_at) == (10, clock.now() + 10)
        assert await store.get(KEY) == changed
        clock.advance(9)
        await append(store)
        clock.advance(9)
        found = await store.get(KEY)
        assert found is not None
        assert found.expires_at == clock.now() + 1
        clock.advance(1)
        assert await store.get(KEY) is None

    async def test_none_is_never(self, store: Store, clock: ManualClock) -> None:
        await store.create(record(ttl_seconds=10))
        changed = await store.set_ttl(KEY, None)
        assert changed is not None
        assert (changed.ttl_seconds, changed.expires_at) == (None, None)
        clock.advance(1e9)
        await append(store)
        assert await store.get(KEY) is not None

    async def test_nothing_to_change(self, store: Store, clock: ManualClock) -> None:
        assert await store.set_ttl(KEY, 10) is None
        await store.create(record(ttl_seconds=10))
        clock.advance(10)
        assert await store.set_ttl(KEY, 10) is None

    async def test_zero_is_gone_at_once(self, store: Store) -> None:
        await store.create(record())
        await store.set_ttl(KEY, 0)
        assert await store.get(KEY) is None


class TestSeal:
    async def test_later_entries_may_not_change_it(self, store: Store) -> None:
        await store.create(record())
        before = await append_many(store, 2)
        sealed = await store.seal(KEY, FIRST, "a", None)
        assert sealed == await store.get(KEY)
        assert (sealed.sealed, sealed.position, sealed.digest) == (frozenset("a"), 2, before[2])
        with pytest.raises(Conflict) as refused:
            await append(store, entry(operands=frozenset({"b", "a"})))
        assert refused.value.code == "operand_sealed"
        assert (await append(store, entry(operands=frozenset("b")))).position == 3

    async def test_twice_is_once(self, store: Store) -> None:
        await store.create(record())
        once = await store.seal(KEY, FIRST, "a", None)
        assert await store.seal(KEY, FIRST, "a", None) == once
        assert (await store.seal(KEY, FIRST, "b", None)).sealed == frozenset("ab")

    async def test_not_found(self, store: Store, clock: ManualClock) -> None:
        with pytest.raises(NotFound):
            await store.seal(KEY, FIRST, "a", None)
        await store.create(record(ttl_seconds=10))
        with pytest.raises(NotFound):
            await store.seal(KEY, SECOND, "a", None)
        clock.advance(10)
        with pytest.raises(NotFound):
            await store.seal(KEY, FIRST, "a", None)

    async def test_a_key_serves_one_change(self, store: Store) -> None:
        await store.create(record())
        sealed = await store.seal(KEY, FIRST, "a", idempotency())
        assert await store.seal(KEY, FIRST, "a", idempotency()) == sealed
        with pytest.raises(InvalidRequest) as refused:
            await store.seal(KEY, FIRST, "b", idempotency(body=b"another"))
        assert refused.value.code == "idempotency_key_reused"
        assert await store.get(KEY) == sealed
        with pytest.raises(InvalidRequest):
            await append(store, entry(operands=frozenset("b")), once=idempotency())
        await append(store, entry(operands=frozenset("b")), once=idempotency("of an append"))
        with pytest.raises(InvalidRequest):
            await store.seal(KEY, FIRST, "b", idempotency("of an append"))


class TestLease:
    async def test_one_holder_for_that_long(self, store: Store, clock: ManualClock) -> None:
        await store.create(record())
        assert await store.acquire_lease(KEY, FIRST, "me", 10)
        assert not await store.acquire_lease(KEY, FIRST, "you", 10)
        clock.advance(9)
        assert await store.acquire_lease(KEY, FIRST, "me", 10)
        clock.advance(9)
        assert not await store.acquire_lease(KEY, FIRST, "you", 10)
        clock.advance(1)
        assert await store.acquire_lease(KEY, FIRST, "you", 10)

    async def test_release_is_the_holders(self, store: Store) -> None:
        await store.create(record())
        assert await store.acquire_lease(KEY, FIRST, "me", 10)
        await store.release_lease(KEY, FIRST, "you")
        assert not await store.acquire_lease(KEY, FIRST, "you", 10)
        await store.release_lease(KEY, SECOND, "me")
        assert not await store.acquire_lease(KEY, FIRST, "you", 10)
        await store.release_lease(KEY, FIRST, "me")
        assert await store.acquire_lease(KEY, FIRST, "you", 10)

    async def test_not_of_what_is_gone(self, store: Store) -> None:
        assert not await store.acquire_lease(KEY, FIRST, "me", 10)
        await store.release_lease(KEY, FIRST, "me")
        await store.create(record())
        assert not await store.acquire_lease(KEY, SECOND, "me", 10)

    async def test_it_binds_nobody(self, store: Store) -> None:
        await store.create(record())
        digests = await append_many(store, 1)
        await store.acquire_lease(KEY, FIRST, "me", 10)
        assert await compact(store, 0, 1, digests[1])


class TestSweep:
    async def test_expired_sketches_and_keys_up_to_the_limit(
        self, store: Store, clock: ManualClock
    ) -> None:
        for number in range(4):
            name = SketchKey("acme", f"s{number}")
            await store.create(record(name, ttl_seconds=10 if number < 3 else None))
        for number in range(4):
            once = idempotency(str(number), retention=10 if number < 3 else 100)
            await append(store, key=SketchKey("acme", "s3"), once=once)
        assert await store.sweep(100) == 0
        clock.advance(10)
        assert [await store.sweep(2) for _ in range(4)] == [2, 2, 2, 0]
        assert await names(store) == ["s3"]
        assert (await store.usage(9)).idempotency_keys == 1
        assert (await append(store, key=SketchKey("acme", "s3"), once=idempotency("3"))).replayed

    async def test_keys_that_go_with_their_sketch_do_not_count(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.create(record(ttl_seconds=10))
        for number in range(3):
            await append(store, once=idempotency(str(number), retention=5))
        clock.advance(10)
        assert await store.sweep(100) == 1
        assert await store.sweep(100) == 0


class TestUsage:
    async def test_empty(self, store: Store) -> None:
        usage = await store.usage(5)
        assert (usage.sketches, usage.largest, usage.other) == ({}, [], {})
        assert (usage.backlog, usage.idempotency_keys, usage.inexact) == (0, 0, {})

    async def test_totals(self, store: Store, clock: ManualClock) -> None:
        keys = [SketchKey(tenant, name) for tenant in ("a", "b") for name in ("x", "y", "z")]
        for size, key in enumerate(keys):
            await store.create(record(key, state_bytes=100 * size))
        # 600 bytes of log make a/x the largest.
        await append(store, entry(b"p" * 500, attachment=b"a" * 100), key=keys[0])
        await append(store, entry(b"p" * 7), key=keys[1], once=idempotency(retention=10))
        await append(store, entry(b"p" * 7), key=keys[1], once=idempotency("l", retention=20))
        gone = SketchKey("gone", "z")
        await store.create(record(gone, ttl_seconds=10, state_bytes=10**6))
        await append(store, key=gone, once=idempotency(retention=100))
        clock.advance(10)
        usage = await store.usage(2)
        assert usage.sketches == {"a": 3, "b": 3}
        assert usage.largest == [SketchUsage(keys[0], 0, 600), SketchUsage(keys[5], 500, 0)]
        assert usage.other == {"a": (300, 14), "b": (700, 0)}
        assert usage.backlog == 15
        assert usage.idempotency_keys == 1
        everything = await store.usage(100)
        assert (len(everything.largest), everything.other) == (6, {})

    async def test_what_is_not_exact(self, store: Store, clock: ManualClock) -> None:
        keys = [SketchKey(tenant, name) for tenant in ("a", "b") for name in ("x", "y")]
        for key in keys:
            await store.create(record(key))
        gone = SketchKey("gone", "z")
        await store.create(record(gone, ttl_seconds=10))
        for key in (keys[0], keys[0], keys[1], gone):
            await store.mark_inexact(key, FIRST)
        digests = await append_many(store, 1, key=keys[2])
        await compact(store, 0, 1, digests[1], exact=False, key=keys[2])
        assert (await store.usage(1)).inexact == {"a": 2, "b": 1, "gone": 1}
        clock.advance(10)
        assert (await store.usage(1)).inexact == {"a": 2, "b": 1}
        await store.delete(keys[2])
        assert (await store.usage(1)).inexact == {"a": 2}

    async def test_backlog_shrinks_by_compaction(self, store: Store) -> None:
        await store.create(record())
        digests = await append_many(store, 3)
        await compact(store, 0, 2, digests[2])
        assert (await store.usage(1)).backlog == 5


async def test_records_with_every_field_survive(store: Store, clock: ManualClock) -> None:
    await store.create(record(ttl_seconds=50))
    digests = await append_many(store, 3)
    await store.seal(KEY, FIRST, "b", None)
    await compact(store, 0, 1, digests[1], exact=False)
    assert await store.get(KEY) == Record(
        key=KEY,
        incarnation=FIRST,
        spec=b"spec \x00\xff",
        request=b'{"kind":"vector"}',
        created_at=clock.now(),
        ttl_seconds=50,
        expires_at=clock.now() + 50,
        state_bytes=1000,
        sealed=frozenset("b"),
        position=3,
        digest=digests[3],
        updates=9,
        underflowed=3,
        log_bytes=14,
        backlog=10,
        exact=False,
    )
