"""What the use cases need from outside: a store of logs and checkpoints, and a clock.

A sketch is a *log of batches* and a *checkpoint*: the state bytes with every
entry up to some position folded in. Writing appends one entry; reading folds
the tail into a cached state. The store never looks inside payloads or states.

Positions count from 1 within one incarnation; position 0 is the empty log.
`digest` chains over the ids of the entries: digest 0 is "0" * 40, and the
digest at position k is sha1_hex(digest(k-1) + entry_id(k)) over the ASCII
text. A cache that holds (incarnation, position, digest) can therefore tell a
log that merely grew from one that lost its end in a failover and grew anew.

Every method may raise StoreUnavailable. `now` always comes from the Clock the
store was built with; a sketch whose expires_at has passed does not exist.
"""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass, field
from typing import Final, Protocol

from service.errors import QuotaExceeded

#: The digest of an empty log.
EMPTY_DIGEST = "0" * 40


def chain(digest: str, entry_id: str) -> str:
    """The digest after one more entry."""
    return hashlib.sha1((digest + entry_id).encode("ascii")).hexdigest()


_CAPITALS: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def caseless(text: str) -> str:
    """The text with A to Z as a to z, and nothing else changed: no other letter becomes ASCII."""
    # lower() takes a thirtieth of the time, which matters to whoever asks this of every name.
    return text.lower() if text.isascii() else text.translate(_CAPITALS)


class Clock(Protocol):
    """Wall-clock time in seconds since the epoch."""

    def now(self) -> float: ...


@dataclass(frozen=True, slots=True, order=True)
class SketchKey:
    """The name of a sketch within its tenant."""

    tenant: str
    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """What a store knows of a sketch besides its log and checkpoint.

    incarnation: differs each time a name is created. spec: Spec.to_bytes().
    request: canonical bytes of the spec as the caller sent it. state_bytes:
    memory of the folded state, known at creation. position, digest: of the
    log's last entry. updates, underflowed: sums over all entries ever appended.
    log_bytes, backlog: payload and attachment bytes, and coordinates, of the
    entries not yet folded into the checkpoint. exact: False once anybody who
    folded the log reported that exactness could no longer be proven.
    """

    key: SketchKey
    incarnation: str
    spec: bytes
    request: bytes
    created_at: float
    ttl_seconds: float | None
    expires_at: float | None
    state_bytes: int
    sealed: frozenset[str] = frozenset()
    position: int = 0
    digest: str = EMPTY_DIGEST
    updates: int = 0
    underflowed: int = 0
    log_bytes: int = 0
    backlog: int = 0
    exact: bool = True

    @property
    def definition_bytes(self) -> int:
        """Bytes of what was asked for: the part of a record that can be long."""
        return len(self.spec) + len(self.request)


@dataclass(frozen=True, slots=True)
class Entry:
    """One logged change. id: 32 hex characters, unique. operands: those it changes.

    payload: opaque. attachment: opaque and possibly large (a state to add), or None.
    updates, coordinates, underflowed: what it adds to the counters (coordinates
    also weighs the backlog).
    """

    id: str
    operands: frozenset[str]
    payload: bytes
    updates: int = 0
    coordinates: int = 0
    underflowed: int = 0
    attachment: bytes | None = None


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's key for one change of one sketch, and a digest of what was asked under it."""

    key: str
    body_digest: bytes
    retention_seconds: float


@dataclass(frozen=True, slots=True)
class Appended:
    """The answer to an append, the first one's where it is a replay.

    position, updates: the entry's; of a replay, those of the first time.
    log_bytes, backlog: as in Record, now. replayed: whether the idempotency key
    had been used before.
    """

    position: int
    updates: int
    log_bytes: int
    backlog: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as read back."""

    position: int
    id: str
    payload: bytes
    attachment: bytes | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State bytes with every entry up to `position` folded in.

    Position 0, EMPTY_DIGEST and b"" before the first one.
    """

    position: int
    digest: str
    state: bytes


@dataclass(frozen=True, slots=True)
class Tail:
    """What a cache needs to catch up.

    checkpoint: None when the entries continue the caller's position; otherwise
    start over from it. entries: consecutive, the first at position + 1 of
    whichever applies; at most the asked bytes, at least one where there is any.
    head: the log's last position at the time of reading (entries may end before it).
    """

    checkpoint: Checkpoint | None
    entries: list[StoredEntry]
    head: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a tenant may have in all: sketches, and bytes of their states. None is no limit."""

    sketches: int | None = None
    state_bytes: int | None = None

    def check(self, sketches: int, state_bytes: int, adding: int) -> None:
        """Raise QuotaExceeded if one more, of `adding` bytes, is too much for what there is."""
        if self.sketches is not None and sketches + 1 > self.sketches:
            raise QuotaExceeded(f"the tenant has {sketches} of {self.sketches} sketches")
        if self.state_bytes is not None and state_bytes + adding > self.state_bytes:
            raise QuotaExceeded(
                f"the tenant's sketches hold {state_bytes} of {self.state_bytes} bytes; "
                f"this one would take {adding}"
            )


@dataclass(frozen=True, slots=True)
class SketchUsage:
    """Bytes of one sketch: its folded state, and its log since the checkpoint."""

    key: SketchKey
    state_bytes: int
    log_bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What the metrics show. sketches: count by tenant. largest: the biggest ones by total bytes.

    other: by tenant, (state bytes, log bytes) summed over the sketches not in `largest`.
    state_bytes: by tenant, over all its sketches. inexact: by tenant, how many are not exact,
    where any are. backlog: coordinates not yet compacted, over everything. idempotency_keys: how
    many are remembered.
    """

    sketches: dict[str, int] = field(default_factory=dict)
    largest: list[SketchUsage] = field(default_factory=list)
    other: dict[str, tuple[int, int]] = field(default_factory=dict)
    state_bytes: dict[str, int] = field(default_factory=dict)
    backlog: int = 0
    idempotency_keys: int = 0
    inexact: dict[str, int] = field(default_factory=dict)


