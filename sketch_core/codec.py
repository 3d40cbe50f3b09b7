"""Snapshot bytes: the state of a sketch, canonical, so that equal streams give equal bytes.

No times, names, counters or caches are in them: only the fingerprint that says
what may be added to what, whether exactness is proven, and the integers.
All numbers are little-endian.

    offset  size  field
    0       8     magic "SKETCHD" and a zero byte
    8       2     format version, 1
    10      1     flags: bit 0, exactness is proven; the others zero
    11      1     number of operands, o
    12      4     zero
    16      32    fingerprint of the spec (spec.Spec.fingerprint)
    48      8     length of the body in bytes, m
    56      m     body: o operands in the kind's order, each
                    1     length a of its name
                    a     name, ASCII
                    1     number of arrays
                    and for each array, in the order of the state:
                      1     length b of its name
                      b     name, ASCII
                      1     dimensions k
                      8·k   extents
                      8·Πextents   int64 cells, C order
    56+m    16    BLAKE2b-128 of everything before

A reader checks the length against the header, the checksum, the version, the
fingerprint, and every name and extent against what the spec prescribes; bytes
that differ from what `to_snapshot` writes are refused.
"""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Final

import numpy as np

from sketch_core.errors import IncompatibleSketches, InvalidSnapshot, UnsupportedSnapshot
from sketch_core.hashing import I64
from sketch_core.sketch import Sketch, sketch_of
from sketch_core.spec import OPERANDS, Spec
from sketch_core.state import Arrays, LinearState

_HEADER: Final = struct.Struct("<8sHBBI32sQ")
_MAGIC: Final = b"SKETCHD\0"
VERSION: Final = 1
_EXACT: Final = 1
_CHECKSUM_BYTES: Final = 16


def _name(text: str) -> bytes:
    encoded = text.encode("ascii")
    return bytes([len(encoded)]) + encoded


def _checksum(*parts: bytes | memoryview) -> bytes:
    digest = hashlib.blake2b(digest_size=_CHECKSUM_BYTES)
    for part in parts:
        digest.update(part)
    return digest.digest()


def to_snapshot(sketch: Sketch) -> bytes:
    """The canonical bytes of a sketch's state."""
    arrays = sketch.arrays()
    operands = [name for name in OPERANDS[sketch.spec.kind] if name in arrays]
    body: list[bytes] = []
    for operand in operands:
        body += [_name(operand), bytes([len(arrays[operand])])]
        for name, array in arrays[operand].items():
            extents = struct.pack(f"<B{array.ndim}Q", array.ndim, *array.shape)
            body += [_name(name), extents, np.ascontiguousarray(array, dtype="<i8").tobytes()]
    flags = _EXACT if sketch.exact else 0
    length = sum(len(part) for part in body)
    fingerprint = sketch.spec.fingerprint()
    header = _HEADER.pack(_MAGIC, VERSION, flags, len(operands), 0, fingerprint, length)
    return b"".join([header, *body, _checksum(header, *body)])


class _Reader:
    """Takes fields off the front of a body; every short read is InvalidSnapshot."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> memoryview:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise InvalidSnapshot("the body ends inside a field")
        self._at += size
        return part

    def byte(self) -> int:
        return self.take(1)[0]

    def name(self) -> str:
        return bytes(self.take(self.byte())).decode("ascii", errors="replace")

    def finish(self) -> None:
        if self._at != len(self._data):
            raise InvalidSnapshot("the body goes on after its last array")


def _read_array(reader: _Reader, name: str, wanted: tuple[int, ...]) -> I64:
    if reader.name() != name:
        raise InvalidSnapshot(f"array {name} is missing")
    dimensions = reader.byte()
    extents = struct.unpack(f"<{dimensions}Q", reader.take(8 * dimensions))
    if extents != wanted:
        raise InvalidSnapshot(f"array {name} has extents {extents}, not {wanted}")
    cells = np.frombuffer(reader.take(8 * math.prod(wanted)), dtype="<i8")
    return cells.astype(np.int64).reshape(wanted)


def _read_body(reader: _Reader, spec: Spec, count: int) -> Arrays:
    expected = {operand.name: operand.extents() for operand in spec.operands}
    arrays: Arrays = {}
    for _ in range(count):
        operand = reader.name()
        if operand not in expected or operand in arrays:
            raise InvalidSnapshot("an operand that this kind does not have, or has once")
        if reader.byte() != len(expected[operand]):
            raise InvalidSnapshot(f"operand {operand} has another number of arrays")
        arrays[operand] = {
            name: _read_array(reader, name, extents) for name, extents in expected[operand].items()
        }
    in_order = [name for name in expected if name in arrays]
    always = {name for name in expected if name != spec.query_operand}
    if list(arrays) != in_order or not always <= arrays.keys():
        raise InvalidSnapshot("operands are missing or out of order")
    return arrays


def from_snapshot(data: bytes, spec: Spec) -> Sketch:
    """The sketch whose state a snapshot holds.

    Raises InvalidSnapshot for bytes that are cut, changed or extended,
    UnsupportedSnapshot for a newer format, IncompatibleSketches when the
    fingerprint is not the spec's.
    """
    if len(data) < _HEADER.size + _CHECKSUM_BYTES:
        raise InvalidSnapshot("too short for a snapshot")
    magic, version, flags, count, zero, fingerprint, length = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise InvalidSnapshot("not a snapshot")
    if len(data) != _HEADER.size + length + _CHECKSUM_BYTES:
        raise InvalidSnapshot("cut short or followed by other bytes")
    view = memoryview(data)
    if _checksum(view[:-_CHECKSUM_BYTES]) != data[-_CHECKSUM_BYTES:]:
        raise InvalidSnapshot("the checksum does not agree")
    if version != VERSION:
        raise UnsupportedSnapshot(f"format version {version}; this code knows {VERSION}")
    if flags & ~_EXACT or zero:
        raise InvalidSnapshot("reserved bits are set")
    if fingerprint != spec.fingerprint():
        raise IncompatibleSketches("the snapshot was made with another spec or seed")
    reader = _Reader(view[_HEADER.size : -_CHECKSUM_BYTES])
    arrays = _read_body(reader, spec, count)
    reader.finish()
    return sketch_of(spec, LinearState(arrays, exact=bool(flags & _EXACT)))
