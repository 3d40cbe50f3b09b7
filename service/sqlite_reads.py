"""The store's reads. Each runs on a connection in one read transaction, or inside a write."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from service.errors import NotFound
from service.ports import (
    Checkpoint,
    Record,
    SketchKey,
    SketchUsage,
    StoredEntry,
    Tail,
    Usage,
)

#: The columns of the view `records` after tenant, name, sealed and exact.
_FACTS = (
    "incarnation",
    "spec",
    "request",
    "created_at",
    "ttl_seconds",
    "expires_at",
    "state_bytes",
    "position",
    "digest",
    "updates",
    "underflowed",
    "log_bytes",
    "backlog",
)

# Expired sketches do not exist, swept or not: coalesce(expires_at > now, TRUE).


def find_record(connection: sqlite3.Connection, key: SketchKey, now: float) -> Record | None:
    """As Store.get."""
    row = connection.execute(
        """SELECT * FROM records WHERE tenant = :tenant AND name = :name
        AND coalesce(expires_at > :now, TRUE)""",
        {"tenant": key.tenant, "name": key.name, "now": now},
    ).fetchone()
    return None if row is None else _record(row)


def find_id(
    connection: sqlite3.Connection, key: SketchKey, incarnation: str, now: float
) -> int | None:
    """The row of this incarnation of the sketch, if it exists."""
    row = connection.execute(
        """SELECT id FROM sketches WHERE tenant = :tenant AND name = :name
        AND incarnation = :incarnation AND coalesce(expires_at > :now, TRUE)""",
        {"tenant": key.tenant, "name": key.name, "incarnation": incarnation, "now": now},
    ).fetchone()
    return None if row is None else int(row[0])


def list_records(
    connection: sqlite3.Connection,
    now: float,
    tenant: str,
    prefix: str,
    limit: int,
    after: str | None,
    max_bytes: int | None,
) -> list[Record]:
    """As Store.list."""
    # Names with the prefix are neighbours, the first of them at or after the prefix itself.
    rows = connection.execute(
        """SELECT * FROM records WHERE tenant = :tenant AND name >= :prefix
        AND (:after IS NULL OR name > :after) AND coalesce(expires_at > :now, TRUE)
        ORDER BY name LIMIT :limit""",
        {"tenant": tenant, "prefix": prefix, "after": after, "now": now, "limit": limit},
    )
    records: list[Record] = []
    size = 0
    for row in rows:
        record = _record(row)
        if not record.key.name.startswith(prefix):
            break
        records.append(record)
        size += record.definition_bytes
        if max_bytes is not None and size > max_bytes and len(records) > 1:
            break  # the rows that follow are not read
    return records


def read_tail(
    connection: sqlite3.Connection,
    now: float,
    key: SketchKey,
    incarnation: str,
    position: int,
    digest: str,
    max_bytes: int,
) -> Tail:
    """As Store.read."""
    row = connection.execute(
        """SELECT id, position, checkpoint_position, checkpoint_digest, folded_bytes
        FROM sketches WHERE tenant = :tenant AND name = :name AND incarnation = :incarnation
        AND coalesce(expires_at > :now, TRUE)""",
        {"tenant": key.tenant, "name": key.name, "incarnation": incarnation, "now": now},
    ).fetchone()
    if row is None:
        raise NotFound(f"no sketch named {key.name!r}")
    sketch, head, folded, folded_digest, folded_bytes = row
    start = None
    if position == folded and digest == folded_digest:
        start = folded_bytes
    elif folded < position <= head:
        start = _bytes_through(connection, sketch, position, digest)
    checkpoint = None
    if start is None:
        position, start = folded, folded_bytes
        checkpoint = Checkpoint(folded, folded_digest, _state(connection, sketch))
    return Tail(checkpoint, _entries(connection, sketch, position, start + max_bytes), head)


def tenant_totals(connection: sqlite3.Connection, tenant: str, now: float) -> tuple[int, int]:
    """(how many sketches the tenant has, bytes of their states)."""
    row: tuple[int, int] = connection.execute(
        """SELECT count(*), coalesce(sum(state_bytes), 0) FROM sketches
        WHERE tenant = ? AND coalesce(expires_at > ?, TRUE)""",
        (tenant, now),
    ).fetchone()
    return row


def usage(connection: sqlite3.Connection, now: float, largest: int) -> Usage:
    """As Store.usage. Counts every sketch and key: meant for a scrape, not for a request."""
    named = [
        SketchUsage(SketchKey(tenant, name), state_bytes, log_bytes)
        for tenant, name, state_bytes, log_bytes in connection.execute(
            """SELECT tenant, name, state_bytes, log_bytes FROM records
            WHERE coalesce(expires_at > :now, TRUE)
            ORDER BY state_bytes + log_bytes DESC, tenant, name LIMIT :largest""",
            {"now": now, "largest": largest},
        )
    ]
    sketches: dict[str, int] = {}
    states: dict[str, int] = {}
    inexact: dict[str, int] = {}
    rest: dict[str, tuple[int, int, int]] = {}
    backlog = 0
    for tenant, count, state_bytes, log_bytes, coordinates, unproven in connection.execute(
        """SELECT tenant, count(*), sum(state_bytes), sum(log_bytes), sum(backlog), sum(NOT exact)
        FROM records WHERE coalesce(expires_at > :now, TRUE) GROUP BY tenant""",
        {"now": now},
    ):
        sketches[tenant] = count
        states[tenant] = state_bytes
        rest[tenant] = (count, state_bytes, log_bytes)
        backlog += coordinates
        if unproven:
            inexact[tenant] = unproven
    for item in named:
        count, state_bytes, log_bytes = rest[item.key.tenant]
        rest[item.key.tenant] = (
            count - 1,
            state_bytes - item.state_bytes,
            log_bytes - item.log_bytes,
        )
    (keys,) = connection.execute(
        """SELECT count(*) FROM idempotency WHERE expires_at > :now
        AND sketch IN (SELECT id FROM sketches WHERE coalesce(expires_at > :now, TRUE))""",
        {"now": now},
    ).fetchone()
    other = {tenant: (state, log) for tenant, (count, state, log) in rest.items() if count > 0}
    return Usage(sketches, named, other, states, backlog, keys, inexact)


def _record(row: tuple[Any, ...]) -> Record:
    tenant, name, sealed, exact, *facts = row
    key = SketchKey(tenant, name)
    fields = dict(zip(_FACTS, facts, strict=True))
    return Record(key, sealed=frozenset(json.loads(sealed)), exact=bool(exact), **fields)


def _bytes_through(
    connection: sqlite3.Connection, sketch: int, position: int, digest: str
) -> int | None:
    """The running total at the entry; None where the log says something else at this position."""
    row = connection.execute(
        "SELECT bytes_through FROM log WHERE sketch = ? AND position = ? AND digest = ?",
        (sketch, position, digest),
    ).fetchone()
    return None if row is None else int(row[0])


def _state(connection: sqlite3.Connection, sketch: int) -> bytes:
    row = connection.execute("SELECT state FROM checkpoints WHERE sketch = ?", (sketch,)).fetchone()
    return b"" if row is None else bytes(row[0])


def _entries(
    connection: sqlite3.Connection, sketch: int, position: int, through: int
) -> list[StoredEntry]:
    """What follows `position` while the running total is at most `through`; at least one."""
    rows: list[tuple[Any, ...]] = []
    for row in connection.execute(
        """SELECT position, entry_id, payload, bytes_through, has_attachment FROM log
        WHERE sketch = ? AND position > ? ORDER BY position""",
        (sketch, position),
    ):
        if rows and row[3] > through:
            break
        rows.append(row)
    entries = []
    for at, entry_id, payload, _, has_attachment in rows:
        attachment = _attachment(connection, sketch, at) if has_attachment else None
        entries.append(StoredEntry(at, entry_id, payload, attachment))
    return entries


def _attachment(connection: sqlite3.Connection, sketch: int, position: int) -> bytes:
    (content,) = connection.execute(
        "SELECT content FROM attachments WHERE sketch = ? AND position = ?", (sketch, position)
    ).fetchone()
    return bytes(content)
