"""Calls cancelled or expired at random moments: nothing is lost, doubled, mixed up or kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from service import app as composition
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.protos.sketchd.v1 import sketchd_pb2_grpc
from service.settings import Settings
from service.store_redis import RedisStore
from sketch_core.codec import to_snapshot
from sketch_core.resolve import resolve
from sketch_core.spec import Spec
from tests.redis_servers import ServerProcess
from tests.service.grpc_rig import vector
from tests.service.rig import pairs, reference

N = 4096
SKETCHES = ("a", "b", "c")
#: Batches with keys, of which a replay tells; and batches without, each of a coordinate of its own.
KEYED = 150
UNKEYED = 150
#: Calls under way at a time.
AT_ONCE = 24


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if request.param == "memory":
        return "memory://"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/cancelled.db"
    server: ServerProcess = request.getfixturevalue("redis_server")
    return f"redis://{server.address}"


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[tuple[composition.Runtime, Any]]:
    """A service, and a client of it on the same loop."""
    runtime = composition.build(settings)
    await runtime.start()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((composition.grpc_handlers(runtime),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield runtime, sketchd_pb2_grpc.SketchServiceStub(channel)
    finally:
        await server.stop(5)
        await runtime.stop()


class Chaos:
    """Calls of which most are cancelled. acknowledged: those that were answered in time."""

    def __init__(self, stub: Any, rng: np.random.Generator) -> None:
        self._stub = stub
        self._rng = rng
        self._room = asyncio.Semaphore(AT_ONCE)
        self.cancelled = 0

    async def call(self, method: str, request: Any) -> Any:
        """The answer, or None where the call was cancelled, or its time was over, first."""
        async with self._room:
            patience = float(self._rng.exponential(0.004)) if self._rng.random() < 0.8 else 30.0
            expires = self._rng.random() < 0.3
            made = getattr(self._stub, method)(request, timeout=patience if expires else 30)
            gone = asyncio.Event()

            def go() -> None:
                if made.cancel():
                    gone.set()

            if not expires:
                asyncio.get_running_loop().call_later(patience, go)
            try:
                return [one async for one in made] if method in STREAMS else await made
            except asyncio.CancelledError:
                if not gone.is_set():
                    raise
            except grpc.aio.AioRpcError as error:
                if not (_is_late(error) if expires else gone.is_set()):
                    raise
            self.cancelled += 1
            return None


def _is_late(error: grpc.aio.AioRpcError) -> bool:
    """Whether the call's time was over."""
    # What grpc.aio's client says when it wanted to send more after that.
    if error.code() is grpc.StatusCode.INTERNAL:
        return error.details() == "Internal error from Core"
    return error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


STREAMS = {"UpdateStream", "GetSnapshot"}


def keyed(rng: np.random.Generator) -> list[pb.UpdateRequest]:
    """Batches under keys of their own."""
    found = []
    for at in range(KEYED):
        index = rng.integers(N, size=int(rng.integers(1, 40)))
        delta = rng.integers(-50, 50, len(index))
        sketch = SKETCHES[at % len(SKETCHES)]
        found.append(vector(sketch, index.tolist(), delta.astype(float).tolist(), f"key {at}"))
    return found


def questions(rng: np.random.Generator) -> list[tuple[str, Any]]:
    """Calls that change nothing."""
    found: list[tuple[str, Any]] = []
    for at in range(60):
        name = SKETCHES[at % len(SKETCHES)]
        found.append(("Sample", pb.SampleRequest(sketch=name)))
        found.append(("Estimate", pb.EstimateRequest(sketch=name, index=[1, 2])))
        found.append(("GetSnapshot", pb.GetSnapshotRequest(sketch=name)))
        found.append(("GetSketch", pb.GetSketchRequest(name=name)))
    return found


async def settled(runtime: composition.Runtime) -> None:
    """Everything a call may hold is given back, soon."""
    async with asyncio.timeout(20):
        while True:
            left = {
                "bodies": runtime.bodies.held,
                "jobs": runtime.pool.unfinished,
                "requests": runtime.health.under_way,
            }
            inner = runtime.store._inner  # type: ignore[attr-defined]
            if isinstance(inner, RedisStore):
                left["redis calls"] = inner.redis._under_way
                left["connections"] = 64 - inner.redis._topology._server._free._value  # type: ignore[union-attr]
            if not any(left.values()):
                return
            await asyncio.sleep(0.01)


