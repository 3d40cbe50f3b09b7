"""Administering tenants and keys: the same use cases behind the HTTP interface and the commands."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from service.access import credentials_of, new_key
from service.access_ports import (
    DEFAULT_TENANT,
    ROLES,
    AccessKey,
    AccessStore,
    Directory,
    Quota,
    Tenant,
)
from service.errors import Conflict, InvalidRequest, NotFound
from service.ports import Clock, SketchKey, Store
from service.settings import Settings
from service.sketch_requests import NAME_RULE, check_name

_LOG: Final = logging.getLogger("sketchd.admin")

#: Sketches deleted at a time when a tenant goes with all it has, and bytes of what names them.
_DELETED_AT_ONCE: Final = 100
_DELETED_BYTES: Final = 1 << 20
_MOST_LABEL_CHARACTERS: Final = 128
_LONGEST_LIFE_SECONDS: Final = 100 * 365 * 86400.0
#: The fields of a quota that count something; the others are rates.
_WHOLE: Final = ("sketches", "state_bytes", "batch_updates")
_RATES: Final = ("updates_per_second", "requests_per_second")
#: What every store and every reader of JSON holds exactly.
_MOST: Final = 1 << 53


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key. text: never again to be had; not shown by repr."""

    key: AccessKey
    text: str

    def __repr__(self) -> str:
        return f"Issued({self.key!r})"


