"""The tenants' indexes in the Redis store: places of sketches, pages of names, what has expired.

A sketch and its tenant's index lie in different slots of a cluster, so no
script changes both. A place is taken before its sketch is created and given
back after it is deleted; whoever dies in between leaves a place without a
sketch, never a sketch without a place. Such places show nothing (a page asks
each sketch itself) and are given back by the sweep, or within a minute of a
quota that would refuse because of them.
"""

from __future__ import annotations

from typing import Final

from service.errors import QuotaExceeded
from service.ports import Allowance, Record, SketchKey, caseless
from service.redis_connection import RedisConnection
from service.redis_layout import Layout, NewerFormat, number, record_of
from service.redis_scripts import load

_RESERVE: Final = load("reserve")
_VACATE: Final = load("vacate")
#: What is asked of each of many sketches, the format first, and what only a list shows.
_BRIEF: Final = ("v", "i", "C", "t", "e", "m", "z", "p", "d", "u", "w", "b", "c", "fb", "fc", "x")
_DEFINITION: Final = ("s", "q")
#: A place without a sketch is somebody's creation under way for no longer than this.
_CREATION_SECONDS: Final = 60.0
#: Names of a tenant read at a time to find those that hold a text.
_NAMES_AT_ONCE: Final = 1000


class Index:
    """All tenants' indexes."""

    def __init__(self, redis: RedisConnection, layout: Layout) -> None:
        self._redis = redis
        self._layout = layout

    async def reserve(self, record: Record, allowance: Allowance | None, now: float) -> None:
        """Take the place of a sketch about to be created. Raises QuotaExceeded."""
        limits = allowance if allowance is not None else Allowance()
        await self._redis.command("SADD", self._layout.tenants, record.key.tenant, writes=True)
        answer = await self._redis.run(
            _RESERVE,
            self._layout.tenant(record.key.tenant).all,
            [
                record.key.name,
                record.incarnation,
                record.state_bytes,
                number(now),
                "" if limits.sketches is None else limits.sketches,
                "" if limits.state_bytes is None else limits.state_bytes,
                number(record.expires_at),
            ],
            writes=True,
        )
        if answer[0] == b"over":
            limits.check(int(answer[1]), int(answer[2]), record.state_bytes)
            raise QuotaExceeded("the tenant's quota is used up")

    async def vacate(self, key: SketchKey, incarnation: str) -> None:
        """Give back the place, if this incarnation holds it."""
        await self._redis.run(
            _VACATE, self._layout.tenant(key.tenant).all, [key.name, incarnation], writes=True
        )

    async def settle(self, record: Record, now: float) -> None:
        """The place is this record's, whatever it says."""
        await self.reserve(record, None, now)

    async def look_by(self, key: SketchKey, expires_at: float) -> None:
        """See to it that the sweep looks at a sketch no later than then."""
        await self._redis.command(
            "ZADD",
            self._layout.tenant(key.tenant).expiring,
            "LT",
            number(expires_at),
            key.name,
            writes=True,
        )

    async def look_later(self, key: SketchKey, expires_at: float | None) -> None:
        """The sweep has looked: the sketch lives on."""
        expiring = self._layout.tenant(key.tenant).expiring
        if expires_at is None:
            await self._redis.command("ZREM", expiring, key.name, writes=True)
        else:
            await self._redis.command("ZADD", expiring, number(expires_at), key.name, writes=True)

    async def due(self, tenant: str, now: float, limit: int) -> list[SketchKey]:
        """Sketches that may have expired."""
        names = await self._redis.command(
            "ZRANGEBYSCORE",
            self._layout.tenant(tenant).expiring,
            "-inf",
            number(now),
            "LIMIT",
            0,
            limit,
            writes=False,
        )
        return [SketchKey(tenant, name.decode()) for name in names]

    async def tenants(self) -> list[str]:
        """All that ever had a sketch, in order."""
        found = await self._redis.command("SMEMBERS", self._layout.tenants, writes=False)
        return sorted(name.decode() for name in found)

    async def names(
        self, tenant: str, prefix: str, after: str | None, limit: int, contains: str = ""
    ) -> list[str]:
        """Up to `limit` names with places that start with prefix, hold `contains` (A to Z as a to
        z) and come after `after`.
        """
        if not contains:
            return await self._stretch(tenant, prefix, after, limit)
        wanted = caseless(contains)
        found: list[str] = []
        while len(found) < limit:
            names = await self._stretch(tenant, prefix, after, _NAMES_AT_ONCE)
            found += [name for name in names if wanted in caseless(name)]
            if len(names) < _NAMES_AT_ONCE:
                break
            after = names[-1]
        return found[:limit]

    async def _stretch(self, tenant: str, prefix: str, after: str | None, limit: int) -> list[str]:
        """Up to `limit` names that start with prefix and come after `after`."""
        low = "-" if not prefix else f"[{prefix}"
        if after is not None and after >= prefix:
            low = f"({after}"
        high = b"+" if not prefix else b"(" + prefix.encode() + b"\xff"
        found = await self._redis.command(
            "ZRANGEBYLEX",
            self._layout.tenant(tenant).names,
            low,
            high,
            "LIMIT",
            0,
            limit,
            writes=False,
        )
        return [name.decode() for name in found]

    async def fitting(self, names: list[str], tenant: str, max_bytes: int) -> list[str]:
        """The names up to the one with which their definitions exceed so many bytes."""
        hashes = [self._layout.sketch(SketchKey(tenant, name)).sketch for name in names]
        sizes = await self._redis.spread(
            [("HSTRLEN", one, field) for one in hashes for field in _DEFINITION]
        )
        for at in range(len(names)):
            max_bytes -= int(sizes[2 * at]) + int(sizes[2 * at + 1])
            if max_bytes < 0:
                return names[: at + 1]
        return names

    async def records(
        self, keys: list[SketchKey], now: float, *, defined: bool = False
    ) -> list[Record]:
        """The records of those that exist, in their order.

        defined: with spec and request, which may be long; else they are empty, and sketches
        that only a newer release can read are left out: they must not keep others from being
        counted and swept.
        """
        wanted = (*_BRIEF, *_DEFINITION) if defined else _BRIEF
        found = await self._redis.spread(
            [("HMGET", self._layout.sketch(key).sketch, *wanted) for key in keys]
        )
        records = []
        for key, values in zip(keys, found, strict=True):
            if values[0] is not None:
                fields = dict.fromkeys(_DEFINITION, b"") | dict(zip(wanted, values, strict=True))
                try:
                    record = record_of(key, fields)
                except NewerFormat:
                    if defined:
                        raise
                    continue
                if record.expires_at is None or record.expires_at > now:
                    records.append(record)
        return records

    async def answers(self, keys: list[SketchKey], now: float) -> int:
        """How many idempotency keys these sketches remember."""
        found = await self._redis.spread(
            [
                ("ZCOUNT", self._layout.sketch(key).expiries, f"({number(now)}", "+inf")
                for key in keys
            ]
        )
        return sum(int(count) for count in found)

    async def reconcile(self, key: SketchKey, now: float) -> None:
        """Bring a place into line with its sketch: its own, or nobody's, and looked at in time.

        A sweep between two steps of a change of the ttl, or of a creation, may have taken the
        sketch for one that has none, or for none.
        """
        place = await self._redis.command(
            "HGET", self._layout.tenant(key.tenant).places, key.name, writes=False
        )
        sketch = await self._redis.command(
            "HMGET", self._layout.sketch(key).sketch, "i", "e", writes=False
        )
        if sketch[1]:
            await self.look_by(key, float(sketch[1]))
        if place is None:
            return
        _, incarnation, since = place.decode().split(" ")
        if sketch[0] is None:
            if float(since) + _CREATION_SECONDS <= now:
                await self.vacate(key, incarnation)
        elif sketch[0].decode() != incarnation:
            (record,) = await self.records([key], float("-inf")) or (None,)
            if record is not None:
                await self.settle(record, now)
