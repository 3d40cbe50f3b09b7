"""The tables of the SQLite store, and how a connection to them is opened.

    sketches     one row a sketch: what it is, the head of its log, its checkpoint's position
    log          one row an entry; digest and running totals as they were after it
    attachments  the large part of an entry, apart so that a scan of the log skips it
    checkpoints  the folded state
    idempotency  the first answer under each caller's key; position 0 for a seal
    garbage      entries nobody can see any more, to be deleted in small steps
    records      a view: a row of sketches as ports.Record has it
    pings        one row, rewritten to show that the file can be written
    tenants      who may have sketches, and how many
    access_keys  who may come in: digests of secrets, never these
    access_version  one row, another one after every change of these two
    meters       one row a token bucket: what it held, and when

`sketches.id` is never used twice (AUTOINCREMENT), and everything else refers
to it: a name deleted and created again shares nothing with its former self.
Running totals (`bytes_through`) make the size of any stretch of the log a
subtraction, so compaction never scans what it trims.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from service.errors import StoreUnavailable

T = TypeVar("T")

#: "skch", in the header of the file: tells our files from other SQLite files.
APPLICATION_ID = 0x736B6368

#: Version n is reached by running MIGRATIONS[:n].
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE sketches (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            tenant TEXT NOT NULL,
            name TEXT NOT NULL,
            incarnation TEXT NOT NULL,
            position INTEGER NOT NULL,
            digest TEXT NOT NULL,
            updates INTEGER NOT NULL,
            underflowed INTEGER NOT NULL,
            total_bytes INTEGER NOT NULL,
            total_coordinates INTEGER NOT NULL,
            checkpoint_position INTEGER NOT NULL,
            checkpoint_digest TEXT NOT NULL,
            folded_bytes INTEGER NOT NULL,
            folded_coordinates INTEGER NOT NULL,
            exact INTEGER NOT NULL,
            sealed TEXT NOT NULL,
            created_at REAL NOT NULL,
            ttl_seconds REAL,
            expires_at REAL,
            state_bytes INTEGER NOT NULL,
            lease_holder TEXT,
            lease_until REAL,
            spec BLOB NOT NULL,
            request BLOB NOT NULL,
            UNIQUE (tenant, name)
        )""",
        """CREATE VIEW records AS SELECT
            tenant, name, sealed, exact, incarnation, spec, request, created_at, ttl_seconds,
            expires_at, state_bytes, position, digest, updates, underflowed,
            total_bytes - folded_bytes AS log_bytes,
            total_coordinates - folded_coordinates AS backlog
        FROM sketches""",
        """CREATE INDEX sketches_by_expiry ON sketches (expires_at)
            WHERE expires_at IS NOT NULL""",
        """CREATE TABLE log (
            sketch INTEGER NOT NULL,
            position INTEGER NOT NULL,
            entry_id TEXT NOT NULL,
            digest TEXT NOT NULL,
            bytes_through INTEGER NOT NULL,
            coordinates_through INTEGER NOT NULL,
            has_attachment INTEGER NOT NULL,
            payload BLOB NOT NULL,
            UNIQUE (sketch, position)
        )""",
        """CREATE TABLE attachments (
            sketch INTEGER NOT NULL,
            position INTEGER NOT NULL,
            content BLOB NOT NULL,
            UNIQUE (sketch, position)
        )""",
        "CREATE TABLE checkpoints (sketch INTEGER PRIMARY KEY, state BLOB NOT NULL)",
        """CREATE TABLE idempotency (
            sketch INTEGER NOT NULL,
            key TEXT NOT NULL,
            body_digest BLOB NOT NULL,
            position INTEGER NOT NULL,
            updates INTEGER NOT NULL,
            expires_at REAL NOT NULL,
            PRIMARY KEY (sketch, key)
        ) WITHOUT ROWID""",
        "CREATE INDEX idempotency_by_expiry ON idempotency (expires_at)",
        "CREATE TABLE garbage (sketch INTEGER PRIMARY KEY, through INTEGER NOT NULL)",
        "CREATE TABLE pings (id INTEGER PRIMARY KEY CHECK (id = 1), at REAL NOT NULL)",
    ),
    (
        """CREATE TABLE tenants (
            name TEXT PRIMARY KEY,
            created_at REAL NOT NULL,
            sketches INTEGER,
            state_bytes INTEGER,
            updates_per_second REAL,
            requests_per_second REAL,
            batch_updates INTEGER
        ) WITHOUT ROWID""",
        """CREATE TABLE access_keys (
            id TEXT PRIMARY KEY,
            tenant TEXT NOT NULL,
            role TEXT NOT NULL,
            digest BLOB NOT NULL,
            created_at REAL NOT NULL,
            expires_at REAL,
            label TEXT NOT NULL
        ) WITHOUT ROWID""",
        "CREATE TABLE access_version (id INTEGER PRIMARY KEY CHECK (id = 1), version TEXT)",
        "INSERT INTO access_version VALUES (1, lower(hex(randomblob(16))))",
        """CREATE TABLE meters (
            tenant TEXT NOT NULL,
            meter TEXT NOT NULL,
            tokens REAL NOT NULL,
            at REAL NOT NULL,
            PRIMARY KEY (tenant, meter)
        ) WITHOUT ROWID""",
    ),
)

VERSION = len(MIGRATIONS)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection's lock was in the way."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def unavailable(error: sqlite3.Error) -> StoreUnavailable:
    """The one mapping of SQLite's errors; raise it `from` the error."""
    return StoreUnavailable(f"the SQLite store failed: {error}")


def until_not_busy(action: Callable[[], T], seconds: float) -> T:
    """Run `action` again while another connection's lock is in the way, for that long.

    SQLite's own busy handler backs off to 100 ms, and a process that commits
    without pause would starve the others; it is also not asked at all when the
    journal mode changes.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
        time.sleep(0.0005)


def connect(path: str, busy_seconds: float) -> sqlite3.Connection:
    """A connection that begins and commits when told to, usable from any thread."""
    connection = sqlite3.connect(
        path,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def prepare(path: str, busy_seconds: float) -> None:
    """Create the file, or bring it to this version.

    Raises StoreUnavailable when the directory is missing, the file is not one
    of ours, or a newer version wrote it; such a file is left untouched.
    """
    directory = Path(path).absolute().parent
    if not directory.is_dir():
        raise StoreUnavailable(f"the directory of the SQLite store does not exist: {directory}")
    try:
        connection = connect(path, busy_seconds)
        try:
            until_not_busy(lambda: _prepare(connection), busy_seconds)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreUnavailable(f"cannot open the SQLite store {path}: {error}") from error


def _prepare(connection: sqlite3.Connection) -> None:
    try:
        # In a transaction, or another process could create the tables between two looks.
        connection.execute("BEGIN")
        version = _stored_version(connection)
        connection.execute("ROLLBACK")
        if version == VERSION:
            return
        # Only an empty file takes this setting, and it must precede the journal mode.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        for statements in MIGRATIONS[_stored_version(connection) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _stored_version(connection: sqlite3.Connection) -> int:
    """0 for an empty file. Raises StoreUnavailable for a file we must not touch."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables == 0:
        return 0
    if application_id != APPLICATION_ID:
        raise StoreUnavailable("the file is a SQLite database of another application")
    if version > VERSION:
        raise StoreUnavailable(
            f"the store has format version {version}, newer than version {VERSION}, "
            "the newest this release reads: use a newer release"
        )
    return int(version)
