"""What service/ports.py says of logs: append, read and compact."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from service.errors import BacklogFull, Conflict, InvalidRequest, NotFound
from service.ports import EMPTY_DIGEST, Appended, Checkpoint, Store, StoredEntry, chain
from service.store_redis import RedisStore
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
    read_all,
    record,
)


class TestAppend:
    async def test_everything_advances_together(self, store: Store) -> None:
        await store.create(record())
        change = entry(b"12345", attachment=b"678", updates=3, coordinates=5, underflowed=1)
        assert await append(store, change) == Appended(1, 3, 8, 5, False)
        another = entry(b"", updates=0, coordinates=2, underflowed=0)
        assert await append(store, another) == Appended(2, 0, 8, 7, False)
        found = await store.get(KEY)
        assert found is not None
        assert (found.position, found.updates, found.underflowed) == (2, 3, 1)
        assert (found.log_bytes, found.backlog) == (8, 7)
        assert found.digest == chain(chain(EMPTY_DIGEST, change.id), another.id)

    async def test_not_found(self, store: Store, clock: ManualClock) -> None:
        with pytest.raises(NotFound):
            await append(store)
        await store.create(record(ttl_seconds=10))
        with pytest.raises(NotFound):
            await append(store, incarnation=SECOND)
        clock.advance(10)
        with pytest.raises(NotFound):
            await append(store)

    async def test_a_key_is_counted_once(self, store: Store) -> None:
        await store.create(record())
        first = await append(store, entry(b"abc", updates=3), once=idempotency())
        await append(store, entry(b"de", updates=9))
        again = await append(store, entry(b"abc", updates=3), once=idempotency())
        # Position and updates as answered then; the backlog as it is now.
        assert first == Appended(1, 3, 3, 5, False)
        assert again == Appended(1, 3, 5, 10, True)
        found = await store.get(KEY)
        assert found is not None
        assert (found.position, found.updates) == (2, 12)
        assert len((await read(store)).entries) == 2

    async def test_recalling_says_what_an_append_would_replay(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.create(record())
        assert await store.recall(KEY, FIRST, idempotency(retention=10)) is None
        await append(store, entry(b"abc"), once=idempotency(retention=10))
        await append(store, entry(b"d"))
        before = await store.get(KEY)
        again = await store.recall(KEY, FIRST, idempotency(retention=10))
        assert again == await append(store, once=idempotency(retention=10))
        assert again is not None
        assert again.replayed
        assert await store.get(KEY) == before
        with pytest.raises(InvalidRequest) as refused:
            await store.recall(KEY, FIRST, idempotency(body=b"another"))
        assert refused.value.code == "idempotency_key_reused"
        with pytest.raises(NotFound):
            await store.recall(KEY, SECOND, idempotency())
        clock.advance(10)
        assert await store.recall(KEY, FIRST, idempotency()) is None

    async def test_another_body_under_the_same_key(self, store: Store) -> None:
        await store.create(record())
        await append(store, once=idempotency())
        with pytest.raises(InvalidRequest) as refused:
            await append(store, once=idempotency(body=b"another"))
        assert refused.value.code == "idempotency_key_reused"
        assert len((await read(store)).entries) == 1

    async def test_a_key_belongs_to_its_sketch(self, store: Store) -> None:
        other = type(KEY)(KEY.tenant, "other")
        await store.create(record())
        await store.create(record(other))
        await append(store, once=idempotency())
        assert not (await append(store, key=other, once=idempotency(body=b"x"))).replayed

    async def test_a_key_is_forgotten_after_its_retention(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.create(record())
        await append(store, once=idempotency(retention=10))
        clock.advance(9)
        # A replay does not prolong it.
        assert (await append(store, once=idempotency(retention=10))).replayed
        clock.advance(1)
        again = await append(store, once=idempotency(body=b"new", retention=10))
        assert (again.position, again.replayed) == (2, False)
        assert (await append(store, once=idempotency(body=b"new"))).position == 2

    async def test_a_replay_changes_nothing(self, store: Store, clock: ManualClock) -> None:
        await store.create(record(ttl_seconds=10))
        await append(store, once=idempotency())
        before = await store.get(KEY)
        clock.advance(5)
        await append(store, once=idempotency())
        assert await store.get(KEY) == before

    async def test_refusals_come_in_order(self, store: Store) -> None:
        """NotFound, then the key, then the seal, then the limit."""
        await store.create(record())
        await append(store, entry(b"full"), once=idempotency())
        await store.seal(KEY, FIRST, "a", None)
        with pytest.raises(NotFound):
            await append(store, incarnation=SECOND, once=idempotency(), max_log_bytes=0)
        assert (await append(store, once=idempotency(), max_log_bytes=0)).replayed
        with pytest.raises(InvalidRequest):
            await append(store, once=idempotency(body=b"another"), max_log_bytes=0)
        with pytest.raises(Conflict):
            await append(store, once=idempotency("new"), max_log_bytes=0)
        with pytest.raises(BacklogFull):
            await append(store, entry(operands=frozenset("b")), max_log_bytes=0)

    async def test_the_limit_is_reached_not_passed(self, store: Store) -> None:
        await store.create(record())
        await append(store, entry(b"12345"), max_log_bytes=10)
        await append(store, entry(b"1234567"), max_log_bytes=10)
        with pytest.raises(BacklogFull) as refused:
            await append(store, entry(b""), max_log_bytes=12)
        assert refused.value.retry_after > 0
        assert (await append(store, entry(b""), max_log_bytes=13)).position == 3

    async def test_a_refused_change_leaves_no_trace(self, store: Store) -> None:
        await store.create(record())
        await store.seal(KEY, FIRST, "a", None)
        before = await store.get(KEY)
        with pytest.raises(Conflict):
            await append(store, once=idempotency())
        with pytest.raises(BacklogFull):
            await append(store, entry(operands=frozenset("b")), once=idempotency(), max_log_bytes=0)
        assert await store.get(KEY) == before
        ok = await append(store, entry(operands=frozenset("b")), once=idempotency(body=b"ok"))
        assert not ok.replayed


class TestRead:
    async def test_entries_after_a_position(self, store: Store) -> None:
        await store.create(record())
        changes = [entry(b"\x00", attachment=b"\xff" * 3), entry(b""), entry(b"z", attachment=b"")]
        digest = EMPTY_DIGEST
        for change in changes:
            await append(store, change)
        stored = [
            StoredEntry(at, change.id, change.payload, change.attachment)
            for at, change in enumerate(changes, 1)
        ]
        for position in range(4):
            tail = await read(store, position, digest)
            assert (tail.checkpoint, tail.entries, tail.head) == (None, stored[position:], 3)
            digest = chain(digest, changes[position].id) if position < 3 else digest

    async def test_at_most_the_asked_bytes_at_least_one(self, store: Store) -> None:
        await store.create(record())
        for size in (10, 20, 30, 40):
            await append(store, entry(b"p" * (size - 5), attachment=b"12345"))
        for max_bytes, count in [(0, 1), (9, 1), (29, 1), (30, 2), (59, 2), (60, 3), (100, 4)]:
            tail = await read(store, max_bytes=max_bytes)
            assert [one.position for one in tail.entries] == list(range(1, count + 1))
            assert tail.head == 4
        after = await read(store)
        one = chain(EMPTY_DIGEST, after.entries[0].id)
        assert len((await read(store, 1, one, max_bytes=50)).entries) == 2
        assert len((await read(store, 1, one, max_bytes=49)).entries) == 1

    async def test_not_found(self, store: Store, clock: ManualClock) -> None:
        with pytest.raises(NotFound):
            await read(store)
        await store.create(record(ttl_seconds=10))
        with pytest.raises(NotFound):
            await read(store, incarnation=SECOND)
        clock.advance(10)
        with pytest.raises(NotFound):
            await read(store)

    async def test_start_over_where_the_digest_differs(self, store: Store) -> None:
        await store.create(record())
        digests = await append_many(store, 3)
        nothing = Checkpoint(0, EMPTY_DIGEST, b"")
        for position, digest in [(0, "x" * 40), (2, digests[1]), (3, digests[2]), (4, digests[3])]:
            tail = await read(store, position, digest)
            assert (tail.checkpoint, len(tail.entries)) == (nothing, 3)

    async def test_start_over_where_it_was_trimmed(self, store: Store) -> None:
        await store.create(record())
        digests = await append_many(store, 5)
        await compact(store, 0, 3, digests[3], state=b"three")
        checkpoint = Checkpoint(3, digests[3], b"three")
        for position, restart in enumerate([True, True, True, False, False, False]):
            tail = await read(store, position, digests[position])
            assert tail.checkpoint == (checkpoint if restart else None)
            first = 4 if restart else position + 1
            assert [one.position for one in tail.entries] == list(range(first, 6))
        wrong = await read(store, 3, digests[4])
        assert wrong.checkpoint == checkpoint
        limited = await read(store, max_bytes=1)
        assert [one.position for one in limited.entries] == [4]

    async def test_everything_folded(self, store: Store) -> None:
        await store.create(record())
        digests = await append_many(store, 2)
        await compact(store, 0, 2, digests[2])
        assert await read(store, 2, digests[2]) == type(await read(store))(None, [], 2)
        fresh = await read(store)
        assert (fresh.checkpoint, fresh.entries) == (Checkpoint(2, digests[2], b"state"), [])
        assert (await append(store)).position == 3

    async def test_large_parts(self, store: Store) -> None:
        await store.create(record())
        change = entry(b"p" * 50_000, attachment=bytes(range(256)) * 16_384)
        await append(store, change)
        stored = (await read(store)).entries[0]
        assert (stored.payload, stored.attachment) == (change.payload, change.attachment)
        state = b"s" * (8 << 20)
        assert await compact(store, 0, 1, chain(EMPTY_DIGEST, change.id), state=state)
        tail = await read(store)
        assert tail.checkpoint is not None
        assert tail.checkpoint.state == state


class TestCompact:
    async def test_the_trimmed_entries_leave_the_backlog(self, store: Store) -> None:
        await store.create(record())
        digest = EMPTY_DIGEST
        for size in (1, 20, 300):
            change = entry(b"p" * size, coordinates=size, attachment=b"12" if size > 1 else None)
            await append(store, change)
            digest = chain(digest, change.id) if size < 300 else digest
        assert await compact(store, 0, 2, digest)
        found = await store.get(KEY)
        assert found is not None
        assert (found.log_bytes, found.backlog, found.position, found.updates) == (302, 300, 3, 9)

    async def test_only_over_the_checkpoint_it_replaces(self, store: Store) -> None:
        await store.create(record())
        digests = await append_many(store, 6)
        assert not await compact(store, 1, 3, digests[3])
        assert await compact(store, 0, 3, digests[3], state=b"winner")
        before = await store.get(KEY)
        for replaces, position in [(0, 3), (0, 5), (2, 5), (3, 3), (3, 2), (3, 7), (3, 0), (4, 5)]:
            assert not await compact(store, replaces, position, digests[min(position, 6)])
        assert not await compact(store, 3, 5, digests[4])
        assert await store.get(KEY) == before
        tail = await read(store)
        assert tail.checkpoint == Checkpoint(3, digests[3], b"winner")
        assert await compact(store, 3, 6, digests[6], state=b"next")

    async def test_false_if_the_sketch_is_gone(self, store: Store, clock: ManualClock) -> None:
        assert not await compact(store, 0, 1, "d" * 40)
        await store.create(record(ttl_seconds=10))
        digests = await append_many(store, 1)
        assert not await compact(store, 0, 1, digests[1], incarnation=SECOND)
        clock.advance(10)
        assert not await compact(store, 0, 1, digests[1])

    async def test_exactness_once_lost_stays_lost(self, store: Store) -> None:
        await store.create(record())
        digests = await append_many(store, 3)
        exact = []
        for replaces, flag in [(0, True), (1, False), (2, True)]:
            await compact(store, replaces, replaces + 1, digests[replaces + 1], exact=flag)
            found = await store.get(KEY)
            assert found is not None
            exact.append(found.exact)
        assert exact == [True, False, False]

    async def test_marking_inexact_is_for_good_and_changes_nothing_else(self, store: Store) -> None:
        await store.create(record())
        digests = await append_many(store, 1)
        before = await store.get(KEY)
        assert before is not None
        await store.mark_inexact(KEY, SECOND)
        assert await store.get(KEY) == before
        for _ in range(2):
            await store.mark_inexact(KEY, FIRST)
            assert await store.get(KEY) == replace(before, exact=False)
        assert await compact(store, 0, 1, digests[1], exact=True)
        after = await store.get(KEY)
        assert after is not None
        assert not after.exact
        await store.delete(KEY)
        await store.mark_inexact(KEY, FIRST)
        await store.create(record())
        again = await store.get(KEY)
        assert again is not None
        assert again.exact

    async def test_a_loser_does_not_spoil_exactness(self, store: Store) -> None:
        await store.create(record())
        digests = await append_many(store, 1)
        assert not await compact(store, 3, 1, digests[1], exact=False)
        found = await store.get(KEY)
        assert found is not None
        assert found.exact

    async def test_room_for_more(self, store: Store) -> None:
        await store.create(record())
        digests = await append_many(store, 2)
        with pytest.raises(BacklogFull):
            await append(store, max_log_bytes=14)
        await compact(store, 0, 1, digests[1])
        await append(store, max_log_bytes=14)


class TestConcurrency:
    async def test_positions_without_gap(self, store: Store) -> None:
        await store.create(record())

        async def writer() -> list[int]:
            return [(await append(store)).position for _ in range(40)]

        positions = await asyncio.gather(*(writer() for _ in range(16)))
        assert sorted(one for some in positions for one in some) == list(range(1, 641))
        assert all(one == sorted(one) for one in positions)
        tail = await read_all(store)
        digest = EMPTY_DIGEST
        for stored in tail.entries:
            digest = chain(digest, stored.id)
        found = await store.get(KEY)
        assert found is not None
        assert (found.digest, found.updates) == (digest, 3 * 640)

    async def test_one_key_from_many_callers_counts_once(self, store: Store) -> None:
        await store.create(record())
        answers = await asyncio.gather(*(append(store, once=idempotency()) for _ in range(50)))
        assert [one.replayed for one in answers].count(False) == 1
        assert {one.position for one in answers} == {1}
        assert len((await read(store)).entries) == 1

    async def test_a_refused_change_does_not_fail_its_neighbours(self, store: Store) -> None:
        await store.create(record())
        await store.seal(KEY, FIRST, "b", None)
        ok = [append(store) for _ in range(20)]
        sealed = [append(store, entry(operands=frozenset("b"))) for _ in range(20)]
        gone = [append(store, incarnation=SECOND) for _ in range(20)]
        mixed = [one for trio in zip(ok, sealed, gone, strict=True) for one in trio]
        answers = await asyncio.gather(*mixed, return_exceptions=True)
        kinds = [type(one) for one in answers]
        assert kinds == [Appended, Conflict, NotFound] * 20
        assert len((await read(store)).entries) == 20

    async def test_a_write_sees_those_before_it(self, store: Store) -> None:
        if isinstance(store, RedisStore):
            pytest.skip("several connections: what is sent at once takes effect in any order")
        await store.create(record())
        answers = await asyncio.gather(
            append(store),
            store.set_ttl(KEY, 50),
            append(store),
            store.seal(KEY, FIRST, "a", None),
            append(store),
            store.delete(KEY),
            append(store),
            store.create(record(incarnation=SECOND)),
            append(store, incarnation=SECOND),
            return_exceptions=True,
        )
        kinds = [type(one).__name__ for one in answers]
        assert kinds[:5] == ["Appended", "Record", "Appended", "Record", "Conflict"]
        assert kinds[5:] == ["bool", "NotFound", "tuple", "Appended"]

    async def test_an_answered_write_is_read(self, store: Store) -> None:
        await store.create(record())

        async def write_and_read(name: str) -> None:
            key = type(KEY)(KEY.tenant, name)
            await store.create(record(key))
            for position in range(1, 21):
                assert (await append(store, key=key)).position == position
                assert (await read(store, key=key)).head == position

        await asyncio.gather(*(write_and_read(f"s{number}") for number in range(8)))
