"""Routes: their names for metrics and logs, and a short way to their handlers.

Names are templates of paths, never a path as sent.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from service.metrics import Timed
from service.metrics_catalogue import UNMATCHED
from service.sketch_requests import check_name

R = TypeVar("R", bound=Route)
#: The last word of the templates whose durations are metrics of their own.
_TIMED: Final[dict[str, Timed]] = {
    "updates": "update", "samples": "sample", "estimates": "sample", "norm": "sample",
}  # fmt: skip


class RouteNames:
    """From what the router leaves in a request's scope to the template of its route."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._routes = list(routes)
        self._templates: dict[object, str] = {
            route.endpoint: route.path
            for route in routes
            if hasattr(route, "endpoint") and hasattr(route, "path")
        }

    def of(self, scope: Scope) -> str:
        """The template, as "/v1/sketches/{name}"; UNMATCHED where no route was found."""
        if "endpoint" not in scope:
            # Refused before the router (a rate, another site), or there is no route.
            for route in self._routes:
                if route.matches(scope)[0] is not Match.NONE:
                    scope["endpoint"] = getattr(route, "endpoint", None)
                    break
            else:
                scope["endpoint"] = None
        return self._templates.get(scope["endpoint"], UNMATCHED)

    def timed(self, scope: Scope) -> Timed | None:
        """Which durations a request belongs to, if any."""
        if scope["method"] != "POST":
            return None
        return _TIMED.get(self.of(scope).rpartition("/")[2])


def direct(route: R) -> R:
    """The route, documented as before, whose handler is called with nothing between: what FastAPI
    and Starlette put there takes about as long as a small question.

    For handlers of the request alone, or of the request and the `name` in the path. What they
    raise is answered by the app, as what its middleware raises is.
    """
    handler = cast(Callable[..., Awaitable[Response]], route.endpoint)
    named = "name" in inspect.signature(handler).parameters

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        if named:
            response = await handler(request, check_name(scope["path_params"]["name"]))
        else:
            response = await handler(request)
        await response(scope, receive, send)

    found = copy.copy(route)
    found.app = answer
    return found
