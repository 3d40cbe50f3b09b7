"""A store in Redis (or Valkey), standalone, Cluster or Sentinel: for any number of replicas.

A sketch is a stream of entries and a hash about them; every change of it is one
Lua script (redis_scripts/), so it is atomic and takes one round trip, and every
script may be sent again: whoever gets no answer asks once more until the
connection's patience ends. docs/decisions/0009-redis-log.md has the reasons.

What an answer is worth is what the server promises: with appendonly yes and
appendfsync always it survives a crash; a failover keeps it if
SKETCHD_REDIS_WAIT_REPLICAS made it wait for the replica.
"""

from __future__ import annotations

from typing import Any, Final

from service.errors import QuotaExceeded
from service.ports import (
    Allowance,
    Appended,
    Checkpoint,
    Clock,
    Entry,
    Idempotency,
    Record,
    SketchKey,
    Tail,
    Usage,
)
from service.redis_connection import RedisConnection
from service.redis_index import Index
from service.redis_janitor import Janitor
from service.redis_layout import (
    FORMAT,
    Layout,
    fields_of,
    newer_format,
    number,
    pairs,
    record_of,
)
from service.redis_log import Log, once
from service.redis_refusals import ATTEMPTS, refuse, restless
from service.redis_removal import Removal
from service.redis_scripts import load
from service.redis_usage import UsageReport

_ACQUIRE: Final = load("acquire_lease")
_CREATE: Final = load("create")
_GET: Final = load("get")
_INEXACT: Final = load("mark_inexact")
_RELEASE: Final = load("release_lease")
_SEAL: Final = load("seal")
_TTL: Final = load("set_ttl")

#: Records read for one page at a time.
_PAGE: Final = 100


