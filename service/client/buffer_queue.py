"""What waits in a buffer of updates: which batch goes next, what a flush waits for, what failed.

Nothing here sends, waits or reads a clock, so one set of rules serves threads and tasks. Each
(sketch, operand) is a *lane*: its batches go in order, one at a time. A batch collects until it
is *sealed*, by its size, its age or a flush; then its key stands for exactly those updates.

A batch leaves when it was acknowledged (sent) or will never be (refused). One the service cannot
take now stays at the head of its lane and is tried again, with the same key and columns.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict, deque
from typing import Final

from service.client import buffer_batches as batches
from service.client.buffer_batches import Batch, Columns, Layout
from service.client.buffer_errors import Refusal

Lane = tuple[str, str]

#: Pauses after a batch could not be taken, in seconds: doubling from the first to the last.
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
#: Nobody sleeps longer at a time: a lock takes no infinite timeout.
LONGEST_WAIT: Final = 3600.0


class BufferQueue:
    """Batches in lanes. Not safe for concurrent calls: its owner has a lock or an event loop.

    Times are seconds of the owner's clock. sent, refused, pending: increments, counted as added.
    """

    def __init__(self, *, max_updates: int, max_delay: float, max_pending: int) -> None:
        if max_updates < 1:
            raise ValueError(f"max_updates: must be at least 1, is {max_updates}")
        if not max_delay >= 0:
            raise ValueError(f"max_delay: must not be negative, is {max_delay}")
        if max_pending < 1:
            raise ValueError(f"max_pending: must be at least 1, is {max_pending}")
        self._max_updates = max_updates
        self._max_delay = max_delay
        self._max_pending = max_pending
        self._lanes: dict[Lane, deque[Batch]] = {}
        self._under_way: set[Lane] = set()
        # By serial; taking the first is cheap however many left before it.
        self._outstanding: OrderedDict[int, Batch] = OrderedDict()
        # (at, serial); an item is stale once the batch's `at` has moved or it left.
        self._due: list[tuple[float, int]] = []
        self._serial = 0
        # When a lane last failed, in failures of all lanes.
        self._failed: dict[Lane, int] = {}
        self.failures = 0
        # How many there were when a batch last left: then somebody had answered.
        self._failures_before = 0
        self.last_failure: Exception | None = None
        self.refusals: list[Refusal] = []
        self.sent = 0
        self.refused = 0
        self.pending = 0

    def has_room(self, numbers: int) -> bool:
        """Whether so many more may wait; more than may ever wait come when nothing else does."""
        return self.pending == 0 or self.pending + numbers <= self._max_pending

    def add(self, sketch: str, operand: str, layout: Layout, columns: Columns, now: float) -> bool:
        """Copy updates into the lane. Returns whether a batch was opened or sealed by it."""
        if not batches.size(columns):
            return False
        numbers = list(columns.values())[-1]
        width = numbers.shape[1] if numbers.ndim == 2 else 1
        open_batch = self._open(sketch, operand, layout, width, now)
        room = self._max_updates if open_batch is None else self._max_updates - open_batch.numbers
        changed = False
        for piece in batches.pieces(columns, max(room, width), self._max_updates):
            if open_batch is None:
                open_batch = self._opened(sketch, operand, layout, width, now)
                changed = True
            open_batch.append(piece)
            self.pending += batches.size(piece)
            if open_batch.numbers + width > self._max_updates:
                self._seal(open_batch, now)
                open_batch, changed = None, True
        return changed

    def _open(
        self, sketch: str, operand: str, layout: Layout, width: int, now: float
    ) -> Batch | None:
        """The batch that takes more of these; one of another layout ends with them."""
        lane = self._lanes.get((sketch, operand))
        last = lane[-1] if lane else None
        if last is None or last.sealed:
            return None
        if last.layout == layout and last.width == width:
            return last
        self._seal(last, now)
        return None

    def _opened(self, sketch: str, operand: str, layout: Layout, width: int, now: float) -> Batch:
        self._serial += 1
        batch = Batch(sketch, operand, layout, self._serial, width, now + self._max_delay)
        self._lanes.setdefault((sketch, operand), deque()).append(batch)
        self._outstanding[batch.serial] = batch
        self._push(batch)
        return batch

    def _seal(self, batch: Batch, at: float) -> None:
        batch.sealed = True
        if at < batch.at:
            batch.at = at
            self._push(batch)

    def _push(self, batch: Batch) -> None:
        if batch.at < math.inf:
            heapq.heappush(self._due, (batch.at, batch.serial))

    def seal_all(self, now: float) -> int:
        """Let everything go that still collects. Returns the serial a flush waits for."""
        for lane in self._lanes.values():
            if not lane[-1].sealed:
                self._seal(lane[-1], now)
        return self._serial

    def take(self, now: float) -> Batch | None:
        """The batch to send now, sealed, its lane under way; None if there is none yet."""
        while self._due and self._due[0][0] <= now:
            at, serial = heapq.heappop(self._due)
            batch = self._outstanding.get(serial)
            if batch is None or batch.at != at:
                continue  # stale
            lane = (batch.sketch, batch.operand)
            if lane in self._under_way or self._lanes[lane][0] is not batch:
                continue  # comes again when it heads a lane at rest
            batch.sealed = True
            self._under_way.add(lane)
            return batch
        return None

    def wait_seconds(self, now: float) -> float | None:
        """How long until it is worth looking again; None if only a change can tell."""
        return min(LONGEST_WAIT, max(0.0, self._due[0][0] - now)) if self._due else None

    def done(self, batch: Batch) -> None:
        """It was acknowledged."""
        self.sent += batch.numbers
        self._leave(batch)

    def refuse(self, batch: Batch) -> None:
        """It will never be applied as it is."""
        self.refused += batch.numbers
        self._leave(batch)

    def put_back(self, batch: Batch, error: Exception, now: float) -> None:
        """The service cannot take it now: it goes again, as it is, before its lane's others."""
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(batch.attempts, 30))
        batch.attempts += 1
        batch.at = now + max(pause, getattr(error, "retry_after", None) or 0.0)
        lane = (batch.sketch, batch.operand)
        self.failures += 1
        self.last_failure = error
        self._failed[lane] = self.failures
        self._under_way.discard(lane)
        self._push(batch)

    def give_back(self, batch: Batch, now: float) -> None:
        """Whoever was to send it gave up, which tells nothing of the service: it goes again."""
        batch.at = now
        self._under_way.discard((batch.sketch, batch.operand))
        self._push(batch)

    def _leave(self, batch: Batch) -> None:
        lane = (batch.sketch, batch.operand)
        queue = self._lanes[lane]
        assert queue[0] is batch
        queue.popleft()
        del self._outstanding[batch.serial]
        self.pending -= batch.numbers
        self._failures_before = self.failures
        self._under_way.discard(lane)
        self._failed.pop(lane, None)
        if queue:
            self._push(queue[0])
        else:
            del self._lanes[lane]

    def settled(self, serial: int) -> bool:
        """Whether every batch up to this serial has left."""
        return not self._outstanding or next(iter(self._outstanding)) > serial

    def stuck(self, serial: int, since: int) -> bool:
        """Whether each batch up to this serial that still waits does so behind a failure later
        than the count of `failures` given.
        """
        if self.failures <= since:
            return False
        return all(
            self._failed.get((batch.sketch, batch.operand), 0) > since
            for number, batch in self._outstanding.items()
            if number <= serial
        )

    def failures_in_a_row(self, since: int) -> int:
        """How many attempts failed later than that count of `failures` and with none between that
        took a batch away.
        """
        return self.failures - max(since, self._failures_before)

    def waiting_upto(self, serial: int) -> int:
        """How many increments of the batches up to this serial still wait."""
        return sum(batch.numbers for number, batch in self._outstanding.items() if number <= serial)

    def waiting(self) -> list[Batch]:
        """Every batch that has not left, in the order they were opened."""
        return list(self._outstanding.values())

    def take_refusals(self) -> list[Refusal]:
        """The refusals nobody was told of yet; they are told once."""
        told, self.refusals = self.refusals, []
        return told
