"""Streams of requests: results in order, several under way, and backpressure."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from service import grpc_streams
from service.clock import SystemClock
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.settings import Settings
from service.store_memory import MemoryStore
from tests.service.grpc_rig import Both, refused, serving, vector

BOUND = 4


class Held:
    """A store whose appends wait until they are let go; it counts those that wait."""

    def __init__(self, inner: MemoryStore) -> None:
        self._inner = inner
        self.waiting = 0
        self.open = asyncio.Event()
        self.open.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def append(self, *args: Any, **kwargs: Any) -> Any:
        """As Store.append, later."""
        self.waiting += 1
        try:
            await self.open.wait()
        finally:
            self.waiting -= 1
        return await self._inner.append(*args, **kwargs)


@pytest.fixture
def both() -> Iterator[Both]:
    settings = Settings(store="memory://", grpc_stream_messages=BOUND, drain_seconds=5)
    with serving(settings, store=Held(MemoryStore(SystemClock()))) as found:
        for at in range(10):
            found.make(f"v{at}", shape=pb.Shape(n=1 << 20), method="exact")
        yield found


def held(both: Both) -> Held:
    """The store."""
    found: Any = both.runtime.store._inner  # type: ignore[attr-defined]
    assert isinstance(found, Held)
    return found


def position(result: pb.UpdateResult) -> int:
    """Which entry of its sketch's log a message became."""
    assert result.WhichOneof("result") == "response", result
    return int(result.response.version.rpartition("-")[2])


def test_messages_of_a_sketch_take_effect_in_order(both: Both, rng: np.random.Generator) -> None:
    """Short messages wait for long ones before them, which are checked in threads meanwhile."""
    sizes = [int(rng.choice([1, 40_000])) for _ in range(40)]
    sent = [vector("v0", [0] * size, [1.0] * size) for size in sizes]
    results = list(both.stub.UpdateStream(iter(sent)))
    assert [one.response.accepted for one in results] == sizes
    assert [position(one) for one in results] == list(range(1, 41))


def test_a_stream_reads_no_further_than_its_bound(both: Both) -> None:
    """While nothing is answered, so many messages are applied at once and no more are read."""
    store = held(both)
    both.on_loop(store.open.clear)
    sent = [vector(f"v{at % 10}", [0] * 8000, [1.0] * 8000) for at in range(200)]
    results = both.stub.UpdateStream(iter(sent), timeout=60)
    _until(both, lambda: store.waiting == BOUND)
    most = BOUND * 8000 * 16 + 4096
    assert both.runtime.bodies.held <= most
    assert store.waiting == BOUND
    both.on_loop(store.open.set)
    assert len(list(results)) == 200
    assert both.runtime.bodies.held == 0


def test_streams_of_one_sketch_apply_one_message_at_a_time(both: Both) -> None:
    store = held(both)
    both.on_loop(store.open.clear)
    results = both.stub.UpdateStream(
        iter([vector("v1", [1], [1.0])] * 3 + [vector("v2", [1], [1.0])]), timeout=60
    )
    _until(both, lambda: store.waiting == 2)
    both.on_loop(store.open.set)
    assert [position(one) for one in results] == [1, 2, 3, 1]


def test_a_refused_message_does_not_end_the_stream(both: Both) -> None:
    sent = [
        vector("v3", [1], [1.0]),
        vector("v3", [1 << 30], [1.0]),
        vector("gone", [1], [1.0]),
        vector("v3", [1], [1.0], key="x" * 256),
        vector("v3", [2], [1.0]),
    ]
    results = list(both.stub.UpdateStream(iter(sent)))
    assert [one.problem.code for one in results] == [
        "", "invalid", "sketch_not_found", "invalid_idempotency_key", "",
    ]  # fmt: skip
    assert results[1].problem.errors[0].pointer == "/index/0"
    assert results[1].problem.status == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def test_samples_come_in_order(both: Both) -> None:
    for at in range(10):
        both.stub.Update(vector(f"v{at}", [at], [1.0]))
    sent = [pb.SampleRequest(sketch=f"v{at % 10}", count=1) for at in range(60)]
    results = list(both.stub.SampleStream(iter(sent)))
    assert [list(one.response.index) for one in results] == [[at % 10] for at in range(60)]


