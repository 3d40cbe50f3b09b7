"""Several processes of the service over one store, and counters each answer must agree with."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from sketch_core.batch import Columns, quantise
from tests.end_to_end.served import ServedProcess
from tests.end_to_end.streams import SETTINGS, Caller, Stream, sample, write

_COUNTERS = 40


class Fleet:
    """Replicas of the service. url: of any one that listens."""

    def __init__(
        self, folder: Path, store: str, count: int, settings: Mapping[str, object]
    ) -> None:
        self.replicas = [
            ServedProcess(folder / f"replica-{number}", SETTINGS | dict(settings), store)
            for number in range(count)
        ]
        self._draw = random.Random(f"{folder.name} {count}")

    @property
    def url(self) -> str | None:
        listening = [one.url for one in self.replicas if one.url is not None]
        return self._draw.choice(listening) if listening else None

    async def start(self) -> None:
        """Start all, and wait for all."""
        for one in self.replicas:
            await one.spawn()
        for one in self.replicas:
            await one.ready()

    async def kill(self) -> None:
        for one in self.replicas:
            await one.kill()


@asynccontextmanager
async def fleet(
    folder: Path, store: str, count: int, **settings: object
) -> AsyncIterator[tuple[Fleet, Caller]]:
    """Replicas that are ready, and a caller that asks any of them."""
    replicas = Fleet(folder, store, count, settings)
    try:
        async with httpx.AsyncClient(timeout=30.0) as client:
            await replicas.start()
            yield replicas, Caller(replicas, client)
    finally:
        await replicas.kill()


class Counters:
    """An exact sketch that only counts up, so that every estimate has bounds that can be known.

    sure: by coordinate, what was acknowledged. sent: what may have been applied.
    """

    def __init__(self) -> None:
        self.stream = Stream(
            "counters",
            {"kind": "vector", "shape": {"n": _COUNTERS}, "method": "exact", "seed": 5},
        )
        self.sure = [0] * _COUNTERS
        self.sent = [0] * _COUNTERS
        self.checked = 0

    async def add(self, caller: Caller, label: str, index: list[int], delta: list[int]) -> None:
        """Add once, however often it has to be sent."""
        columns = Columns("y", index=np.array(index), delta=np.array(delta, dtype=float))
        self.stream.sent.append(quantise(self.stream.spec, columns)[0])
        for at, by in zip(index, delta, strict=True):
            self.sent[at] += by
        body = {"index": index, "delta": delta}
        headers = {"Idempotency-Key": label}
        await caller.call(self.stream, "POST", "/updates", json=body, headers=headers)
        self.stream.acknowledged += 1
        for at, by in zip(index, delta, strict=True):
            self.sure[at] += by

    async def check(self, caller: Caller) -> None:
        """One estimate of all, which holds what was acknowledged before and no more than sent."""
        sure = list(self.sure)
        body = {"index": list(range(_COUNTERS))}
        answer = await caller.call(self.stream, "POST", "/estimates", json=body)
        value = answer.json()["value"]
        assert all(low <= got for low, got in zip(sure, value, strict=True)), (sure, value)
        assert all(got <= high for got, high in zip(value, self.sent, strict=True)), (
            value,
            self.sent,
        )
        self.checked += 1

    async def count(self, caller: Caller, label: str, done: asyncio.Event, seed: int) -> None:
        """Add at random until told to stop."""
        draw = random.Random(f"{seed} {label}")
        number = 0
        while not done.is_set():
            number += 1
            index = [draw.randrange(_COUNTERS) for _ in range(draw.randrange(1, 9))]
            delta = [draw.randrange(1, 100) for _ in index]
            await self.add(caller, f"{label}-{number}", index, delta)

    async def watch(self, caller: Caller, done: asyncio.Event) -> None:
        """Check until told to stop."""
        while not done.is_set():
            await self.check(caller)
            await asyncio.sleep(0.01)


class Load:
    """Writers and samplers of several sketches, until `done`."""

    def __init__(self, specs: Mapping[str, Mapping[str, Any]], seed: int) -> None:
        self.streams = [Stream(name, {**spec, "seed": 11}) for name, spec in specs.items()]
        self.counters = Counters()
        self.done = asyncio.Event()
        self._seed = seed

    @property
    def all(self) -> list[Stream]:
        return [*self.streams, self.counters.stream]

    async def create(self, caller: Caller) -> None:
        for stream in self.all:
            await caller.call(stream, "PUT", json=stream.request)

    def begin(self, caller: Caller, tasks: asyncio.TaskGroup, each: int = 2) -> None:
        """Start so many writers and as many samplers of each sketch."""
        for number in range(each):
            for stream in self.streams:
                label = f"{stream.name}-{number}"
                tasks.create_task(write(caller, stream, label, self.done, self._seed))
                tasks.create_task(sample(caller, stream, self.done))
            label = f"counters-{number}"
            tasks.create_task(self.counters.count(caller, label, self.done, self._seed))
            tasks.create_task(self.counters.watch(caller, self.done))

    async def progress(self, changes: int = 3) -> None:
        """Until every sketch has had so many more changes acknowledged."""
        goals = [stream.acknowledged + changes for stream in self.all]
        for stream, goal in zip(self.all, goals, strict=True):
            while stream.acknowledged < goal:  # noqa: ASYNC110 - many write, nobody tells
                await asyncio.sleep(0.02)

    async def settle(self, replicas: Fleet, client: httpx.AsyncClient) -> None:
        """At every replica each sketch is what was sent, each change once."""
        for stream in self.all:
            print(
                f"{stream.name}: {stream.acknowledged} changes, {stream.samples} samples, "
                f"{stream.retries} repeated requests"
            )
            assert stream.acknowledged == len(stream.sent)
            for replica in replicas.replicas:
                caller = Caller(replica, client)
                info = (await caller.call(stream, "GET")).json()
                assert int(info["version"].rpartition("-")[2]) == len(stream.sent)
                data = (await caller.call(stream, "GET", "/snapshot")).content
                assert data == stream.snapshot
        print(f"estimates checked: {self.counters.checked}")
        await self.counters.check(Caller(replicas, client))
        assert self.counters.sure == self.counters.sent
        assert self.counters.checked > 1
