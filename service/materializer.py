"""Folded states: a cache bounded in bytes, and catching up with the log.

A *version* is a sketch with every log entry up to a position folded in; nobody
changes it while somebody reads it. A read waits for a catch-up that *started
after* it asked: one under way may have read the log's end before an update
that was acknowledged before the request was sent. So at most one catch-up of a
sketch runs and at most one waits, and all who ask meanwhile share the latter.

Folding adds to the cached sketch in place when nobody reads it and to a copy
otherwise. While it is folded it belongs to the catch-up alone and is not in
the cache, so a fold that fails can only be dropped, never seen.

Everything here runs on one event loop; only functions given to the pool run in
threads.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from service import log_entries
from service.errors import NotFound, StoreUnavailable, Unavailable
from service.metrics import Metrics
from service.pool import BoundedPool
from service.ports import EMPTY_DIGEST, Checkpoint, SketchKey, Store, StoredEntry, Tail, chain
from sketch_core.sketch import Sketch, new_sketch
from sketch_core.spec import Spec

T = TypeVar("T")

_log = logging.getLogger(__name__)

#: Bytes a cached version takes besides its cells.
_OVERHEAD = 4096


@dataclass(frozen=True, slots=True)
class Identity:
    """The immutable parts of a sketch as created once: what a log entry is validated against."""

    key: SketchKey
    incarnation: str
    spec: Spec = field(compare=False)


@dataclass(slots=True)
class Version:
    """A folded state. readers: who may be reading the sketch; 0 lets a catch-up change it.

    checkpoint: the position of the store's checkpoint when last heard of. told: the
    store's record knows that exactness is lost.
    """

    sketch: Sketch
    position: int = 0
    digest: str = EMPTY_DIGEST
    checkpoint: int = 0
    readers: int = 0
    told: bool = False

    @property
    def bytes(self) -> int:
        spec = self.sketch.spec
        return spec.memory_bytes + spec.derived_bytes + _OVERHEAD


@dataclass(slots=True)
class _Round:
    """One catch-up and those who share it. joined: who waits. published: what they were given."""

    done: asyncio.Future[Version]
    joined: int = 0
    published: Version | None = None


@dataclass(slots=True)
class _Line:
    """Who asks for one sketch: the round that may still be joined, the task that runs them.

    dead: the sketch went while they ran; what they fold must not be cached again.
    """

    open: _Round | None = None
    task: asyncio.Task[None] | None = None
    dead: bool = False


@dataclass(slots=True)
class _Progress:
    """A catch-up's version. owned: nobody else can reach it."""

    version: Version
    owned: bool


def _fold_entries(sketch: Sketch, digest: str, entries: list[StoredEntry]) -> str:
    """Fold, and return the digest after the last entry."""
    log_entries.fold(sketch, entries)
    for entry in entries:
        digest = chain(digest, entry.id)
    return digest


