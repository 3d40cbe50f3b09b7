"""What the Redis store holds in all: counted by one replica for all of them.

Counting asks every sketch, so its outcome is kept in Redis for some seconds and
only the first replica that finds it gone counts anew.
"""

from __future__ import annotations

import heapq
import json
from typing import Final

from service.ports import Record, SketchKey, SketchUsage, Usage
from service.redis_connection import RedisConnection
from service.redis_index import Index
from service.redis_layout import Layout

#: Of what is kept; a release that keeps something else counts it up, for others may still read it.
_KEPT_FORMAT: Final = 2
#: More at a time keep the event loop from others for longer.
_PAGE: Final = 100


class UsageReport:
    """seconds: how old an answer may be; 0 for none older than the question."""

    def __init__(
        self, redis: RedisConnection, layout: Layout, index: Index, seconds: float
    ) -> None:
        self._redis = redis
        self._layout = layout
        self._index = index
        self._seconds = seconds

    async def usage(self, largest: int, now: float) -> Usage:
        """As Store.usage."""
        key = f"{self._layout.usage}:{_KEPT_FORMAT}:{largest}"
        if self._seconds > 0:
            kept = await self._redis.command("GET", key, writes=False)
            if kept is not None:
                return _read(kept)
        usage = await self._count(largest, now)
        if self._seconds > 0:
            await self._redis.command(
                "SET", key, _write(usage), "PX", int(1000 * self._seconds), writes=False
            )
        return usage

    async def _count(self, largest: int, now: float) -> Usage:
        sketches: dict[str, int] = {}
        states: dict[str, int] = {}
        logs: dict[str, int] = {}
        inexact: dict[str, int] = {}
        biggest: list[tuple[int, SketchKey, SketchUsage]] = []
        backlog = answers = 0
        for tenant in await self._index.tenants():
            after: str | None = None
            while names := await self._index.names(tenant, "", after, _PAGE):
                keys = [SketchKey(tenant, name) for name in names]
                records = await self._index.records(keys, now)
                answers += await self._index.answers([record.key for record in records], now)
                for record in records:
                    sketches[tenant] = sketches.get(tenant, 0) + 1
                    states[tenant] = states.get(tenant, 0) + record.state_bytes
                    logs[tenant] = logs.get(tenant, 0) + record.log_bytes
                    backlog += record.backlog
                    if not record.exact:
                        inexact[tenant] = inexact.get(tenant, 0) + 1
                found = [_sized(record) for record in records]
                biggest = heapq.nsmallest(largest, biggest + found)
                after = names[-1]
        named = [item for _, _, item in biggest]
        counts = dict(sketches)
        other = {tenant: (states[tenant], logs[tenant]) for tenant in sketches}
        for item in named:
            tenant = item.key.tenant
            counts[tenant] -= 1
            state, log = other[tenant]
            other[tenant] = (state - item.state_bytes, log - item.log_bytes)
        rest = {tenant: size for tenant, size in other.items() if counts[tenant] > 0}
        return Usage(sketches, named, rest, states, backlog, answers, inexact)


def _sized(record: Record) -> tuple[int, SketchKey, SketchUsage]:
    """Sorts the largest first, and equals by name."""
    size = record.state_bytes + record.log_bytes
    return -size, record.key, SketchUsage(record.key, record.state_bytes, record.log_bytes)


def _write(usage: Usage) -> str:
    return json.dumps(
        [
            usage.sketches,
            [
                [one.key.tenant, one.key.name, one.state_bytes, one.log_bytes]
                for one in usage.largest
            ],
            usage.other,
            usage.state_bytes,
            usage.backlog,
            usage.idempotency_keys,
            usage.inexact,
        ]
    )


def _read(kept: bytes) -> Usage:
    sketches, largest, other, states, backlog, answers, inexact = json.loads(kept)
    named = [SketchUsage(SketchKey(one[0], one[1]), one[2], one[3]) for one in largest]
    rest = {tenant: (state, log) for tenant, (state, log) in other.items()}
    return Usage(sketches, named, rest, states, backlog, answers, inexact)
