"""The log of a sketch in Redis: appended to by one script, read by another, compacted by a third.

Entries and states too large for one command are staged in chunks first
(redis_parts) and referred to by the script.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any, Final

from service import redis_parts
from service.ports import (
    Appended,
    Checkpoint,
    Clock,
    Entry,
    Idempotency,
    SketchKey,
    StoredEntry,
    Tail,
)
from service.redis_connection import RedisConnection
from service.redis_lanes import Lanes
from service.redis_layout import Layout, SketchKeys, number
from service.redis_refusals import ATTEMPTS, refuse, restless
from service.redis_scripts import load

_APPEND: Final = load("append")
_COMPACT: Final = load("compact")
_READ: Final = load("read")
_RECALL: Final = load("recall")
_TRIM: Final = load("trim")

#: Entries of one read: more would hold up the event loop, which turns each into an object.
_READ_ENTRIES: Final = 256
#: Entries trimmed, and attachments removed, by one script.
_TRIM_STEP: Final = 256
_TRIM_PARTS: Final = 16


class Log:
    """The logs and checkpoints of all sketches."""

    def __init__(
        self, redis: RedisConnection, layout: Layout, clock: Clock, *, confirm_reads: bool
    ) -> None:
        self._redis = redis
        self._confirm_reads = confirm_reads
        self._layout = layout
        self._clock = clock
        self._lanes = Lanes()

    async def append(
        self,
        key: SketchKey,
        incarnation: str,
        entry: Entry,
        idempotency: Idempotency | None,
        max_log_bytes: int,
    ) -> Appended:
        """As Store.append."""
        keys = self._layout.sketch(key)
        with self._lanes.take(key) as (lane, turn):
            facts = [
                incarnation,
                self._now(),
                entry.id,
                ",".join(sorted(entry.operands)),
                entry.payload,
                entry.updates,
                entry.coordinates,
                entry.underflowed,
                len(entry.payload) + len(entry.attachment or b""),
                max_log_bytes,
                *once(idempotency, self._clock.now()),
                lane,
                turn,
            ]
            async for part, chunks in self._staged(keys, entry.attachment):
                answer = await self._redis.run(
                    _APPEND,
                    [*keys.fixed, part or keys.sketch],
                    [*facts, chunks],
                    writes=True,
                )
                if answer[0] == b"incomplete":
                    continue
                if part and (answer[0] != b"ok" or int(answer[5])):
                    await redis_parts.discard(self._redis, part)
                return _appended(key, answer)
        raise restless(key)

    async def recall(
        self, key: SketchKey, incarnation: str, idempotency: Idempotency
    ) -> Appended | None:
        """As Store.recall."""
        keys = self._layout.sketch(key)
        name, digest, *_ = once(idempotency, self._clock.now())
        answer = await self._redis.run(
            _RECALL,
            [keys.sketch, keys.answers],
            [incarnation, self._now(), name, digest],
            writes=True,
        )
        return None if answer[0] == b"none" else _appended(key, answer)

    async def read(
        self,
        key: SketchKey,
        incarnation: str,
        position: int,
        digest: str,
        max_bytes: int,
    ) -> Tail:
        """As Store.read."""
        keys = self._layout.sketch(key)
        for _ in range(ATTEMPTS):
            place = (incarnation, self._now(), position, digest)
            answer = await self._redis.run(
                _READ,
                [keys.sketch, keys.log],
                [*place, max_bytes, int(self._confirm_reads), _READ_ENTRIES],
                writes=self._confirm_reads,
            )
            if answer[0] != b"ok":
                refuse(key, answer)
            tail = await self._tail(answer)
            if tail is not None:
                return tail
            # Compaction has removed a large part in the meantime: there is a newer checkpoint.
        raise restless(key)

    async def compact(
        self,
        key: SketchKey,
        incarnation: str,
        replaces: int,
        checkpoint: Checkpoint,
        exact: bool,
    ) -> bool:
        """As Store.compact."""
        keys = self._layout.sketch(key)
        async for part, chunks in self._staged(keys, checkpoint.state):
            former = (await self._redis.command("HGET", keys.sketch, "B", writes=False)) or b""
            answer = await self._redis.run(
                _COMPACT,
                [keys.sketch, keys.log, part, former.decode() or keys.sketch],
                [
                    incarnation,
                    self._now(),
                    replaces,
                    checkpoint.position,
                    checkpoint.digest,
                    chunks,
                    int(exact),
                    int(bool(former)),
                ],
                writes=True,
            )
            if answer[0] == b"ok":
                await self._trim(key, incarnation)
                return True
            await redis_parts.discard(self._redis, part)
            if answer[0] not in (b"incomplete", b"changed"):
                if answer[0] not in (b"lost", b"gone"):
                    refuse(key, answer)
                return False
        raise restless(key)

    def _now(self) -> str:
        return number(self._clock.now())

    async def _staged(
        self, keys: SketchKeys, content: bytes | None
    ) -> AsyncIterator[tuple[str, int]]:
        """(key, chunks) of a part written anew at each turn; a turn of ("", 0) for None."""
        for _ in range(ATTEMPTS):
            if content is None:
                yield "", 0
            else:
                yield (
                    await redis_parts.stage(self._redis, keys, content),
                    redis_parts.chunk_count(content),
                )

    async def _tail(self, answer: list[Any]) -> Tail | None:
        """What read.lua found, with the large parts; None if one of them is gone."""
        _, head, found, first, flat = answer
        checkpoint = None
        if found:
            state: bytes | None = b""
            if found[2]:
                state = await redis_parts.fetch(self._redis, found[2].decode(), int(found[3]))
            if state is None:
                return None
            checkpoint = Checkpoint(int(found[0]), found[1].decode(), state)
        entries = []
        for position, at in enumerate(range(0, len(flat), 4), int(first)):
            entry_id, payload, part, chunks = flat[at : at + 4]
            attachment = None
            if part:
                attachment = await redis_parts.fetch(self._redis, part.decode(), int(chunks))
                if attachment is None:
                    return None
            entries.append(StoredEntry(position, entry_id.decode(), payload, attachment))
        return Tail(checkpoint, entries, int(head))

    async def _trim(self, key: SketchKey, incarnation: str) -> None:
        """Remove what the checkpoint covers, in steps that leave Redis to others in between.

        Whoever is stopped here leaves it to the next compaction.
        """
        keys = self._layout.sketch(key)
        left = 1
        while left > 0:
            folded = await self._redis.command("HGET", keys.sketch, "P", writes=False)
            if folded is None:
                return
            parts = await self._redis.command(
                "ZRANGEBYSCORE", keys.attachments, "-inf", folded, "LIMIT", 0, _TRIM_PARTS,
                writes=False,
            )  # fmt: skip
            answer = await self._redis.run(
                _TRIM,
                [keys.sketch, keys.log, keys.attachments, *parts],
                [incarnation, self._now(), _TRIM_STEP],
                writes=True,
            )
            if answer[0] != b"ok":
                return
            left = max(int(answer[1]), int(len(parts) == _TRIM_PARTS))


def once(idempotency: Idempotency | None, now: float) -> tuple[str | int, ...]:
    """Key, body digest, when it may be forgotten, seconds till then; "" for no key."""
    if idempotency is None:
        return "", "", "", 0
    retention = idempotency.retention_seconds
    return (
        idempotency.key,
        idempotency.body_digest.hex() or "-",
        number(now + retention),
        math.ceil(retention),
    )


def _appended(key: SketchKey, answer: list[Any]) -> Appended:
    if answer[0] != b"ok":
        refuse(key, answer)
    position, updates, log_bytes, backlog, replayed = (int(float(part)) for part in answer[1:])
    return Appended(position, updates, log_bytes, backlog, bool(replayed))
