"""gRPC on a port: limits, health, reflection, and an end that loses no answer.

What is answered lives in the handlers that are passed in. Here is what holds for all of them: how
large and how many messages may be, who is hung up on, and what becomes of RPCs at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Self

import grpc

from service.grpc_standard import HealthService, health_handler, reflection_handlers
from service.health import Health
from service.settings import Settings

_STOPPING: Final = "not_ready: the service is stopping"
#: A client may ping as often as this; more often, again and again, and it is hung up on.
_PING_SECONDS: Final = 5.0
_Behaviour = Callable[[AsyncIterator[Any], Any], AsyncIterator[Any]]


class PortUnavailable(Exception):
    """The port cannot be listened on; the message is for a person."""


class GrpcServer:
    """A grpc.aio server. Start and stop it in one event loop, once.

    address: an IP address. port: 0 for a free one. credentials: None for plain text.
    """

    def __init__(
        self,
        handlers: Sequence[grpc.GenericRpcHandler],
        address: str,
        port: int,
        credentials: grpc.ServerCredentials | None,
        settings: Settings,
        health: Health,
    ) -> None:
        self._handlers = handlers
        self._at = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self._credentials = credentials
        self._settings = settings
        self._health = health
        self._judge: HealthService | None = None
        self._server: grpc.aio.Server | None = None
        self._streams = _Streams()

    async def start(self) -> int:
        """Listen and serve; returns the port. Raises PortUnavailable."""
        self._judge = HealthService(self._health)
        server = grpc.aio.server(
            handlers=[
                *(_Ending(handler, self._streams) for handler in self._handlers),
                health_handler(self._judge),
                *(_Ending(handler, self._streams) for handler in reflection_handlers()),
            ],
            options=options(self._settings),
            maximum_concurrent_rpcs=self._settings.grpc_max_calls,
        )
        try:
            if self._credentials is None:
                port = server.add_insecure_port(self._at)
            else:
                port = server.add_secure_port(self._at, self._credentials)
        except RuntimeError as error:
            raise PortUnavailable(f"cannot listen on {self._at} for gRPC") from error
        await server.start()
        self._server = server
        return port

    async def stop(self, grace: float) -> None:
        """Take no new RPC; those under way have `grace` seconds, and are then cancelled.

        Streams in both directions are read no further. What was read is answered, then they end
        with UNAVAILABLE, so that the client goes on with another server.
        """
        if self._server is None or self._judge is None:
            return
        self._judge.end()
        self._streams.end()
        await self._server.stop(grace)


def options(settings: Settings) -> list[tuple[str, int]]:
    """The channel arguments that the settings ask for."""
    return [
        # Every worker listens on the one port; the supervisor keeps others from it.
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", settings.grpc_max_message_bytes),
        ("grpc.max_send_message_length", -1),
        # Soft and hard limit alike: between the two grpc refuses at random.
        ("grpc.max_metadata_size", settings.max_head_bytes),
        ("grpc.absolute_max_metadata_size", settings.max_head_bytes),
        ("grpc.max_concurrent_streams", settings.grpc_max_streams),
        # TLS and the first frame of HTTP/2.
        ("grpc.server_handshake_timeout_ms", _milliseconds(settings.head_seconds)),
        ("grpc.max_connection_idle_ms", _milliseconds(settings.grpc_idle_seconds)),
        ("grpc.keepalive_time_ms", _milliseconds(settings.grpc_keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", _milliseconds(settings.grpc_keepalive_timeout_seconds)),
        # Asked on its own, and allowed to ask, while no RPC is under way too.
        ("grpc.http2.ping_timeout_ms", _milliseconds(settings.grpc_keepalive_timeout_seconds)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _milliseconds(_PING_SECONDS)),
    ]


def _milliseconds(seconds: float) -> int:
    return min(max(1, round(seconds * 1000)), (1 << 31) - 1)


class _Streams:
    """The tasks that wait for a message of a stream, and whether there shall be another."""

    def __init__(self) -> None:
        self._ended = False
        self.reading: set[asyncio.Task[Any]] = set()

    def have_ended(self) -> bool:
        """Whether no stream is read any further."""
        return self._ended

    def end(self) -> None:
        """Read none any further."""
        self._ended = True
        for task in self.reading:
            task.cancel()


class _Messages:
    """A stream's messages until the drain. cut: whether that came before the client's end."""

    def __init__(self, messages: AsyncIterator[Any], streams: _Streams) -> None:
        self._messages = messages
        self._streams = streams
        self.cut = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """The next message. Raises StopAsyncIteration."""
        if self._streams.have_ended():
            self.cut = True
            raise StopAsyncIteration
        # Cancelled by `end` while it waits, as asyncio.timeout does: no task and no queue for
        # each message, of which there are ten thousand a second.
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        self._streams.reading.add(task)
        try:
            return await anext(self._messages)
        except asyncio.CancelledError:
            if not self._streams.have_ended() or task.uncancel() > before:
                raise
            self.cut = True
            raise StopAsyncIteration from None
        finally:
            self._streams.reading.discard(task)


class _Ending(grpc.GenericRpcHandler):
    """Handlers whose streams in both directions end with the drain; the others are as they were."""

    def __init__(self, inner: grpc.GenericRpcHandler, streams: _Streams) -> None:
        self._inner = inner
        self._streams = streams
        self._ending: dict[str, Any] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of one RPC, None if it is not here."""
        method = str(handler_call_details.method)
        found = self._ending.get(method)
        if found is None:
            found = self._inner.service(handler_call_details)
            if found is None:  # and the names a client may make up are not remembered
                return None
            if found.request_streaming and found.response_streaming:
                found = self._with_an_end(found)
            self._ending[method] = found
        return found

    def _with_an_end(self, found: Any) -> Any:
        answer: _Behaviour = found.stream_stream

        async def answered(messages: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            until_the_end = _Messages(messages, self._streams)
            async for one in answer(until_the_end, context):
                yield one
            if until_the_end.cut:
                await context.abort(
                    grpc.StatusCode.UNAVAILABLE, _STOPPING, (("sketchd-code", "not_ready"),)
                )

        return grpc.stream_stream_rpc_method_handler(
            answered, found.request_deserializer, found.response_serializer
        )
