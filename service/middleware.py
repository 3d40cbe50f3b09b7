"""Pure ASGI around every request: its id, its duration, its place in the count, its last resort.

Requests that a web page of another site has sent end here (http_origins), and HEAD
becomes GET without a body.

Pure ASGI, because a middleware made of request and response objects would hold
each body twice and break cancellation.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import http_origins, http_problems, logs, metrics, problems, wire
from service.health import Health
from service.http_routes import RouteNames
from service.in_flight import BodiesInFlight

_LOG: Final = logging.getLogger("sketchd.http")
_ACCESS: Final = logging.getLogger("sketchd.access")


class RequestBoundary:
    """Gives each request an id, counts it while it is under way, and answers what nobody caught.

    bodies: where their bodies count until the answer begins. told, routes: the metrics, and
    the names that requests have there. keyless: whether no access keys exist, so that
    browsers must name this machine; they may come while we run.
    """

    def __init__(
        self,
        app: ASGIApp,
        health: Health,
        bodies: BodiesInFlight,
        told: metrics.Metrics,
        routes: RouteNames,
        access_log: bool,
        keyless: Callable[[], bool],
    ) -> None:
        self._app = app
        self._health = health
        self._bodies = bodies
        self._told = told
        self._routes = routes
        self._access_log = access_log
        self._keyless = keyless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        receipt = metrics.received("http")
        request_id = _request_id(scope)
        sent_id = request_id.encode("ascii")
        status = 0
        held = self._bodies.begin(scope)
        # A copy: the server and the log still know the request as HEAD.
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                held.release()  # a client may take its time to read the answer
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", sent_id)]
                if self._health.leaving:  # the client's next connection leads elsewhere
                    message["headers"].append((b"connection", b"close"))
            if scope["method"] == "HEAD" and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        with self._health.request(), logs.request(request_id):
            try:
                await self._serve(asked, receive, send_with_id)
            except Exception:
                _LOG.exception("request %s failed", request_id)
                self._told.rejected("internal")
                if status:  # half an answer is out: only closing the connection tells the truth
                    raise
                await http_problems.unexpected(request_id)(scope, receive, send_with_id)
            finally:
                held.release()
                self._finished(scope["method"], asked, status, receipt)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = None
        if http_origins.is_marked(scope):
            reason = http_origins.refusal(scope["method"], Headers(scope=scope), self._keyless())
        if reason is not None:
            self._told.rejected("cross_origin")
            await http_problems.response(403, "cross_origin", reason)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _finished(self, method: str, asked: Scope, status: int, receipt: metrics.Receipt) -> None:
        """Count the request and, where that is wanted, log it. asked: as the routes have seen it,
        which leave their mark in it.
        """
        route = self._routes.of(asked)
        self._told.http_finished(route, method, status, receipt, self._routes.timed(asked))
        if self._access_log:
            _log_access(method, asked, route, status, time.perf_counter() - receipt.at)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:  # in lower case, by the rules of ASGI
        if name == b"x-request-id":
            return logs.request_id(value.decode("latin-1"))
    return logs.request_id(None)


def _log_access(method: str, scope: Scope, route: str, status: int, seconds: float) -> None:
    """One line a request. The path of a refused one is not shown: it may be a key gone astray."""
    client = scope.get("client")
    path = scope["path"] if 0 < status < 400 else None
    fields = {
        "method": method,
        "route": route,
        "path": path,
        "status": status,
        "milliseconds": round(1000 * seconds, 3),
        "client": client[0] if client else None,
    }
    _ACCESS.info("%s %s", method, route, extra={"fields": fields})


def problem_of_broken_http(status: int, code: str, detail: str) -> bytes:
    """The body of the answer to what is no request of HTTP; no route and no id exist for it."""
    return wire.dump_json(problems.problem(status, code, detail))
