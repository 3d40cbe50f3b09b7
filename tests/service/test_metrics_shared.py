"""Several workers' metrics as one: what is added, what is taken from the last look, what stays."""

from __future__ import annotations

import json
from itertools import pairwise

from prometheus_client import CollectorRegistry, generate_latest

from service.metrics import Metrics
from service.metrics_catalogue import METRICS
from service.metrics_shared import Family, Snapshot, joined
from service.ports import SketchKey, SketchUsage, Usage


def a_worker() -> tuple[Metrics, CollectorRegistry]:
    registry = CollectorRegistry()
    return Metrics(registry, "1.2"), registry


def value(snapshot: Snapshot, sample: str, **labels: str) -> float | None:
    """One series of a snapshot, or None."""
    series = (sample, tuple(sorted(labels.items())))
    for family in snapshot.families.values():
        if series in family.values:
            return family.values[series]
    return None


def taken(metrics: Metrics, registry: CollectorRegistry) -> Snapshot:
    """A snapshot that has travelled."""
    snapshot = Snapshot.of(registry, metrics.as_of)
    arrived = Snapshot.decoded(json.loads(json.dumps(snapshot.encoded())))
    assert arrived == snapshot
    return arrived


def test_every_metric_is_made_from_the_catalogue() -> None:
    metrics, registry = a_worker()
    assert set(taken(metrics, registry).families) == set(METRICS)


def test_counts_are_added_and_outlive_their_worker() -> None:
    workers = [a_worker() for _ in range(3)]
    for at, (metrics, _) in enumerate(workers):
        for _ in range(at + 1):
            metrics.rejected("invalid")
            metrics.store_finished("get", "ok", 0.002)
        metrics.cached(100)
        metrics.pool_depth(at)
    one, two, three = (taken(*worker) for worker in workers)
    whole = joined([one, two], [three.lasting()])
    assert value(whole, "sketchd_rejected_total", reason="invalid") == 6
    name, labels = "sketchd_store_duration_seconds", {"operation": "get", "outcome": "ok"}
    assert value(whole, f"{name}_count", **labels) == 6
    assert value(whole, f"{name}_bucket", le="0.001", **labels) == 0
    assert value(whole, f"{name}_bucket", le="0.0025", **labels) == 6
    assert value(whole, f"{name}_bucket", le="+Inf", **labels) == 6
    # Of the third only what lasts.
    assert value(whole, "sketchd_cache_bytes") == 200
    assert value(whole, "sketchd_pool_jobs") == 1
    assert value(whole, "sketchd_workers") == 2
    assert value(whole, "sketchd_build_info", version="1.2") == 1


def test_what_all_see_alike_is_taken_from_the_last_look() -> None:
    (early, one), (late, two) = a_worker(), a_worker()
    gone = SketchUsage(SketchKey("default", "gone"), 100, 10)
    kept = SketchUsage(SketchKey("default", "kept"), 30, 3)
    early.show(
        Usage({"default": 2, "old": 1}, [gone, kept], {}, {"default": 130, "old": 1}, backlog=9)
    )
    late.show(Usage({"default": 1}, [kept], {}, {"default": 30}, backlog=4))
    late.store_up(False)
    early.store_up(True)  # each thing has its own last look
    for order in ([one, two], [two, one]):
        held = {id(one): early, id(two): late}
        whole = joined([taken(held[id(registry)], registry) for registry in order])
        labels = {"tenant": "default", "part": "state"}
        assert value(whole, "sketchd_sketch_memory_bytes", sketch="kept", **labels) == 30
        assert value(whole, "sketchd_sketch_memory_bytes", sketch="gone", **labels) is None
        assert value(whole, "sketchd_sketches", tenant="default") == 1
        assert value(whole, "sketchd_sketches", tenant="old") is None
        assert value(whole, "sketchd_tenant_state_bytes", tenant="default") == 30
        assert value(whole, "sketchd_log_backlog_updates") == 4
        assert value(whole, "sketchd_store_up") == 1


