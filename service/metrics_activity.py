"""What this process has seen of each sketch lately: how often it was asked, and how long that took.

For people who look at one sketch; Prometheus has the same of all sketches together and for
years (`metrics`). Durations of the last five minutes are counted in a ring of time slots, in
buckets each 8 % wider than the one before, so that a percentile is off by at most 4 %; the
longest is exact. A sketch takes 2 KB, at most 25 KB; of more sketches than `most`, those
asked longest ago are forgotten.

Sketches are known by their incarnations: what is created anew under an old name starts from
nothing, and nobody sees another tenant's. Touched on one event loop only.
"""

from __future__ import annotations

import math
import time
from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

SLOT_SECONDS: Final = 30.0
_SLOTS: Final = 10
WINDOW_SECONDS: Final = SLOT_SECONDS * _SLOTS

#: Bucket b from 1 on holds _SHORTEST * _RATIO**(b - 1) to the next; 0 all that is shorter.
_RATIO: Final = 1.08
_SHORTEST: Final = 1e-5
_PER_LOG: Final = 1.0 / math.log(_RATIO)
_LOG_SHORTEST: Final = math.log(_SHORTEST)
#: Up to 1,000 s; the last one holds all that is longer.
_BUCKETS: Final = 2 + math.ceil(math.log(1e3 / _SHORTEST) * _PER_LOG)
#: What is told of the durations, and how much of them is at most as long.
PERCENTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def _bucket(seconds: float) -> int:
    if seconds < _SHORTEST:
        return 0
    return min(_BUCKETS - 1, 1 + int((math.log(seconds) - _LOG_SHORTEST) * _PER_LOG))


def _middle(bucket: int) -> float:
    return _SHORTEST if bucket == 0 else _SHORTEST * math.pow(_RATIO, bucket - 0.5)


