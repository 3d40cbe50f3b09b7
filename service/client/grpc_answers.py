"""gRPC messages as answers, and the ends of failed calls as errors. Pure. Requests: grpc_wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from service.client import grpc_specs, packed
from service.client import operations as ops
from service.client.answers import Acknowledgement, Estimate, Norm, Sample, Snapshot
from service.client.errors import FieldError, ServiceFailed, SketchdError, Unreachable
from service.client.http_answers import UNINTELLIGIBLE, error_of
from service.protos.sketchd.v1 import sketchd_pb2 as pb

Answer = TypeVar("Answer")

_DETAILS: Final = "grpc-status-details-bin"
_MALFORMED: Final = frozenset({"malformed_json", "malformed_safetensors"})
#: The HTTP status of a gRPC code, where the code of the problem does not say another.
_STATUSES: Final[dict[int, int]] = {
    3: 422, 5: 404, 6: 409, 7: 403, 8: 429, 9: 409, 11: 422, 13: 500, 14: 503, 16: 401,
}  # fmt: skip
_STATUSES_OF_CODES: Final = {"quota_exceeded": 403, "body_too_large": 413, "body_too_slow": 408}
#: What a call ends with when nobody at the other side said so.
_UNREACHABLE: Final = frozenset({
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
})  # fmt: skip
#: What gRPC says, with other codes, of a connection that broke under a call.
_BROKE: Final = ("Stream removed", "RST_STREAM", "GOAWAY", "Internal error from Core")


def answer_of(operation: ops.Operation[Answer], messages: Sequence[bytes]) -> Answer:
    """What an operation is answered with. messages: one, or those of a stream. Raises SketchdError.

    Of operations in parts: see results_of.
    """
    try:
        if isinstance(operation, ops.TakeSnapshot):
            return cast(Answer, _snapshot(messages))
        kind, read = _READERS[type(operation)]
        return cast(Answer, read(kind.FromString(messages[0])))
    except (DecodeError, IndexError, KeyError, ValueError) as error:
        detail = f"the answer makes no sense: {error!r}"
        raise ServiceFailed(UNINTELLIGIBLE, detail, status=200) from error


def results_of(
    operation: ops.AddMany | ops.DrawMany, messages: Sequence[bytes], end: SketchdError | None
) -> list[Any]:
    """The results of all parts. end: what those have that the stream did not come to.

    Raises it where it came before any part's result.
    """
    pending = operation.pending()
    if end is not None and not messages and not operation.settled:
        raise end
    found: dict[int, Any] = dict(operation.settled)
    for at, data in zip(pending, messages, strict=False):
        found[at] = _result(operation, data)
    missing = end or Unreachable("unreachable", "the stream ended before all was answered")
    return [found.get(at, missing) for at in range(len(operation.parts))]


def _result(operation: ops.AddMany | ops.DrawMany, data: bytes) -> Any:
    try:
        if isinstance(operation, ops.AddMany):
            added = pb.UpdateResult.FromString(data)
            if added.WhichOneof("result") == "response":
                return _acknowledgement(added.response)
            return _problem(added.problem)
        drawn = pb.SampleResult.FromString(data)
        if drawn.WhichOneof("result") == "response":
            return _sample(drawn.response)
        return _problem(drawn.problem)
    except DecodeError as error:
        return ServiceFailed(UNINTELLIGIBLE, f"the answer makes no sense: {error!r}", status=200)


def _problem(found: pb.Problem) -> SketchdError:
    after = found.retry_after_seconds if found.HasField("retry_after_seconds") else None
    fields = tuple(FieldError(one.pointer, one.detail) for one in found.errors)
    return error_of(_status(found.status, found.code), found.code, found.detail, fields, after)


def _status(rpc_code: int, code: str) -> int:
    if code in _MALFORMED:
        return 400
    return _STATUSES_OF_CODES.get(code, _STATUSES.get(rpc_code, 500))


def error_of_end(
    code: grpc.StatusCode, message: str | None, trailers: Sequence[tuple[str, str | bytes]]
) -> SketchdError:
    """The error of a call that failed. trailers: its trailing metadata."""
    details = next((value for name, value in trailers if name == _DETAILS), None)
    if details is not None:
        told = _told(details if isinstance(details, bytes) else details.encode())
        if told is not None:
            return told
    broke = any(words in (message or "") for words in _BROKE)
    if code in _UNREACHABLE or broke:
        return Unreachable("unreachable", f"no answer: {code.name}, {message}")
    number = int(cast(Any, code).value[0])
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:  # of gRPC itself: a message over its limit
        return error_of(413, "body_too_large", message or code.name)
    return error_of(_STATUSES.get(number, 500), UNINTELLIGIBLE, f"{code.name}: {message}")


def _told(data: bytes) -> SketchdError | None:
    """The problem in the details, None where they are not the service's."""
    info, fields, after = None, [], None
    try:
        status = status_pb2.Status.FromString(data)
        for detail in status.details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo.FromString(detail.value)
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                found = error_details_pb2.BadRequest.FromString(detail.value)
                fields = [FieldError(one.field, one.description) for one in found.field_violations]
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
                after = delay.seconds + delay.nanos / 1e9
    except DecodeError:
        return None
    if info is None or info.domain != "sketchd":
        return None
    http = info.metadata.get("status", "")
    return error_of(
        int(http) if http.isdigit() else _status(status.code, info.reason),
        info.reason,
        status.message.removeprefix(f"{info.reason}: "),
        tuple(fields),
        after,
        info.metadata.get("request_id"),
    )


