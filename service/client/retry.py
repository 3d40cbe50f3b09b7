"""When a call is tried again, and after how long. Pure: time and chance come from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.client.errors import RateLimited, SketchdError, Unreachable
from service.client.operations import Operation, retryable


@dataclass(frozen=True, slots=True)
class Retry:
    """What one call may take: attempts, and the pauses between them.

    After the n-th failure the pause is random between 0 and first_pause · 2^(n-1), at most
    longest_pause seconds, and begins when the service said (Retry-After) that trying again
    makes sense. attempts 1 turns retries off. By default the pauses add up to some twenty-five
    seconds, so that a service that restarts is waited for.
    """

    attempts: int = 30
    first_pause: float = 0.05
    longest_pause: float = 2.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts: must be at least 1, is {self.attempts}")
        if not (0 <= self.first_pause <= self.longest_pause < float("inf")):
            raise ValueError("first_pause: must be from 0 to longest_pause")


class Broken(Unreachable):
    """A connection that ended before the answer: as one does that was closed for being idle."""


class Attempts:
    """The attempts of one call.

    began, and `now` below: seconds on any one clock that does not go back. timeout: seconds for
    all attempts and pauses together.
    """

    __slots__ = ("_at_once", "_deadline", "_failures", "_policy", "_uncertain", "timeout")

    def __init__(self, policy: Retry, timeout: float, began: float) -> None:
        self._policy = policy
        self._deadline = began + timeout
        self._failures = 0
        self._at_once = True
        self._uncertain = False
        self.timeout = timeout

    def remaining(self, now: float) -> float:
        """Seconds left; never less than a moment, so that an attempt can fail by itself."""
        return max(self._deadline - now, 1e-3)

    def worked_before(self, operation: Operation[Any], error: SketchdError) -> bool:
        """Whether `error` says that an earlier attempt, whose answer never came, did it."""
        return self._uncertain and operation.done_by(error)

    def told(self, error: SketchdError) -> SketchdError:
        """The error as the caller sees it, after all attempts."""
        found = told(error)
        found.uncertain = self._uncertain
        return found

    def pause_after(self, error: SketchdError, now: float, chance: float) -> float | None:
        """Seconds to wait before the next attempt; None where there is to be none.

        chance: random in [0, 1). Only what may succeed later is tried again. A broken connection
        is, once in a call, replaced at once and not counted: most were closed while idle.
        """
        if not retryable(error):
            return None
        if not isinstance(error, RateLimited):
            self._uncertain = True
        if isinstance(error, Broken) and self._at_once and now < self._deadline:
            self._at_once = False
            return 0.0
        self._failures += 1
        if self._failures >= self._policy.attempts:
            return None
        grown = self._policy.first_pause * 2.0 ** min(self._failures - 1, 60)
        pause = chance * min(grown, self._policy.longest_pause) + (error.retry_after or 0.0)
        return pause if now + pause < self._deadline else None


def told(error: SketchdError) -> SketchdError:
    """The error as the caller sees it."""
    if not isinstance(error, Broken):
        return error
    plain = Unreachable(error.code, error.detail, request_id=error.request_id)
    plain.__cause__ = error.__cause__
    return plain


def no_answer(seconds: float) -> Unreachable:
    """The error of a call whose time is over."""
    return Unreachable("unreachable", f"no answer came within {seconds:.3g} seconds")
