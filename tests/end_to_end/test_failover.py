"""A Redis master is killed under load, in a cluster and behind sentinels: its replica takes over.

Writes wait for the replica (SKETCHD_REDIS_WAIT_REPLICAS=1), so whatever was
answered is there after the failover; the service goes on without a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.end_to_end.fleet import Counters, Load, fleet
from tests.end_to_end.streams import SPECS, Caller
from tests.redis_servers import (
    Cluster,
    ServerProcess,
    closing,
    cluster,
    follows,
    sentinel,
    serves,
    wait_for,
)

SETTINGS: dict[str, object] = {"redis_wait_replicas": 1, "redis_timeout_seconds": 1}


async def until(what: str, happened: Callable[[], object]) -> None:
    """As wait_for, while everybody else goes on."""
    await asyncio.to_thread(wait_for, what, happened)


async def survive(folder: Path, store: str, seed: int, failover: Callable[[], Any]) -> None:
    """Load two replicas of the service, lose a master, and account for everything."""
    load = Load(SPECS, seed)
    async with fleet(folder, store, 2, **SETTINGS) as (replicas, caller):
        await load.create(caller)
        async with asyncio.TaskGroup() as tasks:
            load.begin(caller, tasks)
            await load.progress()
            await failover()
            await load.progress()
            load.done.set()
        async with httpx.AsyncClient(timeout=30.0) as client:
            await load.settle(replicas, client)


async def test_a_master_of_a_cluster_is_lost_and_nothing_else(tmp_path: Path, seed: int) -> None:
    with closing(cluster(3, 1)) as servers:
        # Every third of the slots is somebody's; the counters' may be anybody's.
        key = "{default/counters}"

        async def failover() -> None:
            lost = servers.owner(key)
            lost.kill()
            await until("the replica is promoted", lambda: servers.owner(key) is not lost)
            # Only with a replica again is there anybody to confirm a write.
            lost.start()
            await until("the lost one follows", lambda: follows(lost))

        await survive(tmp_path, servers.url, seed, failover)


async def test_a_master_behind_sentinels_is_lost_and_nothing_else(
    tmp_path: Path, seed: int
) -> None:
    with closing(sentinel()) as watched:

        async def failover() -> None:
            watched.master.kill()
            await until("the sentinels agree", lambda: watched.named(watched.replica))
            watched.master.start()
            # The sentinels would make it a replica in some ten seconds; this is now.
            await until("it obeys", lambda: watched.master.follow(watched.replica))
            await until("it follows", lambda: follows(watched.master))

        await survive(tmp_path, watched.url, seed, failover)


async def once(caller: Caller, counters: Counters, label: str, at: int, by: int) -> int:
    """The status of one attempt to add, with its key."""
    answer = await caller.attempt(
        counters.stream,
        "POST",
        "/updates",
        json={"index": [at], "delta": [by]},
        headers={"Idempotency-Key": label},
    )
    return answer.status_code


async def values(caller: Caller, counters: Counters, indices: list[int]) -> list[float]:
    answer = await caller.call(counters.stream, "POST", "/estimates", json={"index": indices})
    found: list[float] = answer.json()["value"]
    return found


def replica_of(servers: Cluster, master: ServerProcess) -> ServerProcess:
    for node in servers.nodes:
        found = node.info("replication")
        if found["role"] == "slave" and found["master_port"] == master.port:
            return node
    raise LookupError("it has no replica")


async def test_no_cache_keeps_what_the_promoted_server_never_had(tmp_path: Path) -> None:
    counters = Counters()
    with closing(cluster(3, 1)) as servers:
        async with fleet(tmp_path, servers.url, 2, **SETTINGS) as (replicas, caller):
            first, second = (Caller(one, caller.client) for one in replicas.replicas)
            await caller.call(counters.stream, "PUT", json=counters.stream.request)
            assert await once(first, counters, "a", 0, 10) == 200
            master = servers.owner("{default/counters}")
            replica = replica_of(servers, master)
            # The replica hangs, and what it has not read is cut off.
            replica.stop()
            master.client.client_kill_filter(_type="replica")
            assert await once(first, counters, "b", 1, 20) == 503
            for each in (first, second):
                # Both have seen it, which nobody has promised to keep.
                assert await values(each, counters, [0, 1, 2]) == [10, 20, 0]
            master.kill()
            replica.resume()
            await until("the replica is promoted", lambda: servers.owner("{default/counters}"))
            master.restart()
            await until("it has a replica", lambda: serves(replica))
            # Another change takes the place in the log of the one that is lost.
            while await once(second, counters, "c", 2, 30) == 503:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
            for each in (first, second):
                assert await values(each, counters, [0, 1, 2]) == [10, 0, 30]
            # Its sender repeats the lost one, as a 503 asks for.
            assert await once(first, counters, "b", 1, 20) == 200
            assert await once(second, counters, "b", 1, 20) == 200
            for each in (first, second):
                assert await values(each, counters, [0, 1, 2]) == [10, 20, 30]
