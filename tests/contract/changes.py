"""What the tests of the stores put into them, and the clock they turn."""

from __future__ import annotations

import itertools

from service.ports import (
    EMPTY_DIGEST,
    Appended,
    Checkpoint,
    Entry,
    Idempotency,
    Record,
    SketchKey,
    Store,
    Tail,
    chain,
)

KEY = SketchKey("acme", "clicks")
FIRST = "1" * 32
SECOND = "2" * 32
NO_LIMIT = 1 << 60

_ids = itertools.count(1)


class ManualClock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def now(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds


def record(
    key: SketchKey = KEY,
    incarnation: str = FIRST,
    *,
    now: float = 1_700_000_000.0,
    ttl_seconds: float | None = None,
    state_bytes: int = 1000,
) -> Record:
    """A new sketch."""
    return Record(
        key=key,
        incarnation=incarnation,
        spec=b"spec \x00\xff",
        request=b'{"kind":"vector"}',
        created_at=now,
        ttl_seconds=ttl_seconds,
        expires_at=None if ttl_seconds is None else now + ttl_seconds,
        state_bytes=state_bytes,
    )


def entry(
    payload: bytes = b"payload",
    *,
    operands: frozenset[str] = frozenset({"a"}),
    attachment: bytes | None = None,
    updates: int = 3,
    coordinates: int = 5,
    underflowed: int = 1,
) -> Entry:
    """A change with an id of its own."""
    return Entry(
        id=f"{next(_ids):032x}",
        operands=operands,
        payload=payload,
        updates=updates,
        coordinates=coordinates,
        underflowed=underflowed,
        attachment=attachment,
    )


def idempotency(key: str = "k", body: bytes = b"body", retention: float = 100.0) -> Idempotency:
    """A caller's key."""
    return Idempotency(key, body, retention)


async def append(
    store: Store,
    change: Entry | None = None,
    *,
    key: SketchKey = KEY,
    incarnation: str = FIRST,
    once: Idempotency | None = None,
    max_log_bytes: int = NO_LIMIT,
) -> Appended:
    """Append one entry."""
    change = entry() if change is None else change
    return await store.append(key, incarnation, change, once, max_log_bytes=max_log_bytes)


async def append_many(store: Store, count: int, **how: object) -> list[str]:
    """Append `count` entries; returns the digests at positions 0 to count."""
    digests = [EMPTY_DIGEST]
    for _ in range(count):
        change = entry()
        await append(store, change, **how)  # type: ignore[arg-type]
        digests.append(chain(digests[-1], change.id))
    return digests


async def read(
    store: Store,
    position: int = 0,
    digest: str = EMPTY_DIGEST,
    *,
    key: SketchKey = KEY,
    incarnation: str = FIRST,
    max_bytes: int = NO_LIMIT,
) -> Tail:
    """Read from a position."""
    return await store.read(key, incarnation, position, digest, max_bytes=max_bytes)


async def read_all(
    store: Store,
    position: int = 0,
    digest: str = EMPTY_DIGEST,
    *,
    key: SketchKey = KEY,
    incarnation: str = FIRST,
) -> Tail:
    """Read from a position to the head, in as many pieces as the store makes of it."""
    whole = await read(store, position, digest, key=key, incarnation=incarnation)
    if whole.checkpoint is not None:
        position, digest = whole.checkpoint.position, whole.checkpoint.digest
    piece = whole
    while piece.entries and piece.entries[-1].position < whole.head:
        for one in piece.entries:
            position, digest = one.position, chain(digest, one.id)
        piece = await read(store, position, digest, key=key, incarnation=incarnation)
        if piece.checkpoint is not None:  # compacted meanwhile
            return await read_all(store, -1, key=key, incarnation=incarnation)
        whole.entries.extend(piece.entries)
    return whole


async def compact(
    store: Store,
    replaces: int,
    position: int,
    digest: str,
    *,
    state: bytes = b"state",
    key: SketchKey = KEY,
    incarnation: str = FIRST,
    exact: bool = True,
) -> bool:
    """Offer a checkpoint."""
    checkpoint = Checkpoint(position, digest, state)
    return await store.compact(key, incarnation, replaces, checkpoint, exact=exact)
