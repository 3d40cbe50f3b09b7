"""When a flush of a buffer is over: because all is durable, or because waiting on is of no use."""

from __future__ import annotations

import math
from dataclasses import dataclass

from service.client.buffer_queue import LONGEST_WAIT, BufferQueue


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a flush waits for what the service does not take.

    end: no longer than until then, by the monotonic clock. through_failures: that long whatever
    fails; otherwise until each operand it waits for failed once more. in_a_row: or until so many
    attempts one after another failed and none got through; 0 for however many.
    """

    end: float = math.inf
    through_failures: bool = False
    in_a_row: int = 0


def patience_of_flush(timeout: float | None, now: float, senders: int) -> Patience:
    """What `flush(timeout)` means. If no sender got through, the other operands would not either:
    asking for each of a thousand would only take a thousand times as long.
    """
    if timeout is None:
        return Patience(in_a_row=senders)
    return Patience(now + timeout, through_failures=True)


def patience_of_close(
    timeout: float | None, now: float, senders: int, close_timeout: float | None
) -> Patience:
    """What `close(timeout)` means. Within close_timeout every operand is tried once more: what
    stays would be lost.
    """
    if timeout is not None or close_timeout is None:
        return patience_of_flush(timeout, now, senders)
    return Patience(now + close_timeout)


def checked_close_timeout(seconds: float | None) -> float | None:
    """Seconds, or None for no bound. Raises ValueError for what is below 0."""
    if seconds is not None and not seconds >= 0:
        raise ValueError(f"close_timeout: must not be negative, is {seconds}")
    return seconds


class Flush:
    """Waits for what a queue holds when it is made, which is sealed by that.

    now: by the clock of the queue; that of the methods is the monotonic one.
    """

    __slots__ = ("_patience", "_queue", "_serial", "_since")

    def __init__(self, queue: BufferQueue, now: float, patience: Patience) -> None:
        self._queue = queue
        self._patience = patience
        self._serial = queue.seal_all(now)
        self._since = queue.failures

    def over(self, now: float) -> bool:
        """Whether to wait no longer."""
        queue, patience = self._queue, self._patience
        if queue.settled(self._serial) or now >= patience.end:
            return True
        if patience.through_failures:
            return False
        if 0 < patience.in_a_row <= queue.failures_in_a_row(self._since):
            return True
        return queue.stuck(self._serial, self._since)

    def seconds(self, now: float) -> float:
        """How long to sleep unless something changes."""
        return max(0.0, min(self._patience.end - now, LONGEST_WAIT))

    def waiting(self) -> int:
        """Increments of what it waited for that still wait; 0 if all left."""
        return self._queue.waiting_upto(self._serial)
