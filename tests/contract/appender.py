"""A process that appends to a SQLite store and says what was acknowledged; tests kill it.

    python -m tests.contract.appender PATH LABEL COUNT

Prints `position id` for every acknowledged entry, after the answer. Between
appends it compacts; its state is the list of the ids folded, so that the
whole log can be checked afterwards. Every tenth key is one that other
appenders use too.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys

from service.clock import SystemClock
from service.errors import ServiceError
from service.ports import EMPTY_DIGEST, Checkpoint, Entry, Idempotency, Record, SketchKey, chain
from service.store_sqlite import SqliteStore

KEY = SketchKey("acme", "shared")
INCARNATION = "1" * 32
RECORD = Record(KEY, INCARNATION, b"spec", b"request", 0.0, None, None, 1)
TASKS = 8


async def everything(store: SqliteStore) -> tuple[int, list[str]]:
    """The checkpoint's position, and every id ever appended: the folded ones, then the tail."""
    tail = await store.read(KEY, INCARNATION, -1, EMPTY_DIGEST, max_bytes=1 << 40)
    assert tail.checkpoint is not None
    ids = tail.checkpoint.state.decode().split()
    assert [one.position for one in tail.entries] == list(
        range(tail.checkpoint.position + 1, tail.head + 1)
    )
    return tail.checkpoint.position, ids + [one.id for one in tail.entries]


async def compact(store: SqliteStore) -> None:
    """Fold what there is."""
    folded, ids = await everything(store)
    digest = EMPTY_DIGEST
    for one in ids:
        digest = chain(digest, one)
    checkpoint = Checkpoint(len(ids), digest, " ".join(ids).encode())
    await store.compact(KEY, INCARNATION, folded, checkpoint, exact=True)


async def append_all(store: SqliteStore, label: str, task: int, count: int) -> None:
    """Append, and say so."""
    for number in range(count):
        name = f"shared {task} {number}" if number % 10 == 0 else f"{label} {task} {number}"
        entry = Entry(
            hashlib.md5(f"{label} {task} {number}".encode()).hexdigest(),
            frozenset("a"),
            os.urandom(number * 37 % 9000),
            updates=1,
        )
        once = Idempotency(name, name.encode(), 3600.0)
        answer = await store.append(KEY, INCARNATION, entry, once, max_log_bytes=1 << 40)
        if not answer.replayed:
            os.write(1, f"{answer.position} {entry.id}\n".encode())
        if task == 0 and number % 20 == 19:
            await compact(store)


async def main(path: str, label: str, count: int) -> None:
    store = SqliteStore(path, SystemClock())
    await store.start()
    await store.create(RECORD)
    try:
        await asyncio.gather(*(append_all(store, label, task, count) for task in range(TASKS)))
    except ServiceError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
