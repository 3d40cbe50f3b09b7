"""Backup and restore over every store: the same bytes, seals and counters, or nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import itertools
from typing import Any

import numpy as np
import pytest

from service import log_entries
from service.backup import Saved, freeze, save
from service.backup_file import BackupReader, BackupWriter, Head
from service.errors import Conflict, InvalidRequest, NotFound, ServiceError, Unavailable
from service.ports import (
    EMPTY_DIGEST,
    Checkpoint,
    Entry,
    Record,
    SketchKey,
    Store,
    StoredEntry,
    chain,
)
from service.restore import PROVISIONAL_SECONDS, OnConflict, Restored, Target, check, restore
from sketch_core.batch import Columns, encode, quantise
from sketch_core.codec import to_snapshot
from sketch_core.resolve import resolve
from sketch_core.sketch import Sketch, new_sketch
from sketch_core.spec import Spec
from tests.contract.changes import NO_LIMIT, ManualClock

REQUESTS: dict[str, dict[str, Any]] = {
    "matrix": {"kind": "matrix", "shape": {"n": 1000, "d": 2}, "seed": 2},
    "tensor": {"kind": "tensor", "shape": {"n1": 50, "n2": 40, "d1": 2, "d2": 3}, "seed": 3},
    "vector": {"kind": "vector", "shape": {"n": 5000}, "method": "sketch", "width": 8, "seed": 1},
}
_ids = itertools.count(1)


def spec_of(name: str) -> Spec:
    return resolve(REQUESTS[name])


def update(spec: Spec, rng: np.random.Generator, operand: str | None = None) -> Entry:
    """A random change of an operand, by default the first."""
    changed = spec.operands[0] if operand is None else spec.operand(operand)
    place = rng.integers(0, changed.rows, 5)
    delta = rng.standard_normal(5)
    if changed.by_index:
        columns = Columns(changed.name, index=place, delta=delta)
    else:
        columns = Columns(changed.name, row=place, column=place % changed.columns, delta=delta)
    batch, underflowed = quantise(spec, columns)
    return Entry(
        id=f"{next(_ids):032x}",
        operands=frozenset({changed.name}),
        payload=log_entries.pack_batch(encode(batch)),
        updates=len(batch),
        coordinates=batch.coordinates,
        underflowed=underflowed,
    )


async def create(store: Store, name: str, *, tenant: str = "acme", **facts: Any) -> Record:
    """A sketch with nothing in it."""
    spec = spec_of(name)
    record = Record(
        key=SketchKey(tenant, name),
        incarnation=f"{next(_ids):032x}",
        spec=spec.to_bytes(),
        request=b"{}",
        created_at=1_700_000_000.0,
        ttl_seconds=None,
        expires_at=None,
        state_bytes=spec.memory_bytes,
    )
    stored, new = await store.create(dataclasses.replace(record, **facts))
    assert new
    return stored


async def add(store: Store, record: Record, entry: Entry) -> None:
    await store.append(record.key, record.incarnation, entry, None, max_log_bytes=NO_LIMIT)


async def fill(store: Store, rng: np.random.Generator, **facts: Any) -> None:
    """A sketch of each kind: a checkpoint, entries after it, every operand streamed, one sealed."""
    for name in REQUESTS:
        spec = spec_of(name)
        record = await create(store, name, **facts)
        for at in range(12):
            operands = [operand.name for operand in spec.operands]
            await add(store, record, update(spec, rng, operands[at % len(operands)]))
            if at == 7:
                await compact(store, record)
        await store.seal(record.key, record.incarnation, spec.operands[-1].name, None)


async def compact(store: Store, record: Record) -> bool:
    """Fold the log so far into a checkpoint."""
    tail = await store.read(record.key, record.incarnation, 0, EMPTY_DIGEST, max_bytes=NO_LIMIT)
    spec = Spec.from_bytes(record.spec)
    sketch, digest, replaces = new_sketch(spec), EMPTY_DIGEST, 0
    if tail.checkpoint is not None:
        digest, replaces = tail.checkpoint.digest, tail.checkpoint.position
        sketch = log_entries.load_state(tail.checkpoint.state, spec)
    log_entries.fold(sketch, tail.entries)
    for entry in tail.entries:
        digest = chain(digest, entry.id)
    checkpoint = Checkpoint(tail.head, digest, to_snapshot(sketch))
    return await store.compact(
        record.key, record.incarnation, replaces, checkpoint, exact=sketch.exact
    )


async def state(store: Store, key: SketchKey) -> bytes:
    """The snapshot a service would answer with."""
    record = await store.get(key)
    assert record is not None
    found = await freeze(store, record)
    assert found is not None
    return found.state


async def shown_of(store: Store, key: SketchKey) -> bytes | str:
    """The snapshot, or the code with which it is refused."""
    try:
        return await state(store, key)
    except Unavailable as failure:
        return failure.code


async def facts(store: Store, tenant: str = "acme") -> dict[str, tuple[Any, ...]]:
    """What owners see of their sketches."""
    return {
        record.key.name: (
            record.spec, record.request, record.sealed, record.updates, record.underflowed,
            record.exact, record.ttl_seconds, record.state_bytes, await state(store, record.key),
        )
        for record in await store.list(tenant, prefix="", limit=1000, after=None)
    }  # fmt: skip


async def backed_up(store: Store, **which: Any) -> tuple[bytes, Saved]:
    stream = io.BytesIO()
    writer = BackupWriter(stream, Head("acme", 1.0))
    saved = await save(store, "acme", writer, **which)
    writer.finish()
    return stream.getvalue(), saved


async def brought_back(
    store: Store, clock: ManualClock, data: bytes, on_conflict: OnConflict = "fail", **target: Any
) -> Restored:
    """As the command does it: look, then write."""
    wanted = Target(target.pop("tenant", "acme"), on_conflict, **target)
    await check(store, BackupReader(io.BytesIO(data)), wanted)
    return await restore(store, clock, BackupReader(io.BytesIO(data)), wanted)


async def lose(store: Store) -> None:
    for name in REQUESTS:
        assert await store.delete(SketchKey("acme", name))


async def test_what_was_lost_comes_back_as_it_was(
    store: Store, clock: ManualClock, rng: np.random.Generator
) -> None:
    await fill(store, rng, ttl_seconds=900.0, expires_at=clock.now() + 900.0)
    before = await facts(store)
    incarnations = {name: await store.get(SketchKey("acme", name)) for name in REQUESTS}
    data, saved = await backed_up(store)
    assert (saved.sketches, saved.left_out) == (3, {})
    await lose(store)
    clock.advance(5000.0)
    assert await brought_back(store, clock, data) == Restored(3, 0)
    assert await facts(store) == before
    for name, old in incarnations.items():
        new = await store.get(SketchKey("acme", name))
        assert new is not None
        assert old is not None
        assert new.incarnation != old.incarnation
        assert new.expires_at == clock.now() + 900.0
        assert new.log_bytes == 0


async def test_a_restored_sketch_goes_on_like_any_other(
    store: Store, clock: ManualClock, rng: np.random.Generator
) -> None:
    await fill(store, rng)
    data, _ = await backed_up(store)
    await lose(store)
    await brought_back(store, clock, data)
    for name in REQUESTS:
        record = await store.get(SketchKey("acme", name))
        assert record is not None
        spec = spec_of(name)
        expected = sketch_of(await state(store, record.key), spec)
        more = update(spec, rng)
        if spec.operands[0].name in record.sealed:
            with pytest.raises(Conflict):
                await add(store, record, more)
            continue
        await add(store, record, more)
        tail = await store.read(record.key, record.incarnation, 1, "", max_bytes=NO_LIMIT)
        log_entries.fold(expected, tail.entries)
        assert await state(store, record.key) == to_snapshot(expected)
        assert await compact(store, record)
        assert await state(store, record.key) == to_snapshot(expected)


def sketch_of(data: bytes, spec: Spec) -> Sketch:
    return log_entries.load_state(data, spec)


async def test_one_sketch_under_another_name_and_tenant(
    store: Store, clock: ManualClock, rng: np.random.Generator
) -> None:
    await fill(store, rng)
    data, _ = await backed_up(store)
    with pytest.raises(InvalidRequest, match="no sketch 'other'"):
        await brought_back(store, clock, data, only="other", rename="b")
    done = await brought_back(store, clock, data, tenant="else", only="matrix", rename="b")
    assert done == Restored(1, 0)
    assert list(await facts(store, "else")) == ["b"]
    assert (await facts(store, "else"))["b"] == (await facts(store))["matrix"]


async def test_backups_of_one_and_of_some(store: Store, rng: np.random.Generator) -> None:
    await fill(store, rng)
    for which, names in (
        ({"name": "matrix"}, ["matrix"]),
        ({"prefix": "v"}, ["vector"]),
        ({"prefix": "zz"}, []),
    ):
        data, _ = await backed_up(store, **which)
        assert [one.name for one in BackupReader(io.BytesIO(data)).sketches()] == names
    with pytest.raises(NotFound, match="no sketch 'zz'"):
        await backed_up(store, name="zz")


async def test_what_to_do_about_names_that_exist(
    store: Store, clock: ManualClock, rng: np.random.Generator
) -> None:
    await fill(store, rng)
    before = await facts(store)
    data, _ = await backed_up(store)
    for name in ("matrix", "tensor"):
        await store.delete(SketchKey("acme", name))
    record = await create(store, "matrix")
    await add(store, record, update(spec_of("matrix"), rng))
    changed = (await facts(store))["matrix"]
    with pytest.raises(Conflict, match="'matrix' of tenant 'acme' exists"):
        await brought_back(store, clock, data)
    assert "tensor" not in await facts(store)  # not one was written
    assert await brought_back(store, clock, data, "skip") == Restored(1, 2)
    assert await facts(store) == {**before, "matrix": changed}
    assert await brought_back(store, clock, data, "replace") == Restored(3, 0)
    assert await facts(store) == before


class Died(Exception):
    """As if the process had been killed."""


class Dying:
    """A store whose user dies before or after its n-th operation that writes."""

    WRITES = ("create", "append", "compact", "set_ttl", "delete")

    def __init__(self, store: Store, operation: int, *, after: bool) -> None:
        self._store = store
        self._left = operation
        self._after = after

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._store, name)
        if name not in self.WRITES:
            return operation

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._after:
                raise Died
            answer = await operation(*args, **kwargs)
            if self._left == 0:
                raise Died
            return answer

        return call


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("again", ["fail", "skip", "replace"])
async def test_a_restore_that_dies_anywhere_shows_no_half_and_can_be_repeated(
    store: Store, clock: ManualClock, rng: np.random.Generator, again: OnConflict, after: bool
) -> None:
    await fill(store, rng)
    before = await facts(store)
    data, _ = await backed_up(store)
    await lose(store)
    empty = {name: to_snapshot(new_sketch(spec_of(name))) for name in REQUESTS}
    deaths = 0
    while True:
        deaths += 1
        dying: Any = Dying(store, deaths, after=after)
        try:
            await brought_back(dying, clock, data)
        except Died:
            pass
        else:
            break
        for record in await store.list("acme", prefix="", limit=10, after=None):
            name = record.key.name
            shown = await shown_of(store, record.key)
            # Held back, whole, or not yet touched and about to go.
            provisional = record.ttl_seconds == PROVISIONAL_SECONDS
            assert shown in (log_entries.RESTORING, before[name][-1]) or (
                shown == empty[name] and provisional
            )
        done = {name for name, of in (await _records(store)).items() if of.ttl_seconds is None}
        if again == "fail" and done:
            with pytest.raises(Conflict):
                await brought_back(store, clock, data, again)
            await brought_back(store, clock, data, "skip")
        else:
            await brought_back(store, clock, data, again)
        assert await facts(store) == before, deaths
        await lose(store)
    assert deaths == 3 * 4 + 1


async def _records(store: Store) -> dict[str, Record]:
    found = await store.list("acme", prefix="", limit=10, after=None)
    return {record.key.name: record for record in found}


async def test_what_a_dead_restore_left_goes_by_itself(
    store: Store, clock: ManualClock, rng: np.random.Generator
) -> None:
    await fill(store, rng)
    data, _ = await backed_up(store)
    await lose(store)
    dying: Any = Dying(store, 2, after=True)
    with pytest.raises(Died):
        await brought_back(dying, clock, data)
    assert list(await _records(store)) == ["matrix"]
    clock.advance(PROVISIONAL_SECONDS)
    assert await _records(store) == {}


async def test_updates_that_arrive_during_a_restore_are_kept(
    store: Store, clock: ManualClock, rng: np.random.Generator
) -> None:
    """Before the state is there nobody can read the sketch, but whoever knows it can write."""
    spec = spec_of("vector")
    record = await create(store, "vector")
    for _ in range(3):
        await add(store, record, update(spec, rng))
    data, _ = await backed_up(store)
    expected = sketch_of(await state(store, record.key), spec)
    await store.delete(record.key)

    class Busy(Dying):
        def __getattr__(self, name: str) -> Any:
            operation = getattr(self._store, name)
            if name not in self.WRITES:
                return operation

            async def call(*args: Any, **kwargs: Any) -> Any:
                answer = await operation(*args, **kwargs)
                current = await store.get(record.key)
                assert current is not None
                if name in ("create", "append"):
                    arriving = update(spec, rng)
                    await add(store, current, arriving)
                    added.append(arriving)
                return answer

            return call

    added: list[Entry] = []
    busy: Any = Busy(store, 0, after=False)
    await brought_back(busy, clock, data)
    assert len(added) == 2
    current = await store.get(record.key)
    assert current is not None
    await add(store, current, update(spec, rng))
    tail = await store.read(current.key, current.incarnation, 3, "", max_bytes=NO_LIMIT)
    for one in added:
        log_entries.fold(expected, [_stored(one)])
    log_entries.fold(expected, tail.entries)
    assert await state(store, record.key) == to_snapshot(expected)


async def test_a_backup_beside_writers_compactions_and_deletions_is_of_instants(
    store: Store, clock: ManualClock, rng: np.random.Generator
) -> None:
    """Every saved sketch is a prefix of its log, with that prefix's count of updates."""
    spec = spec_of("vector")
    logs: dict[str, dict[int, bytes]] = {}
    writing = True

    async def write() -> None:
        """Each incarnation has a first entry of its own, so that its states are known by it."""
        count = 0
        while writing:
            record = await create(store, "vector")
            sketch = new_sketch(spec)
            known = logs.setdefault(record.incarnation, {0: to_snapshot(sketch)})
            for _ in range(8):
                change = update(spec, rng)
                log_entries.fold(sketch, [_stored(change)])
                count += change.updates
                known[len(known) * change.updates] = to_snapshot(sketch)
                await add(store, record, change)
                if rng.random() < 0.5:
                    await compact(store, record)
                await asyncio.sleep(0)
            if rng.random() < 0.7:
                # Long enough to be seen; then the name means another sketch.
                await asyncio.sleep(0.001)
            await store.delete(record.key)

    writer = asyncio.create_task(write())
    seen = 0
    try:
        while seen < 40:
            data, _ = await backed_up(store)
            for one in BackupReader(io.BytesIO(data)).sketches():
                seen += 1
                assert any(one.state == known.get(one.updates) for known in logs.values())
            await asyncio.sleep(0)
    finally:
        writing = False
        await writer


