"""A store in this process's memory: for unit tests and throw-away runs. Nothing survives it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from service.errors import BacklogFull, Conflict, InvalidRequest, NotFound
from service.ports import (
    EMPTY_DIGEST,
    Allowance,
    Appended,
    Checkpoint,
    Clock,
    Entry,
    Idempotency,
    Record,
    SketchKey,
    SketchUsage,
    StoredEntry,
    Tail,
    Usage,
    chain,
)


@dataclass(slots=True)
class _Logged:
    """An entry with the digest after it."""

    entry: Entry
    digest: str

    @property
    def size(self) -> int:
        return len(self.entry.payload) + len(self.entry.attachment or b"")


@dataclass(slots=True)
class _Answer:
    """What was answered under an idempotency key; position 0 for a seal."""

    body_digest: bytes
    expires_at: float
    position: int
    updates: int


@dataclass(slots=True)
class _Sketch:
    """log: the entries after the checkpoint."""

    record: Record
    checkpoint: Checkpoint = field(default_factory=lambda: Checkpoint(0, EMPTY_DIGEST, b""))
    log: list[_Logged] = field(default_factory=list)
    answers: dict[str, _Answer] = field(default_factory=dict)
    lease: tuple[str, float] | None = None

    def answered(self, idempotency: Idempotency, now: float, *, seal: bool) -> _Answer | None:
        """The first answer under the key, if any. Raises InvalidRequest if for another change."""
        answer = self.answers.get(idempotency.key)
        if answer is None or answer.expires_at <= now:
            return None
        if answer.body_digest != idempotency.body_digest or seal != (answer.position == 0):
            raise InvalidRequest(
                "the idempotency key was used for another request", code="idempotency_key_reused"
            )
        return answer

    def replay(self, idempotency: Idempotency, now: float) -> Appended | None:
        """The first answer to an append under the key, with the log as it is now."""
        first = self.answered(idempotency, now, seal=False)
        if first is None:
            return None
        record = self.record
        return Appended(first.position, first.updates, record.log_bytes, record.backlog, True)

    def remember(self, idempotency: Idempotency, now: float, position: int, updates: int) -> None:
        """Answer the same the next time."""
        expires_at = now + idempotency.retention_seconds
        self.answers[idempotency.key] = _Answer(
            idempotency.body_digest, expires_at, position, updates
        )

    def digest_at(self, position: int) -> str | None:
        """None where the log has been trimmed or has not arrived."""
        if position == self.checkpoint.position:
            return self.checkpoint.digest
        if self.checkpoint.position < position <= self.record.position:
            return self.log[position - self.checkpoint.position - 1].digest
        return None


class MemoryStore:
    """service.ports.Store over a dict. No method awaits anything, so each is atomic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sketches: dict[SketchKey, _Sketch] = {}

    async def start(self) -> None:
        """As Store.start."""

    async def close(self) -> None:
        """As Store.close."""

    async def ping(self) -> None:
        """As Store.ping."""

    async def create(
        self, record: Record, allowance: Allowance | None = None
    ) -> tuple[Record, bool]:
        """As Store.create."""
        sketch = self._find(record.key)
        if sketch is not None:
            return sketch.record, False
        if allowance is not None:
            held = [
                other.record.state_bytes
                for key, other in self._sketches.items()
                if key.tenant == record.key.tenant and self._find(key) is not None
            ]
            allowance.check(len(held), sum(held), record.state_bytes)
        record = replace(
            record,
            position=0,
            digest=EMPTY_DIGEST,
            updates=0,
            underflowed=0,
            log_bytes=0,
            backlog=0,
        )
        self._sketches[record.key] = _Sketch(record)
        return record, True

    async def get(self, key: SketchKey) -> Record | None:
        """As Store.get."""
        sketch = self._find(key)
        return None if sketch is None else sketch.record

    async def list(
        self,
        tenant: str,
        *,
        prefix: str,
        limit: int,
        after: str | None,
        max_bytes: int | None = None,
    ) -> list[Record]:
        """As Store.list."""
        # Python compares strings by code point, which is the order of their UTF-8 bytes.
        keys = sorted(
            key
            for key in self._sketches
            if key.tenant == tenant
            and key.name.startswith(prefix)
            and (after is None or key.name > after)
            and self._find(key) is not None
        )
        records: list[Record] = []
        size = 0
        for key in keys[:limit]:
            records.append(self._sketches[key].record)
            size += records[-1].definition_bytes
            if max_bytes is not None and size > max_bytes and len(records) > 1:
                break
        return records

    async def delete(self, key: SketchKey) -> bool:
        """As Store.delete."""
        existed = self._find(key) is not None
        self._sketches.pop(key, None)
        return existed

    async def set_ttl(self, key: SketchKey, ttl_seconds: float | None) -> Record | None:
        """As Store.set_ttl."""
        sketch = self._find(key)
        if sketch is None:
            return None
        expires_at = None if ttl_seconds is None else self._clock.now() + ttl_seconds
        sketch.record = replace(sketch.record, ttl_seconds=ttl_seconds, expires_at=expires_at)
        return sketch.record

    async def seal(
        self,
        key: SketchKey,
        incarnation: str,
        operand: str,
        idempotency: Idempotency | None,
    ) -> Record:
        """As Store.seal."""
        sketch = self._require(key, incarnation)
        if idempotency is not None:
            now = self._clock.now()
            if sketch.answered(idempotency, now, seal=True) is not None:
                return sketch.record
            sketch.remember(idempotency, now, 0, 0)
        sketch.record = replace(sketch.record, sealed=sketch.record.sealed | {operand})
        return sketch.record

    async def append(
        self,
        key: SketchKey,
        incarnation: str,
        entry: Entry,
        idempotency: Idempotency | None,
        *,
        max_log_bytes: int,
    ) -> Appended:
        """As Store.append."""
        sketch = self._require(key, incarnation)
        record = sketch.record
        now = self._clock.now()
        if idempotency is not None:
            first = sketch.replay(idempotency, now)
            if first is not None:
                return first
        if entry.operands & record.sealed:
            operand = min(entry.operands & record.sealed)
            raise Conflict(f"operand {operand!r} is sealed", code="operand_sealed")
        if record.log_bytes >= max_log_bytes:
            raise BacklogFull(f"the log of {key.name!r} holds {record.log_bytes} bytes")
        logged = _Logged(entry, chain(record.digest, entry.id))
        sketch.log.append(logged)
        sketch.record = record = replace(
            record,
            position=record.position + 1,
            digest=logged.digest,
            updates=record.updates + entry.updates,
            underflowed=record.underflowed + entry.underflowed,
            log_bytes=record.log_bytes + logged.size,
            backlog=record.backlog + entry.coordinates,
            expires_at=None if record.ttl_seconds is None else now + record.ttl_seconds,
        )
        if idempotency is not None:
            sketch.remember(idempotency, now, record.position, entry.updates)
        return Appended(record.position, entry.updates, record.log_bytes, record.backlog, False)

    async def recall(
        self, key: SketchKey, incarnation: str, idempotency: Idempotency
    ) -> Appended | None:
        """As Store.recall."""
        return self._require(key, incarnation).replay(idempotency, self._clock.now())

    async def read(
        self,
        key: SketchKey,
        incarnation: str,
        position: int,
        digest: str,
        *,
        max_bytes: int,
    ) -> Tail:
        """As Store.read."""
        sketch = self._require(key, incarnation)
        checkpoint = None
        if sketch.digest_at(position) != digest:
            checkpoint = sketch.checkpoint
            position = checkpoint.position
        entries: list[StoredEntry] = []
        left = max_bytes
        for logged in sketch.log[position - sketch.checkpoint.position :]:
            left -= logged.size
            if entries and left < 0:
                break
            position += 1
            entry = logged.entry
            entries.append(StoredEntry(position, entry.id, entry.payload, entry.attachment))
        return Tail(checkpoint, entries, sketch.record.position)

    async def compact(
        self,
        key: SketchKey,
        incarnation: str,
        replaces: int,
        checkpoint: Checkpoint,
        *,
        exact: bool,
    ) -> bool:
        """As Store.compact."""
        sketch = self._find(key)
        if (
            sketch is None
            or sketch.record.incarnation != incarnation
            or sketch.checkpoint.position != replaces
            or checkpoint.position <= replaces
            or sketch.digest_at(checkpoint.position) != checkpoint.digest
        ):
            return False
        trimmed = sketch.log[: checkpoint.position - replaces]
        sketch.log = sketch.log[checkpoint.position - replaces :]
        sketch.checkpoint = checkpoint
        sketch.record = replace(
            sketch.record,
            log_bytes=sketch.record.log_bytes - sum(logged.size for logged in trimmed),
            backlog=sketch.record.backlog - sum(logged.entry.coordinates for logged in trimmed),
            exact=sketch.record.exact and exact,
        )
        return True

    async def mark_inexact(self, key: SketchKey, incarnation: str) -> None:
        """As Store.mark_inexact."""
        sketch = self._find(key)
        if sketch is not None and sketch.record.incarnation == incarnation:
            sketch.record = replace(sketch.record, exact=False)

    async def acquire_lease(
        self, key: SketchKey, incarnation: str, holder: str, seconds: float
    ) -> bool:
        """As Store.acquire_lease."""
        sketch = self._find(key)
        if sketch is None or sketch.record.incarnation != incarnation:
            return False
        now = self._clock.now()
        if sketch.lease is not None and sketch.lease[0] != holder and sketch.lease[1] > now:
            return False
        sketch.lease = (holder, now + seconds)
        return True

    async def release_lease(self, key: SketchKey, incarnation: str, holder: str) -> None:
        """As Store.release_lease."""
        sketch = self._find(key)
        if (
            sketch is not None
            and sketch.record.incarnation == incarnation
            and sketch.lease is not None
            and sketch.lease[0] == holder
        ):
            sketch.lease = None

    async def sweep(self, limit: int) -> int:
        """As Store.sweep. Keys of removed sketches go with these, uncounted."""
        now = self._clock.now()
        sketches = [key for key in self._sketches if self._find(key) is None][:limit]
        for key in sketches:
            del self._sketches[key]
        keys = [
            (sketch, name)
            for sketch in self._sketches.values()
            for name, answer in sketch.answers.items()
            if answer.expires_at <= now
        ][: limit - len(sketches)]
        for sketch, name in keys:
            del sketch.answers[name]
        return len(sketches) + len(keys)

    async def usage(self, largest: int) -> Usage:
        """As Store.usage."""
        now = self._clock.now()
        alive = [sketch for key, sketch in self._sketches.items() if self._find(key) is not None]
        answers = [answer for sketch in alive for answer in sketch.answers.values()]
        usage = Usage(
            backlog=sum(sketch.record.backlog for sketch in alive),
            idempotency_keys=sum(answer.expires_at > now for answer in answers),
        )
        records = sorted(
            (sketch.record for sketch in alive),
            key=lambda record: (-record.state_bytes - record.log_bytes, record.key),
        )
        for record in records:
            tenant = record.key.tenant
            usage.sketches[tenant] = usage.sketches.get(tenant, 0) + 1
            usage.state_bytes[tenant] = usage.state_bytes.get(tenant, 0) + record.state_bytes
            if not record.exact:
                usage.inexact[tenant] = usage.inexact.get(tenant, 0) + 1
        for record in records[:largest]:
            usage.largest.append(SketchUsage(record.key, record.state_bytes, record.log_bytes))
        for record in records[largest:]:
            state_bytes, log_bytes = usage.other.get(record.key.tenant, (0, 0))
            usage.other[record.key.tenant] = (
                state_bytes + record.state_bytes,
                log_bytes + record.log_bytes,
            )
        return usage

    def _find(self, key: SketchKey) -> _Sketch | None:
        sketch = self._sketches.get(key)
        if sketch is None:
            return None
        expires_at = sketch.record.expires_at
        return None if expires_at is not None and expires_at <= self._clock.now() else sketch

    def _require(self, key: SketchKey, incarnation: str) -> _Sketch:
        sketch = self._find(key)
        if sketch is None or sketch.record.incarnation != incarnation:
            raise NotFound(f"no sketch named {key.name!r}")
        return sketch
