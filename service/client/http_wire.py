"""Operations as HTTP requests. Pure. What comes back is read by http_answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import numpy as np

from service.client import operations as ops
from service.client import tensor_bytes

JSON: Final = "application/json"
TENSORS: Final = "application/x-safetensors"
OCTETS: Final = "application/octet-stream"

#: So many draws and more are answered as safetensors: for fewer JSON is the quicker one.
_TENSOR_ANSWER: Final = 512


@dataclass(frozen=True, slots=True)
class Request:
    """What goes onto the wire, apart from the access key. path: encoded, with its query."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes | None


def request_of(operation: ops.Operation[Any], tensors: bool) -> Request:
    """How an operation is asked. tensors: whether columns go as safetensors where that is read."""
    return _WRITERS[type(operation)](operation, tensors)


def _plain(value: Any) -> Any:
    """What JSON has no name for, numpy's arrays and numbers, as lists and numbers."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"spec: holds a {type(value).__name__}, which JSON cannot carry")


def _json(
    method: str, path: str, value: object, key: str | None = None, accept: str = JSON
) -> Request:
    headers = {"content-type": JSON, "accept": accept}
    if key is not None:
        headers["idempotency-key"] = key
    body = json.dumps(value, separators=(",", ":"), default=_plain).encode()
    return Request(method, path, headers, body)


def _tensors(path: str, content: bytes, key: str | None = None, accept: str = JSON) -> Request:
    headers = {"content-type": TENSORS, "accept": accept}
    if key is not None:
        headers["idempotency-key"] = key
    return Request("POST", path, headers, content)


def _bare(method: str, path: str) -> Request:
    return Request(method, path, {"accept": f"{JSON}, {OCTETS};q=0.9"}, None)


def _path(sketch: str, rest: str = "") -> str:
    return f"/v1/sketches/{quote(sketch, safe='')}{rest}"


def _create(op: ops.Create, _: bool) -> Request:
    return _json("PUT", _path(op.name), op.spec)


def _list(op: ops.ListPage, _: bool) -> Request:
    query = {"prefix": op.prefix, "limit": op.limit}
    if op.contains:
        query["contains"] = op.contains
    if op.cursor is not None:
        query["cursor"] = op.cursor
    return _bare("GET", f"/v1/sketches?{urlencode(query)}")


def _plan(op: ops.PlanOf, _: bool) -> Request:
    return _json("POST", "/v1/plan", op.spec)


def _look(op: ops.Look, _: bool) -> Request:
    return _bare("GET", _path(op.sketch))


def _set_ttl(op: ops.SetTtl, _: bool) -> Request:
    return _json("PATCH", _path(op.sketch), {"ttl_seconds": op.seconds})


def _delete(op: ops.Delete, _: bool) -> Request:
    return _bare("DELETE", _path(op.sketch))


def _add(op: ops.Add, tensors: bool) -> Request:
    path = _path(op.sketch, "/updates")
    if tensors:
        return _tensors(path, tensor_bytes.write(op.columns, {"operand": op.operand}), op.key)
    return _json("POST", path, _add_fields(op), op.key)


def _add_fields(op: ops.Add) -> dict[str, Any]:
    return {"operand": op.operand} | {name: one.tolist() for name, one in op.columns.items()}


def _draw(op: ops.Draw, tensors: bool) -> Request:
    path = _path(op.sketch, "/samples")
    count = 16 if op.count is None else op.count
    asked = len(op.query.values) if op.query is not None and op.query.name == "queries" else 1
    accept = TENSORS if tensors and count * asked >= _TENSOR_ANSWER else JSON
    if not tensors or op.query is None:
        return _json("POST", path, _draw_fields(op), accept=accept)
    metadata = {"draw": str(op.draw)}
    if op.count is not None:
        metadata["count"] = str(op.count)
    if op.replacement is not None:
        metadata["replacement"] = "true" if op.replacement else "false"
    content = tensor_bytes.write({op.query.name: op.query.values}, metadata)
    return _tensors(path, content, accept=accept)


def _draw_fields(op: ops.Draw) -> dict[str, Any]:
    fields: dict[str, Any] = {"draw": op.draw} | _query_fields(op.query)
    if op.count is not None:
        fields["count"] = op.count
    if op.replacement is not None:
        fields["replacement"] = op.replacement
    return fields


def _query_fields(query: ops.Query | None) -> dict[str, Any]:
    return {} if query is None else {query.name: query.values.tolist()}


def _estimate(op: ops.EstimateAt, _: bool) -> Request:
    fields = {"index": op.index.tolist()} | _query_fields(op.query)
    return _json("POST", _path(op.sketch, "/estimates"), fields)


def _norm(op: ops.NormOf, _: bool) -> Request:
    fields = _query_fields(op.query)
    if op.power is not None:
        fields["power"] = op.power
    return _json("POST", _path(op.sketch, "/norm"), fields)


def _seal(op: ops.Seal, _: bool) -> Request:
    return _json("POST", _path(op.sketch, "/seal"), {"operand": op.operand}, op.key)


def _merge(op: ops.Merge, _: bool) -> Request:
    fields: dict[str, Any] = {"source": op.source}
    if op.operands is not None:
        fields["operands"] = list(op.operands)
    return _json("POST", _path(op.sketch, "/merge"), fields, op.key)


def _take_snapshot(op: ops.TakeSnapshot, _: bool) -> Request:
    return _bare("GET", _path(op.sketch, "/snapshot"))


def _add_snapshot(op: ops.AddSnapshot, _: bool) -> Request:
    query = urlencode([("operand", one) for one in op.operands or ()])
    path = _path(op.sketch, "/snapshot") + (f"?{query}" if query else "")
    headers = {"content-type": OCTETS, "accept": JSON, "idempotency-key": op.key}
    return Request("POST", path, headers, op.data)


def _add_many(op: ops.AddMany, _: bool) -> Request:
    # A part's key is made of its place, so one that is settled keeps it, with nothing to apply.
    parts = [
        {"sketch": part.sketch} | ({} if at in op.settled else _add_fields(part))
        for at, part in enumerate(op.parts)
    ]
    return _json("POST", "/v1/updates", {"updates": parts}, op.key)


def _draw_many(op: ops.DrawMany, _: bool) -> Request:
    asked = [op.parts[at] for at in op.pending()]
    parts = [{"sketch": part.sketch} | _draw_fields(part) for part in asked]
    return _json("POST", "/v1/samples", {"requests": parts})


_WRITERS: Final[dict[type, Callable[[Any, bool], Request]]] = {
    ops.Create: _create,
    ops.ListPage: _list,
    ops.PlanOf: _plan,
    ops.Look: _look,
    ops.SetTtl: _set_ttl,
    ops.Delete: _delete,
    ops.Add: _add,
    ops.Draw: _draw,
    ops.EstimateAt: _estimate,
    ops.NormOf: _norm,
    ops.Seal: _seal,
    ops.Merge: _merge,
    ops.TakeSnapshot: _take_snapshot,
    ops.AddSnapshot: _add_snapshot,
    ops.AddMany: _add_many,
    ops.DrawMany: _draw_many,
}
