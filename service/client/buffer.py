"""Many small updates become few requests, sent by threads behind the caller's back."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from service.client import buffer_batches as batches
from service.client.buffer_batches import Batch, Columns, Layout, Updatable
from service.client.buffer_errors import Refusal, UpdatesPending, UpdatesRefused
from service.client.buffer_flush import (
    Flush,
    Patience,
    checked_close_timeout,
    patience_of_close,
    patience_of_flush,
)
from service.client.buffer_queue import LONGEST_WAIT, BufferQueue
from service.client.errors import RateLimited, Unavailable
from service.client.inputs import checked_name

#: Told of a batch that was dropped, and why, in the thread that tried to send it.
OnError = Callable[[Batch, BaseException], object]

#: How long an interpreter that ends waits for updates that nobody flushed, all buffers together.
EXIT_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


def log_lost(pending: int) -> None:
    """Say that a buffer's `close` did not come to its end."""
    if pending:
        _log.error("close was interrupted: %d increments of a buffer are lost", pending)


class UpdateBuffer:
    """Collects updates of any sketches, from any thread, and sends them in batches.

    A batch is what one operand of one sketch was given, in one layout; it goes when it holds
    max_updates increments or is max_delay seconds old. Those of one operand go in order, one at
    a time; `senders` threads send those of different ones. Each has an idempotency key for good:
    however often it is tried, it counts once (for as long as the service remembers keys,
    SKETCHD_IDEMPOTENCY_RETENTION_SECONDS). One `add` of many increments may be cut in several
    batches, each of which is applied whole or not at all.

    At most max_pending increments wait; then `add` waits too, at most add_timeout seconds (None:
    without end). What the service cannot take now stays and is tried again until `close`. What it
    refuses is dropped and raised as UpdatesRefused by the next add, flush or close, or given to
    on_error where there is one (which may add again, and must not flush).

    What `close` may take while the service is away, without a timeout of its own, is close_timeout
    seconds (None: until the rules of `flush` give up).

    coalesce: sum the increments of equal coordinates of a batch before they are sent. The sketch
    is linear, so the result is the same but for rounding, which is why it must be asked for: the
    service rounds each increment to a multiple of the sketch's quantum, and rounds a sum once;
    float64 sums round too. A sketch that was fed so need not be bit for bit the one fed singly.

    Use it as a context manager, or call `close`. One that is forgotten warns (ResourceWarning);
    what it holds is sent all the same while the interpreter lives, and for EXIT_SECONDS of its
    end. It does not cross a fork: a child that uses it gets RuntimeError, and what was waiting is
    the parent's to send.
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
        self._sending = _Sending(client, queue, on_error, coalesce, senders, clock)
        self._add_timeout = add_timeout
        self._close_timeout = checked_close_timeout(close_timeout)

    @property
    def sent(self) -> int:
        """Increments acknowledged as durable."""
        return self._sending.queue.sent

    @property
    def refused(self) -> int:
        """Increments dropped because the service refused them."""
        return self._sending.queue.refused

    @property
    def pending(self) -> int:
        """Increments that wait or are on their way."""
        return self._sending.queue.pending

    def add(self, sketch_name: str, index: object, delta: object, operand: str = "y") -> None:
        """Add delta to coordinates of y, or of x of a matrix; the arrays are copied.

        Raises ValueError for what are no columns; UpdatesRefused for what was added earlier, and
        UpdatesPending when there is no room in time. After any of them nothing of this was added.
        """
        self._add(sketch_name, operand, "index", index, delta)

    def add_entries(
        self, sketch_name: str, row: object, column: object, delta: object, operand: str = "A"
    ) -> None:
        """Add delta to single entries of a matrix; otherwise as `add`."""
        self._add(sketch_name, operand, "entries", row, column, delta)

    def add_rows(self, sketch_name: str, row: object, values: object, operand: str = "A") -> None:
        """Add values, (len(row), d), to whole rows; otherwise as `add`."""
        self._add(sketch_name, operand, "rows", row, values)

    def _add(self, sketch: str, operand: str, layout: Layout, *given: object) -> None:
        checked_name(sketch)
        columns = batches.read(layout, given)
        self._sending.add(sketch, operand, layout, columns, self._add_timeout)

    def flush(self, timeout: float | None = None) -> None:
        """Send what was added before this call; return when all of it is durable.

        timeout: seconds to wait in all while the service cannot take it; None gives up when every
        operand that still waits has failed once more, after all attempts of the client's own, or
        as many attempts as there are senders have failed one after another and none got through.
        Raises UpdatesPending then (it all stays, and is tried again); UpdatesRefused when
        everything but what was refused is durable.
        """
        senders = self._sending.senders
        self._sending.flush(patience_of_flush(timeout, time.monotonic(), senders))

    def close(self, timeout: float | None = None) -> None:
        """Flush and end. What cannot be sent is lost: each such batch is given to on_error where
        there is one, else UpdatesPending tells. Closing again does nothing.

        timeout: seconds to wait in all while the service cannot take it; None, as at the end of a
        `with` block, gives up when every operand that still waits has failed once more, and after
        close_timeout seconds at the latest.
        """
        now, senders = time.monotonic(), self._sending.senders
        self._sending.close(patience_of_close(timeout, now, senders, self._close_timeout))

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
        sending = getattr(self, "_sending", None)  # absent where __init__ raised
        if sending is None or sending.foreign:
            return
        if pending := sending.forget():
            warnings.warn(
                f"an UpdateBuffer was not closed and {pending} increments still wait",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )


class _Sending:
    """The queue, its lock and its threads; it lives on while they do, whoever forgot the buffer."""

    def __init__(
        self,
        client: Updatable,
        queue: BufferQueue,
        on_error: OnError | None,
        coalesce: bool,
        senders: int,
        clock: Callable[[], float],
    ) -> None:
        self.queue = queue
        self._client = client
        self._on_error = on_error
        self._coalesce = coalesce
        self._clock = clock
        self._changed = threading.Condition()
        self.senders = senders
        self._threads: list[threading.Thread] = []
        self._pid = os.getpid()
        # Nobody can add any more; what waits is still sent.
        self._forgotten = False
        # Only on_error may still add; then nobody.
        self._closing = False
        self._closed = False

    @property
    def foreign(self) -> bool:
        """Whether this is a copy in a forked child, without threads and with unknown locks."""
        return os.getpid() != self._pid

    def add(
        self, sketch: str, operand: str, layout: Layout, columns: Columns, timeout: float | None
    ) -> None:
        self._check_process()
        numbers = batches.size(columns)
        with self._changed:
            self._check_open()
            self._raise_refusals()
            if not self.queue.has_room(numbers) and not self._is_sender():
                self._wait_for_room(numbers, timeout)
            if self.queue.add(sketch, operand, layout, columns, self._clock()):
                self._start()
                self._changed.notify_all()

    def _wait_for_room(self, numbers: int, timeout: float | None) -> None:
        """Returns with room, or raises; whoever waits for room waits for nothing to grow old."""
        self.queue.seal_all(self._clock())
        self._changed.notify_all()
        end = None if timeout is None else time.monotonic() + timeout
        while not self.queue.has_room(numbers):
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise UpdatesPending(
                    self.queue.pending, "nothing of this call was added", self.queue.last_failure
                )
            self._changed.wait(None if left is None else min(left, LONGEST_WAIT))
            self._check_open()
            self._raise_refusals()

    def flush(self, patience: Patience) -> None:
        self._check_process()
        if self._is_sender():
            raise RuntimeError("on_error must not flush: it would wait for itself")
        with self._changed:
            self._check_open()
            waiting = self._drain(patience)
            if waiting:
                raise UpdatesPending(waiting, "they stay", self.queue.last_failure)
            self._raise_refusals()

    def _drain(self, patience: Patience) -> int:
        """Wait for all there is now. Returns how many increments of it still wait."""
        flush = Flush(self.queue, self._clock(), patience)
        self._changed.notify_all()
        while not flush.over(now := time.monotonic()):
            self._changed.wait(flush.seconds(now))
        return flush.waiting()

    def _drain_all(self, patience: Patience) -> None:
        """The same until nothing waits: on_error may have added more."""
        while self.queue.pending:
            if self._drain(patience):
                return

    def close(self, patience: Patience) -> None:
        self._check_process()
        if self._is_sender():
            raise RuntimeError("on_error must not close: it would wait for itself")
        with self._changed:
            if self._closing:
                return
            self._closing = True
            try:
                self._drain_all(patience)
            except BaseException:  # interrupted: nobody else says what is lost
                log_lost(self.queue.pending)
                raise
            finally:
                self._closed = True
                self._changed.notify_all()
            lost, last = self.queue.waiting(), self.queue.last_failure
            refusals = self.queue.take_refusals()
        if lost and self._on_error is None:
            numbers = sum(batch.numbers for batch in lost)
            raise UpdatesPending(numbers, "they are lost", last, refusals)
        for batch in lost:
            why = last or UpdatesPending(batch.numbers, "they are lost", None)
            if (refusal := self._tell(batch, why)) is not None:
                refusals.append(refusal)
        if refusals:
            raise UpdatesRefused(refusals)

    def forget(self) -> int:
        """Nobody holds the buffer any more. Returns how many increments wait."""
        with self._changed:
            self._forgotten = True
            self._changed.notify_all()
            return 0 if self._closed else self.queue.pending

    def _check_process(self) -> None:
        if self.foreign:
            raise RuntimeError("an UpdateBuffer does not cross a fork: make one in this process")

    def _check_open(self) -> None:
        if self._closed or (self._closing and not self._is_sender()):
            raise ValueError("the buffer is closed")

    def _raise_refusals(self) -> None:
        if refusals := self.queue.take_refusals():
            raise UpdatesRefused(refusals)

    def _is_sender(self) -> bool:
        return threading.current_thread() in self._threads

    def _start(self) -> None:
        if not self._threads:
            _alive.add(self)
            self._threads = [
                threading.Thread(target=self._run, name=f"sketchd-buffer-{at}", daemon=True)
                for at in range(self.senders)
            ]
            for thread in self._threads:
                thread.start()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            self._attempt(batch)

    def _next(self) -> Batch | None:
        """Wait for a batch to send; None when there will be no more."""
        with self._changed:
            while not (self._closed or (self._forgotten and not self.queue.pending)):
                now = self._clock()
                batch = self.queue.take(now)
                if batch is not None:
                    return batch
                self._changed.wait(self.queue.wait_seconds(now))
            return None

    def _attempt(self, batch: Batch) -> None:
        """Send it, once as far as this buffer goes, and say how it went."""
        refusal: Refusal | None = None
        refused = False
        try:
            batches.request(self._client, batch, batch.columns(self._coalesce))
        except (Unavailable, RateLimited) as error:
            with self._changed:
                self.queue.put_back(batch, error, self._clock())
                self._changed.notify_all()
            return
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody else would hear of it
            refused, refusal = True, self._tell(batch, error)
        with self._changed:
            if refusal is not None:
                self.queue.refusals.append(refusal)
            if refused:
                self.queue.refuse(batch)
            else:
                self.queue.done(batch)
            self._changed.notify_all()

    def _tell(self, batch: Batch, error: BaseException) -> Refusal | None:
        """Give a batch that is dropped to on_error. What is left for a call to raise, if any."""
        if self._on_error is not None:
            try:
                self._on_error(batch, error)
            except BaseException as own:  # noqa: BLE001 - it is raised where the caller can see it
                own.__context__ = error
                error = own
            else:
                return None
        return Refusal(batch.sketch, batch.operand, batch.numbers, error)

    def at_exit(self, end: float) -> None:
        """Send what nobody flushed, until a time of the monotonic clock; log what is lost."""
        if self.foreign or self._closed or not self.queue.pending:
            return
        with self._changed:
            lost = self._drain(Patience(end, through_failures=True))
            refused = sum(refusal.numbers for refusal in self.queue.take_refusals())
        if lost or refused:
            _log.error(
                "%d increments of an UpdateBuffer that was not closed are lost, %d were refused",
                lost,
                refused,
            )


#: Those with threads. Forgotten ones with nothing left to send drop out by themselves.
_alive: weakref.WeakSet[_Sending] = weakref.WeakSet()


@atexit.register
def _at_exit() -> None:
    end = time.monotonic() + EXIT_SECONDS
    for sending in list(_alive):
        sending.at_exit(end)
