"""The columns of an UpdateRequest, read from its bytes without an object for each number.

A packed repeated field of fixed64 or double is, on the wire, the array itself:

    varint field << 3 | 2, varint length, that many bytes of little-endian numbers

So the columns are views of the message's bytes and the generated code reads only the
rest, a few short fields: some microseconds where it takes hundreds for 10,000 numbers.
Whatever is unusual (numbers that are not packed, a column in several pieces, very many
fields, bytes that make no sense) is left to the generated code whole; both ways give the
same columns or the same error.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service.grpc_context import message_of
from service.protos.sketchd.v1 import sketchd_pb2 as pb

Column = npt.NDArray[Any]

_FIELDS: Final = pb.UpdateRequest.DESCRIPTOR.fields_by_name
#: Columns by their field's number: name and dtype.
_COLUMNS: Final = {
    _FIELDS[name].number: (name, dtype)
    for name, dtype in (
        ("index", "<u8"), ("row", "<u8"), ("column", "<u8"), ("delta", "<f8"), ("values", "<f8"),
    )
}  # fmt: skip
_LENGTH_DELIMITED: Final = 2
#: A usual message has fewer fields on the wire.
_MOST_FIELDS: Final = 16
_LONGEST_VARINT: Final = 5
#: Numbers copied at a time: the interpreter lock is kept meanwhile.
_SLICE: Final = 8192


@dataclass(frozen=True, slots=True)
class UpdateFields:
    """An UpdateRequest. columns: those that are not empty, by name; message: the other fields."""

    message: pb.UpdateRequest
    columns: dict[str, Column]


class _UnusualError(Exception):
    """Not what a usual writer sends."""


def read_update(raw: bytes) -> UpdateFields:
    """The fields of an UpdateRequest. Raises InvalidRequest (malformed)."""
    try:
        columns, rest = _cut_out(raw)
    except _UnusualError:
        message = message_of(pb.UpdateRequest, raw)
        columns = {name: _copied(message, name, dtype) for name, dtype in _COLUMNS.values()}
        return UpdateFields(message, {name: one for name, one in columns.items() if one.size})
    return UpdateFields(message_of(pb.UpdateRequest, rest), columns)


def numbers(repeated: Any, dtype: str) -> Column:
    """A repeated field as an array."""
    column = np.empty(len(repeated), dtype)
    for at in range(0, len(repeated), _SLICE):
        column[at : at + _SLICE] = repeated[at : at + _SLICE]
    return column


def _copied(message: pb.UpdateRequest, name: str, dtype: str) -> Column:
    return numbers(getattr(message, name), dtype)


def _cut_out(raw: bytes) -> tuple[dict[str, Column], bytes]:
    """(columns by name, the bytes of the other fields). Raises _UnusualError."""
    columns: dict[str, Column] = {}
    rest: list[bytes] = []
    at = kept = fields = 0
    while at < len(raw):
        begun = at
        tag, at = _varint(raw, at)
        size, at = _varint(raw, at)
        fields += 1
        end = at + size
        if tag & 7 != _LENGTH_DELIMITED or end > len(raw) or fields > _MOST_FIELDS:
            raise _UnusualError  # every field of the message is of this type
        if tag >> 3 in _COLUMNS:
            name, dtype = _COLUMNS[tag >> 3]
            if name in columns or size % 8:
                raise _UnusualError
            rest.append(raw[kept:begun])
            kept = end
            # Aligned, as numpy's loops like it; a copy where the view is not.
            view = np.frombuffer(raw, dtype, size // 8, at) if size else np.empty(0, dtype)
            columns[name] = np.require(view, requirements="A")
        at = end
    rest.append(raw[kept:])
    found = {name: column for name, column in columns.items() if column.size}
    return found, b"".join(rest)


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """(the number, the position after it). Raises _UnusualError."""
    number = 0
    for shift, byte in enumerate(islice(raw[at : at + _LONGEST_VARINT], _LONGEST_VARINT)):
        number |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return number, at + shift + 1
    raise _UnusualError
