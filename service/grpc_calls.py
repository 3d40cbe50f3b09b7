"""Around every RPC: its id, who calls and whether they may, its place in the count, its end.

What HTTP spreads over its boundary, its gate and its meter stands here in one place, in
the same order: the key and the role, the tenant's rate, then the message.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote

import grpc

from service import grpc_errors, logs, metrics, problems
from service.body_blocks import BLOCK_BYTES
from service.errors import InvalidRequest, ServiceError, TooSlow
from service.grpc_access import ROLES, metadata_value
from service.grpc_context import Call, GrpcServed
from service.grpc_places import Places
from service.health import NotReady
from service.metrics import Receipt, Timed
from service.pool import working_for

#: Serves a unary request: its bytes to those of the answer.
Serve = Callable[[Call, bytes], Awaitable[bytes]]
#: Serves what has a stream on either side, reading and writing by itself.
ServeStream = Callable[[Call, Any], Awaitable[bytes | None]]
#: The same with the one request of an RPC that only answers in a stream.
ServeAnswers = Callable[[Call, bytes, Any], Awaitable[None]]

_LOG: Final = logging.getLogger("sketchd.grpc")
_ACCESS: Final = logging.getLogger("sketchd.access")

#: Whose durations are metrics of their own. A stream's messages are timed one by one.
_TIMED: Final[dict[str, Timed]] = {
    "Update": "update", "Sample": "sample", "Estimate": "sample", "Norm": "sample",
}  # fmt: skip


class Boundary:
    """Lets RPCs in, and sees to it that each ends as it should."""

    def __init__(self, served: GrpcServed) -> None:
        self._served = served
        settings = served.settings
        self._arriving = Places(
            settings.grpc_arriving_messages, settings.tenant_share, "messages are arriving"
        )
        self._streams = Places(
            settings.grpc_open_streams, settings.tenant_share, "streams are open"
        )

    def unary(self, method: str, serve: Serve) -> Callable[[Any, Any], Awaitable[bytes | None]]:
        """A handler of one message in, one out, for a server that leaves it to read the message.

        grpc's own would read it first, and hold what anybody sends, for as long as it takes.
        """

        async def handle(_: Any, context: Any) -> bytes | None:
            return await self._around(
                method, context, lambda call: self._with_body(call, context, serve)
            )

        return handle

    def answers(
        self, method: str, serve: ServeAnswers
    ) -> Callable[[Any, Any], Awaitable[bytes | None]]:
        """A handler of one message in, a stream out; it is read as that of `unary`."""

        async def serve_message(call: Call, context: Any) -> None:
            await serve(call, await self._message(call, context), context)

        async def handle(_: Any, context: Any) -> bytes | None:
            return await self._around(method, context, lambda call: serve_message(call, context))

        return handle

    def stream(
        self, method: str, serve: ServeStream
    ) -> Callable[[Any, Any], Awaitable[bytes | None]]:
        """A handler of a stream in."""

        async def serve_stream(call: Call, context: Any) -> bytes | None:
            with self._streams.place(call.tenant):
                return await serve(call, context)

        async def handle(_: Any, context: Any) -> bytes | None:
            return await self._around(method, context, lambda call: serve_stream(call, context))

        return handle

    async def _around(
        self, method: str, context: Any, serve: Callable[[Call], Awaitable[bytes | None]]
    ) -> bytes | None:
        receipt = metrics.received("grpc")
        metadata = tuple(context.invocation_metadata() or ())
        request_id = logs.request_id(metadata_value(metadata, "x-request-id"))
        code = grpc.StatusCode.CANCELLED
        with self._served.health.request(), logs.request(request_id):
            try:
                await context.send_initial_metadata((("x-request-id", request_id),))
                answer = await serve(await self._let_in(method, metadata, request_id))
                code = grpc.StatusCode.OK
                return answer
            except Exception as failure:
                if _is_gone(context, failure):
                    raise asyncio.CancelledError from failure  # by the client, or its deadline
                refusal = self._refused(method, request_id, receipt, failure)
                code = refusal.code
                try:
                    await context.abort(refusal.code, refusal.message, refusal.trailers)
                except grpc.aio.InternalError as lost:
                    raise asyncio.CancelledError from lost  # gone in this very moment
            finally:
                self._finished(method, context, code, receipt)
        raise AssertionError("abort raises")

    async def _with_body(self, call: Call, context: Any, serve: Serve) -> bytes:
        """Serve one message, whose bytes are held meanwhile."""
        body = call.body()
        raw = await self._message(call, context)
        try:
            body.reaches(len(raw))
            return await serve(call, raw)
        finally:
            body.release()

    async def _message(self, call: Call, context: Any) -> bytes:
        """The one message of an RPC. Raises Overloaded, TooSlow, TooLarge, and InvalidRequest
        where there is none.

        How much of it has come cannot be seen: it has the time that the largest one may take.
        """
        settings = self._served.settings
        patience = settings.body_seconds * max(1.0, settings.largest_message_bytes / BLOCK_BYTES)
        try:
            async with (
                self._arriving.place_within(call.tenant, settings.body_seconds),
                asyncio.timeout(patience) as until,
            ):
                raw = await context.read()
        except TimeoutError:
            if not until.expired():
                raise
            raise TooSlow(f"the message did not come within {patience:g} seconds") from None
        if raw is grpc.aio.EOF:
            raise InvalidRequest("there is no message", code="malformed_protobuf", malformed=True)
        message: bytes = raw
        call.check_size(message)
        return message

    async def _let_in(self, method: str, metadata: Any, request_id: str) -> Call:
        authorization = metadata_value(metadata, "authorization")
        caller = self._served.access.admit(authorization)
        logs.identify(caller.tenant, caller.key_id or "")
        caller.check(ROLES[method])
        working_for(caller.tenant)
        await self._served.quotas.request(caller.tenant)
        return Call(self._served, method, request_id, caller, authorization)

    def _refused(
        self, method: str, request_id: str, receipt: Receipt, failure: Exception
    ) -> grpc_errors.Refusal:
        error = told(failure, self._served.metrics)
        if method in _TIMED:
            self._served.metrics.rpc_refused(_TIMED[method], receipt, failure)
        return grpc_errors.refusal(error, request_id)

    def _finished(self, method: str, context: Any, code: grpc.StatusCode, receipt: Receipt) -> None:
        self._served.metrics.rpc_finished(method, code.name)
        if self._served.settings.access_log == "on":
            seconds = time.perf_counter() - receipt.at
            fields = {
                "method": "RPC",
                "route": method,
                "path": None,
                "status": code.name,
                "milliseconds": round(1000 * seconds, 3),
                "client": _host(context.peer()),
            }
            _ACCESS.info("RPC %s", method, extra={"fields": fields})


def _host(peer: str) -> str:
    """The host of "ipv4:127.0.0.1:4711" or "ipv6:%5B::1%5D:4711"; of others all there is."""
    kind, _, address = peer.partition(":")
    return unquote(address).rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else peer


def _is_gone(context: Any, failure: Exception) -> bool:
    """Whether nobody is there any more to be told how the RPC ended.

    grpc may know before its context does: then it fails to send, or to read.
    """
    return bool(_is_lost(failure) or context.cancelled() or context.done())


def _is_lost(failure: Exception) -> bool:
    if isinstance(failure, ExceptionGroup):  # of a stream's tasks
        return any(map(_is_lost, failure.exceptions))
    return isinstance(failure, grpc.aio.InternalError)


def told(failure: Exception, counts: metrics.Metrics) -> ServiceError:
    """What the caller hears of a failure; it is counted, and logged if it is the service's."""
    if not isinstance(failure, ServiceError):
        _LOG.error("the request failed", exc_info=failure)
        failure = grpc_errors.unexpected()
    elif problems.status_of(failure) >= 500 and not isinstance(failure, NotReady):
        # Each stream that a stop ends is told so, and that is no news to the operator.
        _LOG.warning("%s: %s", failure.code, failure.detail, exc_info=failure.__cause__)
    counts.rejected(failure.code)
    return failure
