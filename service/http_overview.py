"""Routes of /v1 for people who look: whom they speak for, and what a sketch has been doing."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service import http_answer_schemas as answers
from service import http_examples
from service.access_ports import Quota
from service.directory import CachedDirectory
from service.http_access import caller_of
from service.http_api import NameInPath
from service.http_context import served, tenant_of
from service.http_openapi import answer, described, ref
from service.http_updates import json_response
from service.metrics_activity import WINDOW_SECONDS, Seen, Tally

router: Final = APIRouter(prefix="/v1")


@router.get(
    "/whoami",
    tags=["access"],
    operation_id="whoAmI",
    summary="Whom a request speaks for",
    **described(
        responses={200: answer(ref(answers.WhoAmI), http_examples.WHO_AM_I, "Tenant and role.")}
    ),
)
async def who_am_i(request: Request) -> Response:
    """The tenant, role and id of the key, and the tenant's quota as this replica knows it."""
    caller = caller_of(request.scope)
    directory: CachedDirectory = request.app.state.directory
    quota: Quota = directory.quota(caller.tenant)
    return json_response(
        {
            "tenant": caller.tenant,
            "role": caller.role,
            "key": caller.key_id,
            "quota": dataclasses.asdict(quota),
            "version": request.app.state.version,
        }
    )


@router.get(
    "/sketches/{name}/activity",
    tags=["sketches"],
    operation_id="getActivity",
    summary="What a sketch has been asked lately",
    **described(
        responses={
            200: answer(
                ref(answers.ActivityAnswer), http_examples.ACTIVITY, "The last five minutes."
            )
        },
        errors=(404,),
    ),
)
async def get_activity(request: Request, name: NameInPath) -> Response:
    """Updates and questions that reached the sketch here, all workers of this replica together.

    Each replica tells what it has seen itself, since it started and of the sketches asked most
    recently.
    """
    info = await served(request).sketches.get(tenant_of(request), name)
    seen: Seen = await request.app.state.watch(info.incarnation)
    # Before it was made there was nothing to miss.
    age = max(0.0, time.time() - info.created_at)
    return json_response(_activity(seen, min(seen.watched_seconds, age)))


def _activity(seen: Seen, watched_seconds: float) -> dict[str, Any]:
    return {
        "window_seconds": WINDOW_SECONDS,
        "watched_seconds": round(watched_seconds, 3),
        "processes": seen.processes,
        "update": {**_asked(seen.update), "coordinates": seen.update.coordinates},
        "sample": _asked(seen.sample),
    }


def _asked(tally: Tally) -> dict[str, Any]:
    return {"requests": tally.requests, "failed": tally.failed, "seconds": tally.seconds()}
