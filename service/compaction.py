"""Compaction: fold a long log into a new checkpoint, in the background, beside the updates.

A sketch is compacted when its log has about the size of its state. A lease
keeps replicas from all doing so at once; correctness rests on the store's
compare-and-set alone: a loser drops its work, and whoever stops in the middle
leaves log and checkpoint as they were.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Final
from weakref import WeakValueDictionary

from service.errors import NotFound, ServiceError, Unavailable
from service.materializer import Identity, Materializer
from service.metrics import Metrics
from service.pool import BoundedPool
from service.ports import Checkpoint, Store
from service.settings import Settings
from sketch_core.codec import to_snapshot
from sketch_core.sketch import Sketch

_log = logging.getLogger(__name__)

#: A digest no log has: reading with it asks for the checkpoint.
_NO_DIGEST: Final = "f" * 40
_LONGEST_PAUSE: Final = 60.0


def _freeze(sketch: Sketch) -> tuple[bytes, bool]:
    return to_snapshot(sketch), sketch.exact


class Compactor:
    """Compactions of one process: at most one a sketch, and a bounded number in all."""

    def __init__(
        self,
        store: Store,
        materializer: Materializer,
        pool: BoundedPool,
        metrics: Metrics,
        settings: Settings,
    ) -> None:
        self._store = store
        self._materializer = materializer
        self._pool = pool
        self._metrics = metrics
        self._settings = settings
        self._holder = secrets.token_hex(8)
        self._slots = asyncio.Semaphore(settings.compactions_at_once)
        self._of_tenants: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._tasks: dict[Identity, asyncio.Task[None]] = {}
        self._closed = False

    def consider(self, identity: Identity, log_bytes: int) -> None:
        """Start a compaction if the log is long enough and none is under way. Returns at once."""
        if self._closed or identity in self._tasks:
            return
        if log_bytes < self._settings.compact_trigger(identity.spec.memory_bytes):
            return
        self._tasks[identity] = asyncio.create_task(self._run(identity))

    async def settled(self) -> None:
        """Wait until no compaction is under way."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def close(self) -> None:
        """Start no more, and break off those under way: nothing is lost by it."""
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, identity: Identity) -> None:
        pause = self._settings.compact_retry_seconds
        try:
            while True:
                async with self._line_of(identity.key.tenant), self._slots:
                    outcome = await self._attempt(identity)
                self._metrics.compacted(outcome)
                if outcome == "gone" or (outcome == "ok" and not await self._is_due(identity)):
                    return
                if outcome == "ok":
                    continue
                # Not to be asked again with every update while another replica is at it.
                await asyncio.sleep(pause)
                if outcome != "error":
                    return
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            del self._tasks[identity]

    def _line_of(self, tenant: str) -> asyncio.Semaphore:
        """As many places as there are slots, so that no more of a tenant's compactions stand in the
        line for those, before another tenant's."""
        places = asyncio.Semaphore(self._settings.compactions_at_once)
        return self._of_tenants.setdefault(tenant, places)

    async def _is_due(self, identity: Identity) -> bool:
        """Whether so much was logged meanwhile that the next compaction is due."""
        try:
            record = await self._store.get(identity.key)
        except Unavailable:
            return False  # the next update asks again
        return (
            record is not None
            and record.incarnation == identity.incarnation
            and record.log_bytes >= self._settings.compact_trigger(identity.spec.memory_bytes)
        )

    async def _attempt(self, identity: Identity) -> str:
        try:
            lease = await self._store.acquire_lease(
                identity.key,
                identity.incarnation,
                self._holder,
                self._settings.compact_lease_seconds,
            )
            if not lease:
                return "held"
            try:
                return await self._compact(identity)
            finally:
                await self._release(identity)
        except NotFound:
            self._materializer.forget(identity)
            return "gone"
        except Exception as failure:  # noqa: BLE001 - logged, counted and tried again
            _log.exception(
                "compaction of %s/%s failed", identity.key.tenant, identity.key.name,
                extra={"code": failure.code if isinstance(failure, ServiceError) else "internal"},
            )  # fmt: skip
            return "error"

    async def _release(self, identity: Identity) -> None:
        try:
            await self._store.release_lease(identity.key, identity.incarnation, self._holder)
        except ServiceError as failure:
            _log.warning("a compaction lease is left to expire: %s", failure.detail)

    async def _compact(self, identity: Identity) -> str:
        async with self._materializer.at_head(identity) as version:
            state, exact = await self._pool.run(_freeze, version.sketch)
            checkpoint = Checkpoint(version.position, version.digest, state)
            replaces = version.checkpoint
        if checkpoint.position <= replaces:
            return "lost"
        if not await self._replace(identity, replaces, checkpoint, exact):
            # Another replica may have compacted since this one last heard: what was
            # folded is as good as before if it reaches further.
            replaces = await self._checkpoint_position(identity)
            self._materializer.checkpoint_moved(identity, replaces)
            if checkpoint.position <= replaces:
                return "lost"
            if not await self._replace(identity, replaces, checkpoint, exact):
                return "lost"
        self._materializer.checkpoint_moved(identity, checkpoint.position)
        return "ok"

    async def _replace(
        self, identity: Identity, replaces: int, checkpoint: Checkpoint, exact: bool
    ) -> bool:
        return await self._store.compact(
            identity.key, identity.incarnation, replaces, checkpoint, exact=exact
        )

    async def _checkpoint_position(self, identity: Identity) -> int:
        tail = await self._store.read(
            identity.key, identity.incarnation, 0, _NO_DIGEST, max_bytes=1
        )
        return tail.checkpoint.position if tail.checkpoint is not None else 0
