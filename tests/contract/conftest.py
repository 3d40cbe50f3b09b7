"""Every store under one suite. Another store is another entry of STORES."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from service.ports import Store
from service.store_memory import MemoryStore
from service.store_sqlite import SqliteStore
from tests.contract.changes import ManualClock

#: Name -> a store that is not started yet. The path is an empty directory of the test's own.
STORES: dict[str, Callable[[ManualClock, Path], Store]] = {
    "memory": lambda clock, _: MemoryStore(clock),
    "sqlite": lambda clock, path: SqliteStore(path / "sketches.db", clock),
}


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture(params=STORES)
async def store(
    request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path
) -> AsyncIterator[Store]:
    """A started store of each kind."""
    opened = STORES[request.param](clock, tmp_path)
    await opened.start()
    yield opened
    await opened.close()
