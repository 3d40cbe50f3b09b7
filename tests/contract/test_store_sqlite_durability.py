"""What was answered is in the file: after kill -9, from two processes, after closing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from service.ports import EMPTY_DIGEST, chain
from service.store_sqlite import SqliteStore
from tests.contract import appender
from tests.contract.changes import (
    FIRST,
    KEY,
    ManualClock,
    append,
    append_many,
    compact,
    idempotency,
    read,
    record,
)

ROOT = Path(__file__).parents[2]
ENDLESS = 10**9


def start_appender(path: Path, label: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.contract.appender", str(path), label, str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def acknowledged(output: str) -> dict[int, str]:
    """Position to id. A line cut off by the kill was not told to anybody."""
    lines = output[: output.rfind("\n") + 1].splitlines()
    return {int(line.split()[0]): line.split()[1] for line in lines}


async def check(path: Path, answered: dict[int, str]) -> int:
    """Every answer is in the log, at its place, under a true digest. Returns the log's length."""
    store = SqliteStore(path, ManualClock())
    await store.start()
    try:
        _, ids = await appender.everything(store)
        found = await store.get(appender.KEY)
    finally:
        await store.close()
    assert found is not None
    assert len(set(ids)) == len(ids) == found.position == found.updates
    digest = EMPTY_DIGEST
    for one in ids:
        digest = chain(digest, one)
    assert digest == found.digest
    assert {position: ids[position - 1] for position in answered} == answered
    return len(ids)


async def test_nothing_answered_is_lost_by_kill(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "sketches.db"
    answered: dict[int, str] = {}
    for number in range(4):
        child = start_appender(path, f"round {number}", ENDLESS)
        try:
            assert child.stdout is not None
            first = child.stdout.readline()
            time.sleep(rng.uniform(0.2, 0.8))  # noqa: ASYNC251 (nothing else runs in this loop)
        finally:
            child.kill()
            output, _ = child.communicate()
        before = len(answered)
        answered |= acknowledged(first + output)
        assert len(answered) > before
        assert await check(path, answered) >= len(answered)


async def test_two_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sketches.db"
    count = 60
    children = [start_appender(path, label, count) for label in ("left", "right")]
    outputs = [child.communicate(timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    left, right = (acknowledged(output) for output in outputs)
    # Nine of ten keys are each process's own; the tenth is counted once for both.
    total = appender.TASKS * (2 * count - count // 10)
    assert sorted([*left, *right]) == list(range(1, total + 1))
    assert await check(path, left | right) == total


async def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    clock = ManualClock()
    path = tmp_path / "sketches.db"
    store = SqliteStore(path, clock)
    await store.start()
    await store.create(record(ttl_seconds=100))
    digests = await append_many(store, 5)
    await append(store, once=idempotency())
    await store.seal(KEY, FIRST, "b", None)
    await compact(store, 0, 5, digests[5], state=b"five", exact=False)
    assert await store.acquire_lease(KEY, FIRST, "me", 50)
    before = (await store.get(KEY), await read(store), await store.usage(3))
    await store.close()
    await store.start()
    assert (await store.get(KEY), await read(store), await store.usage(3)) == before
    assert (await append(store, once=idempotency())).replayed
    assert not await store.acquire_lease(KEY, FIRST, "you", 50)
    assert (await append(store)).position == 7
    await store.close()


async def test_an_emptied_log_does_not_reuse_positions(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sketches.db", ManualClock())
    await store.start()
    await store.create(record())
    digests = await append_many(store, 3)
    await compact(store, 0, 3, digests[3])
    await store.close()
    await store.start()
    assert (await append(store)).position == 4
    await store.close()
