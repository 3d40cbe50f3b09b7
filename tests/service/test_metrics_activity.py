"""What is remembered of a sketch's requests: percentiles, the window, and how much is kept."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.errors import Conflict, NotFound
from service.metrics import Metrics
from service.metrics_activity import SLOT_SECONDS, WINDOW_SECONDS, Activity, Seen, Tally

#: Half of a bucket's width.
WITHIN = 0.04


def travelled(seen: Seen) -> Seen:
    """What arrives of it in another process."""
    arrived = Seen.decoded(json.loads(json.dumps(seen.encoded())))
    assert arrived == seen
    return arrived


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 100, 1000])
def test_percentiles_are_right_within_four_percent(rng: np.random.Generator, count: int) -> None:
    activity = Activity()
    durations = np.exp(rng.uniform(np.log(2e-5), np.log(900.0), count))
    for seconds in durations:
        activity.sampled("i", 1000.0, float(seconds), False)
    told = travelled(activity.of("i", 1000.0)).sample.seconds()
    assert told is not None
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        right = float(np.quantile(durations, share, method="inverted_cdf"))
        assert told[name] == pytest.approx(right, rel=WITHIN), name
    assert told["max"] == durations.max()
    assert told["p50"] <= told["p90"] <= told["p99"] <= told["max"]


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 9.99e-6, 1e-5, 999.0, 1001.0, 1e9])
def test_no_duration_is_too_short_or_too_long(seconds: float) -> None:
    activity = Activity()
    activity.updated("i", 5.0, seconds, False, 3)
    found = activity.of("i", 5.0).update
    told = found.seconds()
    assert told is not None
    assert (found.requests, found.coordinates, told["max"]) == (1, 3, seconds)
    assert told["p99"] <= max(seconds, 1e-5)


def test_each_request_counts_for_the_window_and_no_longer() -> None:
    activity = Activity()
    start = 10 * SLOT_SECONDS
    for second in range(2 * int(WINDOW_SECONDS)):
        activity.updated("i", start + second, 0.001, second % 10 == 0, 2)
        seen = activity.of("i", start + second).update
        slots = (start + second) // SLOT_SECONDS - 10
        covered = min(second + 1, second + 1 - max(0, slots - 9) * SLOT_SECONDS)
        assert seen.requests == covered
        assert seen.coordinates == 2 * covered
        assert seen.failed == pytest.approx(covered / 10, abs=1)
    end = start + 2 * WINDOW_SECONDS
    assert activity.of("i", end + WINDOW_SECONDS).update == Tally()
    assert activity.of("i", end + WINDOW_SECONDS).update.seconds() is None


def test_how_long_it_has_watched() -> None:
    activity = Activity(2)
    start = activity.of("none").watched_seconds
    assert 0 <= start < 5
    now = 1e6 * SLOT_SECONDS
    assert activity.of("none", now + 5).watched_seconds == WINDOW_SECONDS - SLOT_SECONDS + 5
    activity.updated("a", now, 0.1, False, 1)
    activity.updated("b", now + 1, 0.1, False, 1)
    assert activity.of("b", now + 5).watched_seconds == WINDOW_SECONDS - SLOT_SECONDS + 5
    activity.updated("c", now + 2, 0.1, False, 1)  # "a" is forgotten
    assert activity.of("b", now + 5).watched_seconds == WINDOW_SECONDS - SLOT_SECONDS + 5
    assert activity.of("c", now + 5).watched_seconds == 3
    assert activity.of("a", now + 5) == Seen(3, 1)


def test_the_ones_asked_longest_ago_are_forgotten() -> None:
    activity = Activity(3)
    for at, sketch in enumerate("abcad"):
        activity.updated(sketch, float(at), 0.1, False, 1)
    assert {one for one in "abcd" if activity.of(one, 9.0).update.requests} == {"a", "c", "d"}
    activity.forget("a")
    activity.forget("never seen")
    assert activity.of("a", 9.0).update.requests == 0


def test_processes_add_up() -> None:
    workers = [Activity(), Activity()]
    for at, activity in enumerate(workers):
        for _ in range(10):
            activity.updated("i", 100.0 + at, 0.001 * 100**at, at == 1, 4)
    joined = Seen.by(travelled(one.of("i", 110.0)) for one in workers)
    told = joined.update.seconds()
    assert told is not None
    assert (joined.processes, joined.update.requests, joined.update.failed) == (2, 20, 10)
    assert joined.update.coordinates == 80
    assert told["p50"] == pytest.approx(0.001, rel=WITHIN)
    assert told["p90"] == pytest.approx(0.1, rel=WITHIN)


def test_metrics_tell_it_what_reached_a_sketch() -> None:
    fresh = Metrics(CollectorRegistry())
    with fresh.update() as one:
        one.of("i", "vector")
        one.coordinates = 7
    with fresh.update() as one:
        one.of("i", "vector")
        one.coordinates, one.outcome = 7, "replayed"
    for failure in (Conflict("sealed"), NotFound("gone")):
        with suppress(Conflict, NotFound), fresh.update() as one:
            one.of("i", "vector")
            one.coordinates = 7
            raise failure
    with fresh.sample() as one:
        one.of("i", "vector")
    with suppress(NotFound), fresh.sample():
        raise NotFound("never found")
    seen = fresh.activity.of("i")
    assert (seen.update.requests, seen.update.failed, seen.update.coordinates) == (3, 1, 7)
    assert (seen.sample.requests, seen.sample.failed, seen.sample.coordinates) == (1, 0, 0)
    assert fresh.activity.of("").update.requests == 0
