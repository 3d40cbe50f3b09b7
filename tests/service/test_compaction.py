"""Compaction: nothing is lost or folded twice, whoever wins, loses, stops or vanishes."""

from __future__ import annotations

import asyncio
import logging

import pytest

from service.errors import BacklogFull, StoreUnavailable
from service.materializer import Identity
from service.ports import Record, SketchKey
from sketch_core.batch import Columns
from sketch_core.codec import to_snapshot
from sketch_core.spec import Spec
from tests.service.rig import VECTOR, Rig, pairs, reference, replica, rigged

KEY = SketchKey("default", "a")


async def grow(rig: Rig, count: int, start: int = 0) -> list[Columns]:
    await rig.sketches.create("default", "a", VECTOR)
    batches = [pairs([i % 1000], [1.0 + i]) for i in range(start, start + count)]
    for batch in batches:
        await rig.sketches.update("default", "a", batch)
    return batches


async def compact(rig: Rig) -> None:
    """Compact as if the log had reached the trigger."""
    rig.compactor.consider(await rig.identity("a"), 1 << 50)
    await rig.compactor.settled()


async def check(rig: Rig, batches: list[Columns]) -> None:
    """What a replica without a cache reads is the sum of the batches."""
    cold = replica(rig.steps.inner, rig.clock, rig.settings)
    spec = (await rig.identity("a")).spec
    expected = to_snapshot(reference(spec, batches))
    for each in (rig, cold):
        assert (await each.sketches.snapshot("default", "a"))[0] == expected
    cold.pool.close()


def outcomes(rig: Rig) -> dict[str, float]:
    found = {
        name: rig.metric("sketchd_compactions_total", outcome=name)
        for name in ("ok", "lost", "held", "gone", "error")
    }
    return {name: count for name, count in found.items() if count}


async def test_a_compaction_trims_the_log_and_keeps_the_tail() -> None:
    async with rigged() as [rig]:
        batches = await grow(rig, 5)

        async def write() -> None:  # between the fold and the compare-and-set
            batches.append(pairs([9], [9.0]))
            await rig.sketches.update("default", "a", batches[-1])

        rig.steps.before["compact"] = write
        await compact(rig)
        record = await rig.record("a")
        assert (record.position, record.backlog) == (6, 1)
        assert outcomes(rig) == {"ok": 1}
        await check(rig, batches)


async def test_it_starts_by_itself_and_updates_do_not_wait_for_it() -> None:
    async with rigged(compact_min_bytes=200, compact_ratio=0.01) as [rig]:
        hold = asyncio.Event()
        rig.steps.before["compact"] = hold.wait  # type: ignore[assignment]
        batches = await grow(rig, 40)
        assert rig.steps.calls["compact"] <= 1
        hold.set()
        await rig.compactor.settled()
        trigger = rig.settings.compact_trigger((await rig.identity("a")).spec.memory_bytes)
        assert (await rig.record("a")).log_bytes < trigger
        await check(rig, batches)


async def test_two_replicas_in_turn_learn_each_others_checkpoints() -> None:
    async with rigged(2) as [one, two]:
        batches = []
        for turn in range(6):
            batches += await grow((one, two)[turn % 2], 3, start=3 * turn)
            await compact((one, two)[turn % 2])
            assert (await one.record("a")).backlog == 0
        assert (outcomes(one), outcomes(two)) == ({"ok": 3}, {"ok": 3})
        await check(one, batches)


async def test_the_loser_of_a_race_drops_its_work() -> None:
    async with rigged(2) as [one, two]:
        batches = await grow(one, 4)

        async def overtake() -> None:
            del one.steps.before["compact"]
            await one.steps.inner.release_lease(KEY, "", "")
            one.clock.time += 3600.0  # the lease is a courtesy, and this one has run out
            batches.extend(await grow(two, 2, start=4))
            await compact(two)

        one.steps.before["compact"] = overtake
        await compact(one)
        assert (outcomes(one), outcomes(two)) == ({"lost": 1}, {"ok": 1})
        assert (await one.record("a")).backlog == 0
        await check(one, batches)


async def test_a_held_lease_is_respected_and_not_asked_for_at_every_update() -> None:
    async with rigged(compact_retry_seconds=60.0) as [rig]:
        await grow(rig, 2)
        identity = await rig.identity("a")
        await rig.steps.inner.acquire_lease(KEY, identity.incarnation, "another", 60.0)
        for _ in range(10):
            rig.compactor.consider(identity, 1 << 50)
            await asyncio.sleep(0.002)
        assert rig.steps.calls["acquire_lease"] == 1
        assert outcomes(rig) == {"held": 1}