class Store(Protocol):
    """Durable logs and checkpoints.

    Every method is atomic; each write is durable when it returns.
    """

    async def start(self) -> None:
        """Open, and migrate or refuse a stored format. Raises StoreUnavailable."""
        ...

    async def close(self) -> None: ...

    async def ping(self) -> None:
        """Return when the store can read and write; raises StoreUnavailable."""
        ...

    async def create(
        self, record: Record, allowance: Allowance | None = None
    ) -> tuple[Record, bool]:
        """Store a new sketch with an empty log unless its name exists.

        Returns (the stored record, whether it is new). Raises QuotaExceeded for a new
        sketch with which its tenant would exceed the allowance; two creations at once
        never both take the last place.
        """
        ...

    async def get(self, key: SketchKey) -> Record | None: ...

    async def list(
        self,
        tenant: str,
        *,
        prefix: str,
        limit: int,
        after: str | None,
        contains: str = "",
        max_bytes: int | None = None,
    ) -> list[Record]:
        """Up to `limit` records with names that start with prefix, hold `contains` anywhere and
        sort after `after`, by name (byte order).

        contains: any text, nothing in it is a pattern; A to Z are equal to a to z.
        max_bytes: the record with which their `definition_bytes` exceed this is
        the last, unless it is the first.
        """
        ...

    async def delete(self, key: SketchKey) -> bool:
        """Forget the sketch, its log, checkpoint and idempotency keys.

        Returns whether it existed.
        """
        ...

    async def set_ttl(self, key: SketchKey, ttl_seconds: float | None) -> Record | None:
        """Expiry becomes now + ttl_seconds (never, for None), and again after each later append."""
        ...

    async def seal(
        self,
        key: SketchKey,
        incarnation: str,
        operand: str,
        idempotency: Idempotency | None,
    ) -> Record:
        """No later entry may change the operand; sealing twice is sealing once.

        Raises NotFound (also for another incarnation), and InvalidRequest (code
        idempotency_key_reused) when the key was used with another body digest or
        for an append; a replay changes nothing. Does not change position or digest.
        """
        ...

    async def append(
        self,
        key: SketchKey,
        incarnation: str,
        entry: Entry,
        idempotency: Idempotency | None,
        *,
        max_log_bytes: int,
    ) -> Appended:
        """Add one entry at the end of the log, once.

        In this order: NotFound unless the sketch exists with that incarnation;
        the first answer, replayed, when the idempotency key was used with the
        same body digest, InvalidRequest (code idempotency_key_reused) when with
        another or for a seal; Conflict (code operand_sealed) when one of the
        entry's operands is sealed; BacklogFull when log_bytes has reached
        max_log_bytes. On success log_bytes, backlog, updates, underflowed, position, digest and
        the expiry advance together.
        """
        ...

    async def recall(
        self, key: SketchKey, incarnation: str, idempotency: Idempotency
    ) -> Appended | None:
        """What an append under this key would replay, or None if it would add an entry.

        For changes that cost something to prepare. Raises as append does: NotFound,
        and InvalidRequest (code idempotency_key_reused).
        """
        ...

    async def read(
        self,
        key: SketchKey,
        incarnation: str,
        position: int,
        digest: str,
        *,
        max_bytes: int,
    ) -> Tail:
        """Entries after (position, digest), or the checkpoint and the entries after that.

        The checkpoint comes when the entry after `position` has been trimmed,
        when position lies beyond the head, or when the digest there differs.
        Raises NotFound (also for another incarnation).
        """
        ...

    async def compact(
        self,
        key: SketchKey,
        incarnation: str,
        replaces: int,
        checkpoint: Checkpoint,
        *,
        exact: bool,
    ) -> bool:
        """Make `checkpoint` current and trim the entries it covers.

        Only if the current checkpoint's position is `replaces`, the new one's
        is larger, and the digest at its position agrees with the log; returns
        False, changing nothing, otherwise or if the sketch is gone. log_bytes and
        backlog shrink by the trimmed entries.
        """
        ...

    async def mark_inexact(self, key: SketchKey, incarnation: str) -> None:
        """The record's `exact` is False from now on.

        Marking twice is marking once; nothing happens if the sketch is gone or
        has another incarnation. Changes neither position, digest nor expiry.
        """
        ...

    async def acquire_lease(
        self, key: SketchKey, incarnation: str, holder: str, seconds: float
    ) -> bool:
        """Whether `holder` alone may compact for that long; False if the sketch is gone.

        Asking again while holding it prolongs it. A courtesy: correctness never
        rests on it.
        """
        ...

    async def release_lease(self, key: SketchKey, incarnation: str, holder: str) -> None: ...

    async def sweep(self, limit: int) -> int:
        """Remove up to `limit` expired sketches and idempotency keys; returns how many went.

        Keys that go with their sketch are not counted.
        """
        ...

    async def usage(self, largest: int) -> Usage:
        """Totals for the metrics, with the `largest` biggest sketches named."""
        ...
