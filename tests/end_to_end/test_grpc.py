"""`sketchd serve` over gRPC: killed, stopped, several workers, TLS; no acknowledged update is lost.

TEST_KILLS sets how often the service is killed in the middle of streams.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import signal
import uuid
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.protos.sketchd.v1 import sketchd_pb2 as pb
from sketch_core.batch import Columns, quantise
from tests.end_to_end.rpcs import Writer, answered, channel, spec_message, stub
from tests.end_to_end.served import ServedProcess
from tests.end_to_end.streams import SETTINGS, SPECS, Stream
from tests.end_to_end.workers import Service, alive, serving, until
from tests.redis_process import free_port
from tests.redis_servers import ServerProcess
from tests.service.test_cli import refused

KILLS = int(os.environ.get("TEST_KILLS", "6"))
PLAIN = {"kind": "vector", "shape": {"n": 1000}, "seed": 1}
VECTOR = spec_message(PLAIN)
SERVING = health_pb2.HealthCheckResponse.SERVING


async def kill_repeatedly(service: ServedProcess, seed: int) -> None:
    """Kill while streams are open; in the end leave it running."""
    draw = random.Random(f"{seed} kills")
    for _ in range(KILLS):
        await asyncio.sleep(draw.uniform(0.05, 0.8))
        await service.kill()
        await service.spawn()
        await service.ready()


async def snapshot(to: grpc.aio.Channel, name: str) -> bytes:
    """The canonical bytes of a sketch."""
    chunks = stub(to).GetSnapshot(pb.GetSnapshotRequest(sketch=name))
    return b"".join([one.data async for one in chunks])


@pytest.mark.parametrize("backend", ["sqlite", "redis"])
async def test_killed_in_the_middle_of_streams_every_batch_counts_once(
    tmp_path: Path, redis_server: ServerProcess, backend: str, seed: int
) -> None:
    port = free_port()
    store = redis_server.url if backend == "redis" else None
    service = ServedProcess(tmp_path / "service", {**SETTINGS, "grpc_port": port}, store)
    streams = [Stream(name, spec | {"seed": 11}) for name, spec in SPECS.items()]
    writers = [
        Writer(stream, f"{stream.name}-{number}", seed) for stream in streams for number in range(2)
    ]
    done = asyncio.Event()
    try:
        async with channel(port) as to:
            await service.spawn()
            await service.ready()
            for stream in streams:
                made = pb.CreateSketchRequest(name=stream.name, spec=spec_message(stream.request))
                await stub(to).CreateSketch(made)
            async with asyncio.TaskGroup() as tasks:
                for writer in writers:
                    tasks.create_task(writer.run(to, done))
                await kill_repeatedly(service, seed)
                done.set()
            for stream in streams:
                info = await stub(to).GetSketch(pb.GetSketchRequest(name=stream.name))
                assert info.version.rpartition("-")[2] == str(len(stream.sent))
                assert stream.acknowledged == len(stream.sent) > 0
                assert await snapshot(to, stream.name) == stream.snapshot
            assert all(writer.broken for writer in writers)
            assert sum(writer.resent for writer in writers) > 0
    finally:
        await service.kill()


async def test_a_stop_answers_what_was_read_and_sends_clients_elsewhere(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, 1, grpc_port=port, drain_seconds=600) as service:
        assert f" grpc 127.0.0.1:{port} store " in service.said()
        async with channel(port) as to:
            await stub(to).CreateSketch(pb.CreateSketchRequest(name="a", spec=VECTOR))
            writer = Writer(
                Stream("a", {"kind": "vector", "shape": {"n": 1000}, "seed": 1}), "w", 3
            )
            done = asyncio.Event()
            writing = asyncio.create_task(writer.run(to, done))
            idle = stub(to).UpdateStream()
            await idle.write(pb.UpdateRequest(sketch="a", index=[1], delta=[0.5]))
            assert (await idle.read()).response.accepted == 1
            watching = health_pb2_grpc.HealthStub(to).Watch(health_pb2.HealthCheckRequest())
            assert (await watching.read()).status == SERVING
            async with asyncio.timeout(20):
                while writer.stream.acknowledged < 20:  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.01)
            service.process.send_signal(signal.SIGTERM)
            assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await idle.read()
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
            assert dict(ended.value.trailing_metadata() or ())["sketchd-code"] == "not_ready"
            # Nobody waits for the drain, which would take ten minutes.
            assert await asyncio.to_thread(service.process.wait, 20) == 0
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        # Only that it was ready, and of each stream that it was ended.
        _ready, *lines = service.said().splitlines()
        assert all("not_ready" in line for line in lines), lines
    with serving(tmp_path, 1, grpc_port=port) as service:
        async with channel(port) as to:
            sketch = await answered(lambda: stub(to).GetSketch(pb.GetSketchRequest(name="a")))
            applied = int(sketch.version.rpartition("-")[2]) - 1
            # What was not answered may have been applied all the same; what was, has been.
            assert writer.stream.acknowledged <= applied <= len(writer.stream.sent)
            for message in writer.owed:
                await stub(to).Update(message)
            writer.stream.sent.append(quantised_half(writer.stream))
            assert await snapshot(to, "a") == writer.stream.snapshot


def quantised_half(stream: Stream) -> Any:
    """The update that the idle stream sent."""
    return quantise(stream.spec, Columns("y", index=np.array([1]), delta=np.array([0.5])))[0]


async def test_the_second_signal_leaves_at_once(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, 1, grpc_port=port, drain_seconds=600) as service:
        async with channel(port) as to:
            await stub(to).CreateSketch(pb.CreateSketchRequest(name="a", spec=VECTOR))
            half = stub(to).AddSnapshot()  # waits for its bytes until body_seconds are over
            await half.write(pb.AddSnapshotRequest(sketch="a"))
            await asyncio.sleep(0.2)
            service.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.5)
            assert service.process.poll() is None
            service.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(service.process.wait, 10) == 128 + signal.SIGTERM


async def update(port: int, times: int) -> int:
    """Send so many updates of 1 to the sketch `a`, each over a connection of its own."""
    for _ in range(times):
        one = pb.UpdateRequest(sketch="a", index=[1], delta=[1], idempotency_key=uuid.uuid4().hex)
        async with channel(port) as to:
            # Again where the connection was one that a worker took into its grave.
            await answered(functools.partial(stub(to).Update, one))
    return times


def who_answered(service: Service) -> set[int]:
    """The processes that have answered an update, from the access log."""
    lines = [json.loads(line) for line in service.said().splitlines() if line[:1] == "{"]
    return {line["process"] for line in lines if line.get("route") == "Update"}


async def test_workers_share_the_port_and_their_metrics(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, 3, grpc_port=port, access_log="on") as service:
        assert f" grpc 127.0.0.1:{port} store " in service.said()
        async with channel(port) as to:
            await stub(to).CreateSketch(pb.CreateSketchRequest(name="a", spec=VECTOR))
        updates = await update(port, 40)
        # One of three gets none of 40 connections once in four million runs.
        assert who_answered(service) == set(service.workers())
        for restarts in (1, 2):
            assert service.scrape()("sketchd_updates_total") == updates
            victim = service.workers()[0]
            os.kill(victim, signal.SIGKILL)
            until(lambda: not alive(victim), "its end")  # noqa: B023
            updates += await update(port, 5)  # the others serve meanwhile
            until(
                lambda: (
                    service.scrape()("sketchd_worker_restarts_total") == restarts  # noqa: B023
                    and service.scrape()("sketchd_workers") == 3
                ),
                "another worker",
            )
        updates += await update(port, 40)
        assert who_answered(service) >= set(service.workers())
        found = service.scrape()
        assert found("sketchd_updates_total") == updates
        assert found("sketchd_grpc_requests_total", method="Update", code="OK") == updates
        async with channel(port) as to:
            assert (await stub(to).Norm(pb.NormRequest(sketch="a"))).norm == pytest.approx(updates)
        line = refused("serve", "--port", "0", "--grpc-port", str(port), "--store", "memory://")
        assert f"127.0.0.1:{port} for gRPC: Address already in use" in line
        assert "SKETCHD_GRPC_PORT" in line
        service.process.terminate()
        assert await asyncio.to_thread(service.process.wait, 20) == 0
    with serving(tmp_path, 1, grpc_port=port):  # at once: nothing of the old one is in the way
        async with channel(port) as to:
            await stub(to).GetSketch(pb.GetSketchRequest(name="a"))
