"""The OpenAPI document: what routes declare about themselves, and the parts written by hand.

Bodies are read raw (http_context), so FastAPI cannot know their schemas;
`described` says them, with examples that a test sends to a running service.
The document is made once, at start: making it takes longer than an event loop
may be held up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service import http_answer_schemas as answers
from service import http_problems, wire_tensors
from service import request_schemas as schemas
from service.error_codes import CODES

_REF: Final = "#/components/schemas/{model}"
_MODELS: Final[tuple[type[BaseModel], ...]] = (
    schemas.Spec, schemas.Update, schemas.Updates, schemas.Sample, schemas.Samples,
    schemas.Estimate, schemas.Norm, schemas.Seal, schemas.Merge, schemas.Patch,
    answers.Info, answers.SketchList, answers.Acknowledgement, answers.Problem,
    answers.UpdateResults, answers.Drawn, answers.DrawnResults, answers.SampleResults,
    answers.Estimates, answers.EstimateResults, answers.NormAnswer, answers.NormResults,
    answers.Plan, answers.Health, schemas.Quota, schemas.NewKey, answers.Tenant,
    answers.TenantList, answers.Key, answers.KeyList, answers.IssuedKey,
    answers.WhoAmI, answers.ActivityAnswer,
)  # fmt: skip
_BINARY: Final = {"type": "string", "format": "binary"}
_DESCRIPTION: Final = """\
Weighted samples from vectors, and products of matrices and tensors, too large to store, kept as
small linear sketches under any stream of signed updates.

Columns of numbers are JSON arrays, or tensors of the same names in one safetensors body. Numbers
are finite; unknown fields are refused. Indices over 2^53 may be sent as strings and come back as
strings. Errors are RFC 9457 problems with a stable `code`, explained at
[/docs/errors](/docs/errors).
Every POST that changes state takes an `Idempotency-Key`: a retry is answered as the first time and
counts once.
Once a key exists, or where the service is open to a network, requests need
`Authorization: Bearer KEY`; each operation says which role.
"""
_BEARER: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "skd_ID_SECRET",
    "description": "A key of a tenant. Roles: read, write (also read), admin (also write).",
}
_TAGS: Final = [
    {"name": "sketches", "description": "Make, list, look at and remove sketches."},
    {"name": "updates", "description": "Change what a sketch holds."},
    {"name": "questions", "description": "Draw samples, estimate coordinates and norms."},
    {"name": "access", "description": "Tenants, their quotas, and keys; for admin keys."},
    {"name": "service", "description": "Health, metrics and documentation."},
]
_KEY_HEADER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Printable ASCII. A retry with the same key and body counts once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
#: Problem examples by status: the code, and a detail it may come with.
_PROBLEM_EXAMPLES: Final = {
    400: ("malformed_json", "the body is not JSON: EOF while parsing a list at line 1 column 12"),
    401: ("unauthorized", "a valid key is needed: Authorization: Bearer KEY"),
    404: ("sketch_not_found", "there is no sketch 'clicks'"),
    403: ("quota_exceeded", "the tenant's sketches take up its quota"),
    408: ("body_too_slow", "the body did not come within 30 seconds"),
    409: ("operand_sealed", "operand y is sealed"),
    413: ("body_too_large", "the body is over the limit of 16777216 bytes"),
    415: ("unsupported_media_type", "'text/plain' is not read here; application/json is"),
    422: ("invalid", "1000000 is out of range: must be below 1000000"),
    429: ("rate_limited", "the tenant's requests are over 100 a second"),
    503: ("store_unavailable", "the store does not answer"),
}


def ref(model: type[BaseModel]) -> dict[str, str]:
    """A reference to a model among the components."""
    return {"$ref": _REF.format(model=model.__name__)}


def either(*models: type[BaseModel]) -> dict[str, Any]:
    """One of several models, or the one."""
    return ref(models[0]) if len(models) == 1 else {"oneOf": [ref(model) for model in models]}


def example(summary: str, value: object, sketch: str | None = None) -> dict[str, Any]:
    """One example. sketch: the one it is meant for, where that is not the path's own example."""
    found: dict[str, Any] = {"summary": summary, "value": value}
    if sketch is not None:
        found["x-sketch"] = sketch
    return found


