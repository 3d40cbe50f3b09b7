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
from service.errors import ServiceError
from service.grpc_access import ROLES, metadata_value
from service.grpc_context import Call, GrpcServed
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

    def unary(self, method: str, serve: Serve) -> Callable[[bytes, Any], Awaitable[bytes | None]]:
        """A handler of one message in, one out."""

        async def handle(raw: bytes, context: Any) -> bytes | None:
            return await self._around(method, context, lambda call: _with_body(call, raw, serve))

        return handle

    def answers(
        self, method: str, serve: ServeAnswers
    ) -> Callable[[bytes, Any], Awaitable[bytes | None]]:
        """A handler of one message in, a stream out."""

        async def handle(raw: bytes, context: Any) -> bytes | None:
            return await self._around(method, context, lambda call: serve(call, raw, context))

        return handle

    def stream(
        self, method: str, serve: ServeStream
    ) -> Callable[[Any, Any], Awaitable[bytes | None]]:
        """A handler of a stream in."""

        async def handle(_: Any, context: Any) -> bytes | None:
            return await self._around(method, context, lambda call: serve(call, context))

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
                if _is_gone(context):
                    raise asyncio.CancelledError from failure  # by the client, or its deadline
                refusal = self._refused(method, request_id, receipt, failure)
                code = refusal.code
                await context.abort(refusal.code, refusal.message, refusal.trailers)
            finally:
                self._finished(method, context, code, receipt)
        raise AssertionError("abort raises")

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


async def _with_body(call: Call, raw: bytes, serve: Serve) -> bytes:
    """Serve one message, whose bytes are held meanwhile."""
    body = call.body()
    try:
        call.check_size(raw)
        body.reaches(len(raw))
        return await serve(call, raw)
    finally:
        body.release()


def _host(peer: str) -> str:
    """The host of "ipv4:127.0.0.1:4711" or "ipv6:%5B::1%5D:4711"; of others all there is."""
    kind, _, address = peer.partition(":")
    return unquote(address).rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else peer


def _is_gone(context: Any) -> bool:
    """Whether nobody is there any more to be told how the RPC ended."""
    return bool(context.cancelled() or context.done())


def told(failure: Exception, counts: metrics.Metrics) -> ServiceError:
    """What the caller hears of a failure; it is counted, and logged if it is the service's."""
    if not isinstance(failure, ServiceError):
        _LOG.error("the request failed", exc_info=failure)
        failure = grpc_errors.unexpected()
    elif problems.status_of(failure) >= 500:
        _LOG.warning("%s: %s", failure.code, failure.detail, exc_info=failure.__cause__)
    counts.rejected(failure.code)
    return failure
