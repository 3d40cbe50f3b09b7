"""Backup files: sketches of one tenant as a stream of parts, each with its length and checksum.

All numbers are little-endian; JSON is UTF-8 with sorted keys.

    offset  size  field
    0       8     magic "SKBACKUP"
    8       2     format version, 1
    10      …     parts: one head; for each sketch facts, spec, request, state; one end

    a part
    0       1     type: "H" head, "F" facts, "P" spec, "R" request, "T" state, "E" end
    1       8     length of the content in bytes, m
    9       m     content
    9+m     16    BLAKE2b-128 of type, length and content

    head     JSON: tenant, created_at, quota (null where the tenant had none)
    facts    JSON: name, created_at, ttl_seconds, state_bytes, sealed, updates, underflowed, exact
    spec     the bytes of sketch_core.spec.Spec.to_bytes, as stored
    request  the canonical bytes of the spec as the caller sent it, as stored
    state    the snapshot (sketch_core.codec)
    end      8 bytes: how many sketches; 32 bytes: BLAKE2b-256 of the file before this part

Whoever reads learns of a cut, changed or extended file at the part where it is
so, and at the end that nothing is missing. At most one sketch is in memory.
A change of any of this, a field more in the JSON included, gets a new version.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, BinaryIO, Final

from service.access_ports import Quota

MAGIC: Final = b"SKBACKUP"
VERSION: Final = 1

_VERSION: Final = struct.Struct("<H")
_PART: Final = struct.Struct("<cQ")
_END: Final = struct.Struct("<Q32s")
_CHECKSUM_BYTES: Final = 16
_DIGEST_BYTES: Final = 32

_NUMBER: Final = (int, float)
_NONE: Final = type(None)
#: The fields of each JSON part, and their types.
_HEAD: Final[dict[str, tuple[type, ...]]] = {
    "tenant": (str,), "created_at": _NUMBER, "quota": (dict, _NONE),
}  # fmt: skip
_FACTS: Final[dict[str, tuple[type, ...]]] = {
    "name": (str,), "created_at": _NUMBER, "ttl_seconds": (*_NUMBER, _NONE), "state_bytes": (int,),
    "sealed": (list,), "updates": (int,), "underflowed": (int,), "exact": (bool,),
}  # fmt: skip


class InvalidBackup(Exception):
    """Bytes that are not a whole, unharmed backup; the message is for a person."""


class UnsupportedBackup(InvalidBackup):
    """A backup that a newer release wrote."""


@dataclass(frozen=True, slots=True)
class Head:
    """Whose sketches they are. created_at: of the backup, seconds since the epoch.

    quota: of the tenant, None where it had none. Its keys are never written.
    """

    tenant: str
    created_at: float
    quota: Quota | None = None


@dataclass(frozen=True, slots=True)
class SavedSketch:
    """One sketch as of one instant; the fields are those of ports.Record.

    state: the canonical snapshot.
    """

    name: str
    created_at: float
    ttl_seconds: float | None
    state_bytes: int
    sealed: frozenset[str]
    updates: int
    underflowed: int
    exact: bool
    spec: bytes
    request: bytes
    state: bytes


class BackupWriter:
    """Writes a backup to a binary stream, sketch by sketch; `finish` makes it whole."""

    def __init__(self, stream: BinaryIO, head: Head) -> None:
        self._stream = stream
        self._digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self._count = 0
        self._put(MAGIC + _VERSION.pack(VERSION))
        self._part(b"H", _json(asdict(head)))

    def add(self, sketch: SavedSketch) -> None:
        """Append one sketch."""
        facts = {name: getattr(sketch, name) for name in _FACTS}
        self._part(b"F", _json(facts | {"sealed": sorted(sketch.sealed)}))
        self._part(b"P", sketch.spec)
        self._part(b"R", sketch.request)
        self._part(b"T", sketch.state)
        self._count += 1

    def finish(self) -> None:
        """Append the end. Without it no reader takes the file for a backup."""
        self._part(b"E", _END.pack(self._count, self._digest.digest()))

    def _part(self, kind: bytes, content: bytes) -> None:
        start = _PART.pack(kind, len(content))
        for piece in (start, content, _checksum(start, content)):
            self._put(piece)

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._stream.write(data)


class BackupReader:
    """Reads a backup from a seekable binary stream at its start.

    Every method raises InvalidBackup for bytes that BackupWriter would not have
    written, and UnsupportedBackup for those of a newer release. size: of the file.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self.size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        if self._take(len(MAGIC)) != MAGIC:
            raise InvalidBackup("not a backup of sketchd")
        (version,) = _VERSION.unpack(self._take(_VERSION.size))
        if version > VERSION:
            raise UnsupportedBackup(
                f"the backup has format version {version}, newer than version {VERSION}, the "
                "newest this release reads: use a newer release"
            )
        if version < 1:
            raise InvalidBackup(f"there is no format version {version}")
        self.head = _read_head(self._expect(b"H"))

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._stream.tell()

    def sketches(self) -> Iterator[SavedSketch]:
        """Every sketch in turn; ends only where the file is whole. To be called once."""
        count = 0
        while True:
            before = self._digest.digest()
            kind, content = self._part()
            if kind == b"E":
                break
            if kind != b"F":
                raise InvalidBackup(f"a part of type {kind!r} where a sketch should begin")
            facts = _read_json(content, _FACTS)
            sealed = facts.pop("sealed")
            if not all(isinstance(operand, str) for operand in sealed):
                raise InvalidBackup("sealed is not a list of names")
            spec, request, state = (self._expect(part) for part in (b"P", b"R", b"T"))
            yield SavedSketch(
                **facts, sealed=frozenset(sealed), spec=spec, request=request, state=state
            )
            count += 1
        if len(content) != _END.size or _END.unpack(content) != (count, before):
            raise InvalidBackup("the end does not agree with what came before it")
        if self._stream.read(1):
            raise InvalidBackup("the file goes on after its end")

    def _expect(self, wanted: bytes) -> bytes:
        kind, content = self._part()
        if kind != wanted:
            raise InvalidBackup(f"a part of type {kind!r} in place of one of type {wanted!r}")
        return content

    def _part(self) -> tuple[bytes, bytes]:
        start = self._take(_PART.size)
        kind, length = _PART.unpack(start)
        content = self._take(length)
        if self._take(_CHECKSUM_BYTES) != _checksum(start, content):
            raise InvalidBackup(f"the checksum before byte {self.position} does not agree")
        return kind, content

    def _take(self, size: int) -> bytes:
        # Before reading: a damaged length must not ask for more memory than the file has bytes.
        if size > self.size - self.position:
            raise InvalidBackup(f"cut short: it ends at byte {self.size}, inside a part")
        data = self._stream.read(size)
        if len(data) != size:
            raise InvalidBackup("cut short while it was read")
        self._digest.update(data)
        return data


