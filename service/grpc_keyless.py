"""Bounds of RPCs that need no key: anybody may open them, so together they take little.

grpc itself would read a request of any of them first, as large as the largest message and for as
long as it takes, and would count it among the RPCs that may be under way at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

#: Requests that may be arriving at a time; each can take as much as the largest message.
_ARRIVING: Final = 16
#: How long one may take, its wait for a place included. One is some ten bytes.
_SECONDS: Final = 5.0
_LARGEST_BYTES: Final = 8 << 10

Serve = Callable[[Any, Any], Awaitable[Any]]
ServeStream = Callable[[Any, Any], AsyncIterator[Any]]


class KeylessCalls:
    """At most `most` such RPCs at once; one more is refused."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._now = 0
        self._arriving = asyncio.Semaphore(_ARRIVING)

    def unary(self, kind: Any, answer: Any, serve: Serve) -> Any:
        """A handler of one request of this kind of message, and one answer."""

        async def handle(_: Any, context: Any) -> Any:
            await self._enter(context)
            try:
                return await serve(await self._only(kind, context), context)
            finally:
                self._now -= 1

        return grpc.stream_unary_rpc_method_handler(handle, None, answer.SerializeToString)

    def answers(self, kind: Any, answer: Any, serve: ServeStream) -> Any:
        """The same with a stream of answers."""

        async def handle(_: Any, context: Any) -> AsyncIterator[Any]:
            await self._enter(context)
            try:
                async for one in serve(await self._only(kind, context), context):
                    yield one
            finally:
                self._now -= 1

        return grpc.stream_stream_rpc_method_handler(handle, None, answer.SerializeToString)

    def stream(self, kind: Any, answer: Any, serve: ServeStream) -> Any:
        """The same of a stream of requests, which ends when none comes any more."""

        async def requests(context: Any) -> AsyncIterator[Any]:
            while (raw := await self._request(context)) is not None:
                yield await _read(kind, raw, context)

        async def handle(_: Any, context: Any) -> AsyncIterator[Any]:
            await self._enter(context)
            try:
                async for one in serve(requests(context), context):
                    yield one
            finally:
                self._now -= 1

        return grpc.stream_stream_rpc_method_handler(handle, None, answer.SerializeToString)

    async def _enter(self, context: Any) -> None:
        if self._now >= self._most:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "too many RPCs without a key are under way"
            )
        self._now += 1

    async def _only(self, kind: Any, context: Any) -> Any:
        raw = await self._request(context)
        if raw is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the request did not come in time")
            raise AssertionError("abort raises")
        return await _read(kind, raw, context)

    async def _request(self, context: Any) -> bytes | None:
        """The next one; None when there is none, in time."""
        try:
            async with asyncio.timeout(_SECONDS), self._arriving:
                raw = await context.read()
        except TimeoutError:
            return None
        return None if raw is grpc.aio.EOF else raw


async def _read(kind: Any, raw: bytes, context: Any) -> Any:
    if len(raw) > _LARGEST_BYTES:
        await context.abort(
            grpc.StatusCode.INVALID_ARGUMENT, f"the request has over {_LARGEST_BYTES} bytes"
        )
    try:
        return kind.FromString(raw)
    except DecodeError:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request cannot be read")
