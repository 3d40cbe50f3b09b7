"""What a request costs its tenant, before a route sees it and before its body is read.

Pure ASGI, inside of whatever finds out who asks: a request of /v1 pays for itself here,
and nowhere else; /v1/admin is free, so that who has used up everything can still ask for
more. From here on the request's body and its jobs in the pool count as its tenant's.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service import http_problems, in_flight
from service.errors import ServiceError
from service.http_context import tenant_of
from service.pool import working_for
from service.quotas import Quotas

_METERED: Final = "/v1/"
_FREE: Final = "/v1/admin/"


class RequestMeter:
    """Lets in what the tenant's requests_per_second allow, and answers 429 to the rest."""

    def __init__(self, app: ASGIApp, quotas: Quotas) -> None:
        self._app = app
        self._quotas = quotas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_METERED):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            tenant = tenant_of(request)
        except ServiceError:  # nobody's; the route says so
            await self._app(scope, receive, send)
            return
        in_flight.of(scope).belongs_to(tenant)
        working_for(tenant)
        if not scope["path"].startswith(_FREE):
            try:
                await self._quotas.request(tenant)
            except ServiceError as refusal:
                answer = await http_problems.on_service_error(request, refusal)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)
