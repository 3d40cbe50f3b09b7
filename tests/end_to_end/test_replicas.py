"""Three replicas of the service over one Redis: replicas and Redis are killed, nothing is lost.

TEST_KILLS sets how often something is killed.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.fleet import Fleet, Load, fleet
from tests.end_to_end.served import ServedProcess
from tests.end_to_end.streams import SPECS
from tests.redis_servers import ServerProcess, closing, standalone

KILLS = int(os.environ.get("TEST_KILLS", "8"))
LONG_KILLS = int(os.environ.get("TEST_KILLS", "100"))


async def kill_replica(replica: ServedProcess, draw: random.Random) -> None:
    await replica.kill()
    await asyncio.sleep(draw.uniform(0.0, 0.3))
    await replica.spawn()
    if draw.random() < 0.8:
        await replica.ready()
    # Else the next one is killed while this one still starts.


async def kill_redis(redis: ServerProcess, draw: random.Random) -> None:
    redis.kill()
    await asyncio.sleep(draw.choice([0.0, 0.2, 1.0]))
    # In a thread: everybody else goes on asking a server that is not there.
    redis.start()
    await asyncio.to_thread(redis.answers)


async def kill_repeatedly(
    kills: int, replicas: Fleet, redis: ServerProcess, load: Load, seed: int
) -> None:
    """Kill at random; in the end leave everything running."""
    draw = random.Random(f"{seed} kills")
    for number in range(kills):
        await asyncio.sleep(draw.uniform(0.0, 0.8))
        if number % 2:
            await kill_redis(redis, draw)
        else:
            await kill_replica(draw.choice(replicas.replicas), draw)
        if number % 4 == 3:
            await load.progress(1)
    for replica in replicas.replicas:
        await replica.ready()


async def everything_counts_once(folder: Path, seed: int, kills: int) -> None:
    print(f"seed {seed}, {kills} kills")
    load = Load(SPECS, seed)
    with closing(standalone(durable=True)) as redis:
        async with fleet(folder, redis.url, 3) as (replicas, caller):
            await load.create(caller)
            async with asyncio.TaskGroup() as tasks:
                load.begin(caller, tasks)
                await kill_repeatedly(kills, replicas, redis, load, seed)
                await load.progress()
                load.done.set()
            async with httpx.AsyncClient(timeout=30.0) as client:
                await load.settle(replicas, client)
            assert sum(stream.retries for stream in load.all) > 0


async def test_replicas_and_redis_killed_at_any_time_every_batch_counts_once(
    tmp_path: Path, seed: int
) -> None:
    await everything_counts_once(tmp_path, seed, KILLS)


@pytest.mark.long
async def test_replicas_and_redis_killed_a_hundred_times(tmp_path: Path, seed: int) -> None:
    await everything_counts_once(tmp_path, seed, LONG_KILLS)