def _acknowledgement(found: pb.UpdateResponse) -> Acknowledgement:
    return Acknowledgement(found.accepted, found.version)


def _sample(found: pb.SampleResponse) -> Sample:
    with_inclusion = len(found.inclusion_probability) > 0 or len(found.index) == 0
    return Sample(
        status=cast(Any, found.status),
        index=packed.coordinates(found.index, found.index2),
        value=packed.floats(found.value),
        probability=packed.floats(found.probability),
        inclusion_probability=(
            packed.floats(found.inclusion_probability) if with_inclusion else None
        ),
        norm=found.norm,
        threshold=found.threshold,
        draw=found.draw,
        draws=found.draws if found.HasField("draws") else None,
        version=found.version,
        exact=found.exact,
    )


def _estimate(found: pb.EstimateResponse) -> Estimate:
    return Estimate(
        index=packed.coordinates(found.index, found.index2),
        value=packed.floats(found.value),
        standard_error=packed.floats(found.standard_error),
        version=found.version,
        exact=found.exact,
    )


def _norm(found: pb.NormResponse) -> Norm:
    return Norm(
        power=found.power if found.HasField("power") else None,
        norm=found.norm,
        standard_error=found.standard_error,
        version=found.version,
        exact=found.exact,
    )


def _each(read: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    return lambda found: [read(one) for one in found.results or (found,)]


def _page(found: pb.ListSketchesResponse) -> ops.Page:
    cursor = found.next_cursor if found.HasField("next_cursor") else None
    return ops.Page([grpc_specs.info_of(one) for one in found.sketches], cursor)


def _snapshot(messages: Sequence[bytes]) -> Snapshot:
    pieces = [pb.SnapshotChunk.FromString(one) for one in messages]
    data = b"".join(piece.data for piece in pieces)
    if len(data) != pieces[0].size:
        raise ValueError(f"{len(data)} bytes of {pieces[0].size} came")
    return Snapshot(data, pieces[0].version)


_READERS: Final[dict[type, tuple[Any, Callable[[Any], Any]]]] = {
    ops.Create: (pb.CreateSketchResponse, lambda found: grpc_specs.info_of(found.sketch)),
    ops.ListPage: (pb.ListSketchesResponse, _page),
    ops.PlanOf: (pb.PlanResponse, grpc_specs.plan_of),
    ops.Look: (pb.Sketch, grpc_specs.info_of),
    ops.SetTtl: (pb.Sketch, grpc_specs.info_of),
    ops.Delete: (pb.DeleteSketchResponse, lambda _: None),
    ops.Add: (pb.UpdateResponse, _acknowledgement),
    ops.Draw: (pb.SampleResponse, _each(_sample)),
    ops.EstimateAt: (pb.EstimateResponse, _each(_estimate)),
    ops.NormOf: (pb.NormResponse, _each(_norm)),
    ops.Seal: (pb.Sketch, grpc_specs.info_of),
    ops.Merge: (pb.UpdateResponse, _acknowledgement),
    ops.AddSnapshot: (pb.UpdateResponse, _acknowledgement),
}
