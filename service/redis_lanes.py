"""Numbers that make an append without a caller's key safe to send again.

A replica numbers its appends to a sketch within *lanes*, each with at most one
append under way. Redis remembers the last number of each lane: the same number
again is a retry and gets the first answer; a smaller one is a command that was
given up and arrives late, and is refused for ever. So what is remembered grows
with the number of writers, not of appends. (Kafka's idempotent producers do the
same with a producer id and a sequence number.)
"""

from __future__ import annotations

import heapq
import itertools
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from service.ports import SketchKey


class Lanes:
    """The lanes of one process: named by it alone, numbered upwards for as long as it lives."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._free: dict[SketchKey, list[int]] = {}
        self._opened: dict[SketchKey, int] = {}

    @contextmanager
    def take(self, key: SketchKey) -> Iterator[tuple[str, int]]:
        """(a lane nobody else uses until the block ends, the append's number in it)."""
        free = self._free.setdefault(key, [])
        if free:
            lane = heapq.heappop(free)
        else:
            lane = self._opened.get(key, 0)
            self._opened[key] = lane + 1
        try:
            yield f"{self._process}.{lane}", next(self._numbers)
        finally:
            heapq.heappush(free, lane)
            if len(free) == self._opened[key]:
                # Nothing under way: begin anew at lane 0, with larger numbers.
                del self._free[key], self._opened[key]
