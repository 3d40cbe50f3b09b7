"""What service/ports.py says of a tenant's allowance: who counts, who does not, who gets the last
place."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from service.errors import QuotaExceeded
from service.ports import Allowance, Record, SketchKey, Store
from service.store_sqlite import SqliteStore
from tests.contract.changes import ManualClock, append, record

BYTES = 1000


_incarnations = itertools.count(1)


def sketch(
    name: str, tenant: str = "acme", ttl_seconds: float | None = None, state_bytes: int = BYTES
) -> Record:
    """A new sketch with an incarnation of its own."""
    return record(
        SketchKey(tenant, name),
        f"{next(_incarnations):032x}",
        ttl_seconds=ttl_seconds,
        state_bytes=state_bytes,
    )


async def refused(store: Store, new: Record, allowance: Allowance) -> str:
    """Create what may not be, and return why not."""
    with pytest.raises(QuotaExceeded) as caught:
        await store.create(new, allowance)
    assert await store.get(new.key) is None
    return caught.value.detail


async def test_so_many_sketches_and_no_more(store: Store) -> None:
    most = Allowance(sketches=2)
    for name in ("a", "b"):
        assert (await store.create(sketch(name), most))[1]
    assert await refused(store, sketch("c"), most) == "the tenant has 2 of 2 sketches"
    assert (await store.create(sketch("c"), Allowance(sketches=3)))[1]
    assert (await store.create(sketch("d")))[1]  # no allowance, no limit
    await refused(store, sketch("e"), Allowance(sketches=0))


async def test_so_many_bytes_and_no_more(store: Store) -> None:
    most = Allowance(state_bytes=2 * BYTES)
    assert (await store.create(sketch("a"), most))[1]
    why = await refused(store, sketch("b", state_bytes=BYTES + 1), most)
    assert f"hold {BYTES} of {2 * BYTES} bytes" in why
    assert f"would take {BYTES + 1}" in why
    assert (await store.create(sketch("b"), most))[1]
    assert (await store.create(sketch("c", state_bytes=0), most))[1]
    await refused(store, sketch("d", state_bytes=1), most)


async def test_either_limit_holds(store: Store) -> None:
    assert (await store.create(sketch("a"), Allowance(1, BYTES)))[1]
    await refused(store, sketch("b"), Allowance(1, 10 * BYTES))
    await refused(store, sketch("b"), Allowance(10, BYTES))
    assert (await store.create(sketch("b"), Allowance(10, 10 * BYTES)))[1]


async def test_what_exists_is_found_however_full_it_is(store: Store) -> None:
    await store.create(sketch("a"))
    found, new = await store.create(sketch("a"), Allowance(0, 0))
    assert (found.key.name, new) == ("a", False)
    await refused(store, sketch("b"), Allowance(sketches=1))


async def test_other_tenants_do_not_count(store: Store) -> None:
    for tenant in ("acme", "acme2", "acm", "other"):  # names that a prefix would mix up
        assert (await store.create(sketch("a", tenant), Allowance(1, BYTES)))[1]
    await refused(store, sketch("b"), Allowance(sketches=1))


async def test_a_deleted_sketch_frees_its_place(store: Store) -> None:
    most = Allowance(1, BYTES)
    await store.create(sketch("a"), most)
    assert await store.delete(SketchKey("acme", "a"))
    assert (await store.create(sketch("b"), most))[1]
    await refused(store, sketch("a"), most)


async def test_an_expired_sketch_frees_its_place(store: Store, clock: ManualClock) -> None:
    most = Allowance(1, BYTES)
    await store.create(sketch("a", ttl_seconds=10), most)
    clock.advance(9)
    await refused(store, sketch("b"), most)
    clock.advance(1)  # nothing has swept it away
    assert (await store.create(sketch("b"), most))[1]
    await store.sweep(100)
    await refused(store, sketch("c"), most)


async def test_a_sketch_that_is_made_anew_after_it_expired_takes_its_own_place(
    store: Store, clock: ManualClock
) -> None:
    most = Allowance(1, BYTES)
    await store.create(sketch("a", ttl_seconds=10), most)
    clock.advance(11)
    assert (await store.create(sketch("a"), most))[1]
    await refused(store, sketch("b"), most)


async def test_a_sketch_whose_life_was_prolonged_counts(store: Store, clock: ManualClock) -> None:
    most = Allowance(1, BYTES)
    new = sketch("a", ttl_seconds=10)
    await store.create(new, most)
    clock.advance(9)
    await append(store, key=new.key, incarnation=new.incarnation)
    clock.advance(9)
    await refused(store, sketch("b"), most)
    await store.set_ttl(new.key, None)
    clock.advance(1000)
    await refused(store, sketch("b"), most)


async def test_creations_at_once_never_share_the_last_place(store: Store) -> None:
    for turn in range(5):
        tenant = f"t{turn}"
        await store.create(sketch("held", tenant))
        made = await asyncio.gather(
            *(store.create(sketch(f"s{at}", tenant), Allowance(2, 3 * BYTES)) for at in range(8)),
            return_exceptions=True,
        )
        assert sum(not isinstance(one, BaseException) for one in made) == 1
        assert sum(isinstance(one, QuotaExceeded) for one in made) == 7
        assert len(await store.list(tenant, prefix="", limit=10, after=None)) == 2


async def test_creations_at_once_of_one_name_are_one(store: Store) -> None:
    made = await asyncio.gather(
        *(store.create(sketch("a"), Allowance(sketches=1)) for _ in range(4))
    )
    assert sorted(new for _, new in made) == [False, False, False, True]


async def test_processes_that_share_a_file_never_share_the_last_place(
    clock: ManualClock, tmp_path: Path
) -> None:
    replicas = [SqliteStore(tmp_path / "shared.db", clock) for _ in range(3)]
    for replica in replicas:
        await replica.start()
    for turn in range(10):
        made = await asyncio.gather(
            *(
                replica.create(sketch(f"s{at}", f"t{turn}"), Allowance(sketches=1))
                for at, replica in enumerate(replicas)
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(one, QuotaExceeded) for one in made) == 2, made
    for replica in replicas:
        await replica.close()
