"""The arithmetic of a meter: one token bucket, as every store keeps it.

A level may be negative: a need above the burst is met from a full bucket, which then
owes the rest. Over any schedule the tokens granted never exceed the burst, plus what
flowed in, plus the debt of one need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from service.access_ports import Lot, Rate

#: The longest advice to wait, in seconds; also where nothing ever flows in.
_LONGEST_WAIT: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Level:
    """Tokens in a meter at a time, in seconds since the epoch."""

    tokens: float
    at: float


def take(
    level: Level | None, now: float, need: float, want: float, rate: Rate
) -> tuple[Level, Lot]:
    """The meter afterwards, and what was taken, as AccessStore.take. None is a meter never asked.

    Clocks of replicas differ: time that runs backwards lets nothing flow in.
    """
    if level is None:
        level = Level(rate.burst, now)
    at = max(level.at, now)
    held = min(rate.burst, level.tokens + rate.per_second * (at - level.at))
    enough = min(need, rate.burst)
    if held < enough:
        return Level(held, at), Lot(0.0, wait(enough - held, rate.per_second))
    # Up to `want`; of a bucket that holds less all of it; of a full one the whole need.
    tokens = max(need, min(want, held))
    return Level(held - tokens, at), Lot(tokens)


def wait(missing: float, per_second: float) -> float:
    """Seconds until so many tokens have flowed in, as far as it is worth saying."""
    if per_second <= 0:
        return _LONGEST_WAIT
    return min(missing / per_second, _LONGEST_WAIT)
