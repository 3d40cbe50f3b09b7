"""Appends that share a transaction: kept in memory, written with few statements.

The heads of the sketches and the answers under idempotency keys are read
once, advanced in memory, and written with statements of many rows at the
end. That is sound, since BEGIN IMMEDIATE keeps all other writers out; and it
matters, since sqlite3 gives up the interpreter lock at every row it steps
over, and gets it back only when the event loop's thread lets go (measured: 64
rows one by one beside a busy loop take 114 ms, in one statement 13 ms).
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from service.errors import BacklogFull, Conflict, InvalidRequest, NotFound
from service.ports import Appended, Entry, Idempotency, SketchKey, chain

#: Rows in one statement. Few sizes, so that few statements stay prepared.
_ROWS = (64, 16, 4, 1)


@dataclass(slots=True)
class _Head:
    """The part of a sketch's row that an append reads and advances."""

    id: int
    incarnation: str
    sealed: frozenset[str]
    ttl_seconds: float | None
    expires_at: float | None
    position: int
    digest: str
    updates: int
    underflowed: int
    total_bytes: int
    total_coordinates: int
    folded_bytes: int
    folded_coordinates: int
    changed: bool = False


class _Answer(NamedTuple):
    """What was answered under an idempotency key; position 0 for a seal."""

    body_digest: bytes
    position: int
    updates: int
    expires_at: float


class Appends:
    """The appends of one transaction that are not in the tables yet.

    `flush` before anything else in the transaction reads or writes the tables.
    """

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        self._connection = connection
        self._now = now
        self._heads: dict[SketchKey, _Head | None] = {}
        self._answers: dict[tuple[int, str], _Answer | None] = {}
        self._log: list[Any] = []
        self._remembered: list[Any] = []
        self._attachments: list[tuple[int, int, bytes]] = []

    def read_ahead(self, wanted: Iterable[tuple[SketchKey, str]]) -> None:
        """Read the answers under these idempotency keys at once; append finds them in memory."""
        pairs: list[tuple[int, str]] = []
        for sketch, key in wanted:
            head = self._head(sketch)
            if head is not None:
                pairs.append((head.id, key))
        for pair in pairs:
            self._answers[pair] = None
        for count, values in _in_batches(pairs):
            for row in self._connection.execute(_select_answers(count), values):
                self._answers[row[0], row[1]] = _Answer(*row[2:])

    def append(
        self,
        key: SketchKey,
        incarnation: str,
        entry: Entry,
        idempotency: Idempotency | None,
        max_log_bytes: int,
    ) -> Appended:
        """As Store.append."""
        head = self._require(key, incarnation)
        if idempotency is not None:
            first = self._replay(head, idempotency)
            if first is not None:
                return first
        log_bytes = head.total_bytes - head.folded_bytes
        if head.sealed and not head.sealed.isdisjoint(entry.operands):
            operand = min(head.sealed & entry.operands)
            raise Conflict(f"operand {operand!r} is sealed", code="operand_sealed")
        if log_bytes >= max_log_bytes:
            raise BacklogFull(f"the log of {key.name!r} holds {log_bytes} bytes")
        self._advance(head, entry)
        if idempotency is not None:
            self.remember(head.id, idempotency, head.position, entry.updates)
        return Appended(
            head.position,
            entry.updates,
            head.total_bytes - head.folded_bytes,
            head.total_coordinates - head.folded_coordinates,
            False,
        )

    def recall(self, key: SketchKey, incarnation: str, idempotency: Idempotency) -> Appended | None:
        """As Store.recall."""
        return self._replay(self._require(key, incarnation), idempotency)

    def _require(self, key: SketchKey, incarnation: str) -> _Head:
        head = self._head(key)
        if head is None or head.incarnation != incarnation:
            raise NotFound(f"no sketch named {key.name!r}")
        return head

    def _replay(self, head: _Head, idempotency: Idempotency) -> Appended | None:
        """The first answer to an append under the key, with the log as it is now."""
        first = self.answered(head.id, idempotency, seal=False)
        if first is None:
            return None
        log_bytes = head.total_bytes - head.folded_bytes
        backlog = head.total_coordinates - head.folded_coordinates
        return Appended(first.position, first.updates, log_bytes, backlog, True)

    def answered(self, sketch: int, idempotency: Idempotency, *, seal: bool) -> _Answer | None:
        """The first answer under the key, if any. Raises InvalidRequest if for another change."""
        try:
            answer = self._answers[sketch, idempotency.key]
        except KeyError:
            row = self._connection.execute(_select_answers(1), (sketch, idempotency.key)).fetchone()
            answer = row and _Answer(*row[2:])
            self._answers[sketch, idempotency.key] = answer
        if answer is None or answer.expires_at <= self._now:
            return None
        if answer.body_digest != idempotency.body_digest or seal != (answer.position == 0):
            raise InvalidRequest(
                "the idempotency key was used for another request", code="idempotency_key_reused"
            )
        return answer

    def remember(self, sketch: int, idempotency: Idempotency, position: int, updates: int) -> None:
        expires_at = self._now + idempotency.retention_seconds
        answer = _Answer(idempotency.body_digest, position, updates, expires_at)
        self._answers[sketch, idempotency.key] = answer
        self._remembered += (sketch, idempotency.key, *answer)

    def flush(self) -> None:
        """Write what the appends so far left in memory, and forget what was read for them."""
        execute = self._connection.execute
        self._insert("INSERT INTO log VALUES", 8, self._log)
        self._insert("INSERT OR REPLACE INTO idempotency VALUES", 6, self._remembered)
        for attachment in self._attachments:
            execute("INSERT INTO attachments VALUES (?, ?, ?)", attachment)
        changed = [
            (
                head.id,
                head.position,
                head.digest,
                head.updates,
                head.underflowed,
                head.total_bytes,
                head.total_coordinates,
                head.expires_at,
            )
            for head in self._heads.values()
            if head is not None and head.changed
        ]
        for count, values in _in_batches(changed):
            execute(_update_heads(count), values)
        self._attachments.clear()
        self._heads.clear()
        self._answers.clear()

    def _insert(self, statement: str, columns: int, values: list[Any]) -> None:
        done, rows = 0, len(values) // columns
        for count in _counts(rows):
            part = values[done : done + count * columns]
            self._connection.execute(_with_rows(statement, columns, count), part)
            done += count * columns
        values.clear()

    def _head(self, key: SketchKey) -> _Head | None:
        try:
            head = self._heads[key]
        except KeyError:
            row = self._connection.execute(
                """SELECT id, incarnation, sealed, ttl_seconds, expires_at, position, digest,
                    updates, underflowed, total_bytes, total_coordinates, folded_bytes,
                    folded_coordinates
                FROM sketches WHERE tenant = ? AND name = ?""",
                (key.tenant, key.name),
            ).fetchone()
            head = row and _Head(row[0], row[1], frozenset(json.loads(row[2])), *row[3:])
            self._heads[key] = head
        if head is None or (head.expires_at is not None and head.expires_at <= self._now):
            return None
        return head

    def _advance(self, head: _Head, entry: Entry) -> None:
        attachment = entry.attachment
        head.position += 1
        head.digest = chain(head.digest, entry.id)
        head.updates += entry.updates
        head.underflowed += entry.underflowed
        head.total_bytes += len(entry.payload)
        head.total_coordinates += entry.coordinates
        if attachment is not None:
            head.total_bytes += len(attachment)
            self._attachments.append((head.id, head.position, attachment))
        if head.ttl_seconds is not None:
            head.expires_at = self._now + head.ttl_seconds
        head.changed = True
        self._log += (
            head.id,
            head.position,
            entry.id,
            head.digest,
            head.total_bytes,
            head.total_coordinates,
            attachment is not None,
            entry.payload,
        )


