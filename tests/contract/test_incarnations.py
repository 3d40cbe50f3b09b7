"""A name deleted, expired and made anew while others use it: two incarnations never mix.

Every entry says which incarnation it was meant for, so that one in the wrong log, or in a
folded state, would be seen. What was acknowledged is counted against what is there.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from service.errors import NotFound, ServiceError
from service.ports import Checkpoint, Entry, Idempotency, SketchKey, Store, chain
from service.settings import Settings
from service.store_redis import RedisStore
from sketch_core.batch import Columns
from sketch_core.codec import from_snapshot
from sketch_core.resolve import resolve
from tests.contract.changes import NO_LIMIT, ManualClock, read_all, record
from tests.contract.conftest import Twice
from tests.service.rig import replica

KEYS = [SketchKey("acme", "one"), SketchKey("acme", "two")]
TTL = 10.0


@dataclass
class Ledger:
    """What tasks were told. current: of each name, the incarnation created last.

    acknowledged: ids by incarnation. keyed: how often (incarnation, idempotency key) was sent.
    """

    rng: np.random.Generator
    current: dict[SketchKey, str] = field(default_factory=dict)
    past: dict[SketchKey, list[str]] = field(default_factory=lambda: defaultdict(list))
    acknowledged: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    sent: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    keyed: Counter[tuple[str, str]] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    count: int = 0
    over: bool = False

    def unique(self) -> str:
        self.count += 1
        return f"{self.count:032x}"

    def pick(self) -> tuple[SketchKey, str] | None:
        """A name and an incarnation of it, often the current one and sometimes an older one."""
        key = KEYS[int(self.rng.integers(len(KEYS)))]
        past = self.past[key]
        if not past:
            return None
        age = int(self.rng.integers(1, 3)) if self.rng.random() < 0.25 else 1
        return key, past[-min(age, len(past))]


EVENTS = (
    "appended", "refused", "read", "compacted", "expired", "deleted", "replayed", "sealed"
)  # fmt: skip


async def until(count: Callable[[], int], enough: int) -> None:
    """Let the others work so long."""
    for _ in range(20_000):
        if count() >= enough:
            return
        await asyncio.sleep(0.0005)
    raise AssertionError("nothing goes on")


async def own(store: Store, clock: ManualClock, ledger: Ledger, lives: int) -> None:
    """Create names, and end them by deletion or by expiry, until all that may happen has."""
    for life in range(20 * lives):
        if life >= lives and all(ledger.seen[what] for what in EVENTS):
            break
        key = KEYS[life % len(KEYS)]
        incarnation = ledger.unique()
        new = record(key, incarnation, now=clock.now(), ttl_seconds=TTL)
        _, created = await store.create(new)
        if created:
            ledger.past[key].append(incarnation)
        enough = ledger.seen["appended"] + int(ledger.rng.integers(1, 8))
        await until(lambda: ledger.seen["appended"], enough)
        if ledger.rng.random() < 0.3:
            clock.advance(TTL + 1)
            ledger.seen["expired"] += 1
        elif ledger.rng.random() < 0.8:
            ledger.seen["deleted"] += await store.delete(key)
    ledger.over = True


async def append(store: Store, ledger: Ledger) -> None:
    while not ledger.over:
        chosen = ledger.pick()
        await asyncio.sleep(0)
        if chosen is None:
            continue
        key, incarnation = chosen
        id = ledger.unique()
        change = Entry(id, frozenset("a"), f"{incarnation} {id}".encode(), 1, 1)
        once = None
        if ledger.rng.random() < 0.5:
            # The same few keys in every incarnation.
            once = Idempotency(f"k{ledger.rng.integers(4)}", b"body", 60.0)
            ledger.keyed[incarnation, once.key] += 1
        ledger.sent[incarnation].add(id)
        try:
            done = await store.append(key, incarnation, change, once, max_log_bytes=NO_LIMIT)
        except NotFound:
            ledger.seen["refused"] += 1
            continue
        if done.replayed:
            assert once is not None
            # Answers of a former life are not given to the next.
            assert ledger.keyed[incarnation, once.key] > 1
            ledger.seen["replayed"] += 1
        else:
            ledger.acknowledged[incarnation].add(id)
            ledger.seen["appended"] += 1


async def content(store: Store, key: SketchKey, incarnation: str) -> tuple[list[str], Any]:
    """Ids of all entries ever appended, and the tail as read. The state is the ids so far."""
    tail = await read_all(store, -1, key=key, incarnation=incarnation)
    assert tail.checkpoint is not None
    payloads = [*tail.checkpoint.state.splitlines(), *(one.payload for one in tail.entries)]
    ids = []
    for payload in payloads:
        meant, id = payload.decode().split()
        assert meant == incarnation, "an entry of another incarnation"
        ids.append(id)
    return ids, tail


async def sample(store: Store, ledger: Ledger) -> None:
    while not ledger.over:
        chosen = ledger.pick()
        await asyncio.sleep(0)
        if chosen is None:
            continue
        known = set(ledger.acknowledged[chosen[1]])
        try:
            ids, _ = await content(store, *chosen)
        except NotFound:
            continue
        assert known <= set(ids) <= ledger.sent[chosen[1]]
        ledger.seen["read"] += 1


async def compact(store: Store, ledger: Ledger) -> None:
    while not ledger.over:
        chosen = ledger.pick()
        await asyncio.sleep(0)
        if chosen is None:
            continue
        key, incarnation = chosen
        try:
            _, tail = await content(store, key, incarnation)
        except NotFound:
            continue
        digest = tail.checkpoint.digest
        for one in tail.entries:
            digest = chain(digest, one.id)
        lines = [tail.checkpoint.state, *(one.payload for one in tail.entries)]
        state = b"\n".join(line for line in lines if line)
        offered = Checkpoint(tail.head, digest, state)
        if await store.compact(key, incarnation, tail.checkpoint.position, offered, exact=True):
            ledger.seen["compacted"] += 1


async def mark(store: Store, ledger: Ledger) -> None:
    """Seal an operand that bears the incarnation's name."""
    while not ledger.over:
        chosen = ledger.pick()
        await asyncio.sleep(0.001)
        if chosen is None:
            continue
        key, incarnation = chosen
        try:
            sealed = (await store.seal(key, incarnation, incarnation, None)).sealed
        except NotFound:
            continue
        assert sealed == {incarnation}
        ledger.seen["sealed"] += 1