def _problem(status: int) -> dict[str, Any]:
    code, detail = _PROBLEM_EXAMPLES[status]
    problem = {
        "type": f"/docs/errors#{code}",
        "title": CODES[code].title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if status == 422:
        problem["errors"] = [{"pointer": "/index/3", "detail": detail}]
    found: dict[str, Any] = {
        "description": CODES[code].title,
        "content": {http_problems.MEDIA_TYPE: {"schema": ref(answers.Problem), "example": problem}},
    }
    if status == 401:
        found["headers"] = {
            "WWW-Authenticate": {"description": "Bearer.", "schema": {"type": "string"}}
        }
    if status in (429, 503):
        found["headers"] = {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
        }
    return found


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problem responses; 422, 429 and 503 can come from everywhere."""
    return {status: _problem(status) for status in sorted({*statuses, 422, 429, 503})}


def answer(
    schema: Mapping[str, Any],
    value: object,
    description: str = "Done.",
    *,
    tensors: bool = False,
) -> dict[str, Any]:
    """A successful response and an example of it."""
    content: dict[str, Any] = {"application/json": {"schema": dict(schema), "example": value}}
    if tensors:
        content[wire_tensors.MEDIA_TYPE] = {"schema": _BINARY}
    return {"description": description, "content": content}


def body(
    model: type[BaseModel],
    examples: Mapping[str, Any],
    *,
    tensors: str = "",
    required: bool = True,
) -> dict[str, Any]:
    """A request body. tensors: what the safetensors form holds, where there is one."""
    content: dict[str, Any] = {
        "application/json": {"schema": ref(model), "examples": dict(examples)}
    }
    if tensors:
        content[wire_tensors.MEDIA_TYPE] = {"schema": {**_BINARY, "description": tensors}}
    return {"required": required, "content": content}


def described(
    *,
    responses: Mapping[int | str, dict[str, Any]],
    request: Mapping[str, Any] | None = None,
    keyed: bool = False,
    errors: tuple[int, ...] = (),
) -> dict[str, Any]:
    """Keywords of a FastAPI route. keyed: takes an Idempotency-Key."""
    extra: dict[str, Any] = {}
    statuses = set(errors)
    if request is not None:
        extra["requestBody"] = dict(request)
        statuses |= {400, 408, 413, 415}
    if keyed:
        extra["parameters"] = [_KEY_HEADER]
    return {"responses": {**responses, **problems(*statuses)}, "openapi_extra": extra}


def _restore_nulls(document: dict[str, Any], app: FastAPI) -> None:
    """Put back what routes say of themselves as they say it: FastAPI drops nulls from examples."""
    for route in app.routes:
        if not isinstance(route, APIRoute):
            continue
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            operation["responses"] = {str(status): one for status, one in route.responses.items()}
            if route.openapi_extra and "requestBody" in route.openapi_extra:
                operation["requestBody"] = route.openapi_extra["requestBody"]


def _say_who_may(
    document: dict[str, Any], roles: Mapping[tuple[str, str], str | None], keyless: bool
) -> None:
    """The role each operation needs, and how it is refused. keyless: nobody needs any, yet."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            role = roles[method.upper(), path]
            operation["security"] = [] if role is None else [{"bearer": [role]}]
            if role is not None and keyless:
                operation["security"].append({})
            if role is not None:
                refused = {str(status): _problem(status) for status in (401, 403)}
                operation["responses"] = refused | operation["responses"]


def document(
    app: FastAPI,
    plain: Mapping[str, Mapping[str, Any]],
    version: str,
    roles: Mapping[tuple[str, str], str | None],
    *,
    keyless: bool,
) -> dict[str, Any]:
    """The whole document. plain: path items of routes FastAPI does not know. roles: by (method,
    path), None for those that need no key. keyless: there is no key at this moment.
    """
    found = get_openapi(
        title="sketchd",
        version=version,
        description=_DESCRIPTION,
        routes=app.routes,
        tags=_TAGS,
    )
    _restore_nulls(found, app)
    for path, item in plain.items():
        found["paths"].setdefault(path, {}).update(item)
    _say_who_may(found, roles, keyless)
    _, definitions = models_json_schema(
        [(model, "validation") for model in _MODELS], ref_template=_REF
    )
    found.setdefault("components", {})["securitySchemes"] = {"bearer": _BEARER}
    components = found["components"].setdefault("schemas", {})
    components.update(definitions["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
    return found
