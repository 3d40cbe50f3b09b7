"""The dashboard: one page and the files it loads, read once and served from memory.

    /dashboard                            the page; always asked for again, so never an old one
    /dashboard/assets/DIGEST/path         its files, under a digest of them all

Whoever loads the page loads the files it was written with, or none: another version has
another digest, so that an upgrade mixes nothing, and what was loaded may be kept forever.
Nothing but this service is asked, no script is inline, and no text is ever made HTML.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from service import http_problems

_FOLDER: Final = Path(__file__).parent / "dashboard"
_MEDIA_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
#: What the page may do: nothing but what is listed, and that with this service alone.
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PAGE_HEADERS: Final = {
    **_HEADERS,
    "Content-Security-Policy": _POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-cache",
}
#: A picture can be opened as a document of its own; it may do nothing there.
_ASSET_HEADERS: Final = {
    **_HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cache-Control": "public, max-age=31536000, immutable",
}


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The page as it is sent, and the files beside it by their path.

    digest: of all of them, in the paths of the page's links.
    """

    page: bytes
    assets: Mapping[str, bytes]
    digest: str

    @property
    def etag(self) -> str:
        """Of the page, which names the digest and so changes with any file."""
        return f'"{self.digest}"'


@cache
def dashboard() -> Dashboard:
    """Everything the package carries of it, read once a process."""
    source = (_FOLDER / "index.html").read_bytes()
    assets = {
        path.relative_to(_FOLDER).as_posix(): path.read_bytes()
        for path in sorted(_FOLDER.rglob("*"))
        if path.suffix in _MEDIA_TYPES
    }
    digest = hashlib.sha256(source)
    for name, content in assets.items():
        digest.update(f"\n{name} {len(content)}\n".encode() + content)
    short = digest.hexdigest()[:16]
    page = source.replace(b'="assets/', f'="/dashboard/assets/{short}/'.encode())
    return Dashboard(page, assets, short)


async def _page(request: Request) -> Response:
    found = dashboard()
    headers = {**_PAGE_HEADERS, "ETag": found.etag}
    known = request.headers.get("if-none-match", "")
    if found.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(found.page, headers=headers, media_type="text/html")


async def _asset(request: Request) -> Response:
    found = dashboard()
    path = request.path_params["path"]
    content = found.assets.get(path)
    if content is None or request.path_params["digest"] != found.digest:
        # Another version of the page asks: it must not run with files of this one.
        return http_problems.response(
            404, "route_not_found", "there is no such file in this version; load the page again"
        )
    return Response(content, headers=_ASSET_HEADERS, media_type=_MEDIA_TYPES[Path(path).suffix])


async def _to_page(_: Request) -> Response:
    return RedirectResponse("/dashboard", 307)


ROUTES: Final = (
    Route("/", _to_page, methods=["GET"]),
    Route("/dashboard", _page, methods=["GET"]),
    Route("/dashboard/", _to_page, methods=["GET"]),
    Route("/dashboard/assets/{digest}/{path:path}", _asset, methods=["GET"]),
)