class RedisStore:
    """service.ports.Store over a connection that it starts and closes.

    usage_seconds: for how long replicas share one count of everything; 0 counts anew.
    confirm_reads: let Redis' replicas confirm each read as they confirm writes.
    """

    def __init__(
        self,
        redis: RedisConnection,
        clock: Clock,
        *,
        usage_seconds: float = 10.0,
        confirm_reads: bool = False,
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._layout = Layout(redis.prefix)
        self._index = Index(redis, self._layout)
        self._removal = Removal(redis, self._layout, self._index)
        self._janitor = Janitor(redis, self._layout, self._index, self._removal)
        self._report = UsageReport(redis, self._layout, self._index, usage_seconds)
        self._log = Log(redis, self._layout, clock, confirm_reads=confirm_reads)

    @property
    def redis(self) -> RedisConnection:
        """The connection, for others that keep something beside the sketches."""
        return self._redis

    async def start(self) -> None:
        """As Store.start."""
        await self._redis.start()
        await self._check_format()

    async def close(self) -> None:
        """As Store.close."""
        await self._redis.close()

    async def ping(self) -> None:
        """As Store.ping: writes too, since a full or read-only server still answers PING."""
        await self._redis.ping()
        await self._check_format()
        await self._redis.command("SET", self._layout.ping, number(self._clock.now()), writes=True)

    async def create(
        self, record: Record, allowance: Allowance | None = None
    ) -> tuple[Record, bool]:
        """As Store.create."""
        # Confirmed by replicas too: an earlier attempt may have been answered that it was not.
        existing = await self._get(record.key, confirmed=True)
        if existing is not None:
            return existing, False
        now = self._clock.now()
        try:
            await self._index.reserve(record, allowance, now)
        except QuotaExceeded:
            # What has expired or was never created may hold the place.
            await self._janitor.reclaim(record.key.tenant, now)
            # That may have taken long, and a place looks left behind a minute after its time.
            now = self._clock.now()
            await self._index.reserve(record, allowance, now)
        stored, new = await self._create(record)
        if not new:
            await self._index.settle(stored, now)
        return stored, new

    async def get(self, key: SketchKey) -> Record | None:
        """As Store.get."""
        return await self._get(key, confirmed=False)

    async def delete(self, key: SketchKey) -> bool:
        """As Store.delete."""
        keys = self._layout.sketch(key)
        incarnation, expires_at = await self._redis.command(
            "HMGET", keys.sketch, "i", "e", writes=False
        )
        if incarnation is None:
            # An earlier attempt may have deleted it and been answered that replicas were not
            # sure: a write in the same slot for WAIT to wait for, gone in a millisecond.
            await self._redis.command("SET", keys.asked, "1", "PX", 1, writes=True)
            return False
        await self._removal.remove(key, incarnation.decode())
        # Gone whoever removed it; an expired one is removed too, but was not there.
        return not expires_at or float(expires_at) > self._clock.now()

    async def set_ttl(self, key: SketchKey, ttl_seconds: float | None) -> Record | None:
        """As Store.set_ttl."""
        now = self._clock.now()
        if ttl_seconds is not None:
            await self._index.look_by(key, now + ttl_seconds)
        answer = await self._redis.run(
            _TTL, [self._layout.sketch(key).sketch], [number(now), number(ttl_seconds)], writes=True
        )
        return self._found(key, answer)

    async def seal(
        self,
        key: SketchKey,
        incarnation: str,
        operand: str,
        idempotency: Idempotency | None,
    ) -> Record:
        """As Store.seal."""
        keys = self._layout.sketch(key)
        answer = await self._redis.run(
            _SEAL,
            [keys.sketch, keys.answers, keys.expiries],
            [incarnation, self._now(), operand, *once(idempotency, self._clock.now())],
            writes=True,
        )
        if answer[0] != b"ok":
            refuse(key, answer)
        return record_of(key, pairs(answer[1]))

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
        return await self._log.append(key, incarnation, entry, idempotency, max_log_bytes)

    async def recall(
        self, key: SketchKey, incarnation: str, idempotency: Idempotency
    ) -> Appended | None:
        """As Store.recall."""
        return await self._log.recall(key, incarnation, idempotency)

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
        return await self._log.read(key, incarnation, position, digest, max_bytes)

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
        return await self._log.compact(key, incarnation, replaces, checkpoint, exact)

    async def mark_inexact(self, key: SketchKey, incarnation: str) -> None:
        """As Store.mark_inexact."""
        answer = await self._redis.run(
            _INEXACT, [self._layout.sketch(key).sketch], [incarnation, self._now()], writes=True
        )
        if answer[0] not in (b"ok", b"gone"):
            refuse(key, answer)

    async def acquire_lease(
        self, key: SketchKey, incarnation: str, holder: str, seconds: float
    ) -> bool:
        """As Store.acquire_lease."""
        answer = await self._redis.run(
            _ACQUIRE,
            [self._layout.sketch(key).sketch],
            [incarnation, self._now(), holder, number(seconds)],
            writes=True,
        )
        return bool(answer[0] == b"ok")

    async def release_lease(self, key: SketchKey, incarnation: str, holder: str) -> None:
        """As Store.release_lease."""
        await self._redis.run(
            _RELEASE,
            [self._layout.sketch(key).sketch],
            [incarnation, self._now(), holder],
            writes=True,
        )

    async def sweep(self, limit: int) -> int:
        """As Store.sweep."""
        return await self._janitor.sweep(limit, self._clock.now())

    async def usage(self, largest: int) -> Usage:
        """As Store.usage."""
        return await self._report.usage(largest, self._clock.now())

    # Steps

    def _now(self) -> str:
        return number(self._clock.now())

    async def _get(self, key: SketchKey, *, confirmed: bool) -> Record | None:
        """confirmed: replicas have to have it, where they are waited for."""
        answer = await self._redis.run(
            _GET,
            [self._layout.sketch(key).sketch],
            [self._now(), int(confirmed)],
            writes=confirmed,
        )
        return self._found(key, answer)

    def _found(self, key: SketchKey, answer: list[Any]) -> Record | None:
        if answer[0] == b"gone":
            return None
        if answer[0] not in (b"ok", b"new"):
            refuse(key, answer)
        return record_of(key, pairs(answer[1]))

    async def _check_format(self) -> None:
        """Keep out of what a newer release has written; claim what nobody has."""
        await self._redis.command("SET", self._layout.format, FORMAT, "NX", writes=True)
        found = await self._redis.command("GET", self._layout.format, writes=False)
        if found is not None and found.decode() != FORMAT:
            raise newer_format(found.decode(errors="replace"))

    async def _create(self, record: Record) -> tuple[Record, bool]:
        keys = self._layout.sketch(record.key)
        for _ in range(ATTEMPTS):
            answer = await self._redis.run(
                _CREATE, [keys.sketch], [self._now(), *fields_of(record)], writes=True
            )
            if answer[0] == b"expired":
                if answer[1].decode() == record.incarnation:
                    return record, True  # made by a former attempt, and it did not live long
                # Unless an append sent just before has arrived since, and it lives on.
                await self._removal.remove(
                    record.key, answer[1].decode(), expired_by=self._clock.now(), vacate=False
                )
                continue
            if answer[0] not in (b"ok", b"new"):
                refuse(record.key, answer)
            stored = record_of(record.key, pairs(answer[1]))
            # A creation that was sent twice finds itself.
            return stored, stored.incarnation == record.incarnation
        raise restless(record.key)

    # Last, so that `list` is still the builtin type in the signatures above.

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
        """As Store.list."""
        now = self._clock.now()
        records: list[Record] = []
        size = 0
        while len(records) < limit:
            wanted = min(_PAGE, limit - len(records))
            names = await self._index.names(tenant, prefix, after, wanted, contains)
            whole = len(names) == wanted
            if max_bytes is not None:
                fitting = await self._index.fitting(names, tenant, max_bytes - size)
                whole = whole or len(fitting) < len(names)
                names = fitting
            keys = [SketchKey(tenant, one) for one in names]
            for record in await self._index.records(keys, now, defined=True):
                size += record.definition_bytes
                records.append(record)
                if max_bytes is not None and size > max_bytes and len(records) > 1:
                    return records
            if not whole:
                break
            after = names[-1]
        return records
