"""The service is killed again and again while updates stream in; each counts exactly once.

In the end the snapshots must equal, byte for byte, sketches fed each change
once. TEST_KILLS sets how often the service is killed.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.served import ServedProcess
from tests.end_to_end.streams import SETTINGS, SPECS, Caller, Stream, sample, write

KILLS = int(os.environ.get("TEST_KILLS", "12"))
LONG_KILLS = int(os.environ.get("TEST_KILLS", "50"))
WRITERS = 3
SAMPLERS = 3


async def kill_repeatedly(service: ServedProcess, seed: int, kills: int) -> None:
    """Kill at random times, some of them while it still starts; in the end leave it running."""
    draw = random.Random(f"{seed} kills")
    for _ in range(kills):
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
    service = ServedProcess(folder, SETTINGS)
    try:
        async with httpx.AsyncClient(timeout=10.0) as client:
            yield service, Caller(service, client)
    finally:
        await service.kill()


async def test_killed_at_any_time_every_batch_counts_once(tmp_path: Path, seed: int) -> None:
    await everything_counts_once(tmp_path, seed, KILLS)


@pytest.mark.long
async def test_killed_many_times_every_batch_counts_once(tmp_path: Path, seed: int) -> None:
    await everything_counts_once(tmp_path, seed, LONG_KILLS)


async def everything_counts_once(tmp_path: Path, seed: int, kills: int) -> None:
    print(f"seed {seed}, {kills} kills")
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
            await kill_repeatedly(service, seed, kills)
            done.set()
        for stream in streams:
            info = (await caller.call(stream, "GET")).json()
            data = (await caller.call(stream, "GET", "/snapshot")).content
            print(
                f"{stream.name}: {stream.acknowledged} changes, {stream.samples} samples, "
                f"{stream.retries} repeated requests, version {info['version']}"
            )
            assert int(info["version"].rpartition("-")[2]) == len(stream.sent)
            assert stream.acknowledged == len(stream.sent)
            assert stream.retries > 0
            assert data == stream.snapshot
