"""Which requests a web page of another site has sent: those are refused.

A browser lets any page send requests to services on the same machine. Without
keys nothing but this check stands between such a page and the sketches. It is
the check of Go's CrossOriginProtection: browsers mark what they send with
Sec-Fetch-Site, which no page can forge, and where that is missing (old browsers,
plain http) with Origin. Clients that are no browsers send neither header.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})
_MARKS: Final = frozenset({b"sec-fetch-site", b"origin"})
#: A name or IPv4 address, or an IPv6 address in brackets; then, maybe, a port.
_AUTHORITY: Final = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<name>[^:\[\]]+))(?::\d*)?")


def is_marked(scope: Scope) -> bool:
    """Whether a request has a header by which browsers say where it comes from."""
    return any(name in _MARKS for name, _ in scope["headers"])


def refusal(method: str, headers: Headers, keyless: bool) -> str | None:
    """Why a request is refused, or None. keyless: whoever reaches the service may do everything."""
    sites = headers.getlist("sec-fetch-site")
    origins = headers.getlist("origin")
    if not sites and not origins:
        return None
    host = headers.get("host", "")
    if keyless and not is_loopback(host):
        # A name that its owner has made to lead here (DNS rebinding) makes a page of any site
        # look like ours.
        return "without access keys a browser must ask for localhost, 127.0.0.1 or [::1]"
    if method in _SAFE_METHODS:
        return None
    if sites:
        own = _OWN_SITES.issuperset(sites)
    else:
        own = all(_authority(origin) == host.lower() for origin in origins)
    return None if own else "a page of another site may not change anything here"


def _authority(origin: str) -> str | None:
    """host:port of an Origin; None for the origin "null" and for what is none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def is_this_machine(address: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    return is_loopback(f"[{address}]" if ":" in address else address)


def is_loopback(host: str) -> bool:
    """Whether a Host header names this machine and can name no other."""
    found = _AUTHORITY.fullmatch(host)
    if found is None:
        return False
    name = (found["six"] or found["name"]).lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
