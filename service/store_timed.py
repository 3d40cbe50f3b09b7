"""A Store around a Store that reports how long each operation took and whether the store is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import ServiceError, StoreUnavailable
from service.ports import (
    Allowance,
    Appended,
    Checkpoint,
    Entry,
    Idempotency,
    Record,
    SketchKey,
    Store,
    Tail,
    Usage,
)


class TimedStore:
    """ports.Store; every answer and error is the inner store's own.

    finished: told (operation, outcome, seconds). up: told whether the store answers.
    """

    def __init__(
        self,
        inner: Store,
        *,
        finished: Callable[[str, str, float], None],
        up: Callable[[bool], None],
    ) -> None:
        self._inner = inner
        self._finished = finished
        self._up = up

    @contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        started = time.perf_counter()
        outcome = "ok"
        try:
            yield
        except StoreUnavailable:
            outcome = "unavailable"
            raise
        except ServiceError:
            outcome = "refused"
            raise
        except Exception:
            outcome = "error"
            raise
        except BaseException:
            outcome = "cancelled"
            raise
        finally:
            self._finished(operation, outcome, time.perf_counter() - started)
            if outcome not in ("error", "cancelled"):
                self._up(outcome != "unavailable")

    async def start(self) -> None:
        with self._timed("start"):
            await self._inner.start()

    async def close(self) -> None:
        await self._inner.close()

    async def ping(self) -> None:
        with self._timed("ping"):
            await self._inner.ping()

    async def create(
        self, record: Record, allowance: Allowance | None = None
    ) -> tuple[Record, bool]:
        with self._timed("create"):
            return await self._inner.create(record, allowance)

    async def get(self, key: SketchKey) -> Record | None:
        with self._timed("get"):
            return await self._inner.get(key)

    async def list(
        self,
        tenant: str,
        *,
        prefix: str,
        limit: int,
        after: str | None,
        contains: str = "",
        max_bytes: int | None = None,
    ) -> list[Record]:
        with self._timed("list"):
            return await self._inner.list(
                tenant,
                prefix=prefix,
                limit=limit,
                after=after,
                contains=contains,
                max_bytes=max_bytes,
            )

    async def delete(self, key: SketchKey) -> bool:
        with self._timed("delete"):
            return await self._inner.delete(key)

    async def set_ttl(self, key: SketchKey, ttl_seconds: float | None) -> Record | None:
        with self._timed("set_ttl"):
            return await self._inner.set_ttl(key, ttl_seconds)

    async def seal(
        self, key: SketchKey, incarnation: str, operand: str, idempotency: Idempotency | None
    ) -> Record:
        with self._timed("seal"):
            return await self._inner.seal(key, incarnation, operand, idempotency)

    async def append(
        self,
        key: SketchKey,
        incarnation: str,
        entry: Entry,
        idempotency: Idempotency | None,
        *,
        max_log_bytes: int,
    ) -> Appended:
        with self._timed("append"):
            return await self._inner.append(
                key, incarnation, entry, idempotency, max_log_bytes=max_log_bytes
            )

    async def recall(
        self, key: SketchKey, incarnation: str, idempotency: Idempotency
    ) -> Appended | None:
        with self._timed("recall"):
            return await self._inner.recall(key, incarnation, idempotency)

    async def read(
        self, key: SketchKey, incarnation: str, position: int, digest: str, *, max_bytes: int
    ) -> Tail:
        with self._timed("read"):
            return await self._inner.read(key, incarnation, position, digest, max_bytes=max_bytes)

    async def compact(
        self,
        key: SketchKey,
        incarnation: str,
        replaces: int,
        checkpoint: Checkpoint,
        *,
        exact: bool,
    ) -> bool:
        with self._timed("compact"):
            return await self._inner.compact(key, incarnation, replaces, checkpoint, exact=exact)

    async def mark_inexact(self, key: SketchKey, incarnation: str) -> None:
        with self._timed("mark_inexact"):
            await self._inner.mark_inexact(key, incarnation)

    async def acquire_lease(
        self, key: SketchKey, incarnation: str, holder: str, seconds: float
    ) -> bool:
        with self._timed("acquire_lease"):
            return await self._inner.acquire_lease(key, incarnation, holder, seconds)

    async def release_lease(self, key: SketchKey, incarnation: str, holder: str) -> None:
        with self._timed("release_lease"):
            await self._inner.release_lease(key, incarnation, holder)

    async def sweep(self, limit: int) -> int:
        with self._timed("sweep"):
            return await self._inner.sweep(limit)

    async def usage(self, largest: int) -> Usage:
        with self._timed("usage"):
            return await self._inner.usage(largest)
