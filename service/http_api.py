"""Routes of /v1: making, listing and changing sketches. Updates are in http_updates, questions
in http_questions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from service import answer_objects, http_examples, request_schemas, wire
from service import http_answer_schemas as answer_schemas
from service.http_context import (
    JSON,
    OCTETS,
    exists,
    idempotency_key,
    media_type,
    parsed,
    read_body,
    read_json,
    served,
    tenant_of,
)
from service.http_openapi import answer, body, described, ref
from service.http_updates import json_response
from service.problems import sent_as
from service.sketch_requests import LONGEST_NAME
from service.sketches import Info

router: Final = APIRouter(prefix="/v1")

NameInPath = Annotated[
    str,
    Path(
        pattern=request_schemas.NAME_PATTERN,
        description="Name of the sketch.",
        examples=[http_examples.VECTOR],
    ),
]
#: Snapshots beyond this are written to the socket in pieces.
_PIECE_BYTES: Final = 1 << 18
_INFO: Final = ref(answer_schemas.Info)
_ACKNOWLEDGED: Final[dict[int | str, dict[str, Any]]] = {
    200: answer(ref(answer_schemas.Acknowledgement), http_examples.ACKNOWLEDGED, "Durable.")
}


async def _info_response(request: Request, sketch: Info, status: int = 200) -> Response:
    content = await parsed(
        request,
        lambda one: wire.dump_json(answer_objects.info(one)),
        sketch,
        inline=not answer_objects.is_long(sketch),
    )
    return Response(content, status, media_type=JSON)


@router.put(
    "/sketches/{name}",
    tags=["sketches"],
    operation_id="createSketch",
    summary="Make a sketch",
    **described(
        request=body(request_schemas.Spec, http_examples.SPECS),
        responses={
            200: answer(_INFO, http_examples.INFO, "It exists, made with the same spec."),
            201: answer(_INFO, http_examples.INFO, "Made."),
        },
        errors=(403, 409),
    ),
)
async def create_sketch(request: Request, name: NameInPath) -> Response:
    """The same spec again is 200 and changes nothing; another spec is 409."""
    spec = await read_json(request, wire.parse_object)
    made, new = await served(request).sketches.create(tenant_of(request), name, spec)
    return await _info_response(request, made, 201 if new else 200)


@router.post(
    "/plan",
    tags=["sketches"],
    operation_id="planSketch",
    summary="What a spec would become",
    **described(
        request=body(request_schemas.Spec, http_examples.SPECS),
        responses={200: answer(ref(answer_schemas.Plan), http_examples.PLAN, "The plan.")},
    ),
)
async def plan_sketch(request: Request) -> Response:
    """Derived sizes, memory, expected errors, and which method `auto` takes and why."""
    spec = await read_json(request, wire.parse_object)
    context = served(request)

    def write() -> bytes:
        return wire.dump_json(context.sketches.plan(spec))

    return Response(await context.pool.run(write), media_type=JSON)


@router.get(
    "/sketches",
    tags=["sketches"],
    operation_id="listSketches",
    summary="List sketches by name",
    **described(
        responses={
            200: answer(
                ref(answer_schemas.SketchList),
                {"sketches": [http_examples.INFO], "next_cursor": None},
                "A page.",
            )
        }
    ),
)
async def list_sketches(
    request: Request,
    prefix: Annotated[str, Query(description="Only names that start with this.")] = "",
    contains: Annotated[
        str,
        Query(
            description="Only names that hold this text anywhere; A to Z are equal to a to z.",
            json_schema_extra={"maxLength": LONGEST_NAME},
        ),
    ] = "",
    limit: Annotated[int, Query(ge=1, description="Sketches a page.")] = 100,
    cursor: Annotated[str | None, Query(description="next_cursor of the page before.")] = None,
) -> Response:
    """In the order of their names' bytes; next_cursor is null on the last page."""
    context = served(request)
    found, following = await context.sketches.list(
        tenant_of(request), prefix=prefix, contains=contains, limit=limit, cursor=cursor
    )

    def write(page: list[Info]) -> bytes:
        infos = [answer_objects.info(one) for one in page]
        return wire.dump_json({"sketches": infos, "next_cursor": following})

    content = await parsed(
        request,
        write,
        found,
        inline=len(found) <= 1 and not any(map(answer_objects.is_long, found)),
    )
    return Response(content, media_type=JSON)


@router.get(
    "/sketches/{name}",
    tags=["sketches"],
    operation_id="getSketch",
    summary="Look at a sketch",
    **described(
        responses={200: answer(_INFO, http_examples.INFO, "The sketch.")},
        errors=(404,),
    ),
)
async def get_sketch(request: Request, name: NameInPath) -> Response:
    """The spec with all defaults filled in, memory, counters, version, seals and times."""
    return await _info_response(
        request, await served(request).sketches.get(tenant_of(request), name)
    )


