"""Errors as answers of HTTP: RFC 9457 problem+json. What they say: problems."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from service import errors, wire
from service.problems import (
    FieldError,
    InvalidFields,
    body_of,
    fields_of,
    problem,
    retry_after_of,
    status_of,
)

MEDIA_TYPE: Final = "application/problem+json"
_LOG: Final = logging.getLogger("sketchd.http")


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
    seconds = retry_after_of(error)
    if seconds is not None:
        headers["Retry-After"] = str(seconds)
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
