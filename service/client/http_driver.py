"""HTTP connections: bytes out and in, in time. What they mean: http_wire, http_answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, TypeVar

import httpx

from service.client import http_answers, http_wire
from service.client.addresses import Address, Tls
from service.client.errors import Unreachable
from service.client.operations import Operation
from service.client.retry import Broken, no_answer

Answer = TypeVar("Answer")

#: A second less than the service keeps an idle connection.
_KEPT_IDLE_SECONDS: Final = 4.0
_LIMITS: Final = httpx.Limits(
    max_connections=256, max_keepalive_connections=64, keepalive_expiry=_KEPT_IDLE_SECONDS
)
#: Making a connection takes no longer where there is somebody to answer.
_CONNECT_SECONDS: Final = 5.0
#: The service may have closed it before, and not even seen the request.
_BROKEN: Final = (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)


def _options(address: Address, key: str | None, tls: Tls | None) -> dict[str, Any]:
    headers = {"accept-encoding": "identity", "user-agent": "sketchd-python"}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    return {
        "base_url": str(address),
        "headers": headers,
        "limits": _LIMITS,
        "verify": (tls or Tls()).context() if address.encrypted else False,
        # The surroundings' proxies and .netrc, whose passwords would replace the key, stay out.
        "trust_env": False,
        "follow_redirects": False,
    }


def _timeouts(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


def _lost(error: httpx.TransportError, seconds: float) -> Unreachable:
    """A transport's failure in our words; those of libraries hold no header."""
    if isinstance(error, httpx.ConnectTimeout):
        return no_answer(min(seconds, _CONNECT_SECONDS))
    if isinstance(error, httpx.TimeoutException):
        return no_answer(seconds)
    said = str(error) or type(error).__name__
    kind = Broken if isinstance(error, _BROKEN) else Unreachable
    return kind("unreachable", f"the connection failed: {said}")


def _response(response: httpx.Response, content: bytes) -> http_answers.Response:
    return http_answers.Response(response.status_code, response.headers, content)


class HttpTransport:
    """Sends operations from any thread."""

    def __init__(self, address: Address, key: str | None, tls: Tls | None, tensors: bool) -> None:
        self._http = httpx.Client(**_options(address, key, tls))
        self._tensors = tensors

    def send(self, operation: Operation[Answer], seconds: float) -> Answer:
        """One attempt, over after about so many seconds. Raises SketchdError."""
        request = http_wire.request_of(operation, self._tensors)
        until = time.monotonic() + seconds
        try:
            with self._http.stream(
                request.method,
                request.path,
                headers=request.headers,
                content=request.content,
                timeout=_timeouts(seconds),
            ) as response:
                pieces = []
                for piece in response.iter_raw():
                    pieces.append(piece)
                    if time.monotonic() > until:
                        raise no_answer(seconds)
            answer = _response(response, b"".join(pieces))
        except httpx.TransportError as error:
            raise _lost(error, seconds) from error
        return http_answers.answer_of(operation, answer)

    def close(self) -> None:
        """Let go of all connections."""
        self._http.close()


class AsyncHttpTransport:
    """Sends operations from one event loop."""

    def __init__(self, address: Address, key: str | None, tls: Tls | None, tensors: bool) -> None:
        self._http = httpx.AsyncClient(**_options(address, key, tls))
        self._tensors = tensors

    async def send(self, operation: Operation[Answer], seconds: float) -> Answer:
        """One attempt, over after so many seconds. Raises SketchdError."""
        request = http_wire.request_of(operation, self._tensors)
        try:
            async with asyncio.timeout(seconds):
                response = await self._http.request(
                    request.method,
                    request.path,
                    headers=request.headers,
                    content=request.content,
                    timeout=_timeouts(seconds),
                )
        except TimeoutError as error:
            raise no_answer(seconds) from error
        except httpx.TransportError as error:
            raise _lost(error, seconds) from error
        return http_answers.answer_of(operation, _response(response, response.content))

    async def close(self) -> None:
        """Let go of all connections."""
        await self._http.aclose()
