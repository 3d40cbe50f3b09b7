"""Messages as what the use cases take. Pure; runs in the pool too.

A message becomes the object that JSON would carry, with arrays for its columns, and goes
through the same models (request_schemas): hence the same limits and the same errors.
numpy copies a repeated field as a whole: 3 µs for 10,000 numbers, and as long for reading the
message they came in.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from service import request_bodies
from service import request_schemas as schemas
from service.errors import InvalidRequest
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.sketches import SampleRequest
from sketch_core.batch import Columns

F64 = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]

_COLUMNS: Final = {
    "index": np.uint64, "row": np.uint64, "column": np.uint64,
    "delta": np.float64, "values": np.float64,
}  # fmt: skip
#: The operands whose updates have one index; all others have rows and columns.
_INDEXED: Final = frozenset({"y", "x"})
#: More of a list of operands than its model lets through.
_MANY_OPERANDS: Final = 64


def spec_of(message: pb.Spec) -> dict[str, Any]:
    """A spec as JSON would carry it: only what is there."""
    return {field.name: _plain(field.name, value) for field, value in message.ListFields()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, pb.Matrix):
        return matrix_of(value, f"/{name}").tolist()
    if isinstance(value, Message):
        return {field.name: _plain(field.name, inner) for field, inner in value.ListFields()}
    return value if isinstance(value, str | int | float) else list(value)


def matrix_of(message: pb.Matrix, pointer: str) -> F64:
    """(rows, columns). Raises InvalidRequest where the numbers are not as many."""
    rows, columns, count = message.rows, message.columns, len(message.values)
    if rows * columns != count or (rows and not columns):
        raise InvalidRequest(
            f"has {count} values, not {rows} rows of {columns} columns", pointer=pointer
        )
    found: F64 = np.array(message.values, np.float64).reshape(rows, columns if rows else 0)
    return found


def columns_of(message: pb.UpdateRequest) -> Columns:
    """The batch of an update, from its columns or its safetensors."""
    fields: dict[str, Any] = _columns_in(message)
    if message.safetensors:
        if fields or message.operand:
            raise InvalidRequest(
                "comes instead of the columns and the operand", pointer="/safetensors"
            )
        return request_bodies.update_from_tensors(message.safetensors)
    operand = message.operand or "y"
    if "values" in fields:
        fields["values"] = _rows(fields["values"], fields.get("row"))
    if not fields:
        none = np.empty(0, np.uint64)
        places = {"index": none} if operand in _INDEXED else {"row": none, "column": none}
        fields = {**places, "delta": np.empty(0)}
    return request_bodies.columns_of(
        schemas.validate(schemas.Update, {"operand": operand, **fields})
    )


def _columns_in(message: pb.UpdateRequest) -> dict[str, Any]:
    """The columns that are there, as arrays."""
    repeated = {name: getattr(message, name) for name in _COLUMNS}
    return {name: np.array(one, _COLUMNS[name]) for name, one in repeated.items() if one}


def longest_of(message: pb.UpdateRequest) -> int:
    """Numbers in the longest column of an update."""
    return max(len(getattr(message, name)) for name in _COLUMNS)


def _rows(values: F64, row: U64 | None) -> F64:
    """The values of whole rows, (b, d)."""
    count = 1 if row is None else len(row)
    if len(values) % count:
        raise InvalidRequest(
            f"has {len(values)} numbers, which do not divide into {count} rows", pointer="/values"
        )
    return values.reshape(count, -1)


def sample_of(message: pb.SampleRequest) -> tuple[SampleRequest, bool]:
    """(the request, whether it asks several queries)."""
    fields = _present(message, "count", "replacement") | _queries_of(message)
    if message.draw:
        fields["draw"] = message.draw
    if message.safetensors:
        if fields:
            raise InvalidRequest(
                f"comes instead of {', '.join(sorted(fields))}", pointer="/safetensors"
            )
        return request_bodies.sample_from_tensors(message.safetensors)
    asked = schemas.validate(schemas.Sample, fields)
    return request_bodies.sample_of(asked), asked.queries is not None


def estimate_of(message: pb.EstimateRequest) -> tuple[U64, F64 | None, bool]:
    """(coordinates (b,) or pairs of them (b, 2), queries, whether several)."""
    index = np.array(message.index, np.uint64)
    if message.index2:
        second = np.array(message.index2, np.uint64)
        if len(index) != len(second):
            raise InvalidRequest(
                f"has {len(second)} coordinates where index has {len(index)}", pointer="/index2"
            )
        index = np.stack([index, second], axis=1)
    fields = {"index": index, **_queries_of(message)}
    return request_bodies.estimate_of(schemas.validate(schemas.Estimate, fields))


def norm_of(message: pb.NormRequest) -> tuple[float | None, F64 | None, bool]:
    """(power, queries, whether several)."""
    fields = _present(message, "power") | _queries_of(message)
    asked = schemas.validate(schemas.Norm, fields)
    return asked.power, request_bodies.queries_of(asked), asked.queries is not None


def seal_of(message: pb.SealRequest) -> schemas.Seal:
    """The operand to seal."""
    return schemas.validate(schemas.Seal, {"operand": message.operand} if message.operand else {})


def merge_of(message: pb.MergeRequest) -> schemas.Merge:
    """What to add."""
    fields: dict[str, Any] = {"source": message.source} if message.source else {}
    if message.operands:
        fields["operands"] = operands_of(message)
    return schemas.validate(schemas.Merge, fields)


def operands_of(message: pb.MergeRequest | pb.AddSnapshotRequest) -> list[str] | None:
    """The operands that are named, None where none is."""
    return list(message.operands[:_MANY_OPERANDS]) or None


def patch_of(message: pb.PatchSketchRequest) -> float | None:
    """The new time to live, None for never."""
    fields = {"ttl_seconds": None, **_present(message, "ttl_seconds")}
    return schemas.validate(schemas.Patch, fields).ttl_seconds


def _present(message: Message, *names: str) -> dict[str, Any]:
    return {name: getattr(message, name) for name in names if message.HasField(name)}


def _queries_of(message: pb.SampleRequest | pb.EstimateRequest | pb.NormRequest) -> dict[str, Any]:
    """x, queries and X, those that are there, as arrays."""
    fields: dict[str, Any] = {}
    if message.x:
        fields["x"] = np.array(message.x, np.float64)
    if message.HasField("queries"):
        fields["queries"] = matrix_of(message.queries, "/queries")
    if message.HasField("X"):
        fields["X"] = matrix_of(message.X, "/X")
    return fields
