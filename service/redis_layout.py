"""What the Redis store calls its keys, and how a sketch's hash reads as a record.

    {prefix}:format                   "1": who finds another number keeps out
    {prefix}:tenants                  set of the tenants that ever had a sketch
    {prefix}:{TENANT}:names           sorted set of sketch names, by byte order
    {prefix}:{TENANT}:places          hash: name -> state bytes, incarnation, since when
    {prefix}:{TENANT}:total           state bytes of all places
    {prefix}:{TENANT}:expiring        sorted set: name -> no later than when to look
    {prefix}:{TENANT/NAME}:sketch     hash: the record (redis_scripts/alive.lua names its fields)
    {prefix}:{TENANT/NAME}:log        stream: entry n has the id n-0
    {prefix}:{TENANT/NAME}:answers    hash: idempotency key -> first answer
    {prefix}:{TENANT/NAME}:expiries   sorted set: idempotency key -> when it may be forgotten
    {prefix}:{TENANT/NAME}:lanes      hash: lane of a replica -> its last append
    {prefix}:{TENANT/NAME}:attachments  sorted set: key of a large part -> entry that refers to it
    {prefix}:{TENANT/NAME}:part:TOKEN hash: chunk number -> bytes of an attachment or a state

Braces are part of the keys: all keys of one sketch lie in one slot of a cluster,
so that a script may change them together, and so do all of a tenant's index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from service.errors import StoreUnavailable
from service.ports import EMPTY_DIGEST, Record, SketchKey

#: Of everything stored. A release that changes the meaning of any key counts it up.
FORMAT: Final = "1"


@dataclass(frozen=True, slots=True)
class SketchKeys:
    """The keys of one sketch."""

    base: str

    @property
    def sketch(self) -> str:
        return f"{self.base}:sketch"

    @property
    def log(self) -> str:
        return f"{self.base}:log"

    @property
    def answers(self) -> str:
        return f"{self.base}:answers"

    @property
    def expiries(self) -> str:
        return f"{self.base}:expiries"

    @property
    def lanes(self) -> str:
        return f"{self.base}:lanes"

    @property
    def attachments(self) -> str:
        return f"{self.base}:attachments"

    @property
    def asked(self) -> str:
        """Written for a millisecond, where there is nothing else to write."""
        return f"{self.base}:asked"

    def part(self, token: str) -> str:
        """A large part's."""
        return f"{self.base}:part:{token}"

    @property
    def fixed(self) -> list[str]:
        """Those that every sketch may have, in the order that the scripts expect."""
        return [self.sketch, self.log, self.answers, self.expiries, self.lanes, self.attachments]


@dataclass(frozen=True, slots=True)
class TenantKeys:
    """The keys of one tenant's index, in the order that the scripts expect."""

    base: str

    @property
    def names(self) -> str:
        return f"{self.base}:names"

    @property
    def places(self) -> str:
        return f"{self.base}:places"

    @property
    def expiring(self) -> str:
        return f"{self.base}:expiring"

    @property
    def meters(self) -> str:
        return f"{self.base}:meters"

    @property
    def all(self) -> list[str]:
        """The index's."""
        return [self.names, self.places, f"{self.base}:total", self.expiring]


@dataclass(frozen=True, slots=True)
class Layout:
    """All keys under one prefix."""

    prefix: str

    @property
    def format(self) -> str:
        return f"{self.prefix}:format"

    @property
    def ping(self) -> str:
        return f"{self.prefix}:ping"

    @property
    def tenants(self) -> str:
        return f"{self.prefix}:tenants"

    @property
    def usage(self) -> str:
        return f"{self.prefix}:usage"

    def tenant(self, name: str) -> TenantKeys:
        return TenantKeys(f"{self.prefix}:{{{name}}}")

    def sketch(self, key: SketchKey) -> SketchKeys:
        return SketchKeys(f"{self.prefix}:{{{key.tenant}/{key.name}}}")


class NewerFormat(StoreUnavailable):
    """Something stored is for a newer release to read."""


def newer_format(found: str) -> NewerFormat:
    """What to raise on a stored format that this release does not know."""
    return NewerFormat(
        f"Redis holds data in format {found}; this release reads format {FORMAT}: "
        "use a newer release"
    )


def number(value: float | None) -> str:
    """A time or a length of time as text that reads back as the same float; "" for None."""
    return "" if value is None else repr(value)


def fields_of(record: Record) -> list[str | bytes]:
    """Fields and values of the hash of a new sketch with an empty log."""
    fields: dict[str, str | bytes] = {
        "v": FORMAT,
        "i": record.incarnation,
        "s": record.spec,
        "q": record.request,
        "C": number(record.created_at),
        "t": number(record.ttl_seconds),
        "e": number(record.expires_at),
        "m": str(record.state_bytes),
        "z": ",".join(sorted(record.sealed)),
        "x": "1" if record.exact else "0",
        "p": "0",
        "d": EMPTY_DIGEST,
        "P": "0",
        "D": EMPTY_DIGEST,
        "B": "",
        "N": "0",
    }
    fields.update(dict.fromkeys(("u", "w", "b", "c", "fb", "fc", "T"), "0"))
    return [part for pair in fields.items() for part in pair]


def pairs(flat: list[bytes]) -> dict[str, bytes]:
    """HGETALL's answer as a mapping."""
    return {flat[at].decode(): flat[at + 1] for at in range(0, len(flat), 2)}


def record_of(key: SketchKey, fields: Mapping[str, bytes]) -> Record:
    """The record a sketch's hash holds. Raises StoreUnavailable for a format not known here."""
    found = fields.get("v", b"").decode()
    if found != FORMAT:
        raise newer_format(found)

    def whole(name: str) -> int:
        return int(float(fields[name]))

    def seconds(name: str) -> float | None:
        return float(fields[name]) if fields[name] else None

    return Record(
        key=key,
        incarnation=fields["i"].decode(),
        spec=fields["s"],
        request=fields["q"],
        created_at=float(fields["C"]),
        ttl_seconds=seconds("t"),
        expires_at=seconds("e"),
        state_bytes=whole("m"),
        sealed=frozenset(fields["z"].decode().split(",")) if fields["z"] else frozenset(),
        position=whole("p"),
        digest=fields["d"].decode(),
        updates=whole("u"),
        underflowed=whole("w"),
        log_bytes=whole("b") - whole("fb"),
        backlog=whole("c") - whole("fc"),
        exact=fields["x"] == b"1",
    )
