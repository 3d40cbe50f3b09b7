"""Catch-ups: what a read must see, what must not change under it, and what failures leave."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from service import log_entries
from service.errors import NotFound, Overloaded, Unavailable
from service.materializer import Materializer
from service.metrics import Metrics
from service.pool import BoundedPool, P, T
from service.ports import Entry, SketchKey
from service.sketches import SampleRequest
from sketch_core.batch import Columns
from sketch_core.codec import to_snapshot
from tests.service.rig import VECTOR, Rig, SetClock, pairs, reference, replica, rigged


async def grow(rig: Rig, name: str, count: int) -> list[Columns]:
    """Append `count` batches of one pair each to a sketch, created if need be."""
    await rig.sketches.create("default", name, VECTOR)
    batches = [pairs([i % 1000], [1.0 + i]) for i in range(count)]
    for batch in batches:
        await rig.sketches.update("default", name, batch)
    return batches


def held(event: asyncio.Event, reached: asyncio.Event) -> Callable[[], Awaitable[None]]:
    """A step that says it was reached and waits."""

    async def step() -> None:
        reached.set()
        await event.wait()

    return step


async def seen(rig: Rig, name: str) -> int:
    """The position a read of the sketch sees."""
    async with rig.materializer.at_head(await rig.identity(name)) as version:
        return version.position


async def test_a_read_sees_what_was_acknowledged_and_folds_it_once() -> None:
    async with rigged() as [rig]:
        batches = await grow(rig, "a", 5)
        first, _ = await rig.sketches.snapshot("default", "a")
        again, _ = await rig.sketches.snapshot("default", "a")
        spec = (await rig.identity("a")).spec
        assert first == again == to_snapshot(reference(spec, batches))


async def test_who_arrives_while_a_catch_up_runs_waits_for_the_next_one() -> None:
    """A running catch-up has read the head already: joining it would miss the second update."""
    async with rigged() as [rig]:
        await grow(rig, "a", 1)
        release, reached = asyncio.Event(), asyncio.Event()
        rig.steps.after["read"] = held(release, reached)
        early = asyncio.create_task(seen(rig, "a"))
        await reached.wait()
        await rig.sketches.update("default", "a", pairs([3], [1.0]))
        late = asyncio.create_task(seen(rig, "a"))
        await asyncio.sleep(0)
        release.set()
        assert await early == 1
        assert await late == 2


async def test_all_who_arrive_while_a_catch_up_runs_share_one_more() -> None:
    async with rigged() as [rig]:
        await grow(rig, "a", 3)
        release, reached = asyncio.Event(), asyncio.Event()
        rig.steps.after["read"] = held(release, reached)
        tasks = [asyncio.create_task(seen(rig, "a"))]
        await reached.wait()
        tasks += [asyncio.create_task(seen(rig, "a")) for _ in range(20)]
        await asyncio.sleep(0.01)
        release.set()
        assert await asyncio.gather(*tasks) == [3] * 21
        assert rig.steps.calls["read"] == 2


async def test_a_version_under_a_reader_does_not_change() -> None:
    async with rigged() as [rig]:
        await grow(rig, "a", 3)
        identity = await rig.identity("a")
        async with rig.materializer.at_head(identity) as version:
            before, sketch = to_snapshot(version.sketch), version.sketch
            await rig.sketches.update("default", "a", pairs([5], [9.0]))
            async with rig.materializer.at_head(identity) as newer:
                assert newer.position == 4
                assert newer.sketch is not sketch
            assert to_snapshot(sketch) == before
            assert version.position == 3


async def test_a_version_without_readers_is_folded_in_place() -> None:
    async with rigged() as [rig]:
        await grow(rig, "a", 3)
        identity = await rig.identity("a")
        async with rig.materializer.at_head(identity) as version:
            sketch = version.sketch
        await rig.sketches.update("default", "a", pairs([5], [9.0]))
        async with rig.materializer.at_head(identity) as version:
            assert version.sketch is sketch
            assert version.position == 4


async def test_cancelled_waiters_leave_no_reader_behind() -> None:
    async with rigged() as [rig]:
        await grow(rig, "a", 2)
        identity = await rig.identity("a")
        for wait in range(6):  # at every stage from joining to waking up
            task = asyncio.create_task(seen(rig, "a"))
            for _ in range(wait):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await seen(rig, "a") == 2
            version = rig.cached(identity)
            assert version is not None
            assert version.readers == 0


async def test_who_waits_when_the_service_stops_is_told_to_try_again() -> None:
    async with rigged() as [rig]:
        await grow(rig, "a", 2)
        reached = asyncio.Event()
        rig.steps.after["read"] = held(asyncio.Event(), reached)
        tasks = [asyncio.create_task(seen(rig, "a"))]
        await reached.wait()
        tasks.append(asyncio.create_task(seen(rig, "a")))
        await asyncio.sleep(0)
        await rig.materializer.close()
        for task in tasks:
            with pytest.raises(Unavailable, match="stopping"):
                await task


async def test_a_long_tail_is_read_in_chunks_and_a_busy_writer_is_not_chased() -> None:
    async with rigged(fold_chunk_bytes=1) as [rig]:
        batches = await grow(rig, "a", 6)

        async def write() -> None:
            await rig.sketches.update("default", "a", pairs([1], [1.0]))

        rig.steps.before["read"] = write
        assert await seen(rig, "a") == 7  # six, and the one written before the first read
        assert rig.steps.calls["read"] == 7
        assert len(batches) == 6


async def append_raw(rig: Rig, name: str, payload: bytes, attachment: bytes | None = None) -> None:
    identity = await rig.identity(name)
    entry = Entry("f" * 32, frozenset({"y"}), payload, attachment=attachment)
    await rig.steps.inner.append(
        identity.key, identity.incarnation, entry, None, max_log_bytes=1 << 40
    )


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x02B", log_entries.UNKNOWN_FORMAT),
        (b"\x01Z", log_entries.UNKNOWN_FORMAT),
        (b"", log_entries.DAMAGED),
        (b"\x00B", log_entries.DAMAGED),
        (b"\x01Bnonsense", log_entries.DAMAGED),
        (b"\x01Sy", log_entries.DAMAGED),
        (b"\x01S\xff", log_entries.DAMAGED),
    ],
)
async def test_an_entry_that_cannot_be_read_stops_its_sketch_alone(
    payload: bytes, code: str
) -> None:
    async with rigged() as [rig]:
        await grow(rig, "a", 3)
        await grow(rig, "b", 2)
        assert await seen(rig, "a") == 3
        await append_raw(rig, "a", payload)
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                await seen(rig, "a")
            assert caught.value.code == code
            kept = rig.cached(await rig.identity("a"))
            assert kept is not None  # or every retry would fold from the start
            assert kept.position == 3
        assert await seen(rig, "b") == 2


async def test_a_stored_state_of_another_version_or_sketch_is_not_served() -> None:
    async with rigged() as [rig]:
        for name in "abc":
            await grow(rig, name, 1)
        spec = (await rig.identity("a")).spec
        good = to_snapshot(reference(spec, [pairs([9], [5.0])]))
        stranger = to_snapshot(reference(dataclasses.replace(spec, seed=8), []))
        payload = log_entries.pack_state({"y"})
        for name, state in (("a", good[:-1]), ("b", stranger)):
            await append_raw(rig, name, payload, state)
            with pytest.raises(Unavailable) as caught:
                await rig.sketches.norm("default", name)
            assert caught.value.code == log_entries.DAMAGED
        await append_raw(rig, "c", payload, good)
        assert await seen(rig, "c") == 2


class _BreakingPool(BoundedPool):
    """Does what it is given and then fails, as when memory runs out half-way."""

    broken = False

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        answer = await super().run(function, *args, **kwargs)
        if self.broken:
            raise MemoryError
        return answer


async def test_a_fold_that_breaks_off_is_never_seen() -> None:
    """What it left may hold a part of the chunk: it must be dropped, not kept."""
    async with rigged() as [rig]:
        batches = await grow(rig, "a", 3)
        pool = _BreakingPool(1, 1)
        breaking = Materializer(
            rig.store, pool, Metrics(CollectorRegistry()), cache_bytes=1 << 30, chunk_bytes=1 << 20
        )
        identity = await rig.identity("a")
        async with breaking.at_head(identity) as version:
            assert version.position == 3
        batches.append(pairs([1], [2.0]))
        await rig.sketches.update("default", "a", batches[-1])
        pool.broken = True
        with pytest.raises(MemoryError):
            await breaking.query(identity, to_snapshot)
        pool.broken = False
        data, _ = await breaking.query(identity, to_snapshot)
        assert data == to_snapshot(reference(identity.spec, batches))
        pool.close()


async def test_overload_keeps_the_version_for_the_next_try() -> None:
    async with rigged(pool_threads=1, pool_queue=0) as [rig]:
        await grow(rig, "a", 3)
        identity = await rig.identity("a")
        assert await seen(rig, "a") == 3
        await rig.sketches.update("default", "a", pairs([5], [1.0]))
        started, release = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def block() -> None:
            loop.call_soon_threadsafe(started.set)
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

        busy = asyncio.create_task(rig.pool.run(block))
        await started.wait()
        with pytest.raises(Overloaded):
            await seen(rig, "a")
        release.set()
        await busy
        version = rig.cached(identity)
        assert version is not None
        assert version.position == 3
        assert await seen(rig, "a") == 4


async def test_a_sketch_deleted_while_it_is_read_is_not_found() -> None:
    async with rigged() as [rig]:
        await grow(rig, "a", 3)
        identity = await rig.identity("a")
        assert await seen(rig, "a") == 3

        async def vanish() -> None:
            await rig.steps.inner.delete(SketchKey("default", "a"))

        rig.steps.before["read"] = vanish
        with pytest.raises(NotFound):
            async with rig.materializer.at_head(identity):
                pass
        assert rig.cached(identity) is None
        assert rig.materializer.cached_bytes == 0


async def test_a_name_created_anew_is_not_mistaken_for_the_old() -> None:
    async with rigged(2) as [one, two]:
        await grow(one, "a", 3)
        assert (await one.sketches.sample("default", "a", SampleRequest(count=1))).version.endswith(
            "-3"
        )
        await two.sketches.delete("default", "a")
        await two.sketches.create("default", "a", VECTOR | {"shape": {"n": 5000}})
        # One still remembers n = 1000 and must neither refuse 4000 nor serve the old state.
        answer = await one.sketches.update("default", "a", pairs([4000], [1.0]))
        assert answer.version.endswith("-1")
        found = await one.sketches.sample("default", "a", SampleRequest(count=1))
        assert found.samples[0].index.tolist() == [4000]


async def test_a_log_that_lost_its_end_and_grew_anew_is_reloaded() -> None:
    """A failover: the promoted store lacks the last entry and reuses its position."""
    async with rigged() as [rig]:
        batches = await grow(rig, "a", 3)
        record = await rig.record("a")
        assert await seen(rig, "a") == 3
        lost = rig.steps.inner
        rig.steps.inner = replica(type(lost)(rig.clock), rig.clock, rig.settings).steps.inner
        fresh = type(record)(**{
            name: getattr(record, name)
            for name in ("key", "incarnation", "spec", "request", "created_at",
                         "ttl_seconds", "expires_at", "state_bytes")
        })  # fmt: skip
        await rig.steps.inner.create(fresh)
        kept = batches[:2] + [pairs([77], [7.0]), pairs([78], [8.0])]
        for batch in kept:
            await rig.sketches.update("default", "a", batch)
        data, version = await rig.sketches.snapshot("default", "a")
        assert version.endswith("-4")
        assert data == to_snapshot(reference((await rig.identity("a")).spec, kept))


async def test_the_cache_stays_within_its_bytes_and_drops_the_least_recent() -> None:
    async with rigged() as [rig]:
        for name in "abc":
            await grow(rig, name, 1)
        size = (await rig.identity("a")).spec.memory_bytes + 4096
        small = replica(rig.steps.inner, SetClock(), rig.settings)
        small.materializer._cache_bytes = 2 * size
        for name in "abac":
            assert await seen(small, name) == 1
            assert small.materializer.cached_bytes <= 2 * size
        kept = [small.cached(await rig.identity(n)) is not None for n in "abc"]
        assert kept == [True, False, True]
        small.pool.close()


@pytest.mark.parametrize("case", range(8))
async def test_random_interleavings_see_every_acknowledged_update(case: int, seed: int) -> None:
    """Two replicas, writers, readers and compactions, with delays at every store step."""
    draw = random.Random(seed + case)
    settings = {"compact_min_bytes": 150, "compact_ratio": 0.01, "fold_chunk_bytes": 200}
    async with rigged(2, **settings) as rigs:
        await rigs[0].sketches.create("default", "a", VECTOR)
        sent: list[Columns] = []
        acknowledged = 0

        async def pause() -> None:
            for _ in range(draw.randrange(4)):
                await asyncio.sleep(draw.choice([0.0, 0.0, 0.0005]))

        for rig in rigs:
            for operation in ("read", "append", "compact", "acquire_lease"):
                rig.steps.before[operation] = rig.steps.after[operation] = pause

        async def write() -> None:
            nonlocal acknowledged
            for _ in range(40):
                batch = pairs([draw.randrange(1000)], [draw.choice([1.0, -0.5, 3.25])])
                sent.append(batch)
                await draw.choice(rigs).sketches.update("default", "a", batch)
                acknowledged += 1

        async def ask() -> None:
            for _ in range(25):
                known, rig = acknowledged, draw.choice(rigs)
                await pause()
                async with rig.materializer.at_head(await rig.identity("a")) as version:
                    assert version.position >= known
                    assert version.readers > 0

        await asyncio.gather(write(), write(), ask(), ask(), ask())
        for rig in rigs:
            await rig.compactor.settled()
        assert sum(rig.metric("sketchd_compactions_total", outcome="ok") for rig in rigs) >= 1
        assert not any(rig.metric("sketchd_compactions_total", outcome="error") for rig in rigs)
        expected = to_snapshot(reference((await rigs[0].identity("a")).spec, sent))
        cold = replica(rigs[0].steps.inner, rigs[0].clock, rigs[0].settings)
        for rig in (*rigs, cold):
            assert (await rig.sketches.snapshot("default", "a"))[0] == expected
        cold.pool.close()
