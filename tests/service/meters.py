"""Meters in memory, on a clock that a test turns: a real token bucket, counted and breakable."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from service.access_ports import Lot, Quota, Rate
from service.errors import StoreUnavailable


@dataclass
class Ticks:
    """Monotonic seconds that pass when told to."""

    time: float = 100.0

    def __call__(self) -> float:
        return self.time


@dataclass
class Tenants:
    """A source of quotas that a test changes."""

    quotas: dict[str, Quota] = field(default_factory=dict)

    def quota(self, tenant: str) -> Quota:
        return self.quotas.get(tenant, Quota())


@dataclass
class MemoryMeters:
    """AccessStore.take over a dictionary. gate: what each question waits for, if anything."""

    now: Ticks
    levels: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    taken: Counter[tuple[str, str]] = field(default_factory=Counter)
    largest: float = 0.0
    gate: asyncio.Event | None = None
    down: bool = False

    async def take(self, tenant: str, meter: str, need: float, want: float, rate: Rate) -> Lot:
        self.asked[tenant, meter] += 1
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)  # a store takes a while to be asked
        if self.down:
            raise StoreUnavailable("the store does not answer", retry_after=2.5)
        level, at = self.levels.get((tenant, meter), (rate.burst, self.now()))
        level = min(rate.burst, level + rate.per_second * (self.now() - at))
        enough = min(need, rate.burst)
        lot = Lot(0.0, (enough - level) / rate.per_second)
        if level >= enough:
            lot = Lot(max(need, min(want, level)))
            self.largest = max(self.largest, lot.tokens)
        self.levels[tenant, meter] = level - lot.tokens, self.now()
        self.taken[tenant, meter] += lot.tokens  # type: ignore[assignment]
        await asyncio.sleep(0)  # and to answer
        return lot
