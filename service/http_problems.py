"""Errors as RFC 9457 problem+json: one table from exceptions to statuses. Codes: http_codes."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from service import errors, wire
from service.http_codes import CODES
from service.sketch_requests import NAME_RULE

MEDIA_TYPE: Final = "application/problem+json"
_LOG: Final = logging.getLogger("sketchd.http")

#: From the class of an error to its status; the first class that matches counts.
STATUSES: Final[tuple[tuple[type[errors.ServiceError], int], ...]] = (
    (errors.InvalidRequest, 422),  # 400 when malformed
    (errors.Unauthorized, 401),
    (errors.RoleTooLow, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.TooLarge, 413),
    (errors.TooSlow, 408),
    (errors.UnsupportedMedia, 415),
    (errors.QuotaExceeded, 403),
    (errors.RateLimited, 429),
    (errors.Unavailable, 503),
)

#: What pydantic calls an error -> our code; everything else is "invalid".
_PYDANTIC_CODES: Final[dict[str, str]] = {"extra_forbidden": "unknown_field"}
#: And what it says, in the words the columns' own readers use; {} are of its context.
_PYDANTIC_DETAILS: Final[dict[str, str]] = {
    "extra_forbidden": "unknown field",
    "missing": "is required",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be finite",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_pattern_mismatch": NAME_RULE,  # no other field has a pattern
    "too_long": "must have at most {max_length} items",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field at fault: its JSON pointer, and what is wrong with it."""

    pointer: str
    detail: str
    code: str = "invalid"


class InvalidFields(errors.InvalidRequest):
    """Several fields at fault at once."""

    def __init__(self, fields: Sequence[FieldError]) -> None:
        first = fields[0]
        more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
        super().__init__(f"{first.detail}{more}", code=first.code, pointer=first.pointer)
        self.fields = tuple(fields)


def fields_of(failures: Sequence[Any], prefix: str = "") -> list[FieldError]:
    """pydantic's errors as field errors with JSON pointers under `prefix`."""
    fields = []
    for failure in failures:
        parts = [str(part).replace("~", "~0").replace("/", "~1") for part in failure["loc"]]
        pointer = prefix + "".join(f"/{part}" for part in parts)
        code = _PYDANTIC_CODES.get(failure["type"], "invalid")
        wording = _PYDANTIC_DETAILS.get(failure["type"])
        detail = (
            str(failure["msg"]) if wording is None else wording.format(**failure.get("ctx", {}))
        )
        fields.append(FieldError(pointer, detail, code))
    return fields


def status_of(error: errors.ServiceError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, errors.InvalidRequest) and error.malformed:
        return 400
    for kind, status in STATUSES:
        if isinstance(error, kind):
            return status
    return 500


def body_of(error: errors.ServiceError, prefix: str = "") -> dict[str, Any]:
    """The problem object of an error. prefix: the pointer, in the body, of the part that failed."""
    found = problem(status_of(error), error.code, error.detail)
    if isinstance(error, InvalidFields):
        fields = [(field.pointer, field.detail) for field in error.fields]
    else:
        fields = [(error.pointer, error.detail)] if error.pointer else []
    if fields:
        found["errors"] = [
            {"pointer": prefix + pointer, "detail": detail} for pointer, detail in fields
        ]
    return found


def problem(status: int, code: str, detail: str) -> dict[str, Any]:
    """A problem object without fields."""
    title = CODES[code].title if code in CODES else "The request failed"
    return {
        "type": f"/docs/errors#{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }


def response(
    status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    """A problem that no ServiceError stands for."""
    return Response(
        wire.dump_json(problem(status, code, detail)), status, headers, media_type=MEDIA_TYPE
    )


def response_of(error: errors.ServiceError) -> Response:
    """The answer to a request that failed with `error`."""
    headers = {}
    if isinstance(error, errors.Unavailable | errors.RateLimited):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, errors.Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.TooSlow):
        headers["Connection"] = "close"  # what is left of the body is not waited for
    return Response(
        wire.dump_json(body_of(error)), status_of(error), headers, media_type=MEDIA_TYPE
    )


def unexpected(request_id: str) -> Response:
    """The answer to a request that met a bug of ours."""
    found = problem(500, "internal", "an unexpected error; the log has it under the request id")
    found["request_id"] = request_id
    return Response(wire.dump_json(found), 500, media_type=MEDIA_TYPE)


async def on_service_error(request: Request, error: Exception) -> Response:
    """What a use case or the reading of a body refused."""
    assert isinstance(error, errors.ServiceError)
    if status_of(error) >= 500:
        _LOG.warning("%s: %s", error.code, error.detail, exc_info=error.__cause__)
    _rejected(request, error.code)
    return response_of(error)


def _rejected(request: Request, code: str) -> None:
    request.app.state.served.metrics.rejected(code)


async def on_validation_error(request: Request, error: Exception) -> Response:
    """A path or query parameter that FastAPI refused."""
    assert isinstance(error, RequestValidationError)
    fields = []
    for failure in error.errors():
        where, *rest = failure["loc"]
        [field] = fields_of([{**failure, "loc": rest}])
        if where == "path":
            field = FieldError(field.pointer, field.detail, "invalid_name")
        fields.append(field)
    refused = InvalidFields(fields)
    _rejected(request, refused.code)
    return response_of(refused)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What the router itself refuses: an unknown path, a method that a path does not have.

    Who has no key learns neither.
    """
    assert isinstance(error, HTTPException)
    caller = request.scope.get("state", {}).get("caller")
    if isinstance(caller, errors.ServiceError):
        return await on_service_error(request, caller)
    if error.status_code == 404:
        _rejected(request, "route_not_found")
        return response(404, "route_not_found", f"there is nothing at {request.url.path}")
    if error.status_code == 405:
        allowed = allowed_methods(request)
        _rejected(request, "method_not_allowed")
        return response(
            405,
            "method_not_allowed",
            f"{request.method} is not allowed here; allowed: {', '.join(allowed)}",
            {"Allow": ", ".join(allowed)},
        )
    code = "internal" if error.status_code >= 500 else "invalid"
    _rejected(request, code)
    return response(error.status_code, code, str(error.detail), error.headers)


async def on_disconnect(_: Request, error: Exception) -> Response:
    """Nobody reads this answer; it keeps a vanished client from being logged as our failure."""
    assert isinstance(error, ClientDisconnect)
    return response(400, "client_disconnected", "the client closed the connection")


def allowed_methods(request: Request) -> list[str]:
    """Methods of every route at the request's path (the router only names the first route's)."""
    methods: set[str] = set()
    for route in request.app.routes:
        matched, _ = route.matches(request.scope)
        if matched is not Match.NONE:
            methods |= set(getattr(route, "methods", None) or ())
    if "GET" in methods:  # the middleware makes one of the other
        methods.add("HEAD")
    return sorted(methods)