def test_of_some_things_one_worker_speaks_for_all() -> None:
    (well, one), (ill, two) = a_worker(), a_worker()
    well.ready(True)
    ill.ready(False)
    alive = [taken(well, one), taken(ill, two)]
    for number, snapshot in enumerate(alive):
        for name, of_each in (
            ("process_open_fds", (7.0, 9.0)), ("process_max_fds", (100.0, 50.0)),
            ("process_resident_memory_bytes", (1000.0, 500.0)),
            ("process_start_time_seconds", (60.0, 40.0)), ("process_cpu_seconds_total", (2.0, 3.0)),
        ):  # fmt: skip
            snapshot.families[name].values[name, ()] = of_each[number]
    ended = Snapshot({"process_cpu_seconds_total": Family("process_cpu_seconds_total")})
    ended.families["process_cpu_seconds_total"].values["process_cpu_seconds_total", ()] = 10.0
    for order in (alive, alive[::-1]):
        whole = joined(order, [ended])
        assert value(whole, "sketchd_ready") == 0
        assert value(whole, "process_open_fds") == 9
        assert value(whole, "process_max_fds") == 50
        assert value(whole, "process_start_time_seconds") == 40
        assert value(whole, "process_resident_memory_bytes") == 1500
        assert value(whole, "process_cpu_seconds_total") == 15
    assert value(joined(alive[:1]), "sketchd_ready") == 1


def test_limits_are_those_of_the_last_look() -> None:
    (early, one), (late, two) = a_worker(), a_worker()
    for worker, limits in ((early, {("a", "sketches"): 1.0}), (late, {("b", "sketches"): 2.0})):
        worker.show_limits(limits)
        worker.show(Usage({"a": 1}, inexact={"a": 1}))
    whole = joined([taken(early, one), taken(late, two)])
    assert value(whole, "sketchd_tenant_quota", tenant="a", resource="sketches") is None
    assert value(whole, "sketchd_tenant_quota", tenant="b", resource="sketches") == 2
    assert value(whole, "sketchd_inexact_sketches", tenant="a") == 1


def test_a_worker_that_has_not_looked_yet_does_not_speak() -> None:
    (fresh, one), (old, two) = a_worker(), a_worker()
    old.show(Usage({"default": 5}))
    old.store_up(True)
    whole = joined([taken(fresh, one), taken(old, two)])
    assert value(whole, "sketchd_sketches", tenant="default") == 5
    assert value(whole, "sketchd_store_up") == 1


def test_no_total_falls_when_a_worker_ends() -> None:
    (metrics, registry), (other, registry2) = a_worker(), a_worker()
    ended = Snapshot()
    totals = []
    for _ in range(3):
        metrics.rejected("invalid")
        other.rejected("invalid")
        living = [taken(metrics, registry), taken(other, registry2)]
        totals.append(value(joined(living, [ended]), "sketchd_rejected_total", reason="invalid"))
        ended = joined([], [ended, living[0].lasting()])
        totals.append(
            value(joined(living[1:], [ended]), "sketchd_rejected_total", reason="invalid")
        )
        metrics, registry = a_worker()
    assert totals == [2, 2, 4, 4, 6, 6]
    assert all(one <= other for one, other in pairwise(map(float, totals)))  # type: ignore[arg-type]


def test_one_worker_alone_is_written_as_its_registry_would_be() -> None:
    metrics, registry = a_worker()
    metrics.store_finished("get", "ok", 0.5)
    metrics.rejected("invalid")
    written = generate_latest(Snapshot.of(registry, metrics.as_of)).decode()
    own = generate_latest(registry).decode()
    without = [line for line in own.splitlines() if "_created" not in line]
    assert sorted(map(_steady, written.splitlines())) == sorted(map(_steady, without))


def _steady(line: str) -> str:
    """Without the number where time alone changes it."""
    return line.partition(" ")[0] if line.startswith("process_") else line


def test_families_of_no_worker_are_empty_and_not_missing() -> None:
    name = "sketchd_rejected_total"
    whole = joined([], [Snapshot({name: Family(name)})])
    assert set(whole.families) == set(METRICS)
    assert f"# TYPE {name} counter" in generate_latest(whole).decode()