def _checksum(start: bytes, content: bytes) -> bytes:
    digest = hashlib.blake2b(start, digest_size=_CHECKSUM_BYTES)
    digest.update(content)
    return digest.digest()


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _read_json(content: bytes, wanted: dict[str, tuple[type, ...]]) -> dict[str, Any]:
    """The fields of a JSON part, all there and of their types."""
    try:
        found = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidBackup(f"a part is not JSON: {error}") from error
    if not isinstance(found, dict) or not wanted.keys() <= found.keys():
        raise InvalidBackup("a part lacks some of its fields")
    unknown = sorted(found.keys() - wanted.keys())
    if unknown:
        raise UnsupportedBackup(f"{unknown[0]} is not known to this release: use a newer one")
    for name, types in wanted.items():
        value = found[name]
        # bool is an int to Python, and none to us.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise InvalidBackup(f"{name} is not of its type")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _read_head(content: bytes) -> Head:
    found = _read_json(content, _HEAD)
    quota = found["quota"]
    if quota is not None:
        types: dict[str, tuple[type, ...]] = {
            item.name: (*_NUMBER, _NONE) for item in fields(Quota)
        }
        # A limit that the writer did not know yet is none.
        quota = Quota(**_read_json(_json(dict.fromkeys(types) | quota), types))
    return Head(found["tenant"], found["created_at"], quota)
