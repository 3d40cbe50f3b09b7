"""Tenants, keys and meters in the SQLite file of the sketches, through the same threads."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from service import access_meters
from service.access_ports import AccessKey, Directory, Lot, Quota, Rate, Tenant

T = TypeVar("T")

_TENANTS: Final = """SELECT name, created_at, sketches, state_bytes, updates_per_second,
    requests_per_second, batch_updates FROM tenants"""
_ADD_TENANT: Final = """INSERT INTO tenants (name, created_at, sketches, state_bytes,
        updates_per_second, requests_per_second, batch_updates)
    VALUES (:name, :created_at, :sketches, :state_bytes, :updates_per_second,
        :requests_per_second, :batch_updates)
    ON CONFLICT DO NOTHING"""
_CHANGE_TENANT: Final = """UPDATE tenants SET created_at = :created_at, sketches = :sketches,
        state_bytes = :state_bytes, updates_per_second = :updates_per_second,
        requests_per_second = :requests_per_second, batch_updates = :batch_updates
    WHERE name = :name"""
_KEYS: Final = """SELECT id, tenant, role, digest, created_at, expires_at, label
    FROM access_keys"""
_ADD_KEY: Final = """INSERT INTO access_keys
        (id, tenant, role, digest, created_at, expires_at, label)
    SELECT ?, ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM tenants WHERE name = ?)"""


class SqliteFile(Protocol):
    """The open file: sqlite connections in a transaction each."""

    async def read_file(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` in a read transaction."""
        ...

    async def write_file(self, work: Callable[[sqlite3.Connection, float], T]) -> T:
        """`work(connection, now)` in a write transaction; durable when this returns."""
        ...


class SqliteAccess:
    """service.access_ports.AccessStore over a file that SqliteStore opens and closes."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    async def directory(self, version: str | None) -> Directory | None:
        """As AccessStore.directory."""
        return await self._file.read_file(lambda connection: _directory(connection, version))

    async def put_tenant(self, tenant: Tenant, *, new: bool) -> bool:
        """As AccessStore.put_tenant."""
        return await self._file.write_file(lambda to, _: _put_tenant(to, tenant, new))

    async def remove_tenant(self, name: str) -> bool:
        """As AccessStore.remove_tenant. Its meters go too."""
        return await self._file.write_file(lambda connection, _: _remove_tenant(connection, name))

    async def put_key(self, key: AccessKey) -> bool:
        """As AccessStore.put_key."""
        return await self._file.write_file(lambda connection, _: _put_key(connection, key))

    async def remove_key(self, id: str) -> bool:
        """As AccessStore.remove_key."""
        return await self._file.write_file(
            lambda connection, _: _changes(
                connection, "DELETE FROM access_keys WHERE id = ?", (id,)
            )
        )

    async def take(self, tenant: str, meter: str, need: float, want: float, rate: Rate) -> Lot:
        """As AccessStore.take."""
        return await self._file.write_file(
            lambda connection, now: _take(connection, now, (tenant, meter), need, want, rate)
        )


def _directory(connection: sqlite3.Connection, version: str | None) -> Directory | None:
    (now,) = connection.execute("SELECT version FROM access_version").fetchone()
    if now == version:
        return None
    tenants = {row[0]: _tenant(row) for row in connection.execute(_TENANTS)}
    keys = {row[0]: AccessKey(*row) for row in connection.execute(_KEYS)}
    return Directory(now, tenants, keys)


def _tenant(row: tuple[Any, ...]) -> Tenant:
    name, created_at, *limits = row
    return Tenant(name, created_at, Quota(*limits))


def _put_tenant(connection: sqlite3.Connection, tenant: Tenant, new: bool) -> bool:
    quota = tenant.quota
    values = {
        "name": tenant.name,
        "created_at": tenant.created_at,
        "sketches": quota.sketches,
        "state_bytes": quota.state_bytes,
        "updates_per_second": quota.updates_per_second,
        "requests_per_second": quota.requests_per_second,
        "batch_updates": quota.batch_updates,
    }
    return _changes(connection, _ADD_TENANT if new else _CHANGE_TENANT, values)


def _remove_tenant(connection: sqlite3.Connection, name: str) -> bool:
    if not _changes(connection, "DELETE FROM tenants WHERE name = ?", (name,)):
        return False
    connection.execute("DELETE FROM access_keys WHERE tenant = ?", (name,))
    connection.execute("DELETE FROM meters WHERE tenant = ?", (name,))
    return True


def _put_key(connection: sqlite3.Connection, key: AccessKey) -> bool:
    row = (key.id, key.tenant, key.role, key.digest, key.created_at, key.expires_at, key.label)
    known = connection.execute(f"{_KEYS} WHERE id = ?", (key.id,)).fetchone()
    if known is not None:
        return bool(known == row)
    return _changes(connection, _ADD_KEY, (*row, key.tenant))


def _changes(
    connection: sqlite3.Connection, statement: str, values: tuple[Any, ...] | dict[str, Any]
) -> bool:
    """Run a statement. Returns whether it changed a row, and then the directory has a new version.

    Versions are random: neither a file put back from a backup nor anything else repeats one.
    """
    if connection.execute(statement, values).rowcount == 0:
        return False
    connection.execute("UPDATE access_version SET version = ?", (secrets.token_hex(16),))
    return True


def _take(
    connection: sqlite3.Connection,
    now: float,
    of: tuple[str, str],
    need: float,
    want: float,
    rate: Rate,
) -> Lot:
    row = connection.execute(
        "SELECT tokens, at FROM meters WHERE tenant = ? AND meter = ?", of
    ).fetchone()
    level = None if row is None else access_meters.Level(*row)
    left, lot = access_meters.take(level, now, need, want, rate)
    connection.execute(
        "INSERT OR REPLACE INTO meters VALUES (?, ?, ?, ?)", (*of, left.tokens, left.at)
    )
    return lot
