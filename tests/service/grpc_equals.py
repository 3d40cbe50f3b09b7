"""The same request through HTTP and through gRPC, and answers of both in one form to compare.

A request is written as HTTP has it: an operation, a name, and a body of JSON objects. An
answer is what HTTP's JSON says without what is null or empty, which protobuf cannot tell from
absent; versions without their random part.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx

from service.protos.sketchd.v1 import sketchd_pb2 as pb
from tests.service.grpc_rig import Both, failure_of

TENSORS = "application/x-safetensors"
OCTETS = "application/octet-stream"
_VERSION = re.compile(r"^[0-9a-f]{8}-(\d+)$")


@dataclass(frozen=True)
class Asked:
    """One request. body: JSON, or bytes of safetensors or of a snapshot. more: of the operation."""

    op: str
    name: str = ""
    body: Any = None
    key: str | None = None
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """A request that failed, whichever transport says so."""

    status: int
    code: str
    detail: str
    fields: tuple[tuple[str, str], ...]
    retry: float | None


# HTTP


def over_http(service: Both, asked: Asked) -> Any:
    """The answer, or Refused."""
    method, path = _ROUTES[asked.op]
    headers: dict[str, Any] = {}
    if asked.key is not None:
        headers["idempotency-key"] = asked.key.encode("latin-1")
    content = b""
    if isinstance(asked.body, bytes):
        content = asked.body
        headers["content-type"] = (OCTETS if "snapshot" in asked.op else TENSORS).encode()
    elif asked.body is not None:
        content, headers["content-type"] = json.dumps(asked.body).encode(), b"application/json"
    if asked.more.get("as_safetensors"):
        headers["accept"] = TENSORS.encode()
    answer = service.http.request(
        method, path.format(asked.name), content=content, headers=headers,
        params=asked.more.get("params"),
    )  # fmt: skip
    return _read_http(asked, answer)


_ROUTES = {
    "create": ("PUT", "/v1/sketches/{}"), "get": ("GET", "/v1/sketches/{}"),
    "list": ("GET", "/v1/sketches"), "patch": ("PATCH", "/v1/sketches/{}"),
    "delete": ("DELETE", "/v1/sketches/{}"), "plan": ("POST", "/v1/plan"),
    "update": ("POST", "/v1/sketches/{}/updates"), "sample": ("POST", "/v1/sketches/{}/samples"),
    "estimate": ("POST", "/v1/sketches/{}/estimates"), "norm": ("POST", "/v1/sketches/{}/norm"),
    "seal": ("POST", "/v1/sketches/{}/seal"), "merge": ("POST", "/v1/sketches/{}/merge"),
    "get_snapshot": ("GET", "/v1/sketches/{}/snapshot"),
    "add_snapshot": ("POST", "/v1/sketches/{}/snapshot"),
}  # fmt: skip


def _read_http(asked: Asked, answer: httpx.Response) -> Any:
    if answer.status_code >= 400:
        problem = answer.json()
        retry = answer.headers.get("retry-after")
        return Refused(
            answer.status_code,
            problem["code"],
            problem["detail"],
            tuple((_pointer(asked, one), one["detail"]) for one in problem.get("errors", ())),
            None if retry is None else float(retry),
        )
    if answer.headers.get("content-type") == OCTETS:
        return answer.content, answer.headers["x-sketch-version"].partition("-")[2]
    if answer.headers.get("content-type") == TENSORS:
        return _tensors(answer.content)
    found = plain(answer.json()) if answer.content else {}
    return {**found, "created": answer.status_code == 201} if asked.op == "create" else found


def _pointer(asked: Asked, fault: dict[str, str]) -> str:
    """The pointer, where messages call a field by another name than HTTP."""
    pointer = fault["pointer"]
    named = asked.op in ("create", "get", "patch", "delete")
    return "/sketch" if pointer == "/name" and not named else pointer


def plain(value: Any) -> Any:
    """JSON without nulls and empty members, big indices as numbers, versions as positions."""
    if isinstance(value, dict):
        inner = {name: plain(item) for name, item in value.items()}
        return {name: item for name, item in inner.items() if item not in (None, [], {})}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str) and (found := _VERSION.match(value)):
        return found[1]
    return int(value) if isinstance(value, str) and value.isdigit() else value


def _tensors(body: bytes) -> Any:
    """A safetensors body: its header, whose order is nobody's promise, and its bytes."""
    end = 8 + int.from_bytes(body[:8], "little")
    return plain(json.loads(body[8:end])), body[end:]


