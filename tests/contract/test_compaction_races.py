"""Replicas that compact one sketch at once, with no lease between them, over every store."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from service.ports import Checkpoint, SketchKey, Store
from service.settings import Settings
from sketch_core.batch import Columns
from sketch_core.codec import to_snapshot
from sketch_core.spec import Spec
from tests.contract.changes import ManualClock
from tests.service.rig import VECTOR, Rig, reference, replica

KEY = SketchKey("acme", "a")
REPLICAS = 3
ROUNDS = 150


class Unleased:
    """A store that gives everybody the lease. offers: (replaces, position, won), as they ended."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.offers: list[tuple[int, int, bool]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def acquire_lease(self, *_: Any) -> bool:
        return True

    async def release_lease(self, *_: Any) -> None:
        return None

    async def compact(
        self,
        key: SketchKey,
        incarnation: str,
        replaces: int,
        checkpoint: Checkpoint,
        *,
        exact: bool,
    ) -> bool:
        won = await self._store.compact(key, incarnation, replaces, checkpoint, exact=exact)
        self.offers.append((replaces, checkpoint.position, won))
        return won


async def race(rigs: list[Rig], batches: list[Columns], rng: np.random.Generator) -> None:
    """Some updates, and then everybody compacts while more arrive."""

    async def update(rig: Rig) -> None:
        columns = Columns("y", index=rng.integers(0, 1000, 3), delta=rng.standard_normal(3))
        batches.append(columns)
        await rig.sketches.update("acme", "a", columns)

    for rig in rigs:
        await update(rig)
    identity = await rigs[0].identity("a", tenant="acme")
    for rig in rigs:
        rig.compactor.consider(identity, 1 << 50)
    await asyncio.gather(*(update(rig) for rig in rigs))
    await asyncio.gather(*(rig.compactor.settled() for rig in rigs))


async def test_hundreds_of_races_have_one_winner_each_and_lose_nothing(
    store: Store, clock: ManualClock, rng: np.random.Generator
) -> None:
    unleased = Unleased(store)
    settings = Settings(compact_min_bytes=1 << 40, compact_retry_seconds=0.001)
    shared: Any = unleased
    now: Any = clock
    rigs = [replica(shared, now, settings) for _ in range(REPLICAS)]
    batches: list[Columns] = []
    longest = 0
    try:
        await rigs[0].sketches.create("acme", "a", VECTOR)
        async with asyncio.timeout(120):
            for _ in range(ROUNDS):
                await race(rigs, batches, rng)
                record = await store.get(KEY)
                assert record is not None
                longest = max(longest, record.backlog)
        assert record is not None
        expected = to_snapshot(reference(Spec.from_bytes(record.spec), batches))
        for rig in [*rigs, replica(shared, now, settings)]:
            assert (await rig.sketches.snapshot("acme", "a"))[0] == expected
            await rig.sketches.close()
    finally:
        for rig in rigs:
            rig.pool.close()
    assert record.position == len(batches) == 2 * REPLICAS * ROUNDS
    assert record.updates == 3 * len(batches)
    # What was logged before a compaction began never outlives it.
    assert longest <= 3 * REPLICAS
    offers = unleased.offers
    wins = sorted((replaces, position) for replaces, position, won in offers if won)
    assert len(wins) >= ROUNDS
    # Each winner replaces the one before it: nobody wins twice, and a loser leaves no trace.
    assert [replaces for replaces, _ in wins] == [0, *(position for _, position in wins[:-1])]
    assert len(offers) > len(wins), "nobody ever lost: they did not race"