class _Slot:
    """Requests of one kind that ended in one stretch of time."""

    __slots__ = ("coordinates", "counts", "failed", "longest", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.counts = array("I", bytes(4 * _BUCKETS))
        self.failed = 0
        self.coordinates = 0
        self.longest = 0.0


class _Ring:
    """The slots of one kind of request, the oldest one overwritten by the newest."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: list[_Slot | None] = [None] * _SLOTS

    def add(self, at: float, seconds: float, failed: bool, coordinates: int) -> None:
        number = int(at / SLOT_SECONDS)
        slot = self._slots[number % _SLOTS]
        if slot is None or slot.number != number:
            slot = self._slots[number % _SLOTS] = _Slot(number)
        slot.counts[_bucket(seconds)] += 1
        slot.coordinates += coordinates
        if failed:
            slot.failed += 1
        if seconds > slot.longest:
            slot.longest = seconds

    def since(self, number: int) -> Tally:
        """All that ended in this slot or a later one."""
        found = Tally()
        for slot in self._slots:
            if slot is not None and slot.number >= number:
                found.failed += slot.failed
                found.coordinates += slot.coordinates
                found.longest = max(found.longest, slot.longest)
                for bucket, count in enumerate(slot.counts):
                    if count:
                        found.counts[bucket] += count
        return found


@dataclass(slots=True)
class Tally:
    """Requests of one kind, added up. counts: by bucket. longest: seconds.

    coordinates: of the updates that were neither refused nor replayed.
    """

    failed: int = 0
    coordinates: int = 0
    longest: float = 0.0
    counts: Counter[int] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        """How many there were, the failed ones included."""
        return self.counts.total()

    def seconds(self) -> dict[str, float] | None:
        """Percentiles of the durations, and the longest; None where there were no requests."""
        if not self.counts:
            return None
        told = {name: self._within(share) for name, share in PERCENTILES.items()}
        return {**told, "max": self.longest}

    def _within(self, share: float) -> float:
        """A duration that this share of the requests does not exceed."""
        rank = math.ceil(share * self.requests)
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                break
        return min(float(f"{_middle(bucket):.4g}"), self.longest)

    def add(self, other: Tally) -> None:
        """Add another process's."""
        self.failed += other.failed
        self.coordinates += other.coordinates
        self.longest = max(self.longest, other.longest)
        self.counts.update(other.counts)

    def encoded(self) -> list[Any]:
        """As JSON can carry it."""
        return [self.failed, self.coordinates, self.longest, sorted(self.counts.items())]

    @classmethod
    def decoded(cls, carried: list[Any]) -> Self:
        """The tally that was encoded."""
        failed, coordinates, longest, counts = carried
        return cls(failed, coordinates, longest, Counter(dict(counts)))


@dataclass(slots=True)
class Seen:
    """One sketch lately. watched_seconds: for how long nothing of it was missed, at most
    WINDOW_SECONDS; of several processes that of the one that has watched longest.
    """

    watched_seconds: float = 0.0
    processes: int = 0
    update: Tally = field(default_factory=Tally)
    sample: Tally = field(default_factory=Tally)

    @classmethod
    def by(cls, several: Iterable[Seen]) -> Self:
        """What several processes have seen of the same sketch."""
        whole = cls()
        for one in several:
            whole.watched_seconds = max(whole.watched_seconds, one.watched_seconds)
            whole.processes += one.processes
            whole.update.add(one.update)
            whole.sample.add(one.sample)
        return whole

    def encoded(self) -> dict[str, Any]:
        """As JSON can carry it."""
        return {
            "watched": self.watched_seconds,
            "processes": self.processes,
            "update": self.update.encoded(),
            "sample": self.sample.encoded(),
        }

    @classmethod
    def decoded(cls, carried: Mapping[str, Any]) -> Self:
        """What was encoded."""
        return cls(
            carried["watched"],
            carried["processes"],
            Tally.decoded(carried["update"]),
            Tally.decoded(carried["sample"]),
        )


class _Watched:
    """One sketch. since: nothing of it was missed from then on. last: when it was last asked."""

    __slots__ = ("last", "sample", "since", "update")

    def __init__(self, since: float) -> None:
        self.since = since
        self.last = since
        self.update = _Ring()
        self.sample = _Ring()


class Activity:
    """The sketches asked most recently, at most `most` of them. Times are of perf_counter."""

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._sketches: OrderedDict[str, _Watched] = OrderedDict()
        self._since = time.perf_counter()

    def updated(
        self, incarnation: str, at: float, seconds: float, failed: bool, coordinates: int
    ) -> None:
        """An update has ended."""
        self._asked(incarnation, at).update.add(at, seconds, failed, coordinates)

    def sampled(self, incarnation: str, at: float, seconds: float, failed: bool) -> None:
        """A sample, estimate or norm request has ended."""
        self._asked(incarnation, at).sample.add(at, seconds, failed, 0)

    def of(self, incarnation: str, now: float | None = None) -> Seen:
        """What has been seen of a sketch; nothing of one that nobody has asked."""
        now = time.perf_counter() if now is None else now
        oldest = int(now / SLOT_SECONDS) - _SLOTS + 1
        watched = self._sketches.get(incarnation)
        since = self._since if watched is None else watched.since
        seconds = max(0.0, now - max(since, oldest * SLOT_SECONDS))
        if watched is None:
            return Seen(seconds, 1)
        return Seen(seconds, 1, watched.update.since(oldest), watched.sample.since(oldest))

    def forget(self, incarnation: str) -> None:
        """The sketch is gone."""
        self._sketches.pop(incarnation, None)

    def _asked(self, incarnation: str, at: float) -> _Watched:
        watched = self._sketches.get(incarnation)
        if watched is None:
            if len(self._sketches) >= self._most:
                _, oldest = self._sketches.popitem(last=False)
                if oldest.last > at - WINDOW_SECONDS:
                    self._since = at  # from now on it may be missed, whoever it was
            watched = self._sketches[incarnation] = _Watched(self._since)
        else:
            self._sketches.move_to_end(incarnation)
        watched.last = at
        return watched
