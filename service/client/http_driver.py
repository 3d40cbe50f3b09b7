"""HTTP connections: bytes out and in, in time. What they mean: http_wire, http_answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, TypeVar, cast

import httpx

from service.client import http_answers, http_wire
from service.client.addresses import Address, Tls
from service.client.errors import Unreachable
from service.client.http_deadlines import DeadlineBackend
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


class _Origin:
    """What requests to one service have in common.

    They go to httpx's transport itself: the cookies, redirects and merged settings of its Client
    are of no use here and cost as much again.
    """

    def __init__(self, address: Address, key: str | None, tls: Tls | None) -> None:
        self._base = str(address)
        self._headers = {"accept-encoding": "identity", "user-agent": "sketchd-python"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"
        self.options: dict[str, Any] = {
            "limits": _LIMITS,
            "verify": (tls or Tls()).context() if address.encrypted else False,
            # Neither proxies of the surroundings nor their certificates.
            "trust_env": False,
        }

    def request(self, asked: http_wire.Request, seconds: float) -> httpx.Request:
        """A request with its deadline."""
        timeout = httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
        return httpx.Request(
            asked.method,
            self._base + asked.path,
            headers=self._headers | asked.headers,
            content=asked.content,
            extensions={"timeout": timeout.as_dict()},
        )


def _lost(error: httpx.TransportError, seconds: float) -> Unreachable:
    """A transport's failure in our words; those of libraries hold no header."""
    if isinstance(error, httpx.ConnectTimeout):
        return no_answer(min(seconds, _CONNECT_SECONDS))
    if isinstance(error, httpx.TimeoutException):
        return no_answer(seconds)
    said = str(error) or type(error).__name__
    kind = Broken if isinstance(error, _BROKEN) else Unreachable
    return kind("unreachable", f"the connection failed: {said}")


def _response(response: httpx.Response, pieces: list[bytes]) -> http_answers.Response:
    return http_answers.Response(response.status_code, response.headers, b"".join(pieces))


class HttpTransport:
    """Sends operations from any thread."""

    def __init__(self, address: Address, key: str | None, tls: Tls | None, tensors: bool) -> None:
        self._origin = _Origin(address, key, tls)
        self._http = httpx.HTTPTransport(**self._origin.options)
        pool = cast(Any, self._http)._pool  # httpx lets nobody give a backend
        pool._network_backend = backend = DeadlineBackend(pool._network_backend)
        self._deadline = backend.deadline
        self._tensors = tensors

    def send(self, operation: Operation[Answer], seconds: float) -> Answer:
        """One attempt, over after about so many seconds. Raises SketchdError."""
        asked = http_wire.request_of(operation, self._tensors)
        self._deadline.at = time.monotonic() + seconds
        try:
            response = self._http.handle_request(self._origin.request(asked, seconds))
            try:
                pieces = list(cast(httpx.SyncByteStream, response.stream))
            finally:
                response.close()
        except httpx.TransportError as error:
            raise _lost(error, seconds) from error
        return http_answers.answer_of(operation, _response(response, pieces))

    def close(self) -> None:
        """Let go of all connections."""
        self._http.close()


class AsyncHttpTransport:
    """Sends operations from one event loop."""

    def __init__(self, address: Address, key: str | None, tls: Tls | None, tensors: bool) -> None:
        self._origin = _Origin(address, key, tls)
        self._http = httpx.AsyncHTTPTransport(**self._origin.options)
        self._tensors = tensors

    async def send(self, operation: Operation[Answer], seconds: float) -> Answer:
        """One attempt, over after so many seconds. Raises SketchdError."""
        asked = http_wire.request_of(operation, self._tensors)
        request = self._origin.request(asked, seconds)
        try:
            async with asyncio.timeout(seconds):
                response = await self._http.handle_async_request(request)
                try:
                    stream = cast(httpx.AsyncByteStream, response.stream)
                    pieces = [piece async for piece in stream]
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise no_answer(seconds) from error
        except httpx.TransportError as error:
            raise _lost(error, seconds) from error
        return http_answers.answer_of(operation, _response(response, pieces))

    async def close(self) -> None:
        """Let go of all connections."""
        await self._http.aclose()
