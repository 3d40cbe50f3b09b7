"""One thread that writes, committing all writes that wait as one group.

    event loop                        writer thread
    submit -> bounded queue -------->  take what waits (bounded in count and bytes)
                                       BEGIN IMMEDIATE; each write in turn; COMMIT (one fsync)
    futures resolved  <--------------  answers, only after COMMIT
                                       trim some garbage; checkpoint the WAL; give pages back

A write that raises a ServiceError has changed nothing, and its neighbours are
committed. Any other error rolls the whole group back, and then each write has
a transaction to itself, so that it is the one at fault that fails.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from service.errors import ServiceError, StoreUnavailable
from service.ports import Clock, SketchKey
from service.sqlite_schema import connect, is_busy, unavailable, until_not_busy
from service.sqlite_transaction import Transaction

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: One step of trimming: short, but never less than the group beside it adds, or
#: the garbage of a busy store would only grow.
_TRIM_ROWS = 1024
_TRIM_BYTES = 2 << 20

#: Copy the WAL back into the file after about this much has been written to it.
_CHECKPOINT_BYTES = 4 << 20

#: A write above this share of the queue's bytes is large: it may never fit beside others.
_LARGE_SHARE = 4

#: Free pages worth giving back to the file system, and how many at a time.
_FREE_PAGES = 4096
_VACUUM_PAGES = 512


@dataclass(frozen=True, slots=True)
class SqliteLimits:
    """queue_*: writes that may wait, beyond which they are refused; but one large write is
    always let in, whatever its bytes, on top of the rest. group_*: of one transaction.

    busy_seconds: how long to wait for another process. wal_bytes: above this
    the writer waits for readers to let go of the WAL, and truncates it.
    file_bytes: the file may not grow beyond this (None: the disk's size).
    """

    readers: int = 4
    queue_writes: int = 8192
    queue_bytes: int = 128 << 20
    group_writes: int = 512
    group_bytes: int = 8 << 20
    busy_seconds: float = 5.0
    wal_bytes: int = 64 << 20
    file_bytes: int | None = None


@dataclass(slots=True, eq=False)
class _Write:
    """recalls: the sketch and idempotency key it will ask for, to be read ahead.

    weight: what it takes of the queue's bytes. large: it has the place kept for large writes.
    """

    work: Callable[[Transaction], Any]
    size: int
    weight: int
    large: bool
    recalls: tuple[SketchKey, str] | None
    future: asyncio.Future[Any]


_Outcome = tuple[_Write, Any, BaseException | None]


class GroupWriter:
    """Runs writes in groups; `submit` from the event loop it was opened in."""

    def __init__(self, path: str, clock: Clock, limits: SqliteLimits) -> None:
        self._path = path
        self._clock = clock
        self._limits = limits
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        # Counted in the event loop's thread only.
        self._waiting = 0
        self._waiting_bytes = 0
        self._large_waits = False
        self._open = False
        # Used in the writer's thread only, once it runs.
        self._garbage = True  # what an earlier process may have left
        self._free_pages = True
        self._unchecked_bytes = 0

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Connect and start the thread. Raises sqlite3.Error."""
        self._loop = loop
        self._connection = connect(self._path, self._limits.busy_seconds)
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        (self._page_bytes,) = self._connection.execute("PRAGMA page_size").fetchone()
        if self._limits.file_bytes is not None:
            pages = self._limits.file_bytes // self._page_bytes
            self._connection.execute(f"PRAGMA max_page_count = {pages}")
        # From here on BEGIN waits by its own loop, and nothing else should wait.
        self._connection.execute("PRAGMA busy_timeout = 0")
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._open = True
        self._thread.start()

    def stop_taking(self) -> None:
        """Refuse further writes; those that wait are still done."""
        if self._open:
            self._open = False
            self._queue.put(None)

    def join(self) -> None:
        """Wait until the last write is done and the connection closed. Not in the event loop."""
        self._thread.join()

    async def submit(
        self,
        work: Callable[[Transaction], T],
        *,
        size: int = 0,
        recalls: tuple[SketchKey, str] | None = None,
    ) -> T:
        """Run `work` in a committed transaction and return its answer.

        Raises what it raises, and StoreUnavailable when the store is not open,
        the queue is full, or SQLite fails. A cancelled caller's write may
        still be done.
        """
        if not self._open:
            raise StoreUnavailable("the SQLite store is not open")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(self._admit(work, size, recalls, future))
        return await future

    def _admit(
        self,
        work: Callable[[Transaction], Any],
        size: int,
        recalls: tuple[SketchKey, str] | None,
        future: asyncio.Future[Any],
    ) -> _Write:
        """Count a write that may wait. Raises StoreUnavailable if it may not.

        One large write is let in whatever the bytes that wait, or a busy store
        would refuse a large checkpoint for ever while the log it trims grows;
        and it weighs no more than a share, or it would shut the others out.
        """
        limits = self._limits
        share = limits.queue_bytes // _LARGE_SHARE
        fits = self._waiting_bytes + size <= limits.queue_bytes
        large = not fits and size > share and not self._large_waits
        weight = share if large else size
        if self._waiting >= limits.queue_writes or not (fits or large):
            raise StoreUnavailable("too many writes wait for the SQLite store", retry_after=1.0)
        self._waiting += 1
        self._waiting_bytes += weight
        self._large_waits = self._large_waits or large
        return _Write(work, size, weight, large, recalls, future)

    def _resolve(self, outcomes: list[_Outcome]) -> None:
        """In the event loop: tell the callers."""
        self._waiting -= len(outcomes)
        for write, answer, error in outcomes:
            self._waiting_bytes -= write.weight
            if write.large:
                self._large_waits = False
            if write.future.done():
                continue
            if error is None:
                write.future.set_result(answer)
            else:
                write.future.set_exception(error)

    def _run(self) -> None:
        try:
            stopping = False
            while not stopping:
                group, stopping = self._next_group()
                if group:
                    self._write(group)
                self._tidy(idle=not group and not stopping)
        finally:
            self._open = False
            self._connection.close()
            self._refuse_rest()

    def _refuse_rest(self) -> None:
        """After the last group nothing waits, unless a defect ended the thread: let nobody hang."""
        rest: list[_Outcome] = []
        while not self._queue.empty():
            write = self._queue.get()
            if write is not None:
                rest.append((write, None, StoreUnavailable("the SQLite store's writer stopped")))
        if rest:
            self._answer(rest)

    def _next_group(self) -> tuple[list[_Write], bool]:
        """What waits, and whether to stop after it. Waits itself unless there is tidying to do."""
        group: list[_Write] = []
        size = 0
        try:
            write = self._queue.get(block=not (self._garbage or self._free_pages))
            while write is not None:
                group.append(write)
                size += write.size
                if len(group) >= self._limits.group_writes or size >= self._limits.group_bytes:
                    return group, False
                write = self._queue.get_nowait()
        except queue.Empty:
            return group, False
        return group, True

    def _write(self, group: list[_Write]) -> None:
        try:
            outcomes = self._commit(group)
        except sqlite3.Error as error:
            if len(group) > 1 and not is_busy(error):
                self._write_singly(group)
                return
            cause = unavailable(error)
            cause.__cause__ = error
            outcomes = [(write, None, cause) for write in group]
        except Exception as error:  # noqa: BLE001 (a value SQLite cannot hold, or a defect of ours)
            if len(group) > 1:
                self._write_singly(group)
                return
            outcomes = [(group[0], None, error)]
        self._answer(outcomes)

    def _answer(self, outcomes: list[_Outcome]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._resolve, outcomes)
        except RuntimeError:  # the loop is closed: nobody waits any more
            logger.warning("the event loop closed before %d writes were answered", len(outcomes))

    def _write_singly(self, group: list[_Write]) -> None:
        for write in group:
            self._write([write])

    def _commit(self, group: list[_Write]) -> list[_Outcome]:
        """One transaction. Raises sqlite3.Error after rolling back."""
        connection = self._connection
        outcomes: list[_Outcome] = []
        until_not_busy(lambda: connection.execute("BEGIN IMMEDIATE"), self._limits.busy_seconds)
        try:
            transaction = Transaction(connection, self._clock.now())
            transaction.appends.read_ahead(
                write.recalls for write in group if write.recalls is not None
            )
            for write in group:
                try:
                    outcomes.append((write, write.work(transaction), None))
                except ServiceError as error:
                    outcomes.append((write, None, error))
            transaction.appends.flush()
            size = sum(write.size for write in group)
            if self._garbage:
                # Within the group, so that a store which is never idle trims too.
                rows = max(_TRIM_ROWS, len(group))
                self._garbage = transaction.trim(rows, max(_TRIM_BYTES, size))
                self._free_pages = True
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        self._garbage = self._garbage or transaction.left_garbage
        # A page for each write, and one for the tree above: a rough guess is enough.
        self._unchecked_bytes += size + self._page_bytes * (1 + len(group) // 8)
        return outcomes

    def _tidy(self, *, idle: bool) -> None:
        """Housekeeping that nobody waits for; when it fails, it is tried again later."""
        try:
            if idle and self._garbage:
                self._commit([])
                self._unchecked_bytes += _TRIM_BYTES // 8
            elif idle and self._free_pages:
                self._free_pages = self._give_pages_back()
            if self._unchecked_bytes >= _CHECKPOINT_BYTES:
                self._unchecked_bytes = 0
                self._checkpoint()
        except sqlite3.Error as error:
            self._garbage = self._free_pages = False
            logger.warning("housekeeping in the SQLite store failed: %s", error)

    def _give_pages_back(self) -> bool:
        """Shorten the file by a step if much of it is free. Returns whether to go on."""
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        if free < max(_FREE_PAGES, pages // 4):
            return False
        # The pragma frees one page a step, and only executescript steps on to its end.
        self._connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
        self._unchecked_bytes += _VACUUM_PAGES * self._page_bytes
        return True

    def _checkpoint(self) -> None:
        """Copy the WAL into the file, so that it starts over; insist once it has grown too long."""
        _, pages, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages * self._page_bytes > self._limits.wal_bytes:
            # Readers that overlap without pause keep it from starting over.
            self._connection.execute("PRAGMA busy_timeout = 1000")
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._connection.execute("PRAGMA busy_timeout = 0")
