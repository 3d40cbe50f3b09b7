"""Routes of /v1 that ask: samples, estimates, norms. They change nothing."""

from __future__ import annotations

from typing import Any, Final, cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import answer_objects, http_examples, request_bodies, request_schemas, wire
from service import http_answer_schemas as answer_schemas
from service.errors import InvalidRequest
from service.http_api import NameInPath
from service.http_context import (
    JSON,
    TENSORS,
    exists,
    parsed,
    read_columns,
    read_json,
    served,
    tenant_of,
    wants_tensors,
)
from service.http_openapi import answer, body, described, either, ref
from service.http_parts import each_part
from service.http_routes import direct
from service.http_updates import json_response
from service.problems import sent_queries
from service.sketches import SampleAnswer, SampleRequest

router: Final = APIRouter(prefix="/v1")

_TENSORS_IN: Final = (
    "`x` (d,), `queries` (q, d) or `X` (d1, d2) as tensors; `count`, `replacement` and `draw` in "
    "the metadata."
)


@router.post(
    "/sketches/{name}/samples",
    tags=["questions"],
    operation_id="drawSamples",
    summary="Draw coordinates",
    **described(
        request=body(
            request_schemas.Sample, http_examples.SAMPLES, tensors=_TENSORS_IN, required=False
        ),
        responses={
            200: answer(
                either(answer_schemas.Drawn, answer_schemas.DrawnResults),
                http_examples.DRAWN,
                'The draws; {"results": […]} with queries. As safetensors on Accept: columns, '
                "or padded rows with a length column, and the scalars in the metadata; `index` of "
                "a tensor has two columns.",
                tensors=True,
            )
        },
        errors=(404,),
    ),
)
async def draw_samples(request: Request, name: NameInPath) -> Response:
    """Sees every update acknowledged before the request was sent."""
    asked, several = await read_columns(
        request,
        request_bodies.sample_from_json,
        request_bodies.sample_from_tensors,
        exists(request, name),
    )
    with sent_queries(several):
        drawn = await served(request).sketches.sample(tenant_of(request), name, asked)
    tensors = wants_tensors(request)
    write = answer_objects.sample_tensors if tensors else answer_objects.sample_json
    content = await parsed(
        request,
        lambda found: write(found, several),
        drawn,
        inline=answer_objects.sample_size(drawn) <= wire.INLINE_NUMBERS,
    )
    return Response(content, media_type=TENSORS if tensors else JSON)


@router.post(
    "/samples",
    tags=["questions"],
    operation_id="drawMany",
    summary="Draw from many sketches, each part on its own",
    **described(
        request=body(request_schemas.Samples, http_examples.MANY_SAMPLES),
        responses={
            200: answer(
                ref(answer_schemas.SampleResults),
                http_examples.SAMPLE_RESULTS,
                "One result a part, in order, each with its own status.",
            )
        },
    ),
)
async def draw_many(request: Request) -> Response:
    """Each result holds `answer`, what the sketch's own route would answer, or `problem`."""
    context = served(request)
    tenant = tenant_of(request)
    settings = context.settings
    most = settings.max_request_sketches
    parts = await read_json(request, lambda raw: request_bodies.samples_from_json(raw, most))
    room = request_bodies.check_draws(parts, settings.max_request_draws, settings.max_sample_count)
    size = 0

    async def draw(_: int, name: str, asked: tuple[SampleRequest, bool]) -> dict[str, Any]:
        nonlocal room, size
        sample_request, several = asked
        if sample_request.count is None and room <= 0:
            raise InvalidRequest("the other parts took all draws", code="too_many_draws")
        with sent_queries(several):
            drawn: SampleAnswer = await context.sketches.sample(tenant, name, sample_request)
        if sample_request.count is None:  # known only now
            room -= sum(len(one.index) for one in drawn.samples)
        size += answer_objects.sample_size(drawn)
        written = await parsed(
            request,
            lambda found: answer_objects.sample(found, several),
            drawn,
            inline=answer_objects.sample_size(drawn) <= wire.INLINE_NUMBERS,
        )
        return {"answer": written}

    results = await each_part(context, "requests", parts, draw)
    content = await parsed(
        request,
        wire.dump_json,
        {"results": results},
        inline=size + 8 * len(results) <= wire.INLINE_NUMBERS,
    )
    return Response(content, media_type=JSON)


@router.post(
    "/sketches/{name}/estimates",
    tags=["questions"],
    operation_id="estimateCoordinates",
    summary="Estimate coordinates of y",
    **described(
        request=body(request_schemas.Estimate, http_examples.ESTIMATES),
        responses={
            200: answer(
                either(answer_schemas.Estimates, answer_schemas.EstimateResults),
                http_examples.ESTIMATED,
                'In the order asked; {"results": […]} with queries.',
            )
        },
        errors=(404,),
    ),
)
async def estimate_coordinates(request: Request, name: NameInPath) -> Response:
    """With the standard error of each."""
    index, queries, several = await read_json(
        request, request_bodies.estimate_from_json, exists(request, name)
    )
    with sent_queries(several):
        found, version = await served(request).sketches.estimate(
            tenant_of(request), name, index, queries
        )
    numbers = sum(3 * int(one.index.size) for one in found)
    content = await parsed(
        request,
        lambda answers: answer_objects.estimates_json(answers, version, several),
        found,
        inline=numbers <= wire.INLINE_NUMBERS,
    )
    return Response(content, media_type=JSON)


@router.post(
    "/sketches/{name}/norm",
    tags=["questions"],
    operation_id="estimateNorm",
    summary="Estimate a norm of y",
    **described(
        request=body(request_schemas.Norm, http_examples.NORMS, required=False),
        responses={
            200: answer(
                either(answer_schemas.NormAnswer, answer_schemas.NormResults),
                http_examples.NORM,
                'The norm; {"results": […]} with queries.',
            )
        },
        errors=(404,),
    ),
)
async def estimate_norm(request: Request, name: NameInPath) -> Response:
    """Of the spec's power, or another the sketch can serve."""
    power, queries, several = await read_json(
        request, request_bodies.norm_from_json, exists(request, name)
    )
    sketches = served(request).sketches
    with sent_queries(several):
        found, version = await sketches.norm(tenant_of(request), name, power, queries)
    return json_response(answer_objects.norms(found, version, several))


ROUTES: Final = tuple(direct(cast(Route, route)) for route in router.routes)