@router.delete(
    "/sketches/{name}",
    tags=["sketches"],
    operation_id="deleteSketch",
    summary="Remove a sketch",
    status_code=204,
    **described(responses={204: {"description": "Removed."}}, errors=(404,)),
)
async def delete_sketch(request: Request, name: NameInPath) -> Response:
    """It and all that was ever added to it."""
    await served(request).sketches.delete(tenant_of(request), name)
    return Response(status_code=204)


@router.patch(
    "/sketches/{name}",
    tags=["sketches"],
    operation_id="patchSketch",
    summary="Change when a sketch expires",
    **described(
        request=body(request_schemas.Patch, http_examples.PATCHES),
        responses={200: answer(_INFO, http_examples.INFO, "Changed.")},
        errors=(404,),
    ),
)
async def patch_sketch(request: Request, name: NameInPath) -> Response:
    """ttl_seconds after now, and again after each later update; null for never."""
    asked = await read_json(
        request,
        lambda raw: request_schemas.validate(request_schemas.Patch, wire.parse_object(raw)),
        exists(request, name),
    )
    changed = await served(request).sketches.set_ttl(tenant_of(request), name, asked.ttl_seconds)
    return await _info_response(request, changed)


@router.post(
    "/sketches/{name}/seal",
    tags=["updates"],
    operation_id="sealOperand",
    summary="Let no later update change an operand",
    **described(
        request=body(request_schemas.Seal, http_examples.SEALS),
        responses={200: answer(_INFO, http_examples.INFO, "Sealed.")},
        keyed=True,
        errors=(404, 409),
    ),
)
async def seal_operand(request: Request, name: NameInPath) -> Response:
    """Later updates of the operand answer 409. Sealing twice is sealing once."""
    key = idempotency_key(request)
    asked = await read_json(
        request,
        lambda raw: request_schemas.validate(request_schemas.Seal, wire.parse_object(raw)),
        exists(request, name),
    )
    sealed = await served(request).sketches.seal(
        tenant_of(request), name, asked.operand, idempotency_key=key
    )
    return await _info_response(request, sealed)


@router.post(
    "/sketches/{name}/merge",
    tags=["updates"],
    operation_id="mergeSketch",
    summary="Add another sketch",
    **described(
        request=body(request_schemas.Merge, http_examples.MERGES),
        responses=_ACKNOWLEDGED,
        keyed=True,
        errors=(404, 409),
    ),
)
async def merge_sketch(request: Request, name: NameInPath) -> Response:
    """As it is at this moment; 409 unless the two have the same spec and seed."""
    key = idempotency_key(request)
    asked = await read_json(
        request,
        lambda raw: request_schemas.validate(request_schemas.Merge, wire.parse_object(raw)),
        exists(request, name),
    )
    done = await served(request).sketches.merge(
        tenant_of(request), name, asked.source, asked.operands, idempotency_key=key
    )
    return json_response(answer_objects.acknowledgement(done))


_SNAPSHOT: Final = {OCTETS: {"schema": {"type": "string", "format": "binary"}}}


@router.get(
    "/sketches/{name}/snapshot",
    tags=["updates"],
    operation_id="getSnapshot",
    summary="The state's bytes",
    **described(
        responses={
            200: {
                "description": "Canonical bytes: equal streams give equal bytes.",
                "content": _SNAPSHOT,
                "headers": {
                    "X-Sketch-Version": {
                        "description": "The version the bytes hold.",
                        "schema": {"type": "string"},
                    }
                },
            }
        },
        errors=(404,),
    ),
)
async def get_snapshot(request: Request, name: NameInPath) -> Response:
    """Versioned and checksummed; sketch_core and POST read it."""
    data, version = await served(request).sketches.snapshot(tenant_of(request), name)
    headers = {"X-Sketch-Version": version, "Content-Length": str(len(data))}
    if len(data) <= _PIECE_BYTES:
        return Response(data, headers=headers, media_type=OCTETS)
    return StreamingResponse(_pieces(data), headers=headers, media_type=OCTETS)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), _PIECE_BYTES):
        yield data[at : at + _PIECE_BYTES]
        await asyncio.sleep(0)  # a fast reader must not keep the loop from everybody else


@router.post(
    "/sketches/{name}/snapshot",
    tags=["updates"],
    operation_id="addSnapshot",
    summary="Add a snapshot made elsewhere",
    **described(
        request={"required": True, "content": _SNAPSHOT},
        responses=_ACKNOWLEDGED,
        keyed=True,
        errors=(404, 409),
    ),
)
async def add_snapshot(
    request: Request,
    name: NameInPath,
    operand: Annotated[
        list[str] | None,
        Query(
            description="Operands to add: y of a vector, A of a matrix when absent; of a tensor "
            "exactly one, A1, A2 or X."
        ),
    ] = None,
) -> Response:
    """Of a sketch with the same spec and seed. Snapshots have a size limit of their own."""
    key = idempotency_key(request)
    media_type(request, OCTETS)
    context = served(request)
    data = await read_body(request, context.settings.max_snapshot_bytes, exists(request, name))
    with sent_as("/operand", "/operands"):
        done = await context.sketches.add_snapshot(
            tenant_of(request), name, data, operand, idempotency_key=key
        )
    return json_response(answer_objects.acknowledgement(done))
