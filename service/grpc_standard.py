"""The services that every gRPC tool knows: health and reflection.

Both answer without a key, as /healthz, /readyz and /openapi.json do: a balancer has none, and what
they tell is public.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from service.errors import ServiceError
from service.grpc_keyless import KeylessCalls
from service.health import Health
from service.protos.sketchd.v1 import sketchd_pb2

SKETCHES: Final = sketchd_pb2.DESCRIPTOR.services_by_name["SketchService"].full_name
_HEALTH: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_OLD: Final = "grpc.reflection.v1alpha"
_NEW: Final = "grpc.reflection.v1"
_REFLECTION: Final = "ServerReflection"
#: How soon a watcher learns that the store went away or came back. Of the drain it learns at once.
_WATCH_SECONDS: Final = 1.0

_Answer = health_pb2.HealthCheckResponse


class HealthService:
    """grpc.health.v1 over the judgement of /readyz: "" and sketchd.v1.SketchService alike."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._looked = asyncio.Lock()
        self._last: tuple[float, int] = (-_WATCH_SECONDS, _Answer.UNKNOWN)

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        """Whether requests are served now."""
        if request.service not in _WATCHED:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service here")
        return _Answer(status=await self._judgement())

    async def List(
        self,
        request: health_pb2.HealthListRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002
    ) -> health_pb2.HealthListResponse:
        """The same of every service."""
        status = await self._judgement()
        return health_pb2.HealthListResponse(
            statuses={name: _Answer(status=status) for name in _WATCHED}
        )

    async def Watch(
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The judgement now and at each change, until the drain begins."""
        told = None
        while True:
            found: int = _Answer.SERVICE_UNKNOWN
            if request.service in _WATCHED:
                found = await self._recent_judgement()
            if found != told:
                told = found
                yield _Answer(status=found)
            if self._health.draining:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._health.stopping(), _WATCH_SECONDS)

    async def _judgement(self) -> int:
        try:
            await self._health.check()
        except ServiceError:
            return int(_Answer.NOT_SERVING)
        return int(_Answer.SERVING)

    async def _recent_judgement(self) -> int:
        """Shared by all who watch: thousands of them ask the store no more often than one."""
        if self._health.draining:
            return int(_Answer.NOT_SERVING)
        async with self._looked:
            at, status = self._last
            if time.monotonic() - at >= _WATCH_SECONDS:
                status = await self._judgement()
                self._last = (time.monotonic(), status)
            return status


_WATCHED: Final = ("", SKETCHES)


def health_handler(service: HealthService, calls: KeylessCalls) -> grpc.GenericRpcHandler:
    """The RPCs of grpc.health.v1.Health."""
    asked = health_pb2.HealthCheckRequest
    return grpc.method_handlers_generic_handler(
        _HEALTH,
        {
            "Check": calls.unary(asked, _Answer, service.Check),
            "List": calls.unary(
                health_pb2.HealthListRequest, health_pb2.HealthListResponse, service.List
            ),
            "Watch": calls.answers(asked, _Answer, service.Watch),
        },
    )


def reflection_handlers(health: Health, calls: KeylessCalls) -> list[grpc.GenericRpcHandler]:
    """Reflection as tools ask for it, v1, and as older ones do, v1alpha. The messages are equal.

    health: when it drains, streams that wait for another question end.
    """
    _describe_new_reflection()
    names = (SKETCHES, _HEALTH, f"{_NEW}.{_REFLECTION}", f"{_OLD}.{_REFLECTION}")
    servicer = ReflectionServicer(names)

    async def answers(questions: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for answer in servicer.ServerReflectionInfo(_until_stop(questions, health), context):
            yield answer

    answering = calls.stream(
        reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse, answers
    )
    return [
        grpc.method_handlers_generic_handler(
            f"{package}.{_REFLECTION}", {"ServerReflectionInfo": answering}
        )
        for package in (_NEW, _OLD)
    ]


async def _until_stop(messages: AsyncIterator[Any], health: Health) -> AsyncIterator[Any]:
    """The messages that come before the service stops."""
    stopping = asyncio.ensure_future(health.stopping())
    coming: asyncio.Future[Any] = stopping
    try:
        while True:
            coming = asyncio.ensure_future(_next(messages))
            await asyncio.wait({coming, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done() or (message := coming.result()) is None:
                return
            yield message
    finally:
        coming.cancel()
        stopping.cancel()


async def _next(messages: AsyncIterator[Any]) -> Any:
    return await anext(messages, None)


def _describe_new_reflection() -> None:
    """Tools ask for the description of all that is listed, and grpcio brings only v1alpha's."""
    pool = descriptor_pool.Default()
    name = "grpc/reflection/v1/reflection.proto"
    try:
        pool.FindFileByName(name)
    except KeyError:
        old = descriptor_pb2.FileDescriptorProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(old)
        old.name, old.package = name, _NEW
        for message in old.message_type:
            for field in message.field:
                if field.type_name:
                    field.type_name = field.type_name.replace(f".{_OLD}.", f".{_NEW}.")
        for method in old.service[0].method:
            method.input_type = method.input_type.replace(_OLD, _NEW)
            method.output_type = method.output_type.replace(_OLD, _NEW)
        pool.AddSerializedFile(old.SerializeToString())