# gRPC


def over_grpc(service: Both, asked: Asked, *, stream: bool = False) -> Any:
    """The same. stream: as the one message of a stream, where the operation has one."""
    if stream and asked.op in ("update", "sample"):
        return next(iter(over_stream(service, [asked])))
    try:
        return _CALLS[asked.op](service.stub, asked)
    except grpc.RpcError as error:
        failure = failure_of(error)
        fields = failure.fields
        if asked.op == "add_snapshot":  # HTTP has a parameter that is there several times
            fields = tuple((re.sub("^/operands.*", "/operand", one), two) for one, two in fields)
        return Refused(failure.http_status, failure.code, failure.detail, fields, failure.retry)


def over_stream(service: Both, asked: list[Asked]) -> list[Any]:
    """The answers to updates, or to samples, sent in one stream."""
    if asked[0].op == "update":
        results = service.stub.UpdateStream(map(update_message, asked), timeout=60)
    else:
        results = service.stub.SampleStream(map(sample_message, asked), timeout=60)
    return [_of_result(result) for result in results]


def _of_result(result: Any) -> Any:
    if result.WhichOneof("result") == "response":
        response = result.response
        return _sampled(response) if isinstance(response, pb.SampleResponse) else said(response)
    problem = result.problem
    assert problem.status == grpc.StatusCode[RPC_CODES[problem.code]].value[0]
    return Refused(
        STATUSES[problem.code],
        problem.code,
        problem.detail,
        tuple((one.pointer, one.detail) for one in problem.errors),
        problem.retry_after_seconds if problem.HasField("retry_after_seconds") else None,
    )


def _codes() -> Iterator[tuple[str, int, str]]:
    from service.error_codes import CODES

    for name, code in CODES.items():
        yield name, code.status, code.rpc


STATUSES = {name: status for name, status, _ in _codes()}
RPC_CODES = {name: rpc for name, _, rpc in _codes()}


def message_of(kind: Any, fields: dict[str, Any]) -> Any:
    """A message of JSON members; lists of rows are matrices, null is absent."""
    message = kind()
    for name, value in fields.items():
        if isinstance(value, dict):
            inner = getattr(message, name)
            inner.SetInParent()
            inner.CopyFrom(message_of(type(inner), value))
        elif isinstance(value, list) and name in ("X", "queries"):
            matrix = getattr(message, name)
            matrix.SetInParent()
            matrix.rows, matrix.columns = len(value), len(value[0]) if value else 0
            matrix.values.extend(number for row in value for number in row)
        elif isinstance(value, list):
            getattr(message, name).extend(value)
        elif value is not None:
            setattr(message, name, value)
    return message


def update_message(asked: Asked) -> pb.UpdateRequest:
    """The message of an update."""
    if isinstance(asked.body, bytes):
        message = pb.UpdateRequest(safetensors=asked.body)
    else:
        fields = {**asked.body}
        rows = fields.pop("values", [])
        message = message_of(pb.UpdateRequest, fields)
        message.values.extend(number for row in rows for number in row)
    message.sketch, message.idempotency_key = asked.name, asked.key or ""
    return message


def sample_message(asked: Asked) -> pb.SampleRequest:
    """The message of a sample request."""
    tensors = bool(asked.more.get("as_safetensors"))
    if isinstance(asked.body, bytes):
        return pb.SampleRequest(sketch=asked.name, safetensors=asked.body, as_safetensors=tensors)
    message: pb.SampleRequest = message_of(pb.SampleRequest, asked.body)
    message.sketch, message.as_safetensors = asked.name, tensors
    return message


def _question(kind: Any, asked: Asked) -> Any:
    fields = {**asked.body}
    index = fields.get("index", [])
    if index and isinstance(index[0], list):
        fields["index"], fields["index2"] = [one for one, _ in index], [two for _, two in index]
    message = message_of(kind, fields)
    message.sketch = asked.name
    return message


