"""Metrics: names, outcomes, bounded labels, and durations on failure too."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from service import metrics, metrics_catalogue
from service.access_ports import Quota, Tenant
from service.app import build
from service.chores import Chores
from service.errors import BacklogFull, InvalidRequest, NotFound, StoreUnavailable
from service.health import Health, NotReady
from service.metrics import OTHER, Metrics
from service.ports import SketchKey, SketchUsage, Usage
from service.settings import Settings
from service.sketches import SampleRequest
from service.store_memory import MemoryStore
from service.store_memory_access import MemoryAccess
from service.store_timed import TimedStore
from tests.service.rig import VECTOR, SetClock, SteppedStore, pairs, rigged

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
#: What Prometheus calls units, and what is counted in them; gauges may be of nothing but things.
_UNITS = ("_seconds", "_bytes", "_total", "_info")
_THINGS = (
    "_sketches", "_updates", "_up", "_keys", "_jobs", "_workers", "_ready", "_quota", "_setting",
    "_fds",
)  # fmt: skip


def test_the_documents_table_is_rendered_from_the_catalogue() -> None:
    assert metrics_catalogue.markdown() in DOCUMENT.read_text("utf-8")


def test_names_end_in_a_unit_and_texts_in_a_full_stop() -> None:
    for name, one in metrics_catalogue.METRICS.items():
        assert name.startswith(("sketchd_", "process_"))
        assert name.endswith((*_UNITS, *_THINGS) if one.kind == "gauge" else _UNITS), name
        assert name.endswith("_total") == (one.kind == "counter"), name
        assert bool(one.buckets) == (one.kind == "histogram"), name
        assert one.meaning.endswith("."), name
        assert one.alert.endswith("."), name


def test_every_metric_of_the_catalogue_is_made_with_its_help_text() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    text = generate_latest(registry).decode()
    for name, one in metrics_catalogue.METRICS.items():
        assert f"# HELP {name} {one.meaning}\n" in text
        assert f"# TYPE {name} {one.kind}\n" in text


async def test_the_loop_lags_by_what_computes_in_it() -> None:
    registry = CollectorRegistry()
    chores = Chores(MemoryStore(SetClock()), Metrics(registry), Settings())
    chores.start()
    await asyncio.sleep(0.3)
    time.sleep(0.5)  # noqa: ASYNC251 - what must not happen, so that it is seen
    await asyncio.sleep(0.3)
    await chores.stop()
    lag = "sketchd_event_loop_lag_seconds"
    late = registry.get_sample_value(f"{lag}_count") - registry.get_sample_value(  # type: ignore[operator]
        f"{lag}_bucket", {"le": "0.1"}
    )
    assert late >= 1


async def test_updates_are_counted_in_coordinates_and_a_replay_is_not() -> None:
    async with rigged() as [rig]:
        await rig.sketches.create("default", "a", VECTOR)
        for key in ("one", "one", "two"):
            await rig.sketches.update(
                "default", "a", pairs([1, 2], [1.0, 2.0]), idempotency_key=key
            )
        with pytest.raises(InvalidRequest):
            await rig.sketches.update("default", "a", pairs([5000], [1.0]))
        with pytest.raises(NotFound):
            await rig.sketches.update("default", "b", pairs([1], [1.0]))
        assert rig.metric("sketchd_updates_total", kind="vector") == 4
        for kind, outcome, count in (
            ("vector", "ok", 2), ("vector", "replayed", 1), ("vector", "invalid", 1),
            ("unknown", "not_found", 1),
        ):  # fmt: skip
            labels = {"kind": kind, "outcome": outcome}
            assert rig.metric("sketchd_update_batches_total", **labels) == count
            assert (
                rig.metric("sketchd_update_duration_seconds_count", transport="internal", **labels)
                == count
            )


async def test_a_request_is_timed_from_its_receipt_by_its_transport() -> None:
    async with rigged() as [rig]:
        await rig.sketches.create("default", "a", VECTOR)

        async def serve() -> None:
            metrics.received("http")
            await asyncio.sleep(0.02)  # the body arrives
            await rig.sketches.sample("default", "a", SampleRequest())

        await asyncio.create_task(serve())
        await rig.sketches.norm("default", "a")
        labels = {"kind": "vector", "outcome": "ok"}
        name = "sketchd_sample_duration_seconds"
        assert rig.metric(f"{name}_sum", transport="http", **labels) >= 0.02
        assert rig.metric(f"{name}_count", transport="internal", **labels) == 1


def test_gauges_of_what_is_gone_disappear() -> None:
    registry = CollectorRegistry()
    told = Metrics(registry)
    big = SketchUsage(SketchKey("default", "big"), 100, 10)
    told.show(Usage({"default": 3, "other": 1}, [big], {"default": (7, 5)}, backlog=42))
    memory = "sketchd_sketch_memory_bytes"
    labels = {"tenant": "default", "sketch": "big", "part": "state"}
    assert registry.get_sample_value(memory, labels) == 100
    summed = {"tenant": "default", "sketch": OTHER, "part": "log"}
    assert registry.get_sample_value(memory, summed) == 5
    assert registry.get_sample_value("sketchd_log_backlog_updates") == 42
    told.show(Usage({"default": 0}))
    assert registry.get_sample_value(memory, labels) is None
    assert registry.get_sample_value(memory, summed) is None
    assert registry.get_sample_value("sketchd_sketches", {"tenant": "other"}) is None


def test_what_is_not_exact_is_counted_for_each_tenant() -> None:
    registry = CollectorRegistry()
    told = Metrics(registry)
    name = "sketchd_inexact_sketches"
    told.show(Usage({"a": 3, "b": 1}, inexact={"a": 2}))
    assert registry.get_sample_value(name, {"tenant": "a"}) == 2
    assert registry.get_sample_value(name, {"tenant": "b"}) == 0  # it is there, so that it can grow
    told.show(Usage({"b": 1}))
    assert registry.get_sample_value(name, {"tenant": "a"}) is None


def test_limits_that_are_lifted_disappear() -> None:
    registry = CollectorRegistry()
    told = Metrics(registry)
    name = "sketchd_tenant_quota"

    def shown(tenant: str, resource: str) -> float | None:
        return registry.get_sample_value(name, {"tenant": tenant, "resource": resource})

    told.show_limits(
        {("a", "sketches"): 10, ("a", "updates_per_second"): 2.5, ("b", "sketches"): 1}
    )
    assert [shown("a", "sketches"), shown("a", "updates_per_second")] == [10, 2.5]
    told.show_limits({("a", "sketches"): 20})
    assert [shown("a", "sketches"), shown("a", "updates_per_second")] == [20, None]
    assert shown("b", "sketches") is None


async def test_limits_come_from_the_directory_and_readiness_from_a_look_at_the_store() -> None:
    clock = SetClock()
    access = MemoryAccess(clock)
    store = SteppedStore(MemoryStore(clock))
    runtime = build(Settings(usage_interval_seconds=0.001), clock=clock, store=store, access=access)
    registry = runtime.registry

    async def until(name: str, value: float, **labels: str) -> None:
        async with asyncio.timeout(30):
            while registry.get_sample_value(name, labels) != value:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    assert registry.get_sample_value("sketchd_ready") == 0
    await access.put_tenant(Tenant("acme", 0.0, Quota(sketches=3)), new=True)
    await runtime.start()
    await until("sketchd_ready", 1)
    await until("sketchd_tenant_quota", 3, tenant="acme", resource="sketches")
    assert registry.get_sample_value("sketchd_setting", {"setting": "max_log_bytes"}) == 256 << 20

    async def fail() -> None:
        raise StoreUnavailable("away")

    store.before["ping"] = fail
    with pytest.raises(StoreUnavailable):
        await runtime.health.check()
    assert registry.get_sample_value("sketchd_ready") == 0
    asked = store.calls["ping"]
    await runtime.health.judge(60)  # somebody has just asked
    assert store.calls["ping"] == asked
    await runtime.health.judge(0)
    assert store.calls["ping"] == asked + 1
    del store.before["ping"]
    await runtime.health.judge(60, 0)  # it was not ready
    assert registry.get_sample_value("sketchd_ready") == 1
    asked = store.calls["ping"]
    await runtime.health.judge(60, 0)  # nothing has happened since
    assert store.calls["ping"] == asked
    store.before["usage"] = fail
    with pytest.raises(StoreUnavailable):
        await runtime.store.usage(0)
    await runtime.health.judge(60, 0)  # the store has failed somebody
    assert store.calls["ping"] == asked + 1
    await runtime.stop()
    assert registry.get_sample_value("sketchd_ready") == 0


async def test_a_store_that_hangs_is_not_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.health._PING_SECONDS", 0.01)
    registry = CollectorRegistry()
    told = Metrics(registry)
    told.store_up(True)
    judged: list[bool] = []

    async def hang() -> None:
        await asyncio.sleep(60)

    health = Health(hang, told=judged.append, silent=lambda: told.store_up(False))
    health.ready()
    with pytest.raises(NotReady):
        await health.check()
    assert judged == [False]
    assert registry.get_sample_value("sketchd_store_up") == 0


async def test_a_service_that_begins_to_stop_while_it_asks_is_not_ready() -> None:
    judged: list[bool] = []

    async def ping() -> None:
        health.drain()

    health = Health(ping, told=judged.append)
    health.ready()
    await health.check()
    assert judged == [False, False]


async def test_losing_and_regaining_readiness_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = iter((True, False, False, True, True))

    async def ping() -> None:
        if not next(answers):
            raise StoreUnavailable("nobody there")

    health = Health(ping)
    caplog.set_level("INFO", logger="sketchd.health")
    await health.judge(0)  # starting: nobody has expected more
    health.ready()
    for _ in range(5):
        await health.judge(0)
    health.drain()
    await health.judge(0)
    assert [record.getMessage() for record in caplog.records] == [
        "not ready: nobody there",
        "ready again",
    ]


def test_a_process_says_what_it_takes() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    value = registry.get_sample_value
    before = value("process_cpu_seconds_total")
    assert before is not None
    began = time.process_time()
    while time.process_time() < began + 0.05:
        pass
    assert value("process_cpu_seconds_total") >= before + 0.05  # type: ignore[operator]
    start = value("process_start_time_seconds")
    assert start is not None
    assert time.time() - 86400 < start <= time.time()
    assert start == value("process_start_time_seconds")
    descriptors = value("process_open_fds")
    assert descriptors is not None
    with Path(__file__).open():
        assert value("process_open_fds") == descriptors + 1
    assert value("process_max_fds") >= descriptors  # type: ignore[operator]
    if sys.platform == "linux":
        resident = value("process_resident_memory_bytes")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        assert resident is not None
        assert 1 << 20 < resident <= peak * 1.1


def test_no_sketch_can_be_named_like_the_sum() -> None:
    from service.sketch_requests import check_name

    with pytest.raises(InvalidRequest):
        check_name(OTHER)


async def test_refused_questions_are_timed_with_their_outcome() -> None:
    async with rigged(max_queries=1, max_sample_count=5, max_estimate_indices=1) as [rig]:
        await rig.sketches.create("default", "a", VECTOR)
        two = np.ones((2, 1))
        refused = (
            rig.sketches.sample("default", "a", SampleRequest(count=6)),
            rig.sketches.sample("default", "a", SampleRequest(queries=two)),
            rig.sketches.estimate("default", "a", np.array([1, 2], np.uint64)),
            rig.sketches.norm("default", "a", queries=two),
        )
        for question in refused:
            with pytest.raises(InvalidRequest):
                await question
        labels = {"transport": "internal", "kind": "vector", "outcome": "invalid"}
        assert rig.metric("sketchd_sample_duration_seconds_count", **labels) == len(refused)


async def test_the_timed_store_reports_and_changes_nothing() -> None:
    registry = CollectorRegistry()
    told = Metrics(registry)
    steps = SteppedStore(MemoryStore(SetClock()))
    timed = TimedStore(steps, finished=told.store_finished, up=told.store_up)
    key = SketchKey("default", "a")
    assert await timed.get(key) is None
    assert registry.get_sample_value("sketchd_store_up") == 1
    failures = [StoreUnavailable("away"), BacklogFull("full"), ValueError("odd")]

    async def fail() -> None:
        raise failures[0]

    steps.before["get"] = fail
    up = []
    while failures:
        with pytest.raises(type(failures[0])):
            await timed.get(key)
        up.append(registry.get_sample_value("sketchd_store_up"))
        failures.pop(0)
    assert up == [0, 1, 1]  # a refusal is an answer; what is odd says nothing
    for outcome in ("ok", "unavailable", "refused", "error"):
        labels = {"operation": "get", "outcome": outcome}
        assert registry.get_sample_value("sketchd_store_duration_seconds_count", labels) == 1


async def test_chores_show_usage_and_outlive_a_store_that_is_away() -> None:
    async with rigged() as [rig]:
        for name in ("a", "b", "c"):
            await rig.sketches.create("default", name, VECTOR)
        await rig.sketches.update("default", "b", pairs([1, 2, 3], [1.0, 1.0, 1.0]))
        registry = CollectorRegistry()
        settings = Settings(
            usage_interval_seconds=0.001, sweep_interval_seconds=0.001, metrics_largest_sketches=1
        )
        away = True

        async def fail() -> None:
            nonlocal away
            if away:
                away = False
                raise StoreUnavailable("away")

        rig.steps.before["usage"] = rig.steps.before["sweep"] = fail
        chores = Chores(rig.store, Metrics(registry), settings)
        chores.start()
        await asyncio.sleep(0.1)
        await chores.stop()
        assert min(rig.steps.calls["usage"], rig.steps.calls["sweep"]) >= 3
        assert registry.get_sample_value("sketchd_sketches", {"tenant": "default"}) == 3
        assert registry.get_sample_value("sketchd_log_backlog_updates") == 3
        names = {"tenant": "default", "part": "log"}
        memory = "sketchd_sketch_memory_bytes"
        assert registry.get_sample_value(memory, names | {"sketch": "b"})
        assert registry.get_sample_value(memory, names | {"sketch": OTHER}) == 0
        assert registry.get_sample_value("sketchd_idempotency_keys") == 0
