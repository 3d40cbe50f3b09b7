"""What the Redis store tidies up in bounded steps: what has expired, and places left behind."""

from __future__ import annotations

from typing import Final

from service.ports import SketchKey
from service.redis_connection import RedisConnection
from service.redis_index import Index
from service.redis_layout import Layout, NewerFormat, number
from service.redis_removal import Removal
from service.redis_scripts import load

_FORGET: Final = load("forget")
#: When to look again at what only a newer release can remove.
_LATER_SECONDS: Final = 3600.0
#: Sketches visited by one sweep at least, whatever its limit.
_VISITS: Final = 100
_RECLAIMED: Final = 1000
#: Between two walks through all places of a tenant; none is given up sooner than after a minute.
_WALK_SECONDS: Final = 60.0


class Janitor:
    """Remembers where its last round ended. Several may work at once; none relies on another."""

    def __init__(
        self, redis: RedisConnection, layout: Layout, index: Index, removal: Removal
    ) -> None:
        self._redis = redis
        self._layout = layout
        self._index = index
        self._removal = removal
        self._last = SketchKey("", "")
        self._walked: dict[str, float] = {}

    async def sweep(self, limit: int, now: float) -> int:
        """As Store.sweep."""
        removed = 0
        for tenant in await self._index.tenants():
            removed += await self._expire(tenant, now, limit - removed)
            if removed >= limit:
                return removed
        return removed + await self._visit(limit - removed, now)

    async def reclaim(self, tenant: str, now: float) -> None:
        """Give back places of the tenant that no sketch needs: a quota is about to refuse one.

        Those of expired sketches each time, and those left behind once a minute: each walk asks
        all sketches, and a tenant at its quota may try again at any rate.
        """
        await self._expire(tenant, now, _RECLAIMED)
        recent = {one: at for one, at in self._walked.items() if 0 <= now - at < _WALK_SECONDS}
        self._walked = recent
        if tenant in recent:
            return
        recent[tenant] = now
        after: str | None = None
        while names := await self._index.names(tenant, "", after, _VISITS):
            keys = [SketchKey(tenant, name) for name in names]
            there = {record.key for record in await self._index.records(keys, now)}
            for key in keys:
                if key not in there:
                    await self._index.reconcile(key, now)
            after = names[-1]

    async def _expire(self, tenant: str, now: float, limit: int) -> int:
        removed = 0
        for key in await self._index.due(tenant, now, limit):
            fields = await self._redis.command(
                "HMGET", self._layout.sketch(key).sketch, "i", "e", writes=False
            )
            if fields[0] is None:
                await self._index.look_later(key, None)
            elif fields[1] and float(fields[1]) <= now:
                try:
                    removed += await self._removal.remove(key, fields[0].decode(), expired_by=now)
                except NewerFormat:  # for a newer release to remove
                    await self._index.look_later(key, now + _LATER_SECONDS)
            else:
                await self._index.look_later(key, float(fields[1]) if fields[1] else None)
        return removed

    async def _visit(self, limit: int, now: float) -> int:
        """Go on where the last visit ended; forget idempotency keys, mend places."""
        removed = 0
        visits = max(limit, _VISITS)
        found = await self._next(visits)
        for key in found:
            if removed >= limit:
                return removed
            self._last = key
            keys = self._layout.sketch(key)
            answer = await self._redis.run(
                _FORGET, [keys.answers, keys.expiries], [number(now), limit - removed], writes=True
            )
            removed += int(answer[1])
            await self._index.reconcile(key, now)
            if removed >= limit:
                # There may be more of them here.
                self._last = SketchKey(key.tenant, key.name[:-1])
                return removed
        if len(found) < visits:
            self._last = SketchKey("", "")
        return removed

    async def _next(self, count: int) -> list[SketchKey]:
        """Up to so many places after the last one visited."""
        found: list[SketchKey] = []
        for tenant in await self._index.tenants():
            if tenant < self._last.tenant:
                continue
            after = self._last.name if tenant == self._last.tenant else None
            names = await self._index.names(tenant, "", after, count - len(found))
            found += [SketchKey(tenant, name) for name in names]
            if len(found) >= count:
                break
        return found
