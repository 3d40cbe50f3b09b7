"""The way in: updates of one sketch or of many, as plain routes over the raw body.

A plain route saves FastAPI's validation and injection, about as much as all
else that a small update costs here; the OpenAPI document is told by hand
(`PLAIN_PATHS`).
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import answer_objects, http_examples, http_openapi, request_bodies, wire
from service import http_answer_schemas as answers
from service import request_schemas as schemas
from service.http_context import (
    JSON,
    exists,
    idempotency_key,
    parsed,
    part_key,
    read_columns,
    read_json,
    served,
    tenant_of,
)
from service.http_parts import each_part
from service.http_routes import direct
from sketch_core.batch import Columns


def json_response(value: object, status: int = 200) -> Response:
    """A JSON answer that is small enough to write at once."""
    return Response(wire.dump_json(value), status, media_type=JSON)


async def update_sketch(request: Request, name: str) -> Response:
    """POST /v1/sketches/{name}/updates."""
    key = idempotency_key(request)
    served(request).quotas.check_updates(tenant_of(request))
    columns = await read_columns(
        request,
        request_bodies.update_from_json,
        request_bodies.update_from_tensors,
        exists(request, name),
    )
    done = await served(request).sketches.update(
        tenant_of(request), name, columns, idempotency_key=key
    )
    return json_response(answer_objects.acknowledgement(done))


async def update_many(request: Request) -> Response:
    """POST /v1/updates."""
    context = served(request)
    tenant = tenant_of(request)
    key = idempotency_key(request)
    context.quotas.check_updates(tenant)
    most = context.settings.max_request_sketches
    parts = await read_json(request, lambda body: request_bodies.updates_from_json(body, most))

    async def apply(at: int, name: str, columns: Columns) -> dict[str, Any]:
        done = await context.sketches.update(
            tenant, name, columns, idempotency_key=part_key(key, at)
        )
        return answer_objects.acknowledgement(done)

    results = await each_part(context, "updates", parts, apply)
    inline = len(results) <= wire.INLINE_NUMBERS // 8
    content = await parsed(request, wire.dump_json, {"results": results}, inline)
    return Response(content, media_type=JSON)


ROUTES: Final = (
    direct(Route("/v1/sketches/{name}/updates", update_sketch, methods=["POST"])),
    direct(Route("/v1/updates", update_many, methods=["POST"])),
)

_TENSORS: Final = (
    "Tensors `index` and `delta`, `row`, `column` and `delta`, or `row` and `values`: integers of "
    "any width; `delta` and `values` also floats: F16, BF16, F32 or F64. `operand` in the "
    "metadata (y where there is none)."
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
