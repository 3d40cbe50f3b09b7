"""Tenants, keys and meters in Redis: service.access_ports.AccessStore.

The directory lies in one slot, so that each change of it is one script and moves
its version with it; a tenant's meters lie beside its index.

    {prefix}:{!access}:version   text that every change replaces by one never seen before
    {prefix}:{!access}:tenants   hash: name -> JSON
    {prefix}:{!access}:keys      hash: id -> JSON, the secret as its SHA-256
    {prefix}:{TENANT}:meters     hash: meter -> tokens, since when
"""

from __future__ import annotations

import dataclasses
import json
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from service.access_meters import wait
from service.access_ports import ROLES, AccessKey, Directory, Lot, Quota, Rate, Tenant
from service.errors import StoreUnavailable
from service.ports import Clock
from service.redis_connection import RedisConnection
from service.redis_layout import Layout, number, pairs
from service.redis_scripts import load

T = TypeVar("T")

_LOG: Final = logging.getLogger("sketchd.directory")
_DIRECTORY: Final = load("directory")
_PUT_KEY: Final = load("put_key")
_PUT_TENANT: Final = load("put_tenant")
_REMOVE_KEY: Final = load("remove_key")
_REMOVE_TENANT: Final = load("remove_tenant")
_TAKE: Final = load("take")


class RedisAccess:
    """Over a connection that the sketch store starts and closes.

    clock: for the meters; None for the server's own, which all replicas share. (In a cluster
    each tenant's meters lie on one server; a failover to one whose clock is behind makes them
    wait for so long.)
    """

    def __init__(self, redis: RedisConnection, clock: Clock | None = None) -> None:
        self._redis = redis
        self._clock = clock
        self._layout = Layout(redis.prefix)
        base = f"{redis.prefix}:{{!access}}"
        self._version = f"{base}:version"
        self._tenants = f"{base}:tenants"
        self._keys = f"{base}:keys"

    async def directory(self, version: str | None) -> Directory | None:
        """As AccessStore.directory."""
        answer = await self._redis.run(
            _DIRECTORY,
            [self._version, self._tenants, self._keys],
            ["" if version is None else version],
            writes=False,
        )
        if len(answer) == 1:
            return None
        tenants = _readable(_read_tenant, pairs(answer[1]))
        keys = _readable(_read_key, pairs(answer[2]))
        # Whose quota is not known does not come in without one.
        known = {id: key for id, key in keys.items() if key.tenant in tenants}
        if answer[2] and not known:
            # A directory without keys opens the service to everybody.
            raise StoreUnavailable("no access key in the store can be read by this release")
        return Directory(answer[0].decode(), tenants, known)

    async def put_tenant(self, tenant: Tenant, *, new: bool) -> bool:
        """As AccessStore.put_tenant."""
        return await self._change(
            _PUT_TENANT,
            [self._tenants],
            [tenant.name, _write(dataclasses.asdict(tenant)), int(new)],
        )

    async def remove_tenant(self, name: str) -> bool:
        """As AccessStore.remove_tenant."""
        existed = await self._change(_REMOVE_TENANT, [self._tenants, self._keys], [name])
        await self._redis.command("UNLINK", self._layout.tenant(name).meters, writes=True)
        return existed

    async def put_key(self, key: AccessKey) -> bool:
        """As AccessStore.put_key."""
        fields = dataclasses.asdict(key) | {"digest": key.digest.hex()}
        return await self._change(
            _PUT_KEY, [self._tenants, self._keys], [key.id, key.tenant, _write(fields)]
        )

    async def remove_key(self, id: str) -> bool:
        """As AccessStore.remove_key."""
        return await self._change(_REMOVE_KEY, [self._keys], [id])

    async def take(self, tenant: str, meter: str, need: float, want: float, rate: Rate) -> Lot:
        """As AccessStore.take."""
        now = None if self._clock is None else self._clock.now()
        numbers = (need, want, rate.per_second, rate.burst)
        tokens, missing = await self._redis.run(
            _TAKE,
            [self._layout.tenant(tenant).meters],
            [meter, number(now), *(number(float(one)) for one in numbers)],
            writes=False,
        )
        taken = float(tokens)
        return Lot(taken) if taken else Lot(0.0, wait(float(missing), rate.per_second))

    async def _change(self, script: Any, keys: list[str], args: list[str | int]) -> bool:
        answer = await self._redis.run(
            script, [self._version, *keys], [secrets.token_hex(12), *args], writes=True
        )
        return bool(answer)


def _write(fields: dict[str, Any]) -> str:
    """The one way to write it: put_key compares texts."""
    return json.dumps(fields, sort_keys=True)


def _readable(read: Callable[[bytes], T], texts: Mapping[str, bytes]) -> dict[str, T]:
    """What can be read. One record that is damaged, or of a newer release, lets nobody in and
    keeps nobody from learning of the others, of keys that are gone above all.
    """
    found = {}
    for name, text in texts.items():
        try:
            found[name] = read(text)
        except (ValueError, TypeError, KeyError):
            _LOG.error("the record of %s cannot be read and is left out", name)
    return found


def _read_tenant(text: bytes) -> Tenant:
    fields = json.loads(text)
    return Tenant(fields["name"], fields["created_at"], Quota(**fields["quota"]))


def _read_key(text: bytes) -> AccessKey:
    fields = json.loads(text)
    if fields["role"] not in ROLES:
        raise ValueError("no role of this release")
    return AccessKey(**fields | {"digest": bytes.fromhex(fields["digest"])})
