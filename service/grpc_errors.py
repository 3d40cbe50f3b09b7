"""Errors as gRPC tells them: a code, a message, google.rpc.Status details, and stream problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from service import problems
from service.error_codes import CODES
from service.errors import ServiceError
from service.protos.sketchd.v1 import sketchd_pb2 as pb

#: Of an ErrorInfo.
DOMAIN: Final = "sketchd"
#: The trailing metadata that holds the problem's code, for who reads no details.
CODE_KEY: Final = "sketchd-code"
_DETAILS_KEY: Final = "grpc-status-details-bin"
#: Trailing metadata have 8 KiB, by default of every client; what a caller wrote may be longer.
_LONGEST_TEXT: Final = 1024
_LONGEST_FIELD_TEXT: Final = 160
_MOST_FIELDS: Final = 16


@dataclass(frozen=True, slots=True)
class Refusal:
    """How an RPC ends that failed."""

    code: grpc.StatusCode
    message: str
    trailers: tuple[tuple[str, str | bytes], ...]


def unexpected() -> ServiceError:
    """What is told of an exception that nobody caught: nothing but where to look."""
    return ServiceError("an unexpected error; the log has it under the request id")


def rpc_code(error: ServiceError) -> grpc.StatusCode:
    """The gRPC code of an error."""
    known = CODES.get(error.code)
    return grpc.StatusCode[known.rpc if known is not None else "INTERNAL"]


def refusal(error: ServiceError, request_id: str) -> Refusal:
    """The end of an RPC that `error` stopped."""
    code = rpc_code(error)
    problem = problems.body_of(error)
    message = _cut(f"{error.code}: {error.detail}", _LONGEST_TEXT)
    status = status_pb2.Status(code=code.value[0], message=message)
    info = error_details_pb2.ErrorInfo(reason=error.code, domain=DOMAIN)
    info.metadata["status"] = str(problem["status"])
    info.metadata["request_id"] = request_id
    _add(status, info)
    fields = problem.get("errors", [])[:_MOST_FIELDS]
    if fields:
        _add(status, error_details_pb2.BadRequest(field_violations=map(_violation, fields)))
    seconds = problems.retry_after_of(error)
    if seconds is not None:
        _add(status, error_details_pb2.RetryInfo(retry_delay=Duration(seconds=seconds)))
    trailers = ((CODE_KEY, error.code), (_DETAILS_KEY, status.SerializeToString()))
    return Refusal(code, message, trailers)


def problem_of(error: ServiceError) -> pb.Problem:
    """Why one message of a stream was refused."""
    found = problems.body_of(error)
    told = pb.Problem(
        status=rpc_code(error).value[0],
        code=error.code,
        detail=error.detail,
        errors=[pb.Problem.Field(**field) for field in found.get("errors", [])],
    )
    seconds = problems.retry_after_of(error)
    if seconds is not None:
        told.retry_after_seconds = seconds
    return told


def _add(status: status_pb2.Status, detail: Any) -> None:
    packed = AnyMessage()
    packed.Pack(detail)
    status.details.append(packed)


def _violation(field: dict[str, str]) -> Any:
    return error_details_pb2.BadRequest.FieldViolation(
        field=_cut(field["pointer"], _LONGEST_FIELD_TEXT),
        description=_cut(field["detail"], _LONGEST_FIELD_TEXT),
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
