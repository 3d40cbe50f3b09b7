"""HTTP responses as answers, or as the errors they tell. Pure. Requests: http_wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import numpy as np

from service.client import answer_objects, http_wire, tensor_bytes
from service.client import operations as ops
from service.client.answers import Acknowledgement, Sample, Snapshot
from service.client.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServiceFailed,
    SketchdError,
    Unauthorized,
    Unavailable,
)

Answer = TypeVar("Answer")

#: From the status to the error; others are InvalidRequest from 400, ServiceFailed otherwise.
_KINDS: Final[dict[int, type[SketchdError]]] = {
    401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 429: RateLimited,
    502: Unavailable, 503: Unavailable, 504: Unavailable,
}  # fmt: skip
#: The code of an answer that is not the service's: a proxy's, or none at all.
UNINTELLIGIBLE: Final = "unintelligible"


@dataclass(frozen=True, slots=True)
class Response:
    """What came. headers: their names in small letters."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def answer_of(operation: ops.Operation[Answer], response: Response) -> Answer:
    """What an operation is answered with. Raises SketchdError."""
    if not 200 <= response.status < 300:
        raise _error_of(response)
    try:
        found = _READERS[type(operation)](response)
        if isinstance(operation, ops.AddMany):
            places = range(len(operation.parts))
            found = _with_settled(operation, dict(zip(places, found, strict=True)))
        elif isinstance(operation, ops.DrawMany):
            found = _with_settled(operation, dict(zip(operation.pending(), found, strict=True)))
        return cast(Answer, found)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ServiceFailed(
            UNINTELLIGIBLE,
            f"the answer makes no sense: {error!r}",
            status=response.status,
            request_id=response.headers.get("x-request-id"),
        ) from error


def _with_settled(operation: ops.AddMany | ops.DrawMany, found: dict[int, Any]) -> list[Any]:
    """The results of all parts, in order; an earlier one counts."""
    results = found | dict(operation.settled)
    return [results[at] for at in range(len(operation.parts))]


def error_of(
    status: int,
    code: str,
    detail: str,
    fields: tuple[FieldError, ...] = (),
    retry_after: float | None = None,
    request_id: str | None = None,
) -> SketchdError:
    """The error for a problem of that status."""
    otherwise = InvalidRequest if 400 <= status < 500 else ServiceFailed
    return _KINDS.get(status, otherwise)(
        code,
        detail,
        status=status,
        fields=fields,
        retry_after=retry_after,
        request_id=request_id,
    )


def _error_of(response: Response) -> SketchdError:
    request_id = response.headers.get("x-request-id")
    retry_after = _seconds(response.headers.get("retry-after"))
    try:
        return _problem(response.status, json.loads(response.content), retry_after, request_id)
    except (KeyError, TypeError, ValueError):
        detail = f"an answer of status {response.status} that is not the service's"
        return error_of(response.status, UNINTELLIGIBLE, detail, (), retry_after, request_id)


def _problem(
    status: int, found: Mapping[str, Any], retry_after: float | None, request_id: str | None
) -> SketchdError:
    fields = tuple(FieldError(one["pointer"], one["detail"]) for one in found.get("errors", ()))
    return error_of(status, found["code"], found["detail"], fields, retry_after, request_id)


def _seconds(value: str | None) -> float | None:
    """Retry-After in seconds; a date, which the service never sends, counts as none."""
    return float(value) if value is not None and value.isascii() and value.isdigit() else None


def _object(response: Response) -> dict[str, Any]:
    found = json.loads(response.content)
    if not isinstance(found, dict):
        raise TypeError("not an object")
    return found


def _samples(response: Response) -> list[Sample]:
    if response.headers.get("content-type") == http_wire.TENSORS:
        return samples_of_tensors(response.content)
    return [answer_objects.sample(one) for one in answer_objects.results(_object(response))]


