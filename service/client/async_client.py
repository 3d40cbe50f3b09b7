"""A client for code in an event loop; its tasks may share it."""

# ruff: noqa: ASYNC109 - a timeout spans all attempts of a call, and is the same in both clients
from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from service.client import batches, inputs, transports
from service.client import operations as ops
from service.client.addresses import Tls
from service.client.answers import Acknowledgement, Info, Plan, Sample
from service.client.async_sketch import AsyncSketch
from service.client.buffer import OnError
from service.client.buffer_async import AsyncUpdateBuffer
from service.client.connections import Connection
from service.client.errors import SketchdError
from service.client.retry import Attempts, Retry

Answer = TypeVar("Answer")
Acknowledged = list[Acknowledgement | SketchdError]
Sampled = list[Sample | SketchdError]

_RETRY: Final = Retry()


class AsyncClient(Connection):
    """A connection to a service: `async with AsyncClient("http://127.0.0.1:8080") as client: …`.

    url: http://host:port, https://…, grpc://… or grpcs://…. key: the access key, if the service
    asks for one. timeout: seconds for one call, all its attempts and pauses together. retry: what
    is tried again when the service cannot be reached, is overloaded, or limits the rate. tls:
    files for https and grpcs. tensors: False sends columns as JSON, or by gRPC as lists of
    numbers, where they would go as safetensors.

    Raises ValueError for a URL or key that is none. No request is made before the first call. The
    surroundings' proxies and .netrc do not count.
    """

    __slots__ = ("_transport",)

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout: float = 30.0,
        retry: Retry = _RETRY,
        tls: Tls | None = None,
        tensors: bool = True,
    ) -> None:
        super().__init__(url, key, timeout, retry, tls)
        self._transport = transports.async_transport_to(self._address, self._key, tls, tensors)
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        self._warn_unclosed()

    async def close(self) -> None:
        """Let go of all connections. Closing twice is closing once."""
        if self._closed:
            return
        self._closed = True
        await self._transport.close()

    async def create(
        self, name: str, spec: Mapping[str, Any], *, timeout: float | None = None
    ) -> AsyncSketch:
        """Make a sketch, or find the one made with the same spec; Conflict with another."""
        sketch = self.sketch(name)
        await self._call(ops.Create(sketch.name, spec), timeout)
        return sketch

    def sketch(self, name: str) -> AsyncSketch:
        """A handle, without asking whether there is such a sketch."""
        return AsyncSketch(self, name)

    async def list(
        self,
        prefix: str = "",
        *,
        contains: str = "",
        page: int = 100,
        timeout: float | None = None,
    ) -> AsyncIterator[Info]:
        """Sketches in the order of their names, asked for a page at a time.

        prefix, contains: what their names begin with, and hold anywhere (A to Z equal to a to
        z). timeout: of each page.
        """
        asked = inputs.page_of(prefix, contains, page)
        while True:
            found = await self._call(asked, timeout)
            for info in found.infos:
                yield info
            if found.next_cursor is None:
                return
            asked = replace(asked, cursor=found.next_cursor)

    async def plan(self, spec: Mapping[str, Any], *, timeout: float | None = None) -> Plan:
        """What a spec would become; nothing is made."""
        return await self._call(ops.PlanOf(spec), timeout)

    async def update_many(
        self, updates: Sequence[inputs.Update], *, timeout: float | None = None
    ) -> Acknowledged:
        """Apply updates, each on its own: its acknowledgement or its error, in their order.

        Raises ValueError, before anything is sent, where a column cannot be read.
        """
        units = batches.of_updates(updates, self._address.grpc)
        acknowledged: Acknowledged = await self._each(units, len(updates), timeout)
        return acknowledged

    async def sample_many(
        self, questions: Sequence[inputs.SampleOf], *, timeout: float | None = None
    ) -> Sampled:
        """Draw from many sketches, or with many queries: a sample or an error each, in order."""
        units = batches.of_questions(questions, self._address.grpc)
        sampled: Sampled = await self._each(units, len(questions), timeout)
        return sampled

    def buffer(
        self,
        *,
        max_updates: int = 10_000,
        max_delay: float = 0.05,
        max_pending: int = 1_000_000,
        on_error: OnError | None = None,
        add_timeout: float | None = None,
        close_timeout: float | None = 30.0,
        coalesce: bool = False,
    ) -> AsyncUpdateBuffer:
        """Many small updates as few requests, sent by tasks of its own; see AsyncUpdateBuffer."""
        return AsyncUpdateBuffer(
            self,
            max_updates=max_updates,
            max_delay=max_delay,
            max_pending=max_pending,
            on_error=on_error,
            add_timeout=add_timeout,
            close_timeout=close_timeout,
            coalesce=coalesce,
        )

    async def _each(self, units: Sequence[batches.Unit], count: int, timeout: float | None) -> Any:
        until = time.monotonic() + self._seconds(timeout)
        turns = asyncio.Semaphore(batches.AT_ONCE)

        async def run(unit: batches.Unit) -> Any:
            async with turns:
                try:
                    return await self._call(unit.operation, max(until - time.monotonic(), 1e-3))
                except SketchdError as error:
                    return error

        results: list[Any] = [None] * count
        for unit, answer in zip(units, await asyncio.gather(*map(run, units)), strict=True):
            for place, result in zip(unit.places, unit.results(answer), strict=True):
                results[place] = result
        return results

    async def _call(self, operation: ops.Operation[Answer], timeout: float | None) -> Answer:
        """Ask until there is an answer, or an error that another attempt would not mend."""
        attempts = Attempts(self._retry, self._seconds(timeout), time.monotonic())
        while True:
            self._check()  # it may have been closed since the last attempt
            answer: Answer | None = None
            error: SketchdError | None
            try:
                answer = await self._transport.send(operation, attempts.remaining(time.monotonic()))
                error = operation.unsettled(answer)
            except SketchdError as failure:
                error, answer = failure, operation.partly(failure)
            except Exception:
                self._check()
                raise
            if error is None:
                return answer  # type: ignore[return-value]
            if attempts.worked_before(operation, error):
                return None  # type: ignore[return-value]
            pause = attempts.pause_after(error, time.monotonic(), random.random())
            if pause is None:
                if answer is not None:
                    return answer
                raise attempts.told(error)
            if answer is not None:
                operation = operation.narrowed(answer)
            await asyncio.sleep(pause)