def test_sample_streams_wait_for_the_pool() -> None:
    """Together they ask for more at once than may wait for a thread."""
    settings = Settings(store="memory://", pool_threads=1, pool_queue=8)
    with serving(settings) as both:
        both.make("v")
        both.stub.Update(vector("v", list(range(500)), [1.0] * 500))
        sent = [pb.SampleRequest(sketch="v", count=5)] * 40
        streams = [both.stub.SampleStream(iter(sent), timeout=60) for _ in range(4)]
        found = [one.problem.code for stream in streams for one in stream]
        assert found == [""] * 160


def test_results_come_while_the_stream_is_open(both: Both) -> None:
    sent: queue.Queue[pb.UpdateRequest | None] = queue.Queue()
    results = both.stub.UpdateStream(iter(sent.get, None), timeout=30)
    for at in range(3):
        sent.put(vector("v4", [1], [1.0]))
        assert position(next(results)) == at + 1
    sent.put(None)
    assert list(results) == []


def test_a_stream_that_only_waits_does_not_hold_up_the_stop() -> None:
    """It is told that the service stops, after the results of what was under way."""
    sent: queue.Queue[pb.UpdateRequest | None] = queue.Queue()
    with serving(Settings(store="memory://", drain_seconds=20)) as both:
        both.make("v")
        results = both.stub.UpdateStream(iter(sent.get, None), timeout=60)
        sent.put(vector("v", [1], [1.0]))
        assert position(next(results)) == 1
        assert both.runtime.health.under_way == 1
        both.on_loop(both.runtime.health.drain)
        failure = refused(lambda: next(results))
        assert (failure.status, failure.code) == (grpc.StatusCode.UNAVAILABLE, "not_ready")
        drained = both.runtime.health.drained(20)
        assert asyncio.run_coroutine_threadsafe(drained, both.loop).result(30)
    sent.put(None)


def test_a_stream_that_was_sent_whole_is_served_whole_when_the_service_stops(both: Both) -> None:
    store = held(both)
    both.on_loop(store.open.clear)
    results = both.stub.UpdateStream(
        iter([vector("v5", [1], [1.0]), vector("v6", [1], [1.0])]), timeout=60
    )
    _until(both, lambda: store.waiting == 2)
    both.on_loop(both.runtime.health.drain)
    _until(both, lambda: True)
    both.on_loop(store.open.set)
    assert [position(one) for one in results] == [1, 1]


def test_what_was_read_is_answered_however_long_it_takes_while_the_service_stops(
    both: Both, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(grpc_streams, "_LAST_SECONDS", 0.1)
    store = held(both)
    both.on_loop(store.open.clear)
    sent: queue.Queue[pb.UpdateRequest | None] = queue.Queue()
    results = both.stub.UpdateStream(iter(sent.get, None), timeout=60)
    for _ in range(2):
        sent.put(vector("v7", [1], [1.0]))
    _until(both, lambda: store.waiting == 1)
    both.on_loop(both.runtime.health.drain)
    threading.Event().wait(0.5)
    both.on_loop(store.open.set)
    assert [position(next(results)) for _ in range(2)] == [1, 2]
    assert refused(lambda: next(results)).code == "not_ready"
    assert not [one for one in caplog.records if "not_ready" in one.getMessage()]
    sent.put(None)


def _until(both: Both, holds: Any) -> None:
    """Wait until something holds, and then some, for what would still come."""

    async def wait() -> None:
        try:
            async with asyncio.timeout(20):
                while not holds():  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError("it does not come to hold") from None
        for _ in range(50):
            await asyncio.sleep(0.001)

    asyncio.run_coroutine_threadsafe(wait(), both.loop).result(30)
