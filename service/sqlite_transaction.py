"""The store's writes, inside one open transaction that several callers share.

Each operation checks everything before it changes anything, so one that
raises a ServiceError leaves its neighbours' work alone.

Appends are kept aside (sqlite_appends), and written before anything else happens.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from service.errors import NotFound
from service.ports import (
    EMPTY_DIGEST,
    Allowance,
    Checkpoint,
    Idempotency,
    Record,
    SketchKey,
)
from service.sqlite_appends import Appends
from service.sqlite_reads import find_id, find_record, tenant_totals

T = TypeVar("T")

#: `garbage.through` of a sketch of which nothing remains.
WHOLE_SKETCH = 2**62


class Transaction:
    """The operations of one group of writes; call `appends.flush` before COMMIT.

    left_garbage: whether any of them made something to trim.
    """

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        self._connection = connection
        self._now = now
        self.appends = Appends(connection, now)
        self.left_garbage = False

    def create(self, record: Record, allowance: Allowance | None = None) -> tuple[Record, bool]:
        """As Store.create."""
        self.appends.flush()
        existing = find_record(self._connection, record.key, self._now)
        if existing is not None:
            return existing, False
        if allowance is not None:
            held = tenant_totals(self._connection, record.key.tenant, self._now)
            allowance.check(*held, record.state_bytes)
        self._remove(record.key)
        # A new log is empty, whatever the caller filled in.
        record = replace(
            record,
            position=0,
            digest=EMPTY_DIGEST,
            updates=0,
            underflowed=0,
            log_bytes=0,
            backlog=0,
        )
        self._connection.execute(
            """INSERT INTO sketches (
                tenant, name, incarnation, position, digest, updates, underflowed, total_bytes,
                total_coordinates, checkpoint_position, checkpoint_digest, folded_bytes,
                folded_coordinates, exact, sealed, created_at, ttl_seconds, expires_at,
                state_bytes, spec, request
            ) VALUES (?, ?, ?, 0, ?, 0, 0, 0, 0, 0, ?, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                record.key.tenant,
                record.key.name,
                record.incarnation,
                EMPTY_DIGEST,
                EMPTY_DIGEST,
                record.exact,
                json.dumps(sorted(record.sealed)),
                record.created_at,
                record.ttl_seconds,
                record.expires_at,
                record.state_bytes,
                record.spec,
                record.request,
            ),
        )
        return record, True

    def delete(self, key: SketchKey) -> bool:
        """As Store.delete."""
        self.appends.flush()
        existed = find_record(self._connection, key, self._now) is not None
        self._remove(key)
        return existed

    def set_ttl(self, key: SketchKey, ttl_seconds: float | None) -> Record | None:
        """As Store.set_ttl."""
        self.appends.flush()
        record = find_record(self._connection, key, self._now)
        if record is None:
            return None
        expires_at = None if ttl_seconds is None else self._now + ttl_seconds
        self._connection.execute(
            "UPDATE sketches SET ttl_seconds = ?, expires_at = ? WHERE tenant = ? AND name = ?",
            (ttl_seconds, expires_at, key.tenant, key.name),
        )
        return replace(record, ttl_seconds=ttl_seconds, expires_at=expires_at)

    def seal(
        self, key: SketchKey, incarnation: str, operand: str, idempotency: Idempotency | None
    ) -> Record:
        """As Store.seal."""
        self.appends.flush()
        record = find_record(self._connection, key, self._now)
        sketch = find_id(self._connection, key, incarnation, self._now)
        if record is None or sketch is None:
            raise NotFound(f"no sketch named {key.name!r}")
        if idempotency is not None:
            if self.appends.answered(sketch, idempotency, seal=True) is not None:
                return record
            self.appends.remember(sketch, idempotency, 0, 0)
        record = replace(record, sealed=record.sealed | {operand})
        self._connection.execute(
            "UPDATE sketches SET sealed = ? WHERE id = ?",
            (json.dumps(sorted(record.sealed)), sketch),
        )
        return record

    def compact(
        self,
        key: SketchKey,
        incarnation: str,
        replaces: int,
        checkpoint: Checkpoint,
        exact: bool,
    ) -> bool:
        """As Store.compact. Trims by moving the checkpoint; the rows go later, in steps."""
        self.appends.flush()
        sketch = find_id(self._connection, key, incarnation, self._now)
        if sketch is None or checkpoint.position <= replaces:
            return False
        # Entries at or below the checkpoint may linger, but the comparison with
        # `replaces` keeps them out: they are not what the caller folded.
        row = self._connection.execute(
            """SELECT log.bytes_through, log.coordinates_through
            FROM sketches JOIN log ON log.sketch = sketches.id AND log.position = ?
            WHERE sketches.id = ? AND sketches.checkpoint_position = ? AND log.digest = ?""",
            (checkpoint.position, sketch, replaces, checkpoint.digest),
        ).fetchone()
        if row is None:
            return False
        self._connection.execute(
            """UPDATE sketches SET checkpoint_position = ?, checkpoint_digest = ?,
                folded_bytes = ?, folded_coordinates = ?, exact = exact AND ? WHERE id = ?""",
            (checkpoint.position, checkpoint.digest, *row, exact, sketch),
        )
        self._connection.execute(
            "INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (sketch, checkpoint.state)
        )
        self._discard(sketch, checkpoint.position)
        return True

    def mark_inexact(self, key: SketchKey, incarnation: str) -> None:
        """As Store.mark_inexact."""
        self.appends.flush()
        sketch = find_id(self._connection, key, incarnation, self._now)
        self._connection.execute("UPDATE sketches SET exact = 0 WHERE id = ?", (sketch,))

    def acquire_lease(self, key: SketchKey, incarnation: str, holder: str, seconds: float) -> bool:
        """As Store.acquire_lease."""
        self.appends.flush()
        sketch = find_id(self._connection, key, incarnation, self._now)
        updated = self._connection.execute(
            """UPDATE sketches SET lease_holder = ?, lease_until = ?
            WHERE id = ? AND (lease_holder IS NULL OR lease_holder = ? OR lease_until <= ?)""",
            (holder, self._now + seconds, sketch, holder, self._now),
        )
        return updated.rowcount == 1

    def release_lease(self, key: SketchKey, incarnation: str, holder: str) -> None:
        """As Store.release_lease."""
        self.appends.flush()
        sketch = find_id(self._connection, key, incarnation, self._now)
        self._connection.execute(
            """UPDATE sketches SET lease_holder = NULL, lease_until = NULL
            WHERE id = ? AND lease_holder = ?""",
            (sketch, holder),
        )

    def sweep(self, limit: int) -> int:
        """As Store.sweep. Keys of removed sketches go with these, uncounted."""
        self.appends.flush()
        self.left_garbage = True  # perhaps another process died over its own
        expired = self._connection.execute(
            "SELECT tenant, name FROM sketches WHERE expires_at <= ? LIMIT ?", (self._now, limit)
        ).fetchall()
        for tenant, name in expired:
            self._remove(SketchKey(tenant, name))
        keys = self._connection.execute(
            """DELETE FROM idempotency WHERE (sketch, key) IN (
                SELECT sketch, key FROM idempotency WHERE expires_at <= ?
                AND sketch IN (SELECT id FROM sketches) LIMIT ?)""",
            (self._now, limit - len(expired)),
        )
        return len(expired) + keys.rowcount

    def ping(self) -> None:
        """Write something."""
        self.appends.flush()
        self._connection.execute("INSERT OR REPLACE INTO pings VALUES (1, ?)", (self._now,))

    def run(self, work: Callable[[sqlite3.Connection, float], T]) -> T:
        """`work(connection, now)` on tables that no other operation here knows."""
        return work(self._connection, self._now)

    def trim(self, rows: int, size: int) -> bool:
        """Delete some garbage, about `rows` rows and `size` bytes. Returns whether more is left."""
        self.appends.flush()
        found = self._connection.execute("SELECT sketch, through FROM garbage LIMIT 1").fetchone()
        if found is None:
            return False
        sketch, through = found
        stop = self._end_of_step(sketch, through, rows, size)
        if stop is not None:
            self._connection.execute(
                "DELETE FROM log WHERE sketch = ? AND position <= ?", (sketch, stop)
            )
            self._connection.execute(
                "DELETE FROM attachments WHERE sketch = ? AND position <= ?", (sketch, stop)
            )
            return True
        if through == WHOLE_SKETCH:
            keys = self._connection.execute(
                """DELETE FROM idempotency WHERE sketch = ? AND key IN (
                    SELECT key FROM idempotency WHERE sketch = ? LIMIT ?)""",
                (sketch, sketch, rows),
            )
            if keys.rowcount == rows:
                return True
            self._connection.execute("DELETE FROM checkpoints WHERE sketch = ?", (sketch,))
        self._connection.execute("DELETE FROM garbage WHERE sketch = ?", (sketch,))
        return True

    def _remove(self, key: SketchKey) -> None:
        """Take the row away, expired or not; the rest becomes garbage."""
        row = self._connection.execute(
            "DELETE FROM sketches WHERE tenant = ? AND name = ? RETURNING id",
            (key.tenant, key.name),
        ).fetchone()
        if row is not None:
            self._discard(row[0], WHOLE_SKETCH)

    def _discard(self, sketch: int, through: int) -> None:
        self._connection.execute(
            """INSERT INTO garbage VALUES (?, ?)
            ON CONFLICT (sketch) DO UPDATE SET through = max(through, excluded.through)""",
            (sketch, through),
        )
        self.left_garbage = True

    def _end_of_step(self, sketch: int, through: int, rows: int, size: int) -> int | None:
        """The position up to which one step deletes; None when no entry is left to delete."""
        end, start = None, None
        for position, bytes_through in self._connection.execute(
            """SELECT position, bytes_through FROM log WHERE sketch = ? AND position <= ?
            ORDER BY position LIMIT ?""",
            (sketch, through, rows),
        ):
            end = position
            start = bytes_through if start is None else start
            if bytes_through - start >= size:
                break
        return end
