"""Routes about the service itself: health, metrics, documentation. All open, none slow."""

from __future__ import annotations

import asyncio
import html
from pathlib import Path
from typing import Final

import fastapi_offline
from fastapi import APIRouter
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from service import http_answer_schemas as answers
from service import http_problems
from service.error_codes import CODES
from service.health import Health
from service.http_access import caller_of
from service.http_context import JSON, served
from service.http_openapi import answer, described, ref
from service.http_updates import json_response
from service.metrics_shared import Snapshot

router: Final = APIRouter()

#: The folder of Swagger UI 5, which reads OpenAPI 3.1. Nothing else of the package is used.
_FOLDER: Final = Path(fastapi_offline.__file__).parent / "static"
#: The files in it that the page needs.
_ASSETS: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon.png": "image/png",
}
_START: Final = """\
window.onload = () => {
  SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis],
  });
};
"""
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sketchd API</title>
<link rel="icon" type="image/png" href="/docs/assets/favicon.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
"""
#: Nothing but this service is asked, whatever the page's scripts would like; Swagger UI
#: sets styles inline and has its icons in data: URLs.
_POLICY: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
    ),
    "X-Content-Type-Options": "nosniff",
}


def _health(request: Request) -> Health:
    health: Health = request.app.state.health
    return health


@router.get(
    "/healthz",
    tags=["service"],
    operation_id="healthz",
    summary="Whether the process is alive",
    responses={200: answer(ref(answers.Health), {"status": "ok"}, "Alive.")},
)
async def alive() -> Response:
    """Asks nothing of the store: a restart would not bring it back."""
    return json_response({"status": "ok"})


@router.get(
    "/readyz",
    tags=["service"],
    operation_id="readyz",
    summary="Whether requests can be served",
    **described(responses={200: answer(ref(answers.Health), {"status": "ready"}, "Ready.")}),
)
async def is_ready(request: Request) -> Response:
    """503 while the store does not answer, and from the moment the service begins to stop."""
    await _health(request).check()
    return json_response({"status": "ready"})


@router.get(
    "/metrics",
    tags=["service"],
    operation_id="metrics",
    summary="Metrics for Prometheus",
    responses={
        200: {
            "description": "Prometheus text, or OpenMetrics where Accept asks for it; of all "
            "workers together.",
            "content": {
                "text/plain": {"schema": {"type": "string"}},
                "application/openmetrics-text": {"schema": {"type": "string"}},
            },
        }
    },
)
async def show_metrics(request: Request) -> Response:
    """Written in a thread of its own: a full pool must not hide what fills it."""
    snapshot: Snapshot = await request.app.state.scrape()
    if served(request).settings.metrics_access == "key":
        caller = caller_of(request.scope)
        if not caller.may("admin"):
            snapshot = snapshot.seen_by(caller.tenant)
    write, media_type = choose_encoder(request.headers.get("accept", ""))
    text = await asyncio.to_thread(write, snapshot)
    return Response(text, headers={"Content-Type": media_type})


async def _openapi(request: Request) -> Response:
    return Response(request.app.state.openapi, media_type=JSON)


async def _docs(_: Request) -> Response:
    return HTMLResponse(_PAGE, headers=_POLICY)


async def _asset(request: Request) -> Response:
    name = request.path_params["file"]
    if name == "start.js":
        return Response(_START, media_type="text/javascript")
    if name not in _ASSETS:
        return http_problems.response(404, "route_not_found", "there is no such file")
    return FileResponse(
        _FOLDER / name,
        media_type=_ASSETS[name],
        headers={"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"},
    )


def errors_page() -> str:
    """/docs/errors: what a problem's `type` leads to."""
    rows = "\n".join(
        f'<tr id="{name}"><td><code>{name}</code></td><td>{code.status}</td>'
        f"<td>{html.escape(code.title)}. {html.escape(code.meaning)}</td></tr>"
        for name, code in CODES.items()
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<title>sketchd errors</title>\n"
        "<style>body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "td{padding:.3rem .8rem;vertical-align:top;border-top:1px solid #ddd}"
        "tr:target{background:#ffc}</style>\n</head>\n<body>\n<h1>Errors</h1>\n"
        f"<table>\n{rows}\n</table>\n</body>\n</html>\n"
    )


async def _errors(_: Request) -> Response:
    return HTMLResponse(errors_page(), headers=_POLICY)


ROUTES: Final = (
    Route("/openapi.json", _openapi, methods=["GET"]),
    Route("/docs", _docs, methods=["GET"]),
    Route("/docs/errors", _errors, methods=["GET"]),
    Route("/docs/assets/{file}", _asset, methods=["GET"]),
)