def samples_of_tensors(content: bytes) -> list[Sample]:
    """The answers in safetensors bytes: one, or one for each of several queries."""
    arrays, metadata = tensor_bytes.read(content)
    shared = {
        "draw": int(metadata["draw"]),
        "draws": int(metadata["draws"]) if "draws" in metadata else None,
        "version": metadata["version"],
        "exact": metadata["exact"] == "true",
    }
    inclusion = arrays.get("inclusion_probability")
    if "length" not in arrays:
        return [
            Sample(
                status=cast(Any, metadata["status"]),
                index=arrays["index"].astype(np.uint64),
                value=arrays["value"].copy(),
                probability=arrays["probability"].copy(),
                inclusion_probability=None if inclusion is None else inclusion.copy(),
                norm=float(metadata["norm"]),
                threshold=float(metadata["threshold"]),
                **cast(Any, shared),
            )
        ]
    names = metadata["status_names"].split(",")
    return [
        Sample(
            status=cast(Any, names[int(arrays["status"][at])]),
            index=arrays["index"][at, :length].astype(np.uint64),
            value=arrays["value"][at, :length].copy(),
            probability=arrays["probability"][at, :length].copy(),
            inclusion_probability=None if inclusion is None else inclusion[at, :length].copy(),
            norm=float(arrays["norm"][at]),
            threshold=float(arrays["threshold"][at]),
            **cast(Any, shared),
        )
        for at, length in enumerate(arrays["length"].tolist())
    ]


def _page(response: Response) -> ops.Page:
    found = _object(response)
    return ops.Page([answer_objects.info(one) for one in found["sketches"]], found["next_cursor"])


def _snapshot(response: Response) -> Snapshot:
    return Snapshot(response.content, response.headers["x-sketch-version"])


def _parts(
    response: Response, field: str, read: Callable[[Mapping[str, Any]], Any]
) -> list[Any | SketchdError]:
    """The results of a batch request; what is worth asking again has a second to wait."""
    request_id = response.headers.get("x-request-id")
    found = []
    for at, one in enumerate(_object(response)["results"]):
        status = one["status"]
        if status == 200:
            found.append(read(one))
            continue
        problem = dict(one["problem"])
        # Of the part, as if it had come alone.
        problem["errors"] = [
            {**field_error, "pointer": field_error["pointer"].removeprefix(f"/{field}/{at}")}
            for field_error in problem.get("errors", ())
        ]
        after = 1.0 if status in (429, 503) else None
        found.append(_problem(status, problem, after, request_id))
    return found


def _added(response: Response) -> list[Acknowledgement | SketchdError]:
    return _parts(response, "updates", answer_objects.acknowledgement)


def _drawn(response: Response) -> list[Sample | SketchdError]:
    return _parts(response, "requests", lambda one: answer_objects.sample(one["answer"]))


def _acknowledgement(response: Response) -> Acknowledgement:
    return answer_objects.acknowledgement(_object(response))


def _info(response: Response) -> Any:
    return answer_objects.info(_object(response))


_READERS: Final[dict[type, Callable[[Response], Any]]] = {
    ops.Create: _info,
    ops.ListPage: _page,
    ops.PlanOf: lambda response: answer_objects.plan(_object(response)),
    ops.Look: _info,
    ops.SetTtl: _info,
    ops.Delete: lambda _: None,
    ops.Add: _acknowledgement,
    ops.Draw: _samples,
    ops.EstimateAt: lambda response: [
        answer_objects.estimate(one) for one in answer_objects.results(_object(response))
    ],
    ops.NormOf: lambda response: [
        answer_objects.norm(one) for one in answer_objects.results(_object(response))
    ],
    ops.Seal: _info,
    ops.Merge: _acknowledgement,
    ops.TakeSnapshot: _snapshot,
    ops.AddSnapshot: _acknowledgement,
    ops.AddMany: _added,
    ops.DrawMany: _drawn,
}
