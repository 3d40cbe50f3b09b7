"""Routes of /v1/admin: tenants, their quotas, and keys. Any admin key administers all of them."""

from __future__ import annotations

import contextlib
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from service import answer_objects, http_examples, request_schemas, wire
from service import http_answer_schemas as answers
from service.access_admin import Administration
from service.access_ports import Quota
from service.directory import CachedDirectory
from service.errors import StoreUnavailable
from service.http_access import caller_of
from service.http_context import JSON, parsed, read_json
from service.http_openapi import answer, body, described, ref
from service.http_updates import json_response

router: Final = APIRouter(prefix="/v1/admin")

TenantInPath = Annotated[
    str,
    Path(
        pattern=request_schemas.NAME_PATTERN,
        description="Name of the tenant.",
        examples=[http_examples.TENANT],
    ),
]
KeyInPath = Annotated[
    str, Path(description="Id of the key.", examples=[http_examples.KEY["id"]], max_length=64)
]
ForceInQuery = Annotated[bool, Query(description="Do it all the same.")]
#: Longer lists are written in the pool.
_INLINE_ITEMS: Final = 100


def _administration(request: Request) -> Administration:
    found: Administration = request.app.state.administration
    return found


def _by(request: Request) -> str | None:
    """The id of the key behind a change."""
    return caller_of(request.scope).key_id


async def _known_here(request: Request) -> None:
    """Let this replica know the change at once; the others learn of it soon.

    So does this one where the store is away by now: the change is made, and a new key's text,
    which nobody can have again, must not be lost with the answer.
    """
    directory: CachedDirectory = request.app.state.directory
    with contextlib.suppress(StoreUnavailable):
        await directory.refresh()


@router.get(
    "/tenants",
    tags=["access"],
    operation_id="listTenants",
    summary="List tenants",
    **described(
        responses={
            200: answer(ref(answers.TenantList), {"tenants": [http_examples.TENANT_INFO]}, "All.")
        },
    ),
)
async def list_tenants(request: Request) -> Response:
    """By name, with their quotas."""
    found = await _administration(request).tenants()
    content = await parsed(
        request,
        lambda tenants: wire.dump_json(
            {"tenants": [answer_objects.tenant(one) for one in tenants]}
        ),
        found,
        inline=len(found) <= _INLINE_ITEMS,
    )
    return Response(content, media_type=JSON)


@router.put(
    "/tenants/{tenant}",
    tags=["access"],
    operation_id="putTenant",
    summary="Make a tenant, or replace its quota",
    **described(
        request=body(request_schemas.Quota, http_examples.QUOTAS, required=False),
        responses={
            200: answer(ref(answers.Tenant), http_examples.TENANT_INFO, "Its quota is replaced."),
            201: answer(ref(answers.Tenant), http_examples.TENANT_INFO, "Made."),
        },
        errors=(409,),
    ),
)
async def put_tenant(request: Request, tenant: TenantInPath) -> Response:
    """A limit that is null or absent is no limit."""
    asked = await read_json(
        request, lambda raw: request_schemas.validate(request_schemas.Quota, wire.parse_fields(raw))
    )
    quota = Quota(**asked.model_dump())
    administration = _administration(request)
    made = await administration.add_tenant(tenant, quota, _by(request))
    new = made is not None
    if made is None:
        made = await administration.set_tenant(tenant, asked.model_dump(), _by(request))
    await _known_here(request)
    return json_response(answer_objects.tenant(made), 201 if new else 200)


@router.patch(
    "/tenants/{tenant}",
    tags=["access"],
    operation_id="patchTenant",
    summary="Change some limits of a tenant",
    **described(
        request=body(request_schemas.Quota, http_examples.QUOTA_CHANGES),
        responses={200: answer(ref(answers.Tenant), http_examples.TENANT_INFO, "Changed.")},
        errors=(404,),
    ),
)
async def patch_tenant(request: Request, tenant: TenantInPath) -> Response:
    """Null lifts a limit; an absent one stays."""
    asked = await read_json(
        request, lambda raw: request_schemas.validate(request_schemas.Quota, wire.parse_object(raw))
    )
    limits = asked.model_dump(include=asked.model_fields_set)
    changed = await _administration(request).set_tenant(tenant, limits, _by(request))
    await _known_here(request)
    return json_response(answer_objects.tenant(changed))


@router.delete(
    "/tenants/{tenant}",
    tags=["access"],
    operation_id="deleteTenant",
    summary="Remove a tenant and its keys",
    status_code=204,
    **described(responses={204: {"description": "Removed."}}, errors=(404, 409)),
)
async def delete_tenant(
    request: Request, tenant: TenantInPath, force: ForceInQuery = False
) -> Response:
    """409 while it has sketches or the last admin key; with force both go too."""
    await _administration(request).remove_tenant(tenant, force=force, by=_by(request))
    await _known_here(request)
    return Response(status_code=204)


@router.get(
    "/keys",
    tags=["access"],
    operation_id="listKeys",
    summary="List keys",
    **described(
        responses={200: answer(ref(answers.KeyList), {"keys": [http_examples.KEY]}, "Found.")},
        errors=(404,),
    ),
)
async def list_keys(
    request: Request,
    tenant: Annotated[str | None, Query(description="Only keys of this tenant.")] = None,
) -> Response:
    """Without their secrets, the oldest first."""
    found = await _administration(request).keys(tenant)
    content = await parsed(
        request,
        lambda keys: wire.dump_json({"keys": [answer_objects.key(one) for one in keys]}),
        found,
        inline=len(found) <= _INLINE_ITEMS,
    )
    return Response(content, media_type=JSON)


@router.post(
    "/keys",
    tags=["access"],
    operation_id="addKey",
    summary="Make a key",
    status_code=201,
    **described(
        request=body(request_schemas.NewKey, http_examples.NEW_KEYS),
        responses={201: answer(ref(answers.IssuedKey), http_examples.ISSUED, "Made.")},
        errors=(404, 409),
    ),
)
async def add_key(request: Request) -> Response:
    """`key` is told this once and cannot be had again."""
    asked = await read_json(
        request,
        lambda raw: request_schemas.validate(request_schemas.NewKey, wire.parse_object(raw)),
    )
    issued = await _administration(request).add_key(
        asked.tenant, asked.role, asked.label, asked.expires_in_seconds, _by(request)
    )
    await _known_here(request)
    made = json_response({**answer_objects.key(issued.key), "key": issued.text}, 201)
    made.headers["Cache-Control"] = "no-store"
    return made


@router.delete(
    "/keys/{id}",
    tags=["access"],
    operation_id="deleteKey",
    summary="Remove a key",
    status_code=204,
    **described(responses={204: {"description": "Removed."}}, errors=(404, 409)),
)
async def delete_key(request: Request, id: KeyInPath, force: ForceInQuery = False) -> Response:
    """Nobody comes in with it any more; 409 for the last admin key unless forced."""
    await _administration(request).remove_key(id, force=force, by=_by(request))
    await _known_here(request)
    return Response(status_code=204)