async def tidy(store: Store, ledger: Ledger) -> None:
    while not ledger.over:
        ledger.seen["swept"] += await store.sweep(3)
        await asyncio.sleep(0.002)


async def test_incarnations_never_mix(
    store: Store, clock: ManualClock, rng: np.random.Generator
) -> None:
    ledger = Ledger(rng)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(own(store, clock, ledger, lives=60))
        for work in (append, append, append, sample, compact, compact, mark, tidy):
            tasks.create_task(work(store, ledger))
    for what in EVENTS:
        assert ledger.seen[what], (what, ledger.seen)
    alive = 0
    for key, past in ledger.past.items():
        now = await store.get(key)
        for incarnation in past:
            if now is None or now.incarnation != incarnation:
                with pytest.raises(NotFound):
                    await content(store, key, incarnation)
                continue
            alive += 1
            ids, _ = await content(store, key, incarnation)
            assert len(ids) == len(set(ids)) == now.position == now.updates
            assert now.sealed <= {incarnation}
            assert set(ids) == ledger.acknowledged[incarnation]
    assert alive or all([await store.get(key) is None for key in KEYS])


SPEC = {"kind": "vector", "shape": {"n": 1 << 16}, "method": "exact", "seed": 7, "ttl_seconds": TTL}


@dataclass
class Answers:
    """What clients of two replicas were told.

    updates: version -> the coordinate that it added. snapshots: (version, coordinates in it).
    """

    updates: dict[str, int] = field(default_factory=dict)
    snapshots: list[tuple[str, frozenset[int]]] = field(default_factory=list)
    refused: int = 0
    next: int = 0
    over: bool = False


async def test_replicas_with_caches_never_mix_incarnations(
    store: Store, clock: ManualClock, rng: np.random.Generator
) -> None:
    """Each update has a coordinate of its own, so a snapshot tells which updates are in it."""
    if isinstance(store, RedisStore) and isinstance(store.redis, Twice):
        pytest.skip("a retry may be told that the sketch is gone by now, though it was in time")
    settings = Settings(compact_min_bytes=300, compact_ratio=0.01, compact_retry_seconds=0.001)
    one, two = (replica(store, clock, settings) for _ in range(2))  # type: ignore[arg-type]
    answers, spec = Answers(), resolve({k: v for k, v in SPEC.items() if k != "ttl_seconds"})

    async def live(lives: int) -> None:
        for _ in range(lives):
            await one.sketches.create("acme", "a", SPEC)
            enough = len(answers.updates) + int(rng.integers(3, 40))
            await until(lambda: len(answers.updates), enough)
            if rng.random() < 0.7:  # long enough to be looked at, however fast updates are
                await until(lambda: len(answers.snapshots), len(answers.snapshots) + 2)
            if rng.random() < 0.4:
                clock.advance(TTL + 1)
            else:
                await two.sketches.delete("acme", "a")
            if rng.random() < 0.5:
                await asyncio.sleep(0.002)  # for a while there is none
        answers.over = True

    async def update(rig: Any) -> None:
        while not answers.over:
            coordinate, answers.next = answers.next, answers.next + 1
            assert coordinate < 1 << 16, "the coordinates are used up"
            column = Columns("y", index=np.array([coordinate]), delta=np.array([1.0]))
            try:
                told = await rig.sketches.update("acme", "a", column)
            except ServiceError:
                answers.refused += 1
            else:
                assert answers.updates.setdefault(told.version, coordinate) == coordinate
            await asyncio.sleep(0.0005)

    async def look(rig: Any) -> None:
        while not answers.over:
            try:
                data, version = await rig.sketches.snapshot("acme", "a")
            except NotFound:
                pass
            else:
                cells = from_snapshot(data, spec).arrays()["y"]["dense"]
                answers.snapshots.append((version, frozenset(np.flatnonzero(cells).tolist())))
            await asyncio.sleep(0)

    try:
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(live(25))
            for rig in (one, two):
                for work in (update, update, look):
                    tasks.create_task(work(rig))
            while not answers.over:
                await store.sweep(5)
                await asyncio.sleep(0.005)
    finally:
        for rig in (one, two):
            await rig.sketches.close()
            rig.pool.close()
    assert answers.refused
    assert len({version.partition("-")[0] for version, _ in answers.snapshots}) > 5
    for version, found in answers.snapshots:
        incarnation, _, position = version.partition("-")
        # Position by position the very updates that were acknowledged there, and no other.
        told = [answers.updates[f"{incarnation}-{at}"] for at in range(1, int(position) + 1)]
        assert found == set(told), version
