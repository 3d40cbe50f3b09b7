"""One Redis server a session, emptied before each test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.redis_servers import ServerProcess, closing, standalone


@pytest.fixture(scope="session")
def session_redis() -> Iterator[ServerProcess]:
    """The server; ask for `redis_server` instead."""
    with closing(standalone()) as server:
        yield server


@pytest.fixture
def redis_server(session_redis: ServerProcess) -> ServerProcess:
    """A server without keys or scripts. Whoever stops or kills one starts one of its own."""
    session_redis.client.flushall()
    session_redis.client.script_flush()
    return session_redis
