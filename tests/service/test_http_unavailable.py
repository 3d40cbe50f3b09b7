"""What is no fault of the request: 503 where trying again may help, 500 for a bug."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from service.clock import SystemClock
from service.ports import SketchKey
from service.settings import Settings
from service.store_memory import MemoryStore
from tests.service.http_rig import (
    Service,
    Unreliable,
    assert_problem,
    running,
)


@pytest.fixture(scope="module")
def unreliable() -> Iterator[tuple[Service, Unreliable]]:
    store = Unreliable(MemoryStore(SystemClock()))
    settings = Settings(store="memory://", pool_threads=1, pool_queue=0, max_log_bytes=1)
    with running(settings, store) as found:
        found.make("v")
        yield found, store


def test_a_store_that_is_down_is_503(unreliable: tuple[Service, Unreliable]) -> None:
    service, store = unreliable
    store.down = True
    try:
        for answer in (
            service.client.get("/v1/sketches/v"),
            service.client.get("/v1/sketches"),
            service.post("/v1/sketches/v/updates", {"index": [1], "delta": [1]}),
            service.post("/v1/sketches/v/samples", {}),
            service.client.get("/readyz"),
        ):
            assert_problem(answer, 503, "store_unavailable")
            assert answer.headers["retry-after"] == "3"
        many = service.post("/v1/updates", {"updates": [{"sketch": "v", "index": [], "delta": []}]})
        assert many.json()["results"][0]["status"] == 503
        assert service.client.get("/healthz").status_code == 200
    finally:
        store.down = False
    assert service.client.get("/readyz").json() == {"status": "ready"}


def test_a_full_pool_is_503(unreliable: tuple[Service, Unreliable]) -> None:
    service, _ = unreliable
    release = threading.Event()
    entered = threading.Event()

    def occupy() -> None:
        entered.set()
        release.wait(10)

    busy = asyncio.run_coroutine_threadsafe(service.runtime.pool.run(occupy), service.loop)
    assert entered.wait(10)
    try:
        answer = service.post("/v1/plan", {"kind": "vector", "shape": {"n": 5}})
        assert_problem(answer, 503, "overloaded")
        assert service.client.get("/metrics").status_code == 200
    finally:
        release.set()
        busy.result(10)


def test_a_full_log_is_503(unreliable: tuple[Service, Unreliable]) -> None:
    service, _ = unreliable
    service.make("full")

    async def lease() -> bool:
        """Compact as another replica would: else this one may empty the log in between."""
        found = await service.runtime.store.get(SketchKey("default", "full"))
        assert found is not None
        return await service.runtime.store.acquire_lease(
            found.key, found.incarnation, "another", 60.0
        )

    assert asyncio.run_coroutine_threadsafe(lease(), service.loop).result(10)
    body = {"index": [1], "delta": [1]}
    answers = [service.post("/v1/sketches/full/updates", body) for _ in range(2)]
    assert_problem(answers[1], 503, "backlog_full")


def test_an_unexpected_failure_is_a_500_with_the_request_id(
    unreliable: tuple[Service, Unreliable], caplog: pytest.LogCaptureFixture
) -> None:
    service, store = unreliable
    store.fails = RuntimeError("a bug")
    try:
        answer = service.client.get("/v1/sketches/v", headers={"x-request-id": "seen"})
    finally:
        store.fails = None
    problem = assert_problem(answer, 500, "internal")
    assert problem["request_id"] == answer.headers["x-request-id"] == "seen"
    assert "a bug" not in answer.text
    [record] = [record for record in caplog.records if record.name == "sketchd.http"]
    assert "seen" in record.getMessage()
    assert record.exc_info is not None


def test_draining_is_not_ready(unreliable: tuple[Service, Unreliable]) -> None:
    service, _ = unreliable
    health = service.runtime.health
    health.drain()
    try:
        assert_problem(service.client.get("/readyz"), 503, "not_ready")
        assert service.client.get("/healthz").status_code == 200
    finally:
        health._leaving = health._draining = False
