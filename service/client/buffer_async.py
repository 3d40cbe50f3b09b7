"""The buffer of updates for event loops: the same rules, tasks in the place of threads."""

from __future__ import annotations

import asyncio
import inspect
import time
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Self

from service.client import buffer_batches as batches
from service.client.buffer import log_lost
from service.client.buffer_batches import Batch, Layout, Updatable, request
from service.client.buffer_errors import Refusal, UpdatesPending, UpdatesRefused
from service.client.buffer_flush import (
    Flush,
    Patience,
    checked_close_timeout,
    patience_of_close,
    patience_of_flush,
)
from service.client.buffer_queue import BufferQueue
from service.client.errors import RateLimited, Unavailable, Unreachable
from service.client.inputs import checked_name

#: Told of a batch that was dropped, and why; what it returns is awaited where it can be.
OnError = Callable[[Batch, Exception], object]


class AsyncUpdateBuffer:
    """`UpdateBuffer` for one event loop: what blocks there is awaited here.

    Tasks send; when the loop ends, what waits is lost and a warning (ResourceWarning) says how
    much, so use it as an async context manager, or await `close`. Whoever cancels all tasks of the
    loop cancels these too; others take their place. In another loop it raises RuntimeError.
    """

    def __init__(
        self,
        client: Updatable,
        *,
        max_updates: int = 10_000,
        max_delay: float = 0.05,
        max_pending: int = 1_000_000,
        on_error: OnError | None = None,
        add_timeout: float | None = None,
        coalesce: bool = False,
        close_timeout: float | None = 30.0,
        senders: int = 4,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        queue = BufferQueue(max_updates=max_updates, max_delay=max_delay, max_pending=max_pending)
        if senders < 1:
            raise ValueError(f"senders: must be at least 1, is {senders}")
        self._queue = queue
        self._add_timeout = add_timeout
        self._close_timeout = checked_close_timeout(close_timeout)
        self._sending = _Sending(client, queue, on_error, coalesce, senders, clock)

    @property
    def sent(self) -> int:
        """Increments acknowledged as durable."""
        return self._queue.sent

    @property
    def refused(self) -> int:
        """Increments dropped because the service refused them."""
        return self._queue.refused

    @property
    def pending(self) -> int:
        """Increments that wait or are on their way."""
        return self._queue.pending

    async def add(self, sketch_name: str, index: object, delta: object, operand: str = "y") -> None:
        """Add delta to coordinates of y, or of x of a matrix; as `UpdateBuffer.add`."""
        await self._add(sketch_name, operand, "index", index, delta)

    async def add_entries(
        self, sketch_name: str, row: object, column: object, delta: object, operand: str = "A"
    ) -> None:
        """Add delta to single entries of a matrix."""
        await self._add(sketch_name, operand, "entries", row, column, delta)

    async def add_rows(
        self, sketch_name: str, row: object, values: object, operand: str = "A"
    ) -> None:
        """Add values, (len(row), d), to whole rows."""
        await self._add(sketch_name, operand, "rows", row, values)

    async def _add(self, sketch: str, operand: str, layout: Layout, *given: object) -> None:
        checked_name(sketch)
        columns = batches.read(layout, given)
        sending = self._sending
        sending.check()
        if not self._queue.has_room(batches.size(columns)) and not sending.is_sender():
            await sending.wait_for_room(batches.size(columns), self._add_timeout)
        changed = self._queue.add(sketch, operand, layout, columns, sending.clock())
        sending.start()
        if changed:
            sending.changed()

    async def flush(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as its twin
        """Send what was added before this call; return when all of it is durable.

        timeout, errors: as of `UpdateBuffer.flush`.
        """
        senders = self._sending.senders
        await self._sending.flush(patience_of_flush(timeout, time.monotonic(), senders))

    async def close(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as its twin
        """Flush and end, as `UpdateBuffer.close`."""
        now, senders = time.monotonic(), self._sending.senders
        await self._sending.close(patience_of_close(timeout, now, senders, self._close_timeout))

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
        sending = getattr(self, "_sending", None)  # absent where __init__ raised
        if sending is not None and (pending := sending.forget()):
            warnings.warn(
                f"an AsyncUpdateBuffer was not closed and {pending} increments still wait",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )


class _Sending:
    """The queue and its tasks, which are forgotten with the buffer once nothing waits."""

    def __init__(
        self,
        client: Updatable,
        queue: BufferQueue,
        on_error: OnError | None,
        coalesce: bool,
        senders: int,
        clock: Callable[[], float],
    ) -> None:
        self.clock = clock
        self._queue = queue
        self._client = client
        self._on_error = on_error
        self._coalesce = coalesce
        self.senders = senders
        self._tasks: list[asyncio.Task[None]] = []
        #: That of the first update; its tasks and the client's connections live in no other.
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Those who wait for any change of the queue.
        self._waiters: set[asyncio.Future[None]] = set()
        self._forgotten = False
        # Only on_error may still add; then nobody.
        self._closing = False
        self._closed = False

    def check(self) -> None:
        """Raise what is to be told before anything is added."""
        self._check_loop()
        if self._closed or (self._closing and not self.is_sender()):
            raise ValueError("the buffer is closed")
        if refusals := self._queue.take_refusals():
            raise UpdatesRefused(refusals)

    def _check_loop(self) -> None:
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            raise RuntimeError("an AsyncUpdateBuffer does not change loops: make one in this loop")

    def is_sender(self) -> bool:
        return asyncio.current_task() in self._tasks

    def start(self) -> None:
        """See to it that there are senders: of the first, or in the place of cancelled ones."""
        self._loop = asyncio.get_running_loop()
        self._tasks = [task for task in self._tasks if not task.done()]
        for _ in range(self.senders - len(self._tasks)):
            task = asyncio.create_task(self._run())
            task.add_done_callback(lambda _: self.changed())
            self._tasks.append(task)

    def changed(self) -> None:
        """Wake everyone who waits."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def _wait(self, seconds: float | None) -> None:
        """Until something changes, at most so long."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            pass
        finally:
            self._waiters.discard(waiter)

    async def wait_for_room(self, numbers: int, seconds: float | None) -> None:
        """Returns with room, or raises; whoever waits for room waits for nothing to grow old."""
        self._queue.seal_all(self.clock())
        self.changed()
        end = None if seconds is None else time.monotonic() + seconds
        while not self._queue.has_room(numbers):
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise UpdatesPending(
                    self._queue.pending, "nothing of this call was added", self._queue.last_failure
                )
            self.start()
            await self._wait(left)
            self.check()

    async def flush(self, patience: Patience) -> None:
        self._check_loop()
        if self.is_sender():
            raise RuntimeError("on_error must not flush: it would wait for itself")
        if self._closed or (self._closing and not self.is_sender()):
            raise ValueError("the buffer is closed")
        if waiting := await self._drain(patience):
            raise UpdatesPending(waiting, "they stay", self._queue.last_failure)
        self.check()

    async def _drain(self, patience: Patience) -> int:
        """Wait for all there is now. Returns how many increments of it still wait."""
        flush = Flush(self._queue, self.clock(), patience)
        self.changed()
        while not flush.over(now := time.monotonic()):
            self.start()
            await self._wait(flush.seconds(now))
        return flush.waiting()

    async def _drain_all(self, patience: Patience) -> None:
        """The same until nothing waits: on_error may have added more."""
        while self._queue.pending:
            if await self._drain(patience):
                return

    async def close(self, patience: Patience) -> None:
        self._check_loop()
        if self.is_sender():
            raise RuntimeError("on_error must not close: it would wait for itself")
        if self._closing:
            return
        self._closing = True
        try:
            await self._drain_all(patience)
        except BaseException:  # cancelled: nobody else says what is lost
            log_lost(self._queue.pending)
            raise
        finally:
            self._closed = True
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        lost, last = self._queue.waiting(), self._queue.last_failure
        refusals = self._queue.take_refusals()
        if lost and self._on_error is None:
            numbers = sum(batch.numbers for batch in lost)
            raise UpdatesPending(numbers, "they are lost", last, refusals)
        for batch in lost:
            why = last or UpdatesPending(batch.numbers, "they are lost", None)
            if (refusal := await self._tell(batch, why)) is not None:
                refusals.append(refusal)
        if refusals:
            raise UpdatesRefused(refusals)

    def forget(self) -> int:
        """Nobody holds the buffer any more. Returns how many increments wait."""
        self._forgotten = True
        if self._tasks and not (loop := self._tasks[0].get_loop()).is_closed():
            loop.call_soon_threadsafe(self.changed)
        return 0 if self._closed else self._queue.pending

    async def _run(self) -> None:
        while not (self._closed or (self._forgotten and not self._queue.pending)):
            now = self.clock()
            batch = self._queue.take(now)
            if batch is None:
                await self._wait(self._queue.wait_seconds(now))
            else:
                await self._attempt(batch)
                self.changed()

    async def _attempt(self, batch: Batch) -> None:
        """Send it, once as far as this buffer goes, and say how it went."""
        try:
            await request(self._client, batch, batch.columns(self._coalesce))
        except (Unavailable, RateLimited) as error:
            self._queue.put_back(batch, error, self.clock())
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():  # somebody cancelled the request alone
                failure = Unreachable("unreachable", "the request was cancelled")
                self._queue.put_back(batch, failure, self.clock())
                return
            self._queue.give_back(batch, self.clock())
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would hear of it
            refusal: Refusal | None = Refusal(batch.sketch, batch.operand, batch.numbers, error)
            try:
                refusal = await self._tell(batch, error)
            finally:  # cancelled, too; then a call raises it
                if refusal is not None:
                    self._queue.refusals.append(refusal)
                self._queue.refuse(batch)
        else:
            self._queue.done(batch)

    async def _tell(self, batch: Batch, error: Exception) -> Refusal | None:
        """Give a batch that is dropped to on_error. What is left for a call to raise, if any."""
        if self._on_error is not None:
            try:
                answer = self._on_error(batch, error)
                if inspect.isawaitable(answer):
                    await answer
            except Exception as own:  # noqa: BLE001 - it is raised where the caller can see it
                own.__context__ = error
                error = own
            else:
                return None
        return Refusal(batch.sketch, batch.operand, batch.numbers, error)
