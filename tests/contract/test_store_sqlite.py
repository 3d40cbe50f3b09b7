"""What only the SQLite store has: a file, a format, a queue, and things that fill up."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from service.errors import StoreUnavailable
from service.sqlite_schema import VERSION
from service.sqlite_transaction import Transaction
from service.sqlite_writer import GroupWriter, SqliteLimits
from service.store_sqlite import SqliteStore
from tests.contract.changes import (
    FIRST,
    KEY,
    NO_LIMIT,
    SECOND,
    ManualClock,
    append,
    append_many,
    compact,
    entry,
    idempotency,
    read,
    record,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sketches.db"


async def started(path: Path, limits: SqliteLimits | None = None) -> SqliteStore:
    store = SqliteStore(path, ManualClock(), limits)
    await store.start()
    return store


def ask(path: Path, statement: str) -> int:
    """One number, by a connection of one's own."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        row = connection.execute(statement).fetchone()
        return 0 if row is None else int(row[0])
    finally:
        connection.close()


def content(path: Path) -> bytes:
    return path.read_bytes()


async def append_large(store: SqliteStore, count: int) -> None:
    for _ in range(count):
        await append(store, entry(b"x" * 50_000))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the store does when idle."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within ten seconds")


class TestOpening:
    async def test_a_missing_directory_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailable, match=r"does not exist.*nowhere"):
            await started(tmp_path / "nowhere" / "sketches.db")

    async def test_a_newer_format_is_refused_and_left_alone(self, path: Path) -> None:
        await (await started(path)).close()
        ask(path, f"PRAGMA user_version = {VERSION + 1}")
        with pytest.raises(StoreUnavailable, match=f"version {VERSION + 1}.*version {VERSION}"):
            await started(path)
        assert ask(path, "PRAGMA user_version") == VERSION + 1

    async def test_another_applications_database_is_left_alone(self, path: Path) -> None:
        ask(path, "CREATE TABLE recipes (name TEXT)")
        before = content(path)
        with pytest.raises(StoreUnavailable, match="another application"):
            await started(path)
        assert content(path) == before

    async def test_not_a_database(self, path: Path) -> None:
        shutil.copy(__file__, path)
        with pytest.raises(StoreUnavailable, match="not a database") as refused:
            await started(path)
        assert isinstance(refused.value.__cause__, sqlite3.Error)

    async def test_several_at_once_create_one_file(self, path: Path) -> None:
        stores = await asyncio.gather(*(started(path) for _ in range(4)))
        await stores[0].create(record())
        await asyncio.gather(*(append(store) for store in stores))
        assert (await read(stores[3])).head == 4
        await asyncio.gather(*(store.close() for store in stores))

    async def test_durability_settings(self, path: Path) -> None:
        store = await started(path)
        assert ask(path, "SELECT journal_mode = 'wal' FROM pragma_journal_mode") == 1
        assert ask(path, "PRAGMA auto_vacuum") == 2
        await store.close()

    async def test_a_store_that_is_not_open_says_so(self, path: Path) -> None:
        store = SqliteStore(path, ManualClock())
        asks: list[Callable[[], Awaitable[object]]] = [
            store.ping,
            lambda: store.get(KEY),
            lambda: append(store),
        ]
        for call in asks:
            with pytest.raises(StoreUnavailable, match="not open"):
                await call()
        await store.start()
        await store.close()
        for call in asks:
            with pytest.raises(StoreUnavailable, match="not open"):
                await call()
        await store.close()

    async def test_closing_finishes_what_waits(self, path: Path) -> None:
        store = await started(path)
        await store.create(record())
        waiting = [asyncio.create_task(append(store)) for _ in range(200)]
        await asyncio.sleep(0)
        await store.close()
        answers = await asyncio.gather(*waiting)
        assert [one.position for one in answers] == list(range(1, 201))


