"""When a call is tried again: the policy alone, without time or network."""

from __future__ import annotations

import itertools
import math

import pytest

from service.client import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    Retry,
    ServiceFailed,
    SketchdError,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from service.client import operations as ops
from service.client.retry import Attempts, Broken, told


def unavailable(after: float | None = None) -> Unavailable:
    return Unavailable("store_unavailable", "not now", status=503, retry_after=after)


def pauses(error: SketchdError, policy: Retry, timeout: float, chance: float) -> list[float]:
    """The pauses of a call that always fails so, on a clock that only pauses move."""
    now = 0.0
    attempts = Attempts(policy, timeout, now)
    found: list[float] = []
    while (pause := attempts.pause_after(error, now, chance)) is not None:
        found.append(pause)
        now += pause
        assert len(found) < 1000
    return found


@pytest.mark.parametrize(
    "kind", [InvalidRequest, Conflict, NotFound, Unauthorized, Forbidden, ServiceFailed]
)
def test_what_would_be_refused_again_is_not_tried_again(kind: type[SketchdError]) -> None:
    assert pauses(kind("code", "detail", retry_after=0.0), Retry(), 30.0, 0.5) == []


@pytest.mark.parametrize("kind", [Unavailable, RateLimited, Unreachable])
def test_what_may_succeed_later_is(kind: type[SketchdError]) -> None:
    found = pauses(kind("code", "detail"), Retry(attempts=4), 30.0, 0.5)
    assert len(found) == 3


def test_pauses_grow_with_full_jitter_up_to_the_longest() -> None:
    policy = Retry(attempts=9, first_pause=0.1, longest_pause=1.0)
    longest = pauses(unavailable(), policy, 100.0, 1.0 - 1e-12)
    expected = [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0]
    assert all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(longest, expected, strict=True))
    assert pauses(unavailable(), policy, 100.0, 0.0) == [0.0] * 8
    half = pauses(unavailable(), policy, 100.0, 0.5)
    assert all(math.isclose(a, b / 2) for a, b in zip(half, expected, strict=True))


def test_retry_after_is_waited_for_and_jitter_comes_on_top() -> None:
    policy = Retry(attempts=3, first_pause=0.1)
    assert pauses(unavailable(2.0), policy, 30.0, 0.5) == pytest.approx([2.05, 2.1])


def test_by_default_a_restart_is_waited_for() -> None:
    refused = Unreachable("unreachable", "connection refused")
    assert 20.0 < sum(pauses(refused, Retry(), 30.0, 0.5)) < 30.0
    assert sum(pauses(refused, Retry(), 5.0, 0.5)) < 5.0


def test_no_pause_reaches_beyond_the_deadline() -> None:
    assert pauses(unavailable(31.0), Retry(), 30.0, 0.0) == []
    for timeout, chance in itertools.product((0.1, 1.0, 3.0), (0.0, 0.3, 0.999)):
        assert sum(pauses(unavailable(0.4), Retry(attempts=50), timeout, chance)) < timeout


def test_one_attempt_is_no_retry() -> None:
    assert pauses(unavailable(), Retry(attempts=1), 30.0, 0.5) == []


def test_a_broken_connection_is_replaced_at_once_and_once() -> None:
    broken = Broken("unreachable", "the connection failed")
    assert pauses(broken, Retry(attempts=1), 30.0, 0.5) == [0.0]
    assert pauses(broken, Retry(attempts=3, first_pause=0.1), 30.0, 0.5) == pytest.approx(
        [0.0, 0.05, 0.1]
    )
    assert type(told(broken)) is Unreachable
    assert told(broken).detail == broken.detail


def test_absence_settles_a_delete_only_after_an_attempt_that_may_have_worked() -> None:
    gone = NotFound("sketch_not_found", "no such sketch", status=404)
    delete, look = ops.Delete("a"), ops.Look("a")
    attempts = Attempts(Retry(), 30.0, 0.0)
    assert not attempts.worked_before(delete, gone)
    attempts.pause_after(RateLimited("rate_limited", "slower", status=429), 0.0, 0.5)
    assert not attempts.worked_before(delete, gone)
    attempts.pause_after(unavailable(), 0.0, 0.5)
    assert attempts.worked_before(delete, gone)
    assert not attempts.worked_before(delete, Conflict("conflict", "no"))
    assert not attempts.worked_before(look, gone)


def test_attempts_keep_a_moment_at_the_end() -> None:
    attempts = Attempts(Retry(), 5.0, 10.0)
    assert attempts.remaining(12.0) == 3.0
    assert 0 < attempts.remaining(99.0) < 0.01


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"attempts": 0}, "attempts"),
        ({"first_pause": -1.0}, "first_pause"),
        ({"first_pause": 3.0}, "first_pause"),
        ({"longest_pause": math.inf}, "first_pause"),
    ],
)
def test_senseless_policies_are_refused(wrong: dict[str, float], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Retry(**wrong)  # type: ignore[arg-type]
