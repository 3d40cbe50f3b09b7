"""Keys and roles before every route: who asks is known before a byte of a body is read.

    Gate      around the app: looks the key up, once, and notes the caller or the refusal
    guarded   around each route: turns away whom its role in ROLES does not let in

A route that ROLES does not name is an error at start. Unknown paths and methods are told
only to who has a key (http_problems).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service import logs
from service.access import Access, Principal
from service.access_ports import Role
from service.errors import ServiceError, Unauthorized

_ONE: Final = "/v1/sketches/{name}"
_TENANT: Final = "/v1/admin/tenants/{tenant}"

#: What each route needs; None lets everybody in, with a key or without.
ROLES: Final[Mapping[tuple[str, str], Role | None]] = {
    ("GET", "/v1/sketches"): "read",
    ("GET", _ONE): "read",
    ("GET", f"{_ONE}/activity"): "read",
    ("GET", f"{_ONE}/snapshot"): "read",
    ("POST", f"{_ONE}/samples"): "read",
    ("POST", f"{_ONE}/estimates"): "read",
    ("POST", f"{_ONE}/norm"): "read",
    ("POST", "/v1/samples"): "read",
    ("POST", "/v1/plan"): "read",
    ("GET", "/v1/whoami"): "read",
    ("PUT", _ONE): "write",
    ("PATCH", _ONE): "write",
    ("DELETE", _ONE): "write",
    ("POST", f"{_ONE}/updates"): "write",
    ("POST", f"{_ONE}/seal"): "write",
    ("POST", f"{_ONE}/merge"): "write",
    ("POST", f"{_ONE}/snapshot"): "write",
    ("POST", "/v1/updates"): "write",
    ("GET", "/v1/admin/tenants"): "admin",
    ("PUT", _TENANT): "admin",
    ("PATCH", _TENANT): "admin",
    ("DELETE", _TENANT): "admin",
    ("GET", "/v1/admin/keys"): "admin",
    ("POST", "/v1/admin/keys"): "admin",
    ("DELETE", "/v1/admin/keys/{id}"): "admin",
    ("GET", "/healthz"): None,
    ("GET", "/readyz"): None,
    ("GET", "/metrics"): None,  # "read" where the settings say so
    # Static files: a browser cannot send a key on its first request.
    ("GET", "/"): None,
    ("GET", "/openapi.json"): None,
    ("GET", "/docs"): None,
    ("GET", "/docs/errors"): None,
    ("GET", "/docs/assets/{file}"): None,
    ("GET", "/dashboard"): None,
    ("GET", "/dashboard/"): None,
    ("GET", "/dashboard/assets/{digest}/{path:path}"): None,
}


def roles(metrics_access: str) -> dict[tuple[str, str], Role | None]:
    """ROLES under the setting of this name."""
    return {**ROLES, ("GET", "/metrics"): "read" if metrics_access == "key" else None}


class Gate:
    """Notes who asks in the request's state, as `caller`: a Principal, or the refusal."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            authorization = _authorization(scope)
            caller = self._access.caller(authorization)
            if isinstance(caller, Principal):
                logs.identify(caller.tenant, caller.key_id or "")
            again = partial(self._access.admit, authorization)
            scope["state"] = {**scope.get("state", {}), "caller": caller, "admit": again}
        await self._app(scope, receive, send)


def _authorization(scope: Scope) -> str | None:
    """The one Authorization header; of several none counts."""
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    return found[0].decode("latin-1") if len(found) == 1 else None


def caller_of(scope: Scope) -> Principal:
    """Who asks. Raises the refusal where nobody was let in."""
    caller: Principal | ServiceError = scope["state"]["caller"]
    if isinstance(caller, ServiceError):
        raise caller
    return caller


def check_still(scope: Scope) -> None:
    """Raise Unauthorized if the key that let a request in works no longer.

    For who has waited: a body may take minutes to come, and a key goes within seconds.
    """
    if scope["state"]["admit"]() != caller_of(scope):
        raise Unauthorized("the key no longer stands for whom it did")


def guarded(routes: Iterable[Route], table: Mapping[tuple[str, str], Role | None]) -> list[Route]:
    """The routes with a check of the role before each. Raises LookupError for one without entry."""
    return [_guarded(route, table) for route in routes]


def _guarded(route: Route, table: Mapping[tuple[str, str], Role | None]) -> Route:
    inner = route.app
    needed: dict[str, Role | None] = {}
    for method in (route.methods or set()) - {"HEAD"}:
        if (method, route.path) not in table:
            raise LookupError(f"http_access.ROLES does not say who may {method} {route.path}")
        needed[method] = table[method, route.path]

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        role = needed[scope["method"]]
        if role is not None:
            caller_of(scope).check(role)
        await inner(scope, receive, send)

    # A copy: the routes are made once, at import, and an app must not change those of another.
    found = copy.copy(route)
    found.app = checked
    return found
