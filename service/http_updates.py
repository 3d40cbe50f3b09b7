"""The way in: updates of one sketch or of many, as plain routes over the raw body.

A plain route saves FastAPI's validation and injection, about as much as all
else that a small update costs here; the OpenAPI document is told by hand
(`PLAIN_PATHS`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import http_answer_schemas as answers
from service import http_answers, http_bodies, http_examples, http_openapi, http_problems, wire
from service import http_schemas as schemas
from service.errors import InvalidRequest, ServiceError
from service.http_context import (
    JSON,
    Served,
    exists,
    idempotency_key,
    part_key,
    read_columns,
    read_json,
    served,
    tenant_of,
)
from sketch_core.batch import Columns

_NAME: Final = re.compile(schemas.NAME_PATTERN[1:-1])

Asked = TypeVar("Asked")


def checked_name(name: str) -> str:
    """A name from a path. Raises InvalidRequest."""
    if _NAME.fullmatch(name) is None:
        raise InvalidRequest(
            f"must match {schemas.NAME_PATTERN}", code="invalid_name", pointer="/name"
        )
    return name


def json_response(value: object, status: int = 200) -> Response:
    """A JSON answer that is small enough to write at once."""
    return Response(wire.dump_json(value), status, media_type=JSON)


async def update_sketch(request: Request) -> Response:
    """POST /v1/sketches/{name}/updates."""
    name = checked_name(request.path_params["name"])
    key = idempotency_key(request)
    columns = await read_columns(
        request,
        http_bodies.update_from_json,
        http_bodies.update_from_tensors,
        exists(request, name),
    )
    done = await served(request).sketches.update(
        tenant_of(request), name, columns, idempotency_key=key
    )
    return json_response(http_answers.acknowledgement(done))


async def update_many(request: Request) -> Response:
    """POST /v1/updates."""
    context = served(request)
    tenant = tenant_of(request)
    key = idempotency_key(request)
    most = context.settings.max_request_sketches
    parts = await read_json(request, lambda body: http_bodies.updates_from_json(body, most))

    async def apply(at: int, name: str, columns: Columns) -> dict[str, Any]:
        done = await context.sketches.update(
            tenant, name, columns, idempotency_key=part_key(key, at)
        )
        return http_answers.acknowledgement(done)

    results = await each_part(context, "updates", parts, apply)
    return json_response({"results": results})


async def each_part(
    context: Served,
    field: str,
    parts: Sequence[tuple[str | None, Asked | InvalidRequest]],
    serve: Callable[[int, str, Asked], Awaitable[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """The result of every part, in order.

    Parts of one sketch are served one after another, so that they take effect in order.
    field: the name of the list in the body, where pointers begin.
    """
    results: list[dict[str, Any]] = [{} for _ in parts]
    of_sketch: dict[str | None, list[int]] = {}
    for at, (name, _) in enumerate(parts):
        of_sketch.setdefault(name, []).append(at)
    room = asyncio.Semaphore(context.settings.request_parts_at_once)

    async def serve_in_turn(turns: list[int]) -> None:
        async with room:
            for at in turns:
                results[at] = await _serve_part(context, field, at, parts[at], serve)

    async with asyncio.TaskGroup() as group:
        for turns in of_sketch.values():
            group.create_task(serve_in_turn(turns))
    return results


async def _serve_part(
    context: Served,
    field: str,
    at: int,
    part: tuple[str | None, Asked | InvalidRequest],
    serve: Callable[[int, str, Asked], Awaitable[dict[str, Any]]],
) -> dict[str, Any]:
    name, asked = part
    try:
        if isinstance(asked, InvalidRequest):
            raise asked
        assert name is not None
        return {"sketch": name, "status": 200, **await serve(at, name, asked)}
    except ServiceError as error:
        context.metrics.rejected(error.code)
        return {
            "sketch": name,
            "status": http_problems.status_of(error),
            "problem": http_problems.body_of(error, f"/{field}/{at}"),
        }


ROUTES: Final = (
    Route("/v1/sketches/{name}/updates", update_sketch, methods=["POST"]),
    Route("/v1/updates", update_many, methods=["POST"]),
)

_TENSORS: Final = (
    "Tensors `index` and `delta`, `row`, `column` and `delta`, or `row` and `values`: integers of "
    "any width; `delta` and `values` also floats: F16, BF16, F32 or F64. `operand` in the "
    "metadata (default y)."
)
_SINGLE: Final = http_openapi.described(
    request=http_openapi.body(schemas.Update, http_examples.UPDATES, tensors=_TENSORS),
    responses={
        200: http_openapi.answer(
            http_openapi.ref(answers.Acknowledgement), http_examples.ACKNOWLEDGED, "Durable."
        )
    },
    keyed=True,
    errors=(404, 409),
)
_MANY: Final = http_openapi.described(
    request=http_openapi.body(schemas.Updates, http_examples.MANY_UPDATES),
    responses={
        200: http_openapi.answer(
            http_openapi.ref(answers.UpdateResults),
            http_examples.UPDATE_RESULTS,
            "One result a part, in order, each with its own status.",
        )
    },
    keyed=True,
)


def _operation(
    described: dict[str, Any], operation_id: str, summary: str, parameters: list[dict[str, Any]]
) -> dict[str, Any]:
    extra = described["openapi_extra"]
    return {
        "tags": ["updates"],
        "summary": summary,
        "operationId": operation_id,
        "requestBody": extra["requestBody"],
        "parameters": parameters + extra["parameters"],
        "responses": {str(status): item for status, item in described["responses"].items()},
    }


_NAME_PARAMETER: Final = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": schemas.NAME_PATTERN},
    "example": http_examples.VECTOR,
}
PLAIN_PATHS: Final = {
    "/v1/sketches/{name}/updates": {
        "post": _operation(
            _SINGLE, "updateSketch", "Add increments, all of them or none", [_NAME_PARAMETER]
        )
    },
    "/v1/updates": {
        "post": _operation(_MANY, "updateMany", "Update many sketches, each part on its own", [])
    },
}