def _stored(entry: Entry) -> StoredEntry:
    return StoredEntry(1, entry.id, entry.payload, entry.attachment)


async def test_what_cannot_be_read_is_named_and_left_out_only_when_asked(
    store: Store, clock: ManualClock, rng: np.random.Generator
) -> None:
    await fill(store, rng)
    record = (await _records(store))["matrix"]
    newer = Entry(f"{next(_ids):032x}", frozenset(), b"\x02B")
    await add(store, record, newer)
    with pytest.raises(ServiceError) as refused:
        await backed_up(store)
    assert "'matrix'" in refused.value.detail
    assert refused.value.code == log_entries.UNKNOWN_FORMAT
    data, saved = await backed_up(store, skip_unreadable=True)
    assert list(saved.left_out) == ["matrix"]
    assert [one.name for one in BackupReader(io.BytesIO(data)).sketches()] == ["tensor", "vector"]


async def test_lost_exactness_stays_lost(store: Store, clock: ManualClock) -> None:
    record = await create(store, "vector")
    await store.mark_inexact(record.key, record.incarnation)
    data, _ = await backed_up(store)
    await store.delete(record.key)
    await brought_back(store, clock, data)
    assert not (await _records(store))["vector"].exact


async def test_a_compaction_that_overtakes_a_backup_is_followed(
    store: Store, rng: np.random.Generator
) -> None:
    """The position that was aimed at is gone: state and counters are of a later one, together."""
    spec = spec_of("vector")
    record = await create(store, "vector")
    changes = [update(spec, rng) for _ in range(5)]
    for change in changes[:3]:
        await add(store, record, change)
    aimed_at = await store.get(record.key)
    assert aimed_at is not None
    for change in changes[3:]:
        await add(store, record, change)
    assert await compact(store, record)
    found = await freeze(store, aimed_at)
    assert found is not None
    expected = new_sketch(spec)
    log_entries.fold(expected, [_stored(change) for change in changes])
    assert found.state == to_snapshot(expected)
    assert found.updates == sum(change.updates for change in changes) > aimed_at.updates


async def test_a_backup_aims_at_the_position_it_saw(store: Store, rng: np.random.Generator) -> None:
    """What is appended afterwards is not in it, or the counters would not be the state's."""
    spec = spec_of("vector")
    record = await create(store, "vector")
    changes = [update(spec, rng) for _ in range(5)]
    for change in changes[:3]:
        await add(store, record, change)
    aimed_at = await store.get(record.key)
    assert aimed_at is not None
    for change in changes[3:]:
        await add(store, record, change)
    found = await freeze(store, aimed_at)
    assert found is not None
    expected = new_sketch(spec)
    log_entries.fold(expected, [_stored(change) for change in changes[:3]])
    assert (found.state, found.updates) == (to_snapshot(expected), aimed_at.updates)