@pytest.mark.parametrize("step", ["acquire_lease", "read", "compact", "release_lease"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_store_that_fails_at_any_step_loses_nothing(
    step: str, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with rigged() as [rig]:
        batches = await grow(rig, 5)
        failures = 2

        async def fail() -> None:
            nonlocal failures
            if failures:
                failures -= 1
                raise StoreUnavailable("gone for a moment")

        getattr(rig.steps, when)[step] = fail
        with caplog.at_level(logging.CRITICAL):
            await compact(rig)
        assert (await rig.record("a")).backlog == 0
        assert set(outcomes(rig)) <= {"ok", "error", "lost", "held"}
        await check(rig, batches)


async def test_a_process_that_dies_at_any_step_loses_nothing() -> None:
    for step in ("acquire_lease", "read", "compact", "release_lease"):
        for when in ("before", "after"):
            async with rigged(2) as [dying, other]:
                batches = await grow(dying, 5)
                reached = asyncio.Event()

                async def die(reached: asyncio.Event = reached) -> None:
                    reached.set()
                    await asyncio.Event().wait()

                getattr(dying.steps, when)[step] = die
                dying.compactor.consider(await dying.identity("a"), 1 << 50)
                await reached.wait()
                await dying.compactor.close()
                await dying.materializer.close()
                dying.steps.before.clear()
                dying.steps.after.clear()
                batches += await grow(other, 2, start=5)
                other.clock.time += 3600.0
                await compact(other)
                assert (await other.record("a")).backlog == 0, (step, when)
                await check(other, batches)


async def test_a_sketch_deleted_or_made_anew_meanwhile_is_left_alone() -> None:
    async with rigged() as [rig]:
        await grow(rig, 5)

        async def replace() -> None:
            del rig.steps.before["compact"]
            await rig.steps.inner.delete(KEY)
            await rig.sketches.create("default", "a", VECTOR)
            await rig.sketches.update("default", "a", pairs([3], [1.0]))

        rig.steps.before["compact"] = replace
        await compact(rig)
        assert outcomes(rig) == {"gone": 1}
        await check(rig, [pairs([3], [1.0])])


async def test_a_full_log_is_compacted_by_a_process_that_has_just_started() -> None:
    async with rigged(max_log_bytes=1000) as [rig]:
        await rig.compactor.close()  # as if it had died before it came to it
        with pytest.raises(BacklogFull):
            await grow(rig, 1000)
        late = replica(rig.steps.inner, rig.clock, rig.settings)
        with pytest.raises(BacklogFull):
            await late.sketches.update("default", "a", pairs([1], [1.0]))
        await late.compactor.settled()
        await late.sketches.update("default", "a", pairs([1], [1.0]))
        await late.sketches.close()
        late.pool.close()


async def test_a_state_that_may_have_overflowed_is_marked_in_the_record() -> None:
    async with rigged() as [rig]:
        spec = VECTOR | {"quantum_bits": 40}
        await rig.sketches.create("default", "a", spec)
        for _ in range(4):
            await rig.sketches.update("default", "a", pairs([1], [float(1 << 21)]))
        await compact(rig)
        assert not (await rig.record("a")).exact
        cold = replica(rig.steps.inner, rig.clock, rig.settings)
        assert not (await cold.sketches.get("default", "a")).exact
        cold.pool.close()


async def test_a_tenant_does_not_wait_for_all_that_another_has_due() -> None:
    async with rigged(compactions_at_once=1) as [rig]:
        order: list[str] = []
        for tenant, names in (("a", ("a1", "a2", "a3")), ("b", ("b1",))):
            for name in names:
                await rig.sketches.create(tenant, name, VECTOR)
                await rig.sketches.update(tenant, name, pairs([1], [1.0]))
                record = await rig.steps.inner.get(SketchKey(tenant, name))
                assert record is not None
                spec = Spec.from_bytes(record.spec)
                identity = Identity(record.key, record.incarnation, spec)
                rig.compactor.consider(identity, 1 << 50)
        async with asyncio.timeout(30):
            while len(order) < 4:
                for record in await remaining(rig):
                    if not record.log_bytes and record.key.name not in order:
                        order.append(record.key.name)
                await asyncio.sleep(0)
        await rig.compactor.settled()
        assert order[:2] == ["a1", "b1"]
        assert outcomes(rig) == {"ok": 4}


async def remaining(rig: Rig) -> list[Record]:
    """Every sketch of both tenants."""
    found = []
    for tenant in ("a", "b"):
        found += await rig.steps.inner.list(tenant, prefix="", limit=9, after=None)
    return found
