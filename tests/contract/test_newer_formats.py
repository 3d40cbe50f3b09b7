"""A store that a newer release has written: refused in words, and left as it is."""

from __future__ import annotations

import pytest

from service.errors import StoreUnavailable
from tests.contract.changes import ManualClock, append, record
from tests.contract.conftest import one_server, redis_store, three_masters


@pytest.mark.parametrize("url", [one_server, three_masters], ids=["redis", "redis-cluster"])
async def test_a_redis_of_a_newer_format_is_refused_and_left_alone(
    url: object, clock: ManualClock, seed: int
) -> None:
    prefix = f"newer{seed}"
    assert callable(url)
    store = redis_store(url(), clock, prefix)
    await store.start()
    await store.create(record())
    await append(store)
    before = await store.usage(10)
    connection = store._redis
    await connection.command("SET", f"{prefix}:format", "2", writes=True)
    # Under way: it is not ready any more, so nobody sends it requests.
    with pytest.raises(StoreUnavailable, match=r"format 2.*use a newer release"):
        await store.ping()
    late = redis_store(url(), clock, prefix)
    with pytest.raises(StoreUnavailable, match=r"format 2.*use a newer release"):
        await late.start()
    await late.close()
    assert await connection.command("GET", f"{prefix}:format", writes=False) == b"2"
    await connection.command("SET", f"{prefix}:format", "1", writes=True)
    await store.ping()
    assert await store.usage(10) == before
    await store.close()
