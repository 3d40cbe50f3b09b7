"""Streams of updates sent to a service that keeps being killed, and a ledger of what was answered.

Writers send keyed batches and states over HTTP and repeat what was not
answered; samplers check that every answer sees what was acknowledged before it
was asked.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx
import numpy as np

from sketch_core.batch import Batch, Columns, quantise
from sketch_core.codec import to_snapshot
from sketch_core.resolve import resolve
from sketch_core.sketch import new_sketch
from sketch_core.spec import Spec

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

    @property
    def snapshot(self) -> bytes:
        """Of a sketch that was fed everything sent, each batch once."""
        expected = new_sketch(self.spec)
        expected.apply(self.sent)
        return to_snapshot(expected)


class Reachable(Protocol):
    """Whatever listens somewhere, sometimes."""

    @property
    def url(self) -> str | None: ...


class Caller:
    """An HTTP client that repeats a request until it is answered, across restarts."""

    def __init__(self, service: Reachable, client: httpx.AsyncClient) -> None:
        self._service = service
        self.client = client

    async def attempt(
        self, stream: Stream, method: str, path: str = "", **options: Any
    ) -> httpx.Response:
        """Ask once; whatever comes."""
        url = self._service.url
        assert url is not None
        return await self.client.request(method, url + stream.path + path, **options)

    async def call(
        self, stream: Stream, method: str, path: str = "", **options: Any
    ) -> httpx.Response:
        while True:
            url = self._service.url
            if url is None:
                await asyncio.sleep(0.02)
                continue
            try:
                answer = await self.client.request(method, url + stream.path + path, **options)
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
