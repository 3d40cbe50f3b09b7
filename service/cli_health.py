"""`sketchd health`: does the service answer? What a container's health check runs.

Started every few seconds beside the service: it imports the standard library alone, and of that
little. It finds the service where its environment says that it listens.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

#: Defaults of the settings of these names, which would take longer to import than all the rest.
HOST: Final = "127.0.0.1"
PORT: Final = "8080"
_TIMEOUT_SECONDS: Final = 4.0
_LONGEST_TIMEOUT_SECONDS: Final = 3600.0
#: Addresses to listen on that are none to call.
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here
_LONGEST_ANSWER_BYTES: Final = 4096


def main(arguments: Sequence[str]) -> int:
    """Ask once. Returns 0, 1 where the answer is no or does not come, 2 for a wrong command."""
    parser = argparse.ArgumentParser(
        prog="sketchd health",
        description="Ask the service whether it is alive. Exit status 0 if so, 1 if not.",
    )
    parser.add_argument(
        "--ready",
        action="store_true",
        help="whether it serves, which takes its store (/readyz), and not only lives (/healthz)",
    )
    parser.add_argument(
        "--url",
        help="http://host:port or https://… (default: where SKETCHD_HOST, SKETCHD_PORT and "
        "SKETCHD_TLS_CERTIFICATE say that it listens)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help=f"how long to wait for the connection, and for each piece of the answer "
        f"(default {_TIMEOUT_SECONDS:g})",
    )
    options = parser.parse_args(arguments)
    if not 0 < options.timeout <= _LONGEST_TIMEOUT_SECONDS:
        parser.error(f"--timeout: must be above 0, and at most {_LONGEST_TIMEOUT_SECONDS:g}")
    url = options.url if options.url is not None else address(os.environ)
    path = "/readyz" if options.ready else "/healthz"
    try:
        trouble = asked(url, path, options.timeout)
    except ValueError as error:
        origin = "--url" if options.url is not None else "SKETCHD_HOST, SKETCHD_PORT"
        parser.error(f"{origin}: {error}")
    except (OSError, http.client.HTTPException) as error:
        trouble = str(error) or type(error).__name__
    if trouble is not None:
        print(f"sketchd: {url}{path}: {trouble}", file=sys.stderr)
        return 1
    print("ready" if options.ready else "alive")
    return 0


def address(environ: Mapping[str, str]) -> str:
    """Where a service with this environment can be called on its own machine."""
    host = environ.get("SKETCHD_HOST", HOST)
    host = _ANY.get(host, host)
    scheme = "https" if environ.get("SKETCHD_TLS_CERTIFICATE") else "http"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{environ.get('SKETCHD_PORT', PORT)}"


def asked(url: str, path: str, seconds: float) -> str | None:
    """None where the answer is 200, else what it says. Raises ValueError for no such URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} does not begin with http:// or https:// and a host")
    if parts.port == 0:
        raise ValueError("port 0 is no port to call; say which one it listens on")
    connection = _connection(parts.scheme, parts.hostname, parts.port, seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status == 200:
            return None
        return f"{answer.status} {_detail(answer.read(_LONGEST_ANSWER_BYTES))}".rstrip()
    finally:
        connection.close()


def _connection(
    scheme: str, host: str, port: int | None, seconds: float
) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=seconds)
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Its certificate is for the name that clients call, not for this machine's loopback; nothing
    # secret is sent, and nothing believed but that it answers.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if os.environ.get("SKETCHD_TLS_CLIENT_CA"):
        # A service that demands certificates gets its own, if it has that one's key to hand.
        own, key = (os.environ.get(f"SKETCHD_TLS_{name}", "") for name in ("CERTIFICATE", "KEY"))
        context.load_cert_chain(own, key or None)
    return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)


def _detail(body: bytes) -> str:
    """What a problem document says; nothing where it is none."""
    import json

    try:
        return str(json.loads(body)["detail"])
    except (ValueError, LookupError, TypeError):
        return ""
