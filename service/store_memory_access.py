"""Tenants, keys and meters in this process's memory. Nothing survives it."""

from __future__ import annotations

import secrets

from service.access_meters import Level, take
from service.access_ports import AccessKey, Directory, Lot, Rate, Tenant
from service.ports import Clock


class MemoryAccess:
    """service.access_ports.AccessStore over dicts. No method awaits anything, so each is atomic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tenants: dict[str, Tenant] = {}
        self._keys: dict[str, AccessKey] = {}
        self._meters: dict[tuple[str, str], Level] = {}
        self._version = secrets.token_hex(16)

    async def directory(self, version: str | None) -> Directory | None:
        """As AccessStore.directory."""
        if version == self._version:
            return None
        return Directory(self._version, dict(self._tenants), dict(self._keys))

    async def put_tenant(self, tenant: Tenant, *, new: bool) -> bool:
        """As AccessStore.put_tenant."""
        if new == (tenant.name in self._tenants):
            return False
        self._tenants[tenant.name] = tenant
        self._changed()
        return True

    async def remove_tenant(self, name: str) -> bool:
        """As AccessStore.remove_tenant. Its meters go too."""
        if self._tenants.pop(name, None) is None:
            return False
        self._keys = {id: key for id, key in self._keys.items() if key.tenant != name}
        self._meters = {of: level for of, level in self._meters.items() if of[0] != name}
        self._changed()
        return True

    async def put_key(self, key: AccessKey) -> bool:
        """As AccessStore.put_key."""
        if key.tenant not in self._tenants:
            return False
        if key.id in self._keys:
            return self._keys[key.id] == key
        self._keys[key.id] = key
        self._changed()
        return True

    async def remove_key(self, id: str) -> bool:
        """As AccessStore.remove_key."""
        if self._keys.pop(id, None) is None:
            return False
        self._changed()
        return True

    async def take(self, tenant: str, meter: str, need: float, want: float, rate: Rate) -> Lot:
        """As AccessStore.take."""
        of = (tenant, meter)
        self._meters[of], lot = take(self._meters.get(of), self._clock.now(), need, want, rate)
        return lot

    def _changed(self) -> None:
        self._version = secrets.token_hex(16)