async def test_cancelled_calls_are_whole_or_nothing(
    store: str, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    """Every batch under a key counts once after its replay; one without at most once, and once
    where it was acknowledged.
    """
    caplog.set_level(logging.WARNING)
    settings = Settings(store=store, compact_min_bytes=4096, compact_ratio=0.01, pool_threads=2)
    async with served(settings) as (runtime, stub):
        for name in (*SKETCHES, "single"):
            method = "exact" if name == "single" else "sketch"
            spec = pb.Spec(kind="vector", shape=pb.Shape(n=N), method=method, seed=9, width=64)
            if name == "single":
                spec.ClearField("width")
            await stub.CreateSketch(pb.CreateSketchRequest(name=name, spec=spec))
        chaos = Chaos(stub, rng)
        batches = keyed(rng)
        singles = [vector("single", [at], [1.0]) for at in range(UNKEYED)]
        calls: list[tuple[str, Any]] = [("Update", one) for one in batches + singles]
        calls += questions(rng)
        order = rng.permutation(len(calls))
        answers = await asyncio.gather(*(chaos.call(*calls[at]) for at in order))
        answered = {int(at): one for at, one in zip(order, answers, strict=True) if one is not None}
        assert 50 < chaos.cancelled < len(calls) - 50
        await settled(runtime)

        counts = await stub.Estimate(pb.EstimateRequest(sketch="single", index=range(UNKEYED)))
        for at, count in enumerate(counts.value):
            assert count in ((1.0,) if KEYED + at in answered else (0.0, 1.0))
        for at, batch in enumerate(batches):
            again = await stub.Update(batch)
            if at in answered:
                assert again == answered[at]
        await same_as_reference(stub, batches)
        await settled(runtime)
    ours = [
        one for one in caplog.records if one.name.split(".")[0] in ("sketchd", "asyncio", "grpc")
    ]
    assert not ours, [one.getMessage() for one in ours]


async def test_streams_that_are_cancelled_leave_whole_messages(
    store: str, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    """The same with streams, each cancelled after some of its messages."""
    caplog.set_level(logging.WARNING)
    async with served(Settings(store=store, grpc_stream_messages=8)) as (runtime, stub):
        for name in SKETCHES:
            spec = pb.Spec(kind="vector", shape=pb.Shape(n=N), method="sketch", seed=9, width=64)
            await stub.CreateSketch(pb.CreateSketchRequest(name=name, spec=spec))
        batches = keyed(rng)
        chaos = Chaos(stub, rng)
        cuts = np.sort(rng.choice(np.arange(1, KEYED), size=15, replace=False))
        parts = np.split(np.arange(KEYED), cuts)
        streams = [[batches[at] for at in part] for part in parts]
        await asyncio.gather(*(chaos.call("UpdateStream", iter(one)) for one in streams))
        assert chaos.cancelled
        await settled(runtime)
        for batch in batches:
            await stub.Update(batch)
        await same_as_reference(stub, batches)
        await settled(runtime)
    ours = [
        one for one in caplog.records if one.name.split(".")[0] in ("sketchd", "asyncio", "grpc")
    ]
    assert not ours, [one.getMessage() for one in ours]


def nothing_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A client that goes is no failure of ours."""
    loggers = ("sketchd", "service", "asyncio", "grpc")
    ours = [one for one in caplog.records if one.name.partition(".")[0] in loggers]
    assert not ours, [one.getMessage() for one in ours]


async def same_as_reference(stub: Any, batches: list[pb.UpdateRequest]) -> None:
    """The snapshots are those of sketches that were fed every batch once."""
    for name in SKETCHES:
        fed = [pairs(list(one.index), list(one.delta)) for one in batches if one.sketch == name]
        pieces = [one async for one in stub.GetSnapshot(pb.GetSnapshotRequest(sketch=name))]
        assert b"".join(one.data for one in pieces) == to_snapshot(reference(_spec(), fed))


def _spec() -> Spec:
    fields = {"kind": "vector", "shape": {"n": N}, "method": "sketch", "seed": 9, "width": 64}
    return resolve(fields)
