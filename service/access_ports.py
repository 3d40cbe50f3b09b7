"""What access control needs from outside: a durable directory of tenants and keys, and meters.

The *directory* is small (thousands of keys), so a replica keeps all of it and
asks every second or so whether its version has moved; no request waits for the
store to be let in. A *meter* is one token bucket of a tenant that all replicas
share; a replica takes tokens in lots, so that a request seldom asks the store.

Secrets never get here: a key is kept as the SHA-256 of its secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

#: What every request speaks for as long as there is no key, and what the first key belongs to.
DEFAULT_TENANT: Final = "default"

Role = Literal["read", "write", "admin"]
#: Each may do what those before it may.
ROLES: Final[tuple[Role, ...]] = ("read", "write", "admin")


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of one tenant over all replicas; None is no limit.

    sketches: how many it may have. state_bytes: of their folded states together, as
    promised at creation. updates_per_second: coordinates. requests_per_second: of any
    kind. batch_updates: coordinates in one batch.
    """

    sketches: int | None = None
    state_bytes: int | None = None
    updates_per_second: float | None = None
    requests_per_second: float | None = None
    batch_updates: int | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """One who has sketches. created_at: seconds since the epoch."""

    name: str
    created_at: float
    quota: Quota = Quota()


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key as stored. id: 16 hex characters, public. digest: SHA-256 of the secret, 32 bytes.

    label: the operator's words for it. expires_at: seconds since the epoch, or None.
    """

    id: str
    tenant: str
    role: Role
    digest: bytes = field(repr=False)
    created_at: float
    expires_at: float | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Directory:
    """All tenants and keys. version: another after every change."""

    version: str
    tenants: dict[str, Tenant] = field(default_factory=dict)
    keys: dict[str, AccessKey] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: `per_second` tokens flow in, at most `burst` are held."""

    per_second: float
    burst: float


@dataclass(frozen=True, slots=True)
class Lot:
    """Tokens a replica may spend. retry_after: with 0 tokens, seconds until asking is worth it."""

    tokens: float
    retry_after: float = 0.0


class AccessStore(Protocol):
    """Durable tenants and keys, and the meters. Every method is atomic and may raise
    StoreUnavailable; a change is durable when it returns.
    """

    async def directory(self, version: str | None) -> Directory | None:
        """Everything, or None when its version is still the given one."""
        ...

    async def put_tenant(self, tenant: Tenant, *, new: bool) -> bool:
        """Add (new) or replace a tenant. False, changing nothing, when a new one exists or an
        old one does not.
        """
        ...

    async def remove_tenant(self, name: str) -> bool:
        """Forget the tenant and its keys (not its sketches). Returns whether it existed."""
        ...

    async def put_key(self, key: AccessKey) -> bool:
        """Add a key. False, changing nothing, when its tenant does not exist or its id does.

        Adding the very same key again is adding it once.
        """
        ...

    async def remove_key(self, id: str) -> bool:
        """Forget a key. Returns whether it existed."""
        ...

    async def take(self, tenant: str, meter: str, need: float, want: float, rate: Rate) -> Lot:
        """Take `want` tokens from a meter if it has them, else whatever it has from `need` on.

        With fewer than min(need, burst) tokens nothing is taken. A need above the burst
        is met from a full bucket, which then owes the rest (its level is negative), so that
        the average holds whatever a batch's size. A meter that nobody has asked before is full.
        """
        ...
