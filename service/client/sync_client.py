"""A client for code without an event loop; threads may share it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from service.client import batches, inputs, transports
from service.client import operations as ops
from service.client.addresses import Tls
from service.client.answers import Acknowledgement, Info, Plan, Sample
from service.client.buffer import OnError, UpdateBuffer
from service.client.connections import Connection
from service.client.errors import SketchdError
from service.client.retry import Attempts, Retry
from service.client.sync_sketch import Sketch

Answer = TypeVar("Answer")
Acknowledged = list[Acknowledgement | SketchdError]
Sampled = list[Sample | SketchdError]

_RETRY: Final = Retry()


class Client(Connection):
    """A connection to a service: `with Client("http://127.0.0.1:8080") as client: …`.

    url: http://host:port, https://…, grpc://… or grpcs://…. key: the access key, if the service
    asks for one. timeout: seconds for one call, all its attempts and pauses together. retry: what
    is tried again when the service cannot be reached, is overloaded, or limits the rate. tls:
    files for https and grpcs. tensors: False sends columns as JSON, or by gRPC as lists of
    numbers, where they would go as safetensors.

    Raises ValueError for a URL or key that is none. No request is made before the first call. The
    surroundings' proxies and .netrc do not count.
    """

    __slots__ = ("_making", "_threads", "_transport")

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
        self._transport = transports.transport_to(self._address, self._key, tls, tensors)
        self._threads: ThreadPoolExecutor | None = None
        self._making = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._warn_unclosed():
            self.close()

    def close(self) -> None:
        """Let go of all connections. Closing twice is closing once."""
        if self._closed:
            return
        self._closed = True
        if self._threads is not None:
            self._threads.shutdown(wait=False)
        self._transport.close()

    def create(self, name: str, spec: Mapping[str, Any], *, timeout: float | None = None) -> Sketch:
        """Make a sketch, or find the one made with the same spec; Conflict with another."""
        sketch = self.sketch(name)
        self._call(ops.Create(sketch.name, spec), timeout)
        return sketch

    def sketch(self, name: str) -> Sketch:
        """A handle, without asking whether there is such a sketch."""
        return Sketch(self, name)

    def list(
        self,
        prefix: str = "",
        *,
        contains: str = "",
        page: int = 100,
        timeout: float | None = None,
    ) -> Iterator[Info]:
        """Sketches in the order of their names, asked for a page at a time.

        prefix, contains: what their names begin with, and hold anywhere (A to Z equal to a to
        z). timeout: of each page.
        """
        asked = inputs.page_of(prefix, contains, page)
        while True:
            found = self._call(asked, timeout)
            yield from found.infos
            if found.next_cursor is None:
                return
            asked = replace(asked, cursor=found.next_cursor)

    def plan(self, spec: Mapping[str, Any], *, timeout: float | None = None) -> Plan:
        """What a spec would become; nothing is made."""
        return self._call(ops.PlanOf(spec), timeout)

    def update_many(
        self, updates: Sequence[inputs.Update], *, timeout: float | None = None
    ) -> Acknowledged:
        """Apply updates, each on its own: its acknowledgement or its error, in their order.

        Raises ValueError, before anything is sent, where a column cannot be read.
        """
        units = batches.of_updates(updates, self._address.grpc)
        acknowledged: Acknowledged = self._each(units, len(updates), timeout)
        return acknowledged

    def sample_many(
        self, questions: Sequence[inputs.SampleOf], *, timeout: float | None = None
    ) -> Sampled:
        """Draw from many sketches, or with many queries: a sample or an error each, in order."""
        units = batches.of_questions(questions, self._address.grpc)
        sampled: Sampled = self._each(units, len(questions), timeout)
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
    ) -> UpdateBuffer:
        """Many small updates as few requests, sent by threads of its own; see UpdateBuffer."""
        return UpdateBuffer(
            self,
            max_updates=max_updates,
            max_delay=max_delay,
            max_pending=max_pending,
            on_error=on_error,
            add_timeout=add_timeout,
            close_timeout=close_timeout,
            coalesce=coalesce,
        )

    def _each(self, units: Sequence[batches.Unit], count: int, timeout: float | None) -> Any:
        until = time.monotonic() + self._seconds(timeout)

        def run(unit: batches.Unit) -> Any:
            try:
                return self._call(unit.operation, max(until - time.monotonic(), 1e-3))
            except SketchdError as error:
                return error

        answers = map(run, units) if len(units) < 2 else self._pool().map(run, units)
        results: list[Any] = [None] * count
        for unit, answer in zip(units, answers, strict=True):
            for place, result in zip(unit.places, unit.results(answer), strict=True):
                results[place] = result
        return results

    def _pool(self) -> ThreadPoolExecutor:
        with self._making:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(batches.AT_ONCE, "sketchd-client")
            return self._threads

    def _call(self, operation: ops.Operation[Answer], timeout: float | None) -> Answer:
        """Ask until there is an answer, or an error that another attempt would not mend."""
        attempts = Attempts(self._retry, self._seconds(timeout), time.monotonic())
        while True:
            self._check()  # it may have been closed since the last attempt
            answer: Answer | None = None
            error: SketchdError | None
            try:
                answer = self._transport.send(operation, attempts.remaining(time.monotonic()))
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
            time.sleep(pause)