def _counts(rows: int) -> list[int]:
    counts = []
    for size in _ROWS:
        counts += [size] * (rows // size)
        rows %= size
    return counts


def _in_batches(rows: list[tuple[Any, ...]]) -> Iterable[tuple[int, list[Any]]]:
    done = 0
    for count in _counts(len(rows)):
        yield count, [value for row in rows[done : done + count] for value in row]
        done += count


@functools.cache
def _with_rows(statement: str, columns: int, count: int) -> str:
    row = "(" + ", ".join("?" * columns) + ")"
    return f"{statement} {', '.join([row] * count)}"


@functools.cache
def _select_answers(count: int) -> str:
    return f"""SELECT sketch, key, body_digest, position, updates, expires_at
        FROM ({_with_rows("VALUES", 2, count)}) AS wanted CROSS JOIN idempotency
        ON sketch = wanted.column1 AND key = wanted.column2"""  # noqa: S608 (only question marks vary)


@functools.cache
def _update_heads(count: int) -> str:
    return f"""UPDATE sketches SET position = head.column2, digest = head.column3,
        updates = head.column4, underflowed = head.column5, total_bytes = head.column6,
        total_coordinates = head.column7, expires_at = head.column8
        FROM ({_with_rows("VALUES", 8, count)}) AS head WHERE id = head.column1"""  # noqa: S608 (only question marks vary)