class Administration:
    """Raises service.errors only. `by`: the id of the key behind a change, for the log."""

    def __init__(self, store: Store, access: AccessStore, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._access = access
        self._settings = settings
        self._clock = clock

    # Tenants

    async def tenants(self) -> list[Tenant]:
        """All of them, by name."""
        directory = await self._directory()
        return [directory.tenants[name] for name in sorted(directory.tenants)]

    async def add_tenant(self, name: str, quota: Quota, by: str | None = None) -> Tenant | None:
        """A new tenant; None, changing nothing, where it exists. Conflict over the limit."""
        tenant = Tenant(check_tenant(name), self._clock.now(), check_quota(quota))
        directory = await self._directory()
        if name not in directory.tenants and len(directory.tenants) >= self._settings.max_tenants:
            raise Conflict(
                f"there are {self._settings.max_tenants} tenants already", code="too_many_tenants"
            )
        if not await self._access.put_tenant(tenant, new=True):
            return None
        _audit("tenant added", by, tenant=name)
        return tenant

    async def set_tenant(
        self, name: str, limits: Mapping[str, Any], by: str | None = None
    ) -> Tenant:
        """Change the limits that are named, by field of Quota; None lifts one. Raises NotFound."""
        tenant = (await self._directory()).tenants.get(name)
        if tenant is None:
            raise no_such_tenant()
        changed = replace(tenant, quota=check_quota(replace(tenant.quota, **limits)))
        if not await self._access.put_tenant(changed, new=False):
            raise no_such_tenant()
        _audit("tenant changed", by, tenant=name)
        return changed

    async def remove_tenant(self, name: str, *, force: bool, by: str | None = None) -> None:
        """Forget a tenant and its keys. Raises NotFound, and Conflict while it has sketches or
        holds the last admin key, unless forced.

        Forced, its sketches go too, a few at a time, and those that an earlier attempt has left.
        """
        directory = await self._directory()
        known = name in directory.tenants
        sketches = await self._some_sketches(check_tenant(name), 1)
        if not known and not (force and sketches):
            raise no_such_tenant()
        if not force:
            if sketches:
                raise Conflict(f"the tenant {name!r} has sketches", code="tenant_has_sketches")
            self._check_last_admin(
                directory, {key.id for key in directory.keys.values() if key.tenant == name}
            )
        # First the keys, so that nobody makes new sketches while the old ones go.
        await self._access.remove_tenant(name)
        _audit("tenant removed", by, tenant=name)
        while force and (found := await self._some_sketches(name, _DELETED_AT_ONCE)):
            for key in found:
                await self._store.delete(key)

    # Keys

    async def keys(self, tenant: str | None = None) -> list[AccessKey]:
        """All of them, or a tenant's, the oldest first. Raises NotFound for an unknown tenant."""
        directory = await self._directory()
        if tenant is not None and tenant not in directory.tenants:
            raise no_such_tenant()
        found = [key for key in directory.keys.values() if tenant in (None, key.tenant)]
        return sorted(found, key=lambda key: (key.created_at, key.id))

    async def add_key(
        self,
        tenant: str,
        role: str,
        label: str = "",
        expires_in_seconds: float | None = None,
        by: str | None = None,
    ) -> Issued:
        """A new key. Raises InvalidRequest, NotFound for an unknown tenant, Conflict."""
        check_tenant(tenant)
        directory = await self._directory()
        if len(directory.keys) >= self._settings.max_access_keys:
            raise Conflict(
                f"there are {self._settings.max_access_keys} keys already", code="too_many_keys"
            )
        made = new_key()
        now = self._clock.now()
        lifetime = _check_lifetime(expires_in_seconds)
        key = AccessKey(
            id=made.credentials.id,
            tenant=tenant,
            role=ROLES[_check_role(role)],
            digest=made.credentials.digest,
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
            label=_check_label(label),
        )
        if tenant == DEFAULT_TENANT and tenant not in directory.tenants:
            await self._access.put_tenant(Tenant(tenant, now), new=True)
        if not await self._access.put_key(key):
            raise no_such_tenant("/tenant")
        _audit("key added", by, tenant=tenant, key=key.id, role=role)
        return Issued(key, made.text)

    async def remove_key(self, id: str, *, force: bool, by: str | None = None) -> None:
        """Forget a key. Raises NotFound, and Conflict for the last admin key unless forced."""
        directory = await self._directory()
        if id not in directory.keys:
            raise NotFound("there is no key of this id", code="key_not_found")
        if not force:
            self._check_last_admin(directory, {id})
        if not await self._access.remove_key(id):
            raise NotFound("there is no key of this id", code="key_not_found")
        _audit("key removed", by, tenant=directory.keys[id].tenant, key=id)

    async def bootstrap(self) -> None:
        """Add the first admin key of the settings, unless it or any admin key is there.

        Its id follows from its text, so that replicas starting at once add it once.
        """
        text = self._settings.bootstrap_admin_key
        if not text:
            return
        directory = await self._directory()
        if any(key.role == "admin" for key in directory.keys.values()):
            # Also an expired one: a key that was removed must not come back by a restart.
            return
        credentials = credentials_of(text)
        now = self._clock.now()
        await self._access.put_tenant(Tenant(DEFAULT_TENANT, now), new=True)
        key = AccessKey(
            credentials.id, DEFAULT_TENANT, "admin", credentials.digest, now, None, "bootstrap"
        )
        await self._access.put_key(key)

    async def _directory(self) -> Directory:
        found = await self._access.directory(None)
        assert found is not None  # no version was given
        return found

    async def _some_sketches(self, tenant: str, limit: int) -> list[SketchKey]:
        found = await self._store.list(
            tenant, prefix="", limit=limit, after=None, max_bytes=_DELETED_BYTES
        )
        return [record.key for record in found]

    def _check_last_admin(self, directory: Directory, going: set[str]) -> None:
        """Raises Conflict if these keys hold an admin key and no other one still works."""
        now = self._clock.now()
        left = [
            key.id
            for key in directory.keys.values()
            if key.role == "admin" and (key.expires_at is None or now < key.expires_at)
        ]
        if going & set(left) and not set(left) - going:
            raise Conflict("no other admin key would be left", code="last_admin_key")


def no_such_tenant(pointer: str = "") -> NotFound:
    """The error for a tenant nobody has registered."""
    return NotFound("there is no tenant of this name", code="tenant_not_found", pointer=pointer)


def check_tenant(name: str) -> str:
    """A name as given; of the same letters as those of sketches. Raises InvalidRequest."""
    try:
        return check_name(name)
    except InvalidRequest as error:
        raise InvalidRequest(NAME_RULE, code=error.code, pointer="/tenant") from error


def check_quota(quota: Quota) -> Quota:
    """A quota as given. Raises InvalidRequest with a pointer to the field."""
    for name in _WHOLE:
        value = getattr(quota, name)
        if value is not None and not 0 <= value <= _MOST:
            raise InvalidRequest(f"must be from 0 to {_MOST}, or null", pointer=f"/{name}")
    for name in _RATES:
        value = getattr(quota, name)
        if value is not None and not (math.isfinite(value) and 1e-3 <= value <= 1e12):
            raise InvalidRequest("must be from 0.001 to 1e12, or null", pointer=f"/{name}")
    return quota


def _check_role(role: str) -> int:
    known: tuple[str, ...] = ROLES
    if role not in known:
        raise InvalidRequest(f"must be one of {', '.join(ROLES)}", pointer="/role")
    return known.index(role)


def _check_label(label: str) -> str:
    if len(label) > _MOST_LABEL_CHARACTERS or not label.isprintable():
        raise InvalidRequest(
            f"must have at most {_MOST_LABEL_CHARACTERS} printable characters", pointer="/label"
        )
    return label


def _check_lifetime(seconds: float | None) -> float | None:
    if seconds is not None and not 0 < seconds <= _LONGEST_LIFE_SECONDS:
        raise InvalidRequest(
            "must be above 0 and at most 100 years, or null", pointer="/expires_in_seconds"
        )
    return seconds


def _audit(what: str, by: str | None, **facts: str) -> None:
    """A line for who asks later. Names have no spaces; secrets never get here."""
    told = " ".join(f"{name}={value}" for name, value in facts.items())
    _LOG.info("%s: %s by=%s", what, told, by if by is not None else "-")