class Materializer:
    """Versions of sketches at the head of their logs."""

    def __init__(
        self,
        store: Store,
        pool: BoundedPool,
        metrics: Metrics,
        *,
        cache_bytes: int,
        chunk_bytes: int,
    ) -> None:
        self._store = store
        self._pool = pool
        self._metrics = metrics
        self._cache_bytes = cache_bytes
        self._chunk_bytes = chunk_bytes
        self._cached: OrderedDict[Identity, Version] = OrderedDict()
        self._cached_bytes = 0
        self._lines: dict[Identity, _Line] = {}

    @property
    def cached_bytes(self) -> int:
        """Bytes of the cached versions; never above the bound."""
        return self._cached_bytes

    @asynccontextmanager
    async def at_head(self, identity: Identity) -> AsyncIterator[Version]:
        """A version with every entry that was acknowledged before this was called.

        Its sketch stays unchanged until the block ends, so the block must not
        end while a thread reads it; BoundedPool.run sees to that. Raises
        NotFound when the sketch is gone (also for another incarnation).
        """
        joined = self._join(identity)
        try:
            version = await asyncio.shield(joined.done)
        except BaseException:
            # Cancelled between publication and waking up: the place was made a reader already.
            if joined.published is not None:
                joined.published.readers -= 1
            joined.joined -= 1
            raise
        try:
            yield version
        finally:
            version.readers -= 1

    async def query(self, identity: Identity, function: Callable[[Sketch], T]) -> tuple[T, int]:
        """`function` of the sketch at its head, in the pool, and the position it saw."""
        async with self.at_head(identity) as version:
            return await self._pool.run(function, version.sketch), version.position

    def checkpoint_moved(self, identity: Identity, position: int) -> None:
        """The store's checkpoint was seen at this position."""
        version = self._cached.get(identity)
        if version is not None:
            version.checkpoint = position

    def forget(self, identity: Identity) -> None:
        """Drop the cached version, if any, for good: the sketch is gone, and never comes back."""
        self._take(identity)
        self._metrics.activity.forget(identity.incarnation)
        line = self._lines.get(identity)
        if line is not None:
            line.dead = True

    async def close(self) -> None:
        """End the catch-ups under way; those who wait get Unavailable."""
        tasks = [line.task for line in self._lines.values() if line.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Rounds

    def _join(self, identity: Identity) -> _Round:
        """A place in the round that has not yet started, which is begun if there is none."""
        line = self._lines.setdefault(identity, _Line())
        if line.open is None:
            line.open = _Round(asyncio.get_running_loop().create_future())
            # A round whose every waiter was cancelled has nobody to retrieve its error.
            line.open.done.add_done_callback(lambda done: done.cancelled() or done.exception())
        line.open.joined += 1
        if line.task is None:
            line.task = asyncio.create_task(self._run_rounds(identity, line))
        return line.open

    async def _run_rounds(self, identity: Identity, line: _Line) -> None:
        current: _Round | None = None
        try:
            while line.open is not None:
                current, line.open = line.open, None  # from here on it has started
                if current.joined > 0:
                    await self._run_round(identity, current)
        finally:
            for left in (current, line.open):
                if left is not None and not left.done.done():
                    left.done.set_exception(Unavailable("the service is stopping"))
            del self._lines[identity]

    async def _run_round(self, identity: Identity, current: _Round) -> None:
        try:
            version = await self._catch_up(identity)
        except Exception as failure:  # noqa: BLE001 - handed to those who wait
            current.done.set_exception(failure)
            return
        # Counted here, not where they wake up: the next round may look before they do.
        version.readers += current.joined
        current.published = version
        current.done.set_result(version)

    # Catching up

    async def _catch_up(self, identity: Identity) -> Version:
        """Fold up to where the log's head is when this starts reading, or further."""
        cached = self._cached.get(identity)
        if cached is not None:
            progress = _Progress(cached, owned=False)
        else:
            empty = await self._pool.run(new_sketch, identity.spec)
            progress = _Progress(Version(empty), owned=True)
        try:
            await self._advance(identity, progress)
            await self._tell(identity, progress.version)
        except NotFound:
            self.forget(identity)
            raise
        except Unavailable:
            # Refused before anything was added, so what was folded so far is right: keep it,
            # or overload would breed cold starts. Any other failure drops it.
            self._put(identity, progress.version)
            raise
        self._put(identity, progress.version)
        return progress.version

    async def _advance(self, identity: Identity, progress: _Progress) -> None:
        target: int | None = None
        while True:
            tail = await self._read(identity, progress.version)
            # Later heads are not chased, or a busy writer would keep a reader for ever.
            target = tail.head if target is None else min(target, tail.head)
            if tail.checkpoint is not None:
                progress.version = await self._load(identity, tail.checkpoint)
                progress.owned = True
            if tail.entries:
                if not progress.owned:
                    progress.version = await self._own(identity, progress.version)
                    progress.owned = True
                await self._fold(progress.version, tail.entries)
            if progress.version.position >= target or not tail.entries:
                return

    async def _read(self, identity: Identity, version: Version) -> Tail:
        return await self._store.read(
            identity.key,
            identity.incarnation,
            version.position,
            version.digest,
            max_bytes=self._chunk_bytes,
        )

    async def _load(self, identity: Identity, checkpoint: Checkpoint) -> Version:
        if checkpoint.state:
            sketch = await self._pool.run(log_entries.load_state, checkpoint.state, identity.spec)
        else:
            sketch = await self._pool.run(new_sketch, identity.spec)
        # Who wrote an inexact checkpoint told the record so with it.
        told = not sketch.exact
        return Version(
            sketch, checkpoint.position, checkpoint.digest, checkpoint.position, told=told
        )

    async def _own(self, identity: Identity, version: Version) -> Version:
        """A version that only this catch-up can reach: the cached one itself if nobody reads it."""
        if version.readers == 0:
            self._take(identity)
            return version
        sketch = await self._pool.run(version.sketch.copy)
        return Version(
            sketch, version.position, version.digest, version.checkpoint, told=version.told
        )

    async def _fold(self, version: Version, entries: list[StoredEntry]) -> None:
        started = time.perf_counter()
        try:
            version.digest = await self._pool.run(
                _fold_entries, version.sketch, version.digest, entries
            )
        finally:
            self._metrics.folded(time.perf_counter() - started)
        version.position = entries[-1].position

    async def _tell(self, identity: Identity, version: Version) -> None:
        """Let the record learn that exactness is lost, before anybody is answered so.

        A store that cannot write now does not keep this from being read: the
        next catch-up tells it again.
        """
        if version.sketch.exact or version.told:
            return
        try:
            await self._store.mark_inexact(identity.key, identity.incarnation)
        except StoreUnavailable as failure:
            _log.warning("the loss of exactness is not recorded yet: %s", failure.detail)
        else:
            version.told = True

    # Cache

    def _take(self, identity: Identity) -> None:
        version = self._cached.pop(identity, None)
        if version is not None:
            self._cached_bytes -= version.bytes
            self._metrics.cached(self._cached_bytes)

    def _put(self, identity: Identity, version: Version) -> None:
        """Cache a version that a catch-up ends with, and drop others for it if need be."""
        if self._cached.get(identity) is version:  # nothing was new
            self._cached.move_to_end(identity)
            return
        self._take(identity)
        line = self._lines.get(identity)
        if line is not None and line.dead:
            return  # deleted during the catch-up: nobody would ever ask for it or drop it
        if version.bytes > self._cache_bytes:
            return  # it cannot stay, so it should not drive the others out first
        self._cached[identity] = version
        self._cached_bytes += version.bytes
        while self._cached_bytes > self._cache_bytes:
            oldest = next(iter(self._cached))
            self._take(oldest)
        self._metrics.cached(self._cached_bytes)