class TestQueue:
    async def test_full_is_unavailable_not_endless(self, path: Path) -> None:
        store = await started(path, SqliteLimits(queue_writes=10))
        await store.create(record())
        answers = await asyncio.gather(*(append(store) for _ in range(50)), return_exceptions=True)
        refused = [one for one in answers if isinstance(one, StoreUnavailable)]
        assert len(refused) == 40
        assert all(one.retry_after > 0 for one in refused)
        assert (await append(store)).position == 11
        await store.close()

    async def test_bytes_count_but_one_large_write_passes(self, path: Path) -> None:
        store = await started(path, SqliteLimits(queue_bytes=1000))
        await store.create(record())
        assert (await append(store, entry(b"x" * 5000))).position == 1
        answers = await asyncio.gather(
            *(append(store, entry(b"x" * 240)) for _ in range(6)), return_exceptions=True
        )
        assert [isinstance(one, StoreUnavailable) for one in answers] == [False] * 4 + [True] * 2
        await store.close()

    async def test_one_large_write_is_let_in_whatever_waits(self, path: Path) -> None:
        store = await started(path, SqliteLimits(queue_bytes=1000))
        await store.create(record())
        sizes = [240, 240, 240, 240, 5000, 5000, 240]
        answers = await asyncio.gather(
            *(append(store, entry(b"x" * size)) for size in sizes), return_exceptions=True
        )
        refused = [isinstance(one, StoreUnavailable) for one in answers]
        # The place for large ones is taken once, and leaves the others less room meanwhile.
        assert refused == [False] * 5 + [True] * 2
        assert (await append(store, entry(b"x" * 5000))).position == 6
        answers = await asyncio.gather(
            *(append(store, entry(b"x" * size)) for size in [5000, 240, 240, 240, 240]),
            return_exceptions=True,
        )
        assert [isinstance(one, StoreUnavailable) for one in answers] == [False] * 4 + [True]
        await store.close()

    async def test_a_large_checkpoint_is_written_beside_updates_without_pause(
        self, path: Path
    ) -> None:
        store = await started(path, SqliteLimits(queue_bytes=4000))
        await store.create(record())
        digests = await append_many(store, 1)
        done = False

        async def keep_full() -> None:
            while not done:
                try:
                    await append(store, entry(b"x" * 500))
                except StoreUnavailable:
                    await asyncio.sleep(0)

        busy = [asyncio.create_task(keep_full()) for _ in range(20)]
        await asyncio.sleep(0.01)
        assert await compact(store, 0, 1, digests[1], state=b"s" * 100_000)
        done = True
        await asyncio.gather(*busy)
        await store.close()

    async def test_groups_are_bounded(self, path: Path) -> None:
        store = await started(path, SqliteLimits(group_writes=3, group_bytes=20))
        await store.create(record())
        answers = await asyncio.gather(*(append(store) for _ in range(20)))
        assert [one.position for one in answers] == list(range(1, 21))
        await store.close()

    async def test_a_cancelled_caller_holds_nobody_up(self, path: Path) -> None:
        store = await started(path, SqliteLimits(queue_writes=5))
        await store.create(record())
        for _ in range(4):
            waiting = asyncio.create_task(append(store))
            await asyncio.sleep(0)
            waiting.cancel()
        await store.ping()
        answers = await asyncio.gather(*(append(store) for _ in range(5)))
        assert [one.position for one in answers] == [5, 6, 7, 8, 9]
        await store.close()

    async def test_a_value_sqlite_cannot_hold_fails_alone(self, path: Path) -> None:
        store = await started(path)
        await store.create(record())
        answers = await asyncio.gather(
            append(store),
            append(store, entry(updates=1 << 70)),
            append(store, once=idempotency("\ud800")),
            append(store),
            return_exceptions=True,
        )
        kinds = [type(one).__name__ for one in answers]
        assert kinds == ["Appended", "OverflowError", "UnicodeEncodeError", "Appended"]
        assert (await read(store)).head == 2
        await store.close()


