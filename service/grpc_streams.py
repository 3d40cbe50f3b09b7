"""Streams of requests: one result a message, in their order, several of them under way at once.

    client -> reader -> a task a message (bounded) -> writer, in order -> client

A message has its place from before it is read until its result is written, so that a client
which does not read its results, or a store that is slow, stops the reading, and HTTP/2
stops the client. Tasks of one sketch take turns where order matters. A message that
is refused has a problem as its result; the stream ends for what concerns all of it: the key is
gone, the service stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import grpc

from service import grpc_errors, metrics
from service.errors import ServiceError
from service.grpc_calls import told
from service.grpc_context import Call
from service.health import NotReady
from service.in_flight import BodyInFlight
from service.metrics import Timed

M = TypeVar("M")
A = TypeVar("A")

#: How long the last results of a stream that is being ended may take to be read.
_LAST_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class StreamOf(Generic[M, A]):
    """What is done with each message.

    read: its bytes as a message. sketch_of: the sketch it is for. understand: what it asks,
    checked for all that is known without the sketch. act: the result's bytes. refused: the
    same for a problem. ordered: whether messages of one sketch wait for each other.
    """

    read: Callable[[bytes], M]
    sketch_of: Callable[[M], str]
    understand: Callable[[Call, M], Awaitable[A]]
    act: Callable[[Call, A], Awaitable[bytes]]
    refused: Callable[[ServiceError], bytes]
    timed: Timed
    ordered: bool


class MessageStream(Generic[M, A]):
    """One stream under way."""

    def __init__(self, call: Call, context: Any, what: StreamOf[M, A]) -> None:
        self._call = call
        self._context = context
        self._what = what
        self._room = asyncio.Semaphore(call.served.settings.grpc_stream_messages)
        self._results: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue()
        self._last: dict[str, asyncio.Task[bytes]] = {}
        self._under_way: set[asyncio.Task[bytes]] = set()
        self._complete = False  # the client has sent all
        self._ending: ServiceError | None = None

    async def run(self) -> None:
        """Serve until the client has sent all and has every result. Raises what ends the stream."""
        gone = False
        try:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._read(group))
                watcher = group.create_task(self._watch(reader))
                await self._write()
                watcher.cancel()
        except* ServiceError:  # of the watcher, for a client that does not read the last results
            self._complete = False
        except* grpc.aio.InternalError:  # what grpc cannot read or send any more
            gone = True
        if gone:
            raise asyncio.CancelledError
        if self._ending is not None and not self._complete:
            raise self._ending

    async def _watch(self, reader: asyncio.Task[None]) -> None:
        """End the reading when the service stops or the key goes."""
        served = self._call.served
        while self._ending is None:
            try:
                async with asyncio.timeout(served.settings.access_refresh_seconds):
                    await served.health.stopping()
                self._ending = NotReady("the service is stopping")
            except TimeoutError:
                self._ending = self._refusal()
        reader.cancel()
        if self._under_way:  # for as long as the drain takes; then grpc ends the RPC
            await asyncio.wait(self._under_way)
        await asyncio.sleep(_LAST_SECONDS)
        raise self._ending

    def _refusal(self) -> ServiceError | None:
        try:
            self._call.check_still()
        except ServiceError as error:
            return error.with_traceback(None)
        return None

    async def _read(self, group: asyncio.TaskGroup) -> None:
        try:
            while True:
                await self._room.acquire()
                raw = await self._context.read()
                if raw is grpc.aio.EOF:
                    self._complete = True
                    return
                task = self._begun(group, raw)
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
                self._results.put_nowait(task)
        finally:
            self._results.put_nowait(None)

    async def _write(self) -> None:
        while (result := await self._results.get()) is not None:
            await self._context.write(await result)
            self._room.release()

    def _begun(self, group: asyncio.TaskGroup, raw: bytes) -> asyncio.Task[bytes]:
        """The task of a message that was just read."""
        body = self._call.body()
        try:
            self._call.check_size(raw)
            body.reaches(len(raw))
            message = self._what.read(raw)
        except Exception as failure:  # noqa: BLE001 - its result
            task = group.create_task(self._serve(None, None, failure))
            _release_after(task, body)
            return task
        sketch = self._what.sketch_of(message)
        task = group.create_task(self._serve(message, self._last.get(sketch), None))
        _release_after(task, body)
        if self._what.ordered:
            self._last[sketch] = task
            task.add_done_callback(lambda done: self._forget(sketch, done))
        return task

    def _forget(self, sketch: str, task: asyncio.Task[bytes]) -> None:
        if self._last.get(sketch) is task:
            del self._last[sketch]

    async def _serve(
        self,
        message: M | None,
        before: asyncio.Task[bytes] | None,
        failure: Exception | None,
    ) -> bytes:
        """The result of a message. before: the one of the same sketch that comes first."""
        receipt = metrics.received("grpc")
        counts = self._call.served.metrics
        try:
            if failure is not None or message is None:
                raise failure or AssertionError("a message or a failure")
            self._call.check_still()
            await self._call.served.quotas.request(self._call.tenant)
            async with self._turn():
                asked = await self._what.understand(self._call, message)
                if before is not None:
                    await asyncio.wait([before])
                result = await self._what.act(self._call, asked)
        except Exception as found:  # noqa: BLE001 - its result
            error = told(found, counts)
            counts.rpc_refused(self._what.timed, receipt, found)
            counts.rpc_message_finished(self._call.method, grpc_errors.rpc_code(error).name)
            return self._what.refused(error)
        counts.rpc_message_finished(self._call.method, "OK")
        return result

    def _turn(self) -> AbstractAsyncContextManager[None]:
        """Samples wait for each other, over all streams: the pool would refuse so many at once."""
        if self._what.ordered:
            return nullcontext()
        served = self._call.served
        return served.stream_samples.place_within(self._call.tenant, served.settings.body_seconds)


def _release_after(task: asyncio.Task[bytes], body: BodyInFlight) -> None:
    """Not within the task: one that is cancelled before its first step never runs."""
    task.add_done_callback(lambda _: body.release())