def _created(stub: Any, asked: Asked) -> Any:
    spec = message_of(pb.Spec, asked.body)
    answer = stub.CreateSketch(pb.CreateSketchRequest(name=asked.name, spec=spec), timeout=30)
    return {**said(answer.sketch), "created": answer.created}


def _snapshot(stub: Any, asked: Asked) -> Any:
    pieces = list(stub.GetSnapshot(pb.GetSnapshotRequest(sketch=asked.name), timeout=30))
    data = b"".join(piece.data for piece in pieces)
    assert pieces[0].size == len(data)
    return data, pieces[0].version.partition("-")[2]


def _added(stub: Any, asked: Asked) -> Any:
    operands = asked.more.get("params", {}).get("operand", [])
    step = asked.more.get("piece", 1000)
    head = pb.AddSnapshotRequest(
        sketch=asked.name, operands=operands, idempotency_key=asked.key or ""
    )
    pieces = [
        pb.AddSnapshotRequest(data=asked.body[at : at + step])
        for at in range(0, len(asked.body), step)
    ]
    return said(stub.AddSnapshot(iter([head, *pieces]), timeout=30))


def _listed(stub: Any, asked: Asked) -> Any:
    answer = stub.ListSketches(
        message_of(pb.ListSketchesRequest, asked.more.get("params", {})), timeout=30
    )
    found = {"sketches": [said(one) for one in answer.sketches]}
    if answer.HasField("next_cursor"):
        found["next_cursor"] = answer.next_cursor
    return {name: item for name, item in found.items() if item}


def _sampled(answer: pb.SampleResponse) -> Any:
    if answer.safetensors:
        return _tensors(answer.safetensors)
    return said(answer)


def said(message: Any) -> Any:
    """A message as plain JSON; fields without presence are always there."""
    if hasattr(message, "results") and message.results:
        return {"results": [said(one) for one in message.results]}
    if isinstance(message, pb.Matrix):
        values = list(message.values)
        return [values[at : at + message.columns] for at in range(0, len(values), message.columns)]
    found: dict[str, Any] = {}
    for one in message.DESCRIPTOR.fields:
        if one.has_presence and not message.HasField(one.name):
            continue
        value = getattr(message, one.name)
        if one.is_repeated:
            found[one.name] = [said(item) if one.message_type else item for item in value]
        else:
            found[one.name] = said(value) if one.message_type else value
    if found.get("index2"):
        found["index"] = [list(pair) for pair in zip(found["index"], found["index2"], strict=True)]
    return plain({name: item for name, item in found.items() if name not in _NOT_IN_JSON})


_NOT_IN_JSON = {"index2", "safetensors", "results"}

_CALLS: dict[str, Callable[[Any, Asked], Any]] = {
    "create": _created,
    "get": lambda s, a: said(s.GetSketch(pb.GetSketchRequest(name=a.name), timeout=30)),
    "list": _listed,
    "patch": lambda s, a: said(
        s.PatchSketch(message_of(pb.PatchSketchRequest, {"name": a.name, **a.body}), timeout=30)
    ),
    "delete": lambda s, a: said(s.DeleteSketch(pb.DeleteSketchRequest(name=a.name), timeout=30)),
    "plan": lambda s, a: said(s.Plan(pb.PlanRequest(spec=message_of(pb.Spec, a.body)), timeout=30)),
    "update": lambda s, a: said(s.Update(update_message(a), timeout=30)),
    "sample": lambda s, a: _sampled(s.Sample(sample_message(a), timeout=30)),
    "estimate": lambda s, a: said(s.Estimate(_question(pb.EstimateRequest, a), timeout=30)),
    "norm": lambda s, a: said(s.Norm(_question(pb.NormRequest, a), timeout=30)),
    "seal": lambda s, a: said(
        s.Seal(
            message_of(pb.SealRequest, {"sketch": a.name, "idempotency_key": a.key, **a.body}),
            timeout=30,
        )
    ),
    "merge": lambda s, a: said(
        s.Merge(
            message_of(pb.MergeRequest, {"sketch": a.name, "idempotency_key": a.key, **a.body}),
            timeout=30,
        )
    ),
    "get_snapshot": _snapshot,
    "add_snapshot": _added,
}