class TestTrouble:
    async def test_a_full_file_is_unavailable_and_recovers(self, path: Path) -> None:
        store = await started(path, SqliteLimits(file_bytes=1 << 20))
        await store.create(record())
        digests = await append_many(store, 2)
        with pytest.raises(StoreUnavailable, match="full") as refused:
            await append_large(store, 100)
        assert isinstance(refused.value.__cause__, sqlite3.Error)
        position = (await append(store)).position
        assert position > 10
        # Compaction frees what it trims, and there is room again.
        assert await compact(store, 0, 2, digests[2])
        found = await store.get(KEY)
        assert found is not None
        assert await compact(store, 2, position, found.digest)
        await until(lambda: ask(path, "SELECT count(*) FROM garbage") == 0)
        assert (await append(store, entry(b"x" * 500_000))).position == position + 1
        await store.close()

    async def test_a_write_too_large_does_not_fail_its_neighbours(self, path: Path) -> None:
        store = await started(path, SqliteLimits(file_bytes=1 << 20))
        await store.create(record())
        sizes = [100, 100, 2_000_000, 100]
        answers = await asyncio.gather(
            *(append(store, entry(b"x" * size)) for size in sizes), return_exceptions=True
        )
        failed = [isinstance(one, StoreUnavailable) for one in answers]
        assert failed == [False, False, True, False]
        assert (await read(store)).head == 3
        await store.close()

    async def test_another_process_that_holds_the_file(self, path: Path) -> None:
        store = await started(path, SqliteLimits(busy_seconds=0.1))
        await store.create(record())
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await append(store)
        assert await store.get(KEY) is not None  # readers do not wait
        holder.execute("ROLLBACK")
        holder.close()
        assert (await append(store)).position == 1
        await store.close()

    async def test_a_transaction_is_closed_to_others_from_its_first_look(self, path: Path) -> None:
        store = await started(path)
        await store.create(record())
        writer = GroupWriter(str(path), ManualClock(), SqliteLimits())
        writer.open(asyncio.get_running_loop())

        def slow(transaction: Transaction) -> int:
            answer = transaction.appends.append(KEY, FIRST, entry(), None, NO_LIMIT)
            time.sleep(0.2)  # the head has been read, nothing has been written
            return answer.position

        waiting = asyncio.create_task(writer.submit(slow))
        await asyncio.sleep(0.05)
        assert (await append(store)).position == 2
        assert await waiting == 1
        writer.stop_taking()
        await asyncio.to_thread(writer.join)
        await store.close()

    async def test_damage_is_unavailable_not_nonsense(self, path: Path) -> None:
        store = await started(path)
        await store.create(record())
        ask(path, "DROP TABLE log")
        with pytest.raises(StoreUnavailable, match="no such table"):
            await append(store)
        with pytest.raises(StoreUnavailable, match="no such table"):
            await read(store)
        await store.close()


class TestSpace:
    async def test_trimmed_and_deleted_rows_go_in_the_end(self, path: Path) -> None:
        store = await started(path)
        await store.create(record())
        for _ in range(3):
            await asyncio.gather(*(append(store) for _ in range(500)))
        found = await store.get(KEY)
        assert found is not None
        assert await compact(store, 0, 1500, found.digest)
        assert (await read(store)).entries == []
        await until(lambda: ask(path, "SELECT count(*) FROM log") == 0)
        await append(store, entry(attachment=b"x"), once=idempotency())
        await store.delete(KEY)
        tables = ("log", "attachments", "checkpoints", "idempotency", "garbage")
        for table in tables:
            await until(lambda table=table: ask(path, f"SELECT count(*) FROM {table}") == 0)  # type: ignore[misc]
        await store.close()

    async def test_trimming_leaves_the_new_incarnation_alone(self, path: Path) -> None:
        store = await started(path)
        await store.create(record())
        await asyncio.gather(*(append(store) for _ in range(300)))
        answers = await asyncio.gather(
            store.delete(KEY),
            store.create(record(incarnation=SECOND)),
            *(append(store, incarnation=SECOND) for _ in range(100)),
        )
        assert answers[0] is True
        await until(lambda: ask(path, "SELECT count(*) FROM garbage") == 0)
        assert len((await read(store, incarnation=SECOND)).entries) == 100
        await store.close()

    async def test_the_file_shrinks_and_the_wal_stays_short(self, path: Path) -> None:
        store = await started(path, SqliteLimits(wal_bytes=8 << 20))
        wal = path.with_name(path.name + "-wal")
        await store.create(record())
        for _ in range(30):
            await append(store, entry(attachment=b"x" * 1_000_000))
            assert wal.stat().st_size < 16 << 20
        await store.delete(KEY)
        await until(lambda: ask(path, "PRAGMA page_count") * 4096 < 20 << 20)
        await store.close()
        assert len(content(path)) < 20 << 20
        assert not wal.exists()


async def test_reads_do_not_block_the_event_loop_or_wait_for_writes(path: Path) -> None:
    store = await started(path)
    await store.create(record())
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    write = asyncio.create_task(append(store))
    await asyncio.gather(*(store.get(KEY) for _ in range(20)))
    assert not write.done()
    holder.execute("ROLLBACK")
    holder.close()
    assert (await write).position == 1
    await store.close()
