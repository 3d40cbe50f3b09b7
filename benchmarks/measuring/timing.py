"""Times of several pieces of work, taken in turn, so that noise of the machine hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tqdm import tqdm


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of every round of one piece of work."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of all rounds."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """Of the round that nothing else disturbed."""
        return min(self.seconds)

    @property
    def p95(self) -> float:
        """The 95th percentile."""
        return sorted(self.seconds)[int(0.95 * len(self.seconds))]


def interleaved(
    works: Mapping[str, Callable[[], object]],
    rounds: int,
    title: str = "",
    before: Callable[[], object] | None = None,
) -> dict[str, Times]:
    """Run every piece of work once a round, in turn: A B A B …; one round first is not timed.

    before: done ahead of each, not timed.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    shown = tqdm(range(rounds + 1), desc=title, leave=False, disable=None)
    for number in shown:
        for name, work in works.items():
            if before is not None:
                before()
            start = time.perf_counter()
            work()
            took = time.perf_counter() - start
            if number:
                taken[name].append(took)
    return {name: Times(tuple(seconds)) for name, seconds in taken.items()}


def ratio(ours: Times, peer: Times) -> tuple[float, float, float]:
    """Ours over the peer's, of the medians; and the quartiles of the ratios of single rounds."""
    each = [one / other for one, other in zip(ours.seconds, peer.seconds, strict=True)]
    low, _, high = statistics.quantiles(each, n=4, method="inclusive")
    return ours.median / peer.median, low, high
