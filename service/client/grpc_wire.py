"""Operations as gRPC messages. Pure. What comes back is read by grpc_answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from service.client import grpc_specs, packed, tensor_bytes
from service.client import operations as ops
from service.protos.sketchd.v1 import sketchd_pb2 as pb

_PLACE: Final = "sketchd-sketch"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
#: Of a snapshot, in one message.
_PIECE_BYTES: Final = 1 << 18
#: Columns with fewer bytes a number than this go as safetensors; packed they take 8.
_NARROW_BYTES: Final = 4
#: A uint32.
_LARGEST_LIMIT: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Request:
    """What goes onto the wire, apart from the access key.

    requests: the messages; exactly one unless `streams_in`. streams_in, streams_out: which side
    sends a stream.
    """

    method: str
    requests: Callable[[], Iterator[bytes]]
    streams_in: bool = False
    streams_out: bool = False


def request_of(operation: ops.Operation[Any], tensors: bool) -> Request:
    """How an operation is asked. tensors: whether columns may go as safetensors."""
    if isinstance(operation, ops.AddMany):
        parts = [operation.parts[at] for at in operation.pending()]
        return Request("UpdateStream", lambda: (_add(part, tensors) for part in parts), True, True)
    if isinstance(operation, ops.DrawMany):
        questions = [operation.parts[at] for at in operation.pending()]
        return Request("SampleStream", lambda: map(_draw, questions), True, True)
    if isinstance(operation, ops.AddSnapshot):
        return Request("AddSnapshot", lambda: _add_snapshot(operation), streams_in=True)
    if isinstance(operation, ops.TakeSnapshot):
        asked = pb.GetSnapshotRequest(sketch=operation.sketch)
        return _one("GetSnapshot", asked.SerializeToString(), streams_out=True)
    if isinstance(operation, ops.Add):
        return _one("Update", _add(operation, tensors))
    method, write = _WRITERS[type(operation)]
    written = write(operation)
    return _one(method, written if isinstance(written, bytes) else written.SerializeToString())


def place_of(operation: ops.Operation[Any]) -> tuple[tuple[str, str], ...]:
    """Metadata that names the one sketch asked about: balancers do not look into messages.

    None for several sketches, and for what is no name: to refuse that is for the service.
    """
    name = getattr(operation, "name" if isinstance(operation, ops.Create) else "sketch", "")
    return ((_PLACE, name),) if _NAME.fullmatch(name) else ()


def _one(method: str, data: bytes, streams_out: bool = False) -> Request:
    return Request(method, lambda: iter((data,)), streams_out=streams_out)


def _add(op: ops.Add, tensors: bool) -> bytes:
    """Packed, which is the quicker, unless numbers are so narrow that it takes twice the bytes."""
    message = pb.UpdateRequest(sketch=op.sketch, idempotency_key=op.key)
    held = sum(column.nbytes for column in op.columns.values())
    if tensors and held < _NARROW_BYTES * op.size:
        message.safetensors = tensor_bytes.write(op.columns, {"operand": op.operand})
        return message.SerializeToString()
    message.operand = op.operand
    return packed.with_columns(message, op.columns)


def _draw(op: ops.Draw) -> bytes:
    message = pb.SampleRequest(sketch=op.sketch, draw=op.draw)
    if op.count is not None:
        message.count = op.count
    if op.replacement is not None:
        message.replacement = op.replacement
    return _with_query(message, {}, op.query)


def _with_query(message: Message, columns: dict[str, Any], query: ops.Query | None) -> bytes:
    if query is None:
        return packed.with_columns(message, columns)
    if query.name == "x":
        return packed.with_columns(message, columns | {"x": query.values})
    data = packed.with_columns(message, columns)
    return packed.with_matrix(data, message, query.name, query.values)


def _estimate(op: ops.EstimateAt) -> bytes:
    columns = {"index": op.index}
    if op.index.ndim == 2:
        columns = {"index": op.index[:, 0], "index2": op.index[:, 1]}
    return _with_query(pb.EstimateRequest(sketch=op.sketch), columns, op.query)


def _norm(op: ops.NormOf) -> bytes:
    message = pb.NormRequest(sketch=op.sketch)
    if op.power is not None:
        message.power = op.power
    return _with_query(message, {}, op.query)


def _list(op: ops.ListPage) -> Message:
    # The service says what the range is, of what no message holds, too.
    message = pb.ListSketchesRequest(
        prefix=op.prefix, contains=op.contains, limit=min(op.limit, _LARGEST_LIMIT)
    )
    if op.cursor is not None:
        message.cursor = op.cursor
    return message


def _set_ttl(op: ops.SetTtl) -> Message:
    message = pb.PatchSketchRequest(name=op.sketch)
    if op.seconds is not None:
        message.ttl_seconds = op.seconds
    return message


def _merge(op: ops.Merge) -> Message:
    return pb.MergeRequest(
        sketch=op.sketch, source=op.source, operands=op.operands or (), idempotency_key=op.key
    )


def _add_snapshot(op: ops.AddSnapshot) -> Iterator[bytes]:
    view = memoryview(op.data)
    yield pb.AddSnapshotRequest(
        sketch=op.sketch,
        operands=op.operands or (),
        idempotency_key=op.key,
        data=bytes(view[:_PIECE_BYTES]),
    ).SerializeToString()
    for at in range(_PIECE_BYTES, len(view), _PIECE_BYTES):
        yield pb.AddSnapshotRequest(data=bytes(view[at : at + _PIECE_BYTES])).SerializeToString()


_WRITERS: Final[dict[type, tuple[str, Callable[[Any], Message | bytes]]]] = {
    ops.Create: (
        "CreateSketch",
        lambda op: pb.CreateSketchRequest(name=op.name, spec=grpc_specs.message_of(op.spec)),
    ),
    ops.ListPage: ("ListSketches", _list),
    ops.PlanOf: ("Plan", lambda op: pb.PlanRequest(spec=grpc_specs.message_of(op.spec))),
    ops.Look: ("GetSketch", lambda op: pb.GetSketchRequest(name=op.sketch)),
    ops.SetTtl: ("PatchSketch", _set_ttl),
    ops.Delete: ("DeleteSketch", lambda op: pb.DeleteSketchRequest(name=op.sketch)),
    ops.Draw: ("Sample", _draw),
    ops.EstimateAt: ("Estimate", _estimate),
    ops.NormOf: ("Norm", _norm),
    ops.Seal: (
        "Seal",
        lambda op: pb.SealRequest(sketch=op.sketch, operand=op.operand, idempotency_key=op.key),
    ),
    ops.Merge: ("Merge", _merge),
}
