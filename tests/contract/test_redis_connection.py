"""The connection against real servers: what passes is repeated, what does not is said clearly."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from service.errors import StoreUnavailable
from service.redis_connection import RedisConnection, RedisOptions, Script
from service.redis_errors import NoMaster
from service.redis_url import parse, shown
from tests.redis_servers import (
    Certificates,
    ServerProcess,
    closing,
    cluster,
    follows,
    sentinel,
    speaks_tls,
    standalone,
    wait_for,
)

#: Patient enough for the slowest failover, impatient enough for a test of what never comes.
PATIENT = RedisOptions(timeout_seconds=0.5, retry_seconds=15.0)
HASTY = RedisOptions(timeout_seconds=0.3, retry_seconds=0.6)


def script(source: str) -> Script:
    return Script("test", source, hashlib.sha1(source.encode()).hexdigest())


SET = script("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])")


@asynccontextmanager
async def connected(url: str, options: RedisOptions = PATIENT) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(parse(url), options)
    await connection.start()
    try:
        yield connection
    finally:
        await connection.close()


async def refused(call: Coroutine[Any, Any, object]) -> str:
    """The detail with which a call is refused."""
    with pytest.raises(StoreUnavailable) as error:
        await call
    return error.value.detail


async def until(happened: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_for, "it happens", happened)


async def test_bytes_in_and_bytes_out(redis_server: ServerProcess) -> None:
    async with connected(redis_server.url) as redis:
        await redis.start()
        await redis.ping()
        every = bytes(range(256))
        assert await redis.run(SET, ["a"], [every], writes=True) == every
        assert await redis.command("GET", "a", writes=False) == every
        assert await redis.run(SET, ["a"], [1.5], writes=True) == b"1.5"
        assert await redis.commands([("SET", b"a", 7), ("INCR", "a")], writes=True) == [b"OK", 8]
        assert await redis.commands([], writes=True) == []
        assert await redis.spread([("GET", "a"), ("GET", "b"), ("LLEN", "c")]) == [b"8", None, 0]
        assert await redis.on_masters("PING") == [b"PONG"]
        assert redis.prefix == "sketchd"


async def test_a_script_nobody_knows_any_more_is_sent_again(redis_server: ServerProcess) -> None:
    async with connected(redis_server.url) as redis:
        for number in range(3):
            redis_server.client.script_flush()
            assert await redis.run(SET, ["a"], [number], writes=True) == str(number).encode()
        assert int(redis_server.info("memory")["number_of_cached_scripts"]) == 1


async def test_an_error_reply_is_a_clear_refusal_at_once(redis_server: ServerProcess) -> None:
    async with connected(redis_server.url, replace(PATIENT, retry_seconds=3600.0)) as redis:
        await redis.command("SET", "a", "text", writes=True)
        assert "WRONGTYPE" in await refused(redis.command("LPUSH", "a", 1, writes=True))
        wrong = script("return redis.call('LPUSH', KEYS[1], 1)")
        assert "WRONGTYPE" in await refused(redis.run(wrong, ["a"], [], writes=True))
        assert "nil" in await refused(redis.run(script("return nil + 1"), ["a"], [], writes=False))
        assert "unknown" in await refused(redis.spread([("GET", "a"), ("NOSUCH", "a")]))
        # The connection goes on, and no reply was left on it.
        assert await redis.commands([("GET", "a")], writes=False) == [b"text"]


async def test_out_of_memory_is_said_so() -> None:
    with closing(standalone(max_memory=3 << 20)) as server:
        async with connected(server.url, replace(PATIENT, retry_seconds=3600.0)) as redis:
            for number in range(64):
                server.client.config_set("maxmemory", "100mb")
                await redis.command("SET", f"k{number}", b"x" * 65536, writes=True)
            server.client.config_set("maxmemory", "3mb")
            detail = await refused(redis.command("SET", "k", b"x" * 65536, writes=True))
            assert "out of memory" in detail
            detail = await refused(redis.run(SET, ["k"], [b"x" * 65536], writes=True))
            assert "out of memory" in detail
            assert await redis.command("STRLEN", "k1", writes=False) == 65536


async def test_a_write_no_replica_has_is_refused_although_it_is_there(
    redis_server: ServerProcess,
) -> None:
    options = replace(PATIENT, wait_replicas=1, wait_seconds=0.05)
    async with connected(redis_server.url, options) as redis:
        assert "0 of 1" in await refused(redis.run(SET, ["a"], ["1"], writes=True))
        assert "0 of 1" in await refused(redis.command("SET", "b", "2", writes=True))
        assert await redis.command("GET", "a", writes=False) == b"1"
        assert await redis.command("GET", "b", writes=False) == b"2"


async def test_a_write_is_answered_once_a_replica_has_it() -> None:
    options = replace(PATIENT, wait_replicas=1, wait_seconds=0.2)
    with closing(standalone()) as master, closing(standalone(replica_of=master)) as replica:
        async with connected(master.url, options) as redis, connected(master.url, options) as other:
            await redis.run(SET, ["a"], ["1"], writes=True)
            assert replica.client.get("a") == "1"
            # Neither knows the script now: what the first WAIT said must not count.
            replica.stop()
            master.client.script_flush()
            assert "0 of 1" in await refused(redis.run(SET, ["a"], ["2"], writes=True))
            # A repetition that writes the same again waits for it, over any connection. (Written
            # it must be: after a mere read some servers answer WAIT at once.)
            assert "0 of 1" in await refused(redis.run(SET, ["a"], ["2"], writes=True))
            assert "0 of 1" in await refused(other.run(SET, ["a"], ["2"], writes=True))
            replica.resume()
            assert await other.run(SET, ["a"], ["2"], writes=True) == b"2"
            assert replica.client.get("a") == "2"


async def test_a_server_that_hangs_costs_a_timeout_and_mixes_no_replies() -> None:
    with closing(standalone()) as server:
        async with connected(server.url, HASTY) as redis:
            for number in range(20):
                await redis.command("SET", f"k{number}", number, writes=True)
            server.stop()
            detail = await refused(redis.command("GET", "k1", writes=False))
            assert "in time" in detail
            assert "in time" in await refused(redis.ping())
            server.resume()
            calls = [redis.command("GET", f"k{number}", writes=False) for number in range(20)]
            assert await asyncio.gather(*calls) == [str(number).encode() for number in range(20)]


async def test_cancelled_calls_leave_no_reply_behind(redis_server: ServerProcess) -> None:
    one_connection = replace(PATIENT, connections=1)
    slow = script("local n = 0 for i = 1, 3e6 do n = n + i end return 'slow'")
    async with connected(redis_server.url, one_connection) as redis:
        await redis.command("SET", "a", "quick", writes=True)
        for _ in range(5):
            call = asyncio.ensure_future(redis.run(slow, ["a"], [], writes=False))
            await asyncio.sleep(0.005)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await redis.command("GET", "a", writes=False) == b"quick"


async def test_a_server_that_is_killed_and_comes_back_is_waited_for() -> None:
    with closing(standalone(durable=True)) as server:
        async with connected(server.url) as redis:
            await redis.command("SET", "a", "1", writes=True)
            server.kill()
            waiting = [
                asyncio.ensure_future(redis.command("INCR", "a", writes=True)) for _ in range(100)
            ]
            await asyncio.sleep(0.2)
            assert not any(call.done() for call in waiting)
            server.restart()
            assert sorted(await asyncio.gather(*waiting)) == list(range(2, 102))


async def test_a_server_that_stays_away_is_unavailable() -> None:
    with closing(standalone()) as server:
        async with connected(server.url, HASTY) as redis:
            server.kill()
            assert "reached" in await refused(redis.command("GET", "a", writes=False))
            assert "reached" in await refused(redis.ping())
        again = RedisConnection(parse(server.url), HASTY)
        assert "reached" in await refused(again.start())
        assert "closed" in await refused(again.ping())
        server.restart()
        await again.start()
        await again.close()


async def test_calls_under_way_are_bounded_and_wait_for_a_connection() -> None:
    with closing(standalone()) as server:
        options = replace(PATIENT, queue_calls=20, connections=2)
        async with connected(server.url, options) as redis:
            calls = [redis.command("INCR", "a", writes=True) for _ in range(20)]
            assert sorted(await asyncio.gather(*calls)) == list(range(1, 21))
            assert int(server.info("stats")["total_connections_received"]) <= 4
            server.stop()
            waiting = [
                asyncio.ensure_future(redis.command("INCR", "a", writes=True)) for _ in range(20)
            ]
            await asyncio.sleep(0)
            assert "20 calls" in await refused(redis.command("GET", "a", writes=False))
            server.resume()
            await asyncio.gather(*waiting)
            # Freed again.
            assert int(await redis.command("GET", "a", writes=False)) >= 40


async def test_a_wrong_password_is_refused_at_once_and_never_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with closing(standalone(password="r/ght:p@ss")) as server:
        async with connected(server.url) as redis:
            await redis.command("SET", "a", 1, writes=True)
        patient = replace(PATIENT, retry_seconds=3600.0)
        for url in (server.url.replace("r%2Fght", "wr%2Fng"), f"redis://{server.address}"):
            wrong = RedisConnection(parse(url), patient)
            detail = await refused(wrong.start())
            assert "password" in detail
            assert "p@ss" not in detail + shown(url) + caplog.text
    assert "p@ss" not in caplog.text


async def test_another_database_is_another_place(redis_server: ServerProcess) -> None:
    async with connected(redis_server.url) as zero, connected(redis_server.url + "/3") as three:
        await three.command("SET", "a", 1, writes=True)
        assert await zero.command("GET", "a", writes=False) is None


async def test_tls_trusts_whom_it_is_told_to() -> None:
    certificates = Certificates()
    if not speaks_tls():
        pytest.skip("this server program was built without TLS")
    with closing(standalone(tls=certificates, password="secret")) as server:
        async with connected(server.url) as redis:
            assert await redis.run(SET, ["a"], ["1"], writes=True) == b"1"
        untrusted = f"rediss://:secret@{server.address}"
        detail = await refused(RedisConnection(parse(untrusted), HASTY).start())
        assert "certificate verify failed" in detail
        async with connected(untrusted + "?verify=none") as redis:
            await redis.ping()
        missing = RedisConnection(parse(untrusted + "?ca=/nowhere/ca.pem"), HASTY)
        assert "TLS files" in await refused(missing.start())


async def test_a_cluster_serves_keys_of_all_slots_through_a_failover() -> None:
    keys = [f"k{number}" for number in range(200)]
    with closing(cluster()) as servers:
        async with connected(servers.url) as redis:
            for key in keys:
                assert await redis.run(SET, [key], [key], writes=True) == key.encode()
            assert await redis.spread([("GET", key) for key in keys]) == [k.encode() for k in keys]
            assert await redis.on_masters("PING") == [b"PONG"] * 3
            await until(lambda: all(follows(node) for node in servers.nodes[3:]))
            lost = servers.owner(keys[0])
            lost.kill()
            writes = [redis.run(SET, [key], [key + "!"], writes=True) for key in keys]
            assert await asyncio.gather(*writes) == [f"{key}!".encode() for key in keys]
            assert servers.owner(keys[0]) is not lost
            await redis.ping()
            found = await redis.spread([("GET", key) for key in keys])
            assert found == [f"{key}!".encode() for key in keys]
            assert len(await redis.on_masters("PING")) == 3


async def test_slots_that_move_are_followed() -> None:
    with closing(cluster(2, 0)) as servers:
        async with connected(servers.url) as redis:
            await redis.commands([("SET", "{a}1", 1), ("SET", "{a}2", 2)], writes=True)
            source = servers.owner("{a}1")
            target = next(node for node in servers.nodes if node is not source)
            slot = source.command("CLUSTER", "KEYSLOT", "a")
            ids = {n: n.command("CLUSTER", "MYID") for n in servers.nodes}

            def setslot(node: ServerProcess, *what: object) -> None:
                node.command("CLUSTER", "SETSLOT", slot, *what)

            setslot(target, "IMPORTING", ids[source])
            setslot(source, "MIGRATING", ids[target])
            source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 1000, "KEYS", "{a}1")
            # One key is there and one still here: each is read where it is.
            both = [("GET", "{a}1"), ("GET", "{a}2"), ("GET", "{a}3")]
            assert await redis.commands(both, writes=False) == [b"1", b"2", None]
            assert await redis.spread(both) == [b"1", b"2", None]
            assert await redis.run(SET, ["{a}1"], ["1!"], writes=True) == b"1!"
            source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 1000, "KEYS", "{a}2")
            for node in (target, source):
                setslot(node, "NODE", ids[target])
            assert await redis.commands(both, writes=False) == [b"1!", b"2", None]
            assert await redis.run(SET, ["{a}2"], ["2!"], writes=True) == b"2!"
            assert target.client.get("{a}2") == "2!"


async def test_a_cluster_reached_as_one_server_says_what_to_do() -> None:
    with closing(cluster(2, 0)) as servers:
        other = next(node for node in servers.nodes if node is not servers.owner("a"))
        async with connected(other.url, HASTY) as redis:
            detail = await refused(redis.command("GET", "a", writes=False))
            assert "redis+cluster://" in detail


async def test_sentinels_name_the_next_master() -> None:
    with closing(sentinel()) as watched:
        async with connected(watched.url) as redis:
            await redis.run(SET, ["a"], ["1"], writes=True)
            await until(lambda: watched.replica.client.get("a") == "1")
            watched.sentinels[0].kill()
            watched.master.kill()
            assert await redis.run(SET, ["b"], ["2"], writes=True) == b"2"
            assert watched.replica.client.get("b") == "2"
            assert await redis.command("GET", "a", writes=False) == b"1"
        patient = RedisOptions(timeout_seconds=1.5)
        wrong = RedisConnection(parse(watched.url.replace("/main", "/other")), patient)
        assert "no master other" in await refused(wrong.start())


async def test_an_attempt_that_the_end_cuts_short_hides_no_reason() -> None:
    attempts = 0

    async def attempt(deadline: float) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise NoMaster("the sentinels know no master other")
        async with asyncio.timeout_at(deadline):
            await asyncio.sleep(60)

    redis = RedisConnection(parse("redis://127.0.0.1:1"), HASTY)
    assert "no master other" in await refused(redis._patiently(attempt, 0.3))
    assert attempts == 2


async def test_a_master_that_hung_and_was_replaced_is_not_believed_again() -> None:
    with closing(sentinel()) as watched:
        async with connected(watched.url) as idle:
            await idle.command("SET", "a", "old", writes=True)
            await until(lambda: watched.replica.client.get("a") == "old")
            watched.master.stop()
            await until(lambda: watched.named(watched.replica))
            async with connected(watched.url) as other:
                await other.command("SET", "a", "new", writes=True)
            watched.master.resume()
            # The connection was idle and knows of nothing.
            while await idle.command("GET", "a", writes=False) != b"new":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            # And it was not the sentinels that put this one right, which takes them longer.
            assert watched.master.info("replication")["role"] == "master"
