"""The service is killed again and again while updates stream in; each counts exactly once.

Writers send keyed batches and states over HTTP and repeat what was not
answered; samplers check that every answer sees what was acknowledged before it
was asked. In the end the snapshots must equal, byte for byte, sketches fed each
change once. TEST_KILLS sets how often the service is killed.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from sketch_core.batch import Batch, Columns, quantise
from sketch_core.codec import to_snapshot
from sketch_core.resolve import resolve
from sketch_core.sketch import new_sketch
from sketch_core.spec import Spec
from tests.end_to_end.served import ServedProcess

KILLS = int(os.environ.get("TEST_KILLS", "24"))
WRITERS = 3
SAMPLERS = 3
#: Small enough that the log is compacted many times between two kills.
SETTINGS = {"compact_min_bytes": 4096, "compact_ratio": 0.01, "fold_chunk_bytes": 8192}
SPECS: dict[str, dict[str, Any]] = {
    "vector": {"kind": "vector", "shape": {"n": 1 << 40}, "method": "sketch", "width": 64},
    "matrix": {"kind": "matrix", "shape": {"n": 100_000, "d": 4}, "method": "sketch", "width": 64},
    "exact": {"kind": "vector", "shape": {"n": 500}, "method": "exact"},
    "fixed": {"kind": "matrix", "shape": {"n": 1000, "d": 3}, "width": 64, "x": [1.0, -0.5, 2.0]},
}


@dataclass
class Stream:
    """One sketch, what was sent to it and how much of that was acknowledged."""

    name: str
    request: dict[str, Any]
    sent: list[Batch] = field(default_factory=list)
    acknowledged: int = 0
    samples: int = 0
    retries: int = 0

    @property
    def spec(self) -> Spec:
        return resolve(self.request)

    @property
    def path(self) -> str:
        return f"/v1/sketches/{self.name}"


class Caller:
    """An HTTP client that repeats a request until it is answered, across restarts."""

    def __init__(self, service: ServedProcess, client: httpx.AsyncClient) -> None:
        self._service = service
        self._client = client

    async def call(
        self, stream: Stream, method: str, path: str = "", **options: Any
    ) -> httpx.Response:
        while True:
            url = self._service.url
            if url is None:
                await asyncio.sleep(0.02)
                continue
            try:
                answer = await self._client.request(method, url + stream.path + path, **options)
            except httpx.TransportError:
                stream.retries += 1
                await asyncio.sleep(0.02)
                continue
            if answer.status_code != 503:
                assert answer.is_success, answer.text
                return answer
            stream.retries += 1
            await asyncio.sleep(0.05)


def drawn(stream: Stream, draw: random.Random) -> tuple[dict[str, Any], Columns]:
    """A random batch for a sketch, as JSON and as columns."""
    spec, count = stream.spec, draw.randrange(1, 60)
    delta = [draw.randrange(-64, 65) / 16 for _ in range(count)]
    index = [draw.randrange(spec.n) for _ in range(count)]
    if spec.kind == "vector":
        body: dict[str, Any] = {"index": index, "delta": delta}
        return body, Columns("y", index=np.array(index), delta=np.array(delta))
    column = [draw.randrange(spec.d) for _ in range(count)]
    body = {"operand": "A", "row": index, "column": column, "delta": delta}
    return body, Columns("A", row=np.array(index), column=np.array(column), delta=np.array(delta))


async def write(caller: Caller, stream: Stream, label: str, done: asyncio.Event, seed: int) -> None:
    """Send batches, and now and then a state made elsewhere, until told to stop."""
    draw = random.Random(f"{seed} {label}")
    number = 0
    while not done.is_set():
        number += 1
        headers = {"Idempotency-Key": f"{label}-{number}"}
        body, columns = drawn(stream, draw)
        batch = quantise(stream.spec, columns)[0]
        stream.sent.append(batch)
        if draw.random() < 0.02:
            elsewhere = new_sketch(stream.spec)
            elsewhere.apply([batch])
            headers["Content-Type"] = "application/octet-stream"
            await caller.call(
                stream, "POST", "/snapshot", content=to_snapshot(elsewhere), headers=headers
            )
        else:
            answer = await caller.call(stream, "POST", "/updates", json=body, headers=headers)
            assert answer.json()["accepted"] == len(batch)
        stream.acknowledged += 1


async def sample(caller: Caller, stream: Stream, done: asyncio.Event) -> None:
    """Ask again and again: an answer holds whatever was acknowledged before it was asked."""
    body: dict[str, Any] = {"count": 2}
    if stream.spec.kind == "matrix" and not stream.spec.collapsed:
        body["x"] = [1.0, 0.5, 0.0, -1.0]
    while not done.is_set():
        known = stream.acknowledged
        answer = await caller.call(stream, "POST", "/samples", json=body)
        assert int(answer.json()["version"].rpartition("-")[2]) >= known
        stream.samples += 1
        await asyncio.sleep(0.01)


async def kill_repeatedly(service: ServedProcess, seed: int) -> None:
    """Kill at random times, some of them while it still starts; in the end leave it running."""
    draw = random.Random(f"{seed} kills")
    for _ in range(KILLS):
        await service.spawn()
        if draw.random() < 0.8:
            await service.ready()
            await asyncio.sleep(draw.uniform(0.02, 1.2))
        else:
            await asyncio.sleep(draw.uniform(0.05, 0.8))
        await service.kill()
    await service.spawn()
    await service.ready()


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[ServedProcess, Caller]]:
    service = ServedProcess(folder, **SETTINGS)
    try:
        async with httpx.AsyncClient(timeout=10.0) as client:
            yield service, Caller(service, client)
    finally:
        await service.kill()


async def test_killed_at_any_time_every_batch_counts_once(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}, {KILLS} kills")
    streams = [Stream(name, spec | {"seed": 11}) for name, spec in SPECS.items()]
    done = asyncio.Event()
    async with served(tmp_path) as (service, caller):
        await service.spawn()
        await service.ready()
        for stream in streams:
            await caller.call(stream, "PUT", json=stream.request)
        await service.kill()
        async with asyncio.TaskGroup() as tasks:
            for stream in streams:
                for number in range(WRITERS):
                    label = f"{stream.name}-{number}"
                    tasks.create_task(write(caller, stream, label, done, seed))
                for _ in range(SAMPLERS):
                    tasks.create_task(sample(caller, stream, done))
            await kill_repeatedly(service, seed)
            done.set()
        for stream in streams:
            info = (await caller.call(stream, "GET")).json()
            data = (await caller.call(stream, "GET", "/snapshot")).content
            expected = new_sketch(stream.spec)
            expected.apply(stream.sent)
            print(
                f"{stream.name}: {stream.acknowledged} changes, {stream.samples} samples, "
                f"{stream.retries} repeated requests, version {info['version']}"
            )
            assert int(info["version"].rpartition("-")[2]) == len(stream.sent)
            assert stream.acknowledged == len(stream.sent)
            assert stream.retries > 0
            assert data == to_snapshot(expected)
