"""gRPC channels: messages out and in, within a deadline. Their meaning: grpc_wire, grpc_answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, Final, TypeVar, cast

import grpc
import grpc.aio

from service.client import grpc_answers, grpc_wire
from service.client import operations as ops
from service.client.addresses import Address, Tls
from service.client.errors import SketchdError, Unreachable
from service.client.retry import no_answer

Answer = TypeVar("Answer")

_SERVICE: Final = "/sketchd.v1.SketchService/"
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),  # ours know what counts once
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a client's connections are its own
    # A service that was restarted is found again within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
#: (streams in, streams out) -> what the channel calls it.
_KINDS: Final = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


def _metadata(key: str | None) -> tuple[tuple[str, str], ...]:
    """The access key; call credentials would not travel over plaintext channels."""
    return () if key is None else (("authorization", f"Bearer {key}"),)


def _credentials(tls: Tls | None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(*(tls or Tls()).pems())


def _error(error: grpc.RpcError, seconds: float) -> SketchdError:
    call = cast(Any, error)  # each is a call, too
    trailers = [(str(name), value) for name, value in call.trailing_metadata() or ()]
    told = grpc_answers.error_of_end(call.code(), call.details(), trailers)
    if isinstance(told, Unreachable) and call.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return no_answer(seconds)
    return told


def _answer(
    operation: ops.Operation[Answer], messages: Sequence[bytes], end: SketchdError | None
) -> Answer:
    if isinstance(operation, ops.AddMany | ops.DrawMany):
        return cast(Answer, grpc_answers.results_of(operation, messages, end))
    if end is not None:
        raise end
    return grpc_answers.answer_of(operation, messages)


class GrpcTransport:
    """Sends operations from any thread."""

    def __init__(self, address: Address, key: str | None, tls: Tls | None, tensors: bool) -> None:
        self._channel = (
            grpc.secure_channel(address.target, _credentials(tls), options=_OPTIONS)
            if address.encrypted
            else grpc.insecure_channel(address.target, options=_OPTIONS)
        )
        self._metadata = _metadata(key)
        self._tensors = tensors
        self._callables: dict[str, Any] = {}
        self._making = threading.Lock()

    def send(self, operation: ops.Operation[Answer], seconds: float) -> Answer:
        """One attempt, over after so many seconds. Raises SketchdError."""
        request = grpc_wire.request_of(operation, self._tensors)
        call = self._callable(request)
        content: Any = request.requests() if request.streams_in else next(request.requests())
        metadata = self._metadata + grpc_wire.place_of(operation)
        messages: list[bytes] = []
        end = None
        try:
            answered = call(content, timeout=seconds, metadata=metadata)
            if request.streams_out:
                messages.extend(answered)
            else:
                messages.append(answered)
        except grpc.RpcError as error:
            end = _error(error, seconds)
        return _answer(operation, messages, end)

    def _callable(self, request: grpc_wire.Request) -> Any:
        found = self._callables.get(request.method)
        if found is None:
            kind = _KINDS[request.streams_in, request.streams_out]
            with self._making:
                found = getattr(self._channel, kind)(_SERVICE + request.method)
                self._callables[request.method] = found
        return found

    def close(self) -> None:
        """Let go of the connection."""
        self._channel.close()


class AsyncGrpcTransport:
    """Sends operations from one event loop, that of the first call."""

    def __init__(self, address: Address, key: str | None, tls: Tls | None, tensors: bool) -> None:
        self._address = address
        self._credentials = _credentials(tls) if address.encrypted else None
        self._metadata = _metadata(key)
        self._tensors = tensors
        self._channel: grpc.aio.Channel | None = None
        self._callables: dict[str, Any] = {}

    async def send(self, operation: ops.Operation[Answer], seconds: float) -> Answer:
        """One attempt, over after so many seconds. Raises SketchdError."""
        request = grpc_wire.request_of(operation, self._tensors)
        call = self._callable(request)
        content: Any = request.requests() if request.streams_in else next(request.requests())
        metadata = self._metadata + grpc_wire.place_of(operation)
        messages: list[bytes] = []
        end = None
        try:
            answered = call(content, timeout=seconds, metadata=metadata)
            if request.streams_out:
                async for message in answered:
                    messages.append(message)
            else:
                messages.append(await answered)
        except grpc.RpcError as error:
            end = _error(error, seconds)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Of the call alone: the channel was closed. Raised on, it would end the caller's task.
            raise Unreachable("unreachable", "the client was closed") from error
        return _answer(operation, messages, end)

    def _callable(self, request: grpc_wire.Request) -> Any:
        if self._channel is None:  # here, where the loop that it belongs to runs
            target = self._address.target
            self._channel = (
                grpc.aio.insecure_channel(target, options=_OPTIONS)
                if self._credentials is None
                else grpc.aio.secure_channel(target, self._credentials, options=_OPTIONS)
            )
        found = self._callables.get(request.method)
        if found is None:
            kind = _KINDS[request.streams_in, request.streams_out]
            found = getattr(self._channel, kind)(_SERVICE + request.method)
            self._callables[request.method] = found
        return found

    async def close(self) -> None:
        """Let go of the connection."""
        if self._channel is not None:
            await self._channel.close()
