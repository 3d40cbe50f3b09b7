"""Rates over several replicas, in virtual time: what is let in, what is refused, what is asked."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.access_ports import Quota
from service.errors import BacklogFull, InvalidRequest, RateLimited, StoreUnavailable
from service.ports import Allowance
from service.quota_meters import Pace
from service.quotas import Quotas
from tests.service.meters import MemoryMeters, Tenants, Ticks

METER = ("acme", "updates")
PACE = Pace()


@dataclass
class Replicas:
    """Several replicas over one store. admitted: (time, coordinates) of each batch let in."""

    count: int = 1
    rate: float = 100.0
    now: Ticks = field(default_factory=Ticks)
    tenants: Tenants = field(default_factory=Tenants)
    admitted: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.limit(updates_per_second=self.rate)
        self.meters = MemoryMeters(self.now)
        self.quotas = [Quotas(self.tenants, self.meters, PACE, self.now) for _ in range(self.count)]

    def limit(self, **quota: float) -> None:
        self.tenants.quotas["acme"] = Quota(**quota)  # type: ignore[arg-type]

    async def update(self, coordinates: int, at: int = 0) -> float | None:
        """Let a batch in at a replica, or return how long it is to wait."""
        try:
            async with self.quotas[at].updates("acme", coordinates):
                self.admitted.append((self.now(), coordinates))
        except RateLimited as refused:
            return refused.retry_after
        return None

    @property
    def total(self) -> int:
        return sum(coordinates for _, coordinates in self.admitted)


steps = st.lists(
    st.tuples(
        st.sampled_from((0.0, 0.001, 0.02, 0.09, 0.1, 0.5, 1.0, 3.0)),  # time that passes first
        st.integers(0, 2),  # the replica
        st.one_of(st.integers(1, 20), st.integers(1, 400)),  # coordinates
        st.integers(1, 6),  # so many at once
        st.integers(0, 8),  # turns of the event loop until the next step, whatever is done by then
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps=steps, rate=st.sampled_from((3.0, 100.0, 1000.0)))
def test_no_window_lets_more_in_than_the_rate_the_burst_and_a_lot_a_replica(
    steps: list[tuple[float, int, int, int, int]], rate: float
) -> None:
    replicas = Replicas(3, rate)

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            for passes, at, coordinates, times, turns in steps:
                replicas.now.time += passes
                for _ in range(times):
                    group.create_task(replicas.update(coordinates, at))
                for _ in range(turns):
                    await asyncio.sleep(0)

    asyncio.run(run())
    admitted = replicas.admitted
    # What each holds, or what is on the way to it from a store whose answer takes long.
    lots = replicas.count * max(PACE.lot_seconds * rate, max((n for _, n in admitted), default=0))
    burst = PACE.burst_seconds * rate
    for first in range(len(admitted)):
        total, largest = 0, 0.0
        for at, coordinates in admitted[first:]:
            total += coordinates
            largest = max(largest, coordinates)
            window = at - admitted[first][0]
            bound = burst + rate * window + lots + max(0.0, largest - burst)
            assert total <= bound + 1e-6


@settings(deadline=None, max_examples=25)
@given(
    rate=st.sampled_from((10.0, 100.0, 5000.0)),
    share=st.sampled_from((0.001, 0.01, 0.05, 0.3)),
    count=st.integers(1, 4),
    step=st.sampled_from((0.003, 0.01, 0.017)),
)
def test_a_greedy_tenant_gets_its_rate(rate: float, share: float, count: int, step: float) -> None:
    """It always asks for more than the rate, at every replica; its batches are far below a burst.

    Not let in may be what the replicas hold at the end, and what flows in while none may ask.
    """
    replicas = Replicas(count, rate)
    need = max(1, int(share * rate))
    at_once = max(1, int(2 * rate * step / need))
    seconds = 5.0

    async def run() -> None:
        end = replicas.now() + seconds
        for at in itertools.cycle(range(count)):
            replicas.now.time += step / count
            if replicas.now() > end:
                return
            await asyncio.gather(*(replicas.update(need, at) for _ in range(at_once)))

    asyncio.run(run())
    lots = (count + 1) * PACE.lot_seconds * rate + need + rate * step
    assert replicas.total >= rate * seconds - lots
    assert replicas.total <= rate * (seconds + PACE.burst_seconds) + count * PACE.lot_seconds * rate


@pytest.mark.parametrize("rate", [50.0, 10_000.0])
@pytest.mark.parametrize("load", [0.5, 10.0])
async def test_the_store_is_asked_some_ten_times_a_second(rate: float, load: float) -> None:
    replicas = Replicas(rate=rate)
    requests, seconds = int(load * rate), 4
    for _ in range(seconds * requests):
        replicas.now.time += 1 / requests
        await replicas.update(1)
    # Twice a lot: for it, and for what has come since the last answer that fell short.
    assert replicas.meters.asked[METER] <= 22 * seconds + 20
    assert replicas.total >= 0.95 * min(load, 1.0) * rate * seconds


async def test_what_a_quiet_replica_takes_it_spends() -> None:
    replicas = Replicas(20, 1000.0)
    for at in range(20 * 50):  # 20 replicas with one coordinate in half a second each
        replicas.now.time += 0.5 / 20
        assert await replicas.update(1, at % 20) is None
    assert replicas.meters.taken[METER] == replicas.total


async def test_requests_at_once_share_one_question() -> None:
    replicas = Replicas()
    replicas.meters.gate = asyncio.Event()
    waiting = [asyncio.create_task(replicas.update(1)) for _ in range(9)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert replicas.meters.asked[METER] == 1
    replicas.meters.gate.set()
    assert await asyncio.gather(*waiting) == [None] * 9
    assert replicas.meters.asked[METER] == 2  # the second for all that came during the first
    assert replicas.total == 9


async def test_a_lot_not_spent_in_time_is_dropped() -> None:
    replicas = Replicas()
    for _ in range(10):
        assert await replicas.update(3) is None
    asked = replicas.meters.asked[METER]
    assert replicas.meters.taken[METER] > replicas.total  # so it holds some
    replicas.now.time += 0.99 * PACE.keep_seconds
    assert await replicas.update(1) is None
    assert replicas.meters.asked[METER] == asked
    replicas.now.time += PACE.keep_seconds
    assert await replicas.update(1) is None
    assert replicas.meters.asked[METER] == asked + 1


async def test_a_tenant_at_its_limit_is_refused_from_memory_until_the_bucket_can_hold_enough() -> (
    None
):
    replicas = Replicas()
    while (wait := await replicas.update(5)) is None:
        pass
    assert replicas.total == 100  # the burst
    asked = replicas.meters.asked[METER]
    for _ in range(100):
        assert await replicas.update(5) == pytest.approx(wait)
    assert (await replicas.update(50) or 0) > 4 * wait
    assert replicas.meters.asked[METER] == asked
    replicas.now.time += wait + 1e-6
    assert await replicas.update(5) is None


async def test_a_refusal_of_much_does_not_keep_little_out() -> None:
    replicas = Replicas()
    assert await replicas.update(95) is None
    assert await replicas.update(90) == pytest.approx(0.85)
    replicas.now.time += PACE.lot_seconds
    assert await replicas.update(10) is None
    assert await replicas.update(90) is not None


async def test_a_batch_above_the_burst_is_let_in_once_and_owed() -> None:
    replicas = Replicas()
    assert await replicas.update(500) is None
    wait = await replicas.update(1)
    assert wait == pytest.approx(4.01)
    with pytest.raises(RateLimited):
        replicas.quotas[0].check_updates("acme")
    replicas.now.time += 4.02
    replicas.quotas[0].check_updates("acme")
    assert await replicas.update(1) is None


async def test_nothing_is_asked_and_nothing_refused_without_a_quota() -> None:
    replicas = Replicas()
    replicas.limit()
    await replicas.quotas[0].request("acme")
    assert await replicas.update(1_000_000) is None
    replicas.quotas[0].check_updates("acme")
    replicas.quotas[0].check_batch("acme", 1 << 40)
    assert replicas.quotas[0].allowance("acme") is None
    assert not replicas.meters.asked
    await Quotas.none().request("acme")


async def test_no_coordinates_cost_nothing() -> None:
    replicas = Replicas()
    assert await replicas.update(500) is None
    assert await replicas.update(0) is None


async def test_a_changed_quota_counts_at_once() -> None:
    replicas = Replicas()
    assert await replicas.update(300) is None
    assert (await replicas.update(1) or 0) > 1
    replicas.limit(updates_per_second=1000.0)
    replicas.now.time += 0.25
    assert await replicas.update(1) is None
    replicas.limit(updates_per_second=0.0)
    assert (await replicas.update(1000) or 0) > 1
    replicas.limit(sketches=3, state_bytes=1000, batch_updates=10)
    assert await replicas.update(1) is None
    assert replicas.quotas[0].allowance("acme") == Allowance(3, 1000)
    replicas.quotas[0].check_batch("acme", 10)
    with pytest.raises(InvalidRequest, match="quota batch_updates") as caught:
        replicas.quotas[0].check_batch("acme", 11)
    assert caught.value.code == "batch_too_large"


async def test_tenants_and_meters_are_apart() -> None:
    replicas = Replicas()
    for tenant in ("acme", "other"):
        replicas.tenants.quotas[tenant] = Quota(updates_per_second=10, requests_per_second=10)
    assert await replicas.update(10) is None
    assert await replicas.update(1) is not None
    async with replicas.quotas[0].updates("other", 10):
        pass
    for _ in range(10):
        await replicas.quotas[0].request("acme")
    with pytest.raises(RateLimited, match="requests are over 10 a second"):
        await replicas.quotas[0].request("acme")
    await replicas.quotas[0].request("other")


async def test_a_replay_and_a_refused_append_cost_nothing() -> None:
    replicas = Replicas(rate=1000.0)
    quotas = replicas.quotas[0]
    for _ in range(200):  # 20 coordinates each, in a bucket of 1,000
        async with quotas.updates("acme", 20) as payment:
            payment.replayed = True
        with pytest.raises(BacklogFull):
            async with quotas.updates("acme", 20):
                raise BacklogFull("full")
    assert replicas.meters.taken[METER] <= 100
    async with quotas.updates("acme", 20):
        pass
    with pytest.raises(StoreUnavailable):  # may have been applied: it is paid for
        async with quotas.updates("acme", 900):
            raise StoreUnavailable("gone")
    assert replicas.meters.taken[METER] >= 920


async def test_a_store_that_is_away_is_asked_once_for_all_who_wait() -> None:
    replicas = Replicas()
    replicas.meters.gate = asyncio.Event()
    replicas.meters.down = True
    waiting = [asyncio.create_task(replicas.update(1)) for _ in range(9)]
    for _ in range(3):
        await asyncio.sleep(0)
    replicas.meters.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in found] == [StoreUnavailable] * 9
    assert {one.retry_after for one in found if isinstance(one, StoreUnavailable)} == {2.5}
    assert replicas.meters.asked[METER] == 1
    replicas.meters.down = False
    assert await replicas.update(1) is None


async def test_who_gives_up_waiting_holds_nobody_up() -> None:
    replicas = Replicas()
    replicas.meters.gate = asyncio.Event()
    first, second = (asyncio.create_task(replicas.update(1)) for _ in range(2))
    for _ in range(3):
        await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    replicas.meters.gate.set()
    assert await second is None


async def test_what_was_taken_for_one_who_gave_up_is_not_lost() -> None:
    replicas = Replicas()
    replicas.meters.gate = asyncio.Event()
    gone = asyncio.create_task(replicas.update(10))
    for _ in range(3):
        await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    replicas.meters.gate.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert replicas.meters.taken[METER] == 10
    replicas.meters.down = True  # whoever asks the store now hears so
    assert await replicas.update(10) is None
    with pytest.raises(StoreUnavailable):
        await replicas.update(1)


async def test_who_comes_later_takes_nothing_that_another_counts_on() -> None:
    replicas = Replicas()
    for _ in range(10):
        assert await replicas.update(3) is None
    asked = replicas.meters.asked[METER]
    replicas.meters.gate = asyncio.Event()
    many = asyncio.create_task(replicas.update(40))
    await asyncio.sleep(0)
    few = asyncio.create_task(replicas.update(1))
    await asyncio.sleep(0)
    assert replicas.meters.asked[METER] == asked + 1
    replicas.meters.gate.set()
    assert await many is None
    assert await few is None
