"""A store in one SQLite file: the embedded default, durable when it answers.

Writes go to one thread that commits what waits in groups; reads go to a few
threads with connections of their own, and see every write that was answered.
Several processes may use one file: all checks of a write happen inside
BEGIN IMMEDIATE. docs/decisions/0002-sqlite-log.md has the reasons and numbers.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from service import sqlite_reads
from service.errors import StoreUnavailable
from service.ports import (
    Allowance,
    Appended,
    Checkpoint,
    Clock,
    Entry,
    Idempotency,
    Record,
    SketchKey,
    Tail,
    Usage,
)
from service.sqlite_schema import connect, prepare, unavailable
from service.sqlite_writer import GroupWriter, SqliteLimits

T = TypeVar("T")


class _Readers:
    """A few threads, and a connection for each."""

    def __init__(self, path: str, count: int, busy_seconds: float) -> None:
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._count = count
        for _ in range(count):
            connection = connect(path, busy_seconds)
            connection.execute("PRAGMA query_only = ON")
            self._idle.put(connection)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="sqlite-reader")

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` in one read transaction. Raises what it raises, and StoreUnavailable."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, work)

    def close(self) -> None:
        """Wait for the reads under way, and disconnect. Not in the event loop."""
        self._threads.shutdown()
        for _ in range(self._count):
            self._idle.get().close()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._idle.get()  # never waits: there are as many as threads
        try:
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise unavailable(error) from error
        finally:
            self._idle.put(connection)


class SqliteStore:
    """service.ports.Store over one file."""

    def __init__(
        self, path: str | os.PathLike[str], clock: Clock, limits: SqliteLimits | None = None
    ) -> None:
        self._path = os.fspath(path)
        self._clock = clock
        self._limits = limits if limits is not None else SqliteLimits()
        self._writer: GroupWriter | None = None
        self._readers: _Readers | None = None

    async def start(self) -> None:
        """As Store.start."""
        if self._writer is not None:
            return
        limits = self._limits
        await asyncio.to_thread(prepare, self._path, limits.busy_seconds)
        writer = GroupWriter(self._path, self._clock, limits)
        try:
            self._readers = await asyncio.to_thread(
                _Readers, self._path, limits.readers, limits.busy_seconds
            )
            writer.open(asyncio.get_running_loop())
        except sqlite3.Error as error:
            raise unavailable(error) from error
        self._writer = writer

    async def close(self) -> None:
        """Finish the writes that wait, then close the file."""
        writer, readers = self._writer, self._readers
        self._writer = self._readers = None
        if writer is not None:
            writer.stop_taking()
            await asyncio.to_thread(writer.join)
        if readers is not None:
            await asyncio.to_thread(readers.close)

    async def ping(self) -> None:
        """As Store.ping."""
        await self._read(lambda connection: connection.execute("SELECT * FROM pings").fetchone())
        await self._open_writer().submit(lambda transaction: transaction.ping())

    async def create(
        self, record: Record, allowance: Allowance | None = None
    ) -> tuple[Record, bool]:
        """As Store.create."""
        return await self._open_writer().submit(
            lambda t: t.create(record, allowance), size=record.definition_bytes
        )

    async def get(self, key: SketchKey) -> Record | None:
        """As Store.get."""
        now = self._clock.now()
        return await self._read(lambda c: sqlite_reads.find_record(c, key, now))

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
        """As Store.list."""
        now = self._clock.now()
        return await self._read(
            lambda c: sqlite_reads.list_records(
                c, now, tenant, prefix, limit, after, contains, max_bytes
            )
        )

    async def delete(self, key: SketchKey) -> bool:
        """As Store.delete."""
        return await self._open_writer().submit(lambda t: t.delete(key))

    async def set_ttl(self, key: SketchKey, ttl_seconds: float | None) -> Record | None:
        """As Store.set_ttl."""
        return await self._open_writer().submit(lambda t: t.set_ttl(key, ttl_seconds))

    async def seal(
        self,
        key: SketchKey,
        incarnation: str,
        operand: str,
        idempotency: Idempotency | None,
    ) -> Record:
        """As Store.seal."""
        return await self._open_writer().submit(
            lambda t: t.seal(key, incarnation, operand, idempotency)
        )

    async def append(
        self,
        key: SketchKey,
        incarnation: str,
        entry: Entry,
        idempotency: Idempotency | None,
        *,
        max_log_bytes: int,
    ) -> Appended:
        """As Store.append."""
        size = len(entry.payload)
        if entry.attachment is not None:
            size += len(entry.attachment)
        return await self._open_writer().submit(
            lambda t: t.appends.append(key, incarnation, entry, idempotency, max_log_bytes),
            size=size,
            recalls=None if idempotency is None else (key, idempotency.key),
        )

    async def recall(
        self, key: SketchKey, incarnation: str, idempotency: Idempotency
    ) -> Appended | None:
        """As Store.recall."""
        return await self._open_writer().submit(
            lambda t: t.appends.recall(key, incarnation, idempotency),
            recalls=(key, idempotency.key),
        )

    async def read(
        self,
        key: SketchKey,
        incarnation: str,
        position: int,
        digest: str,
        *,
        max_bytes: int,
    ) -> Tail:
        """As Store.read."""
        now = self._clock.now()
        return await self._read(
            lambda c: sqlite_reads.read_tail(c, now, key, incarnation, position, digest, max_bytes)
        )

    async def compact(
        self,
        key: SketchKey,
        incarnation: str,
        replaces: int,
        checkpoint: Checkpoint,
        *,
        exact: bool,
    ) -> bool:
        """As Store.compact."""
        return await self._open_writer().submit(
            lambda t: t.compact(key, incarnation, replaces, checkpoint, exact),
            size=len(checkpoint.state),
        )

    async def mark_inexact(self, key: SketchKey, incarnation: str) -> None:
        """As Store.mark_inexact."""
        await self._open_writer().submit(lambda t: t.mark_inexact(key, incarnation))

    async def acquire_lease(
        self, key: SketchKey, incarnation: str, holder: str, seconds: float
    ) -> bool:
        """As Store.acquire_lease."""
        return await self._open_writer().submit(
            lambda t: t.acquire_lease(key, incarnation, holder, seconds)
        )

    async def release_lease(self, key: SketchKey, incarnation: str, holder: str) -> None:
        """As Store.release_lease."""
        await self._open_writer().submit(lambda t: t.release_lease(key, incarnation, holder))

    async def sweep(self, limit: int) -> int:
        """As Store.sweep."""
        return await self._open_writer().submit(lambda t: t.sweep(limit))

    async def usage(self, largest: int) -> Usage:
        """As Store.usage."""
        now = self._clock.now()
        return await self._read(lambda c: sqlite_reads.usage(c, now, largest))

    async def read_file(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` in a read transaction; for what else lives in the file."""
        return await self._read(work)

    async def write_file(self, work: Callable[[sqlite3.Connection, float], T]) -> T:
        """`work(connection, now)` in the next group; for what else lives in the file."""
        return await self._open_writer().submit(lambda t: t.run(work))

    def _open_writer(self) -> GroupWriter:
        if self._writer is None:
            raise StoreUnavailable("the SQLite store is not open")
        return self._writer

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._readers is None:
            raise StoreUnavailable("the SQLite store is not open")
        return await self._readers.run(work)
