"""The buffer of updates on an event loop: as with threads, awaited."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from service.client.answers import Acknowledgement
from service.client.buffer_async import AsyncUpdateBuffer
from service.client.buffer_batches import Batch
from service.client.buffer_errors import UpdatesPending, UpdatesRefused
from service.client.errors import NotFound, Unavailable
from tests.client.sink import Call, Sink

PATIENCE = 60.0
NEVER = float("inf")


class AsyncSink:
    """A `Sink` whose methods are awaited. before: awaited with each request."""

    def __init__(self, sink: Sink, before: Callable[[], Awaitable[Any]] | None = None) -> None:
        self._sink = sink
        self._before = before

    def sketch(self, name: str) -> Any:
        return self._Sketch(self, name)

    class _Sketch:
        def __init__(self, sink: AsyncSink, name: str) -> None:
            self._of, self._name = sink, name

        async def _take(self, *columns: Any, operand: str, idempotency_key: str) -> Acknowledgement:
            if self._of._before is not None:
                await self._of._before()
            await asyncio.sleep(0)
            return self._of._sink.take(Call(self._name, operand, columns, idempotency_key))

        update = update_entries = update_rows = _take


def away(call: Call) -> None:
    raise Unavailable("unavailable", "not now")


def no_such_sketch(call: Call) -> None:
    raise NotFound("sketch_not_found", "no such sketch", status=404)


async def test_small_updates_become_few_requests() -> None:
    sink = Sink()
    async with AsyncUpdateBuffer(AsyncSink(sink), max_updates=100, max_delay=NEVER) as buffer:
        for at in range(1000):
            await buffer.add("a", [at], [1.0])
        await buffer.add_entries("m", [3], [0], [4.0])
        await buffer.add_rows("t", [5], [[1.0, 2.0]], operand="A2")
        await buffer.flush()
        assert (buffer.sent, buffer.pending, buffer.refused) == (1003, 0, 0)
    assert len(sink.calls) == 12
    assert sink.applied == {("a", "y", at): 1.0 for at in range(1000)} | {
        ("m", "A", 3): 4.0, ("t", "A2", 5): 3.0,
    }  # fmt: skip


async def test_updates_go_by_themselves_when_they_are_old() -> None:
    came = asyncio.Event()
    sink = Sink(after=lambda call: came.set())
    async with AsyncUpdateBuffer(AsyncSink(sink), max_delay=0.01) as buffer:
        await buffer.add("a", [1], [1.0])
        await asyncio.wait_for(came.wait(), PATIENCE)


async def test_tasks_add_at_once_and_each_increment_counts_once(rng: np.random.Generator) -> None:
    troubles = {"left": 60}

    def trouble(call: Call) -> None:
        troubles["left"] -= 1
        if troubles["left"] > 0 and troubles["left"] % 3 == 0:
            raise Unavailable("unavailable", "not now")

    sink = Sink(before=trouble, after=trouble)
    sequences = rng.integers(0, 50, (8, 200))

    async def run(name: str, sequence: Any) -> None:
        for at in sequence:
            await buffer.add(name, [at], [1.0])

    buffer = AsyncUpdateBuffer(AsyncSink(sink), max_updates=37, max_delay=0.001, max_pending=100)
    async with asyncio.timeout(PATIENCE), buffer:
        await asyncio.gather(*(run("ab"[at % 2], row) for at, row in enumerate(sequences)))
        await buffer.flush(PATIENCE)
        assert buffer.sent == sequences.size
    expected: dict[Any, float] = {}
    for at, row in enumerate(sequences):
        for where in row:
            place = ("ab"[at % 2], "y", int(where))
            expected[place] = expected.get(place, 0.0) + 1.0
    assert sink.applied == expected
    assert troubles["left"] < 0


async def test_add_waits_for_room_and_gives_up_in_time() -> None:
    gate = asyncio.Event()
    sink = Sink()
    async with AsyncUpdateBuffer(
        AsyncSink(sink, gate.wait), max_delay=NEVER, max_pending=10, add_timeout=0.01
    ) as buffer:
        await buffer.add("a", np.arange(10), np.ones(10))
        with pytest.raises(UpdatesPending, match="nothing of this call was added"):
            await buffer.add("a", [99], [1.0])
        gate.set()
        await buffer.flush()
        await buffer.add("a", np.arange(8), np.ones(8))
        await buffer.add("a", np.arange(8), np.ones(8))
    assert ("a", "y", 99) not in sink.applied
    assert sink.applied["a", "y", 0] == 3.0


async def test_what_is_refused_is_told_by_the_next_call_once() -> None:
    buffer = AsyncUpdateBuffer(AsyncSink(Sink(before=no_such_sketch)))
    await buffer.add("a", [1, 2], [1.0, 1.0])
    with pytest.raises(UpdatesRefused, match=r"y of a: no such sketch \(2 increments of a"):
        await buffer.flush()
    assert (buffer.refused, buffer.pending) == (2, 0)
    await buffer.close()


async def test_on_error_is_told_instead_and_may_be_awaited() -> None:
    told: list[int] = []

    async def elsewhere(batch: Batch, error: Exception) -> None:
        index, delta = batch.columns().values()
        await buffer.add("spare", index, delta)
        told.append(batch.numbers)

    sink = Sink(before=lambda call: no_such_sketch(call) if call.sketch == "a" else None)
    buffer = AsyncUpdateBuffer(AsyncSink(sink), max_pending=3, on_error=elsewhere, senders=1)
    await buffer.add("a", np.arange(3), np.ones(3))
    await buffer.close()
    with pytest.raises(ValueError, match="the buffer is closed"):
        await buffer.add("a", [1], [1.0])
    assert told == [3]
    assert {place[0] for place in sink.applied} == {"spare"}


@pytest.mark.parametrize("where", ["before", "after"])
async def test_a_flush_tells_that_the_service_is_away_and_the_next_one_counts_once(
    where: str,
) -> None:
    sink = Sink()
    setattr(sink, where, away)
    async with AsyncUpdateBuffer(AsyncSink(sink), max_delay=NEVER) as buffer:
        await buffer.add("a", [1, 2], [1.0, 2.0])
        with pytest.raises(UpdatesPending, match=r"2 increments wait.*not now.*they stay"):
            await buffer.flush()
        setattr(sink, where, lambda call: None)
        await buffer.flush(PATIENCE)
    assert sink.applied == {("a", "y", 1): 1.0, ("a", "y", 2): 2.0}
    assert len({call.key for call in sink.calls}) == 1


async def test_close_says_what_is_lost() -> None:
    buffer = AsyncUpdateBuffer(AsyncSink(Sink(before=away)))
    await buffer.add("a", [1, 2], [1.0, 1.0])
    with pytest.raises(UpdatesPending, match="they are lost"):
        await buffer.close()
    await buffer.close()
    with pytest.raises(ValueError, match="the buffer is closed"):
        await buffer.add("a", [1], [1.0])


async def test_a_request_that_hangs_does_not_hold_up_close() -> None:
    hangs = asyncio.Event()
    buffer = AsyncUpdateBuffer(AsyncSink(Sink(), hangs.wait))
    await buffer.add("a", [1], [1.0])
    with pytest.raises(UpdatesPending, match="1 increments wait; they are lost"):
        await buffer.close(0.01)


async def test_a_forgotten_buffer_warns_and_sends_all_the_same() -> None:
    came = asyncio.Event()
    buffer = AsyncUpdateBuffer(AsyncSink(Sink(after=lambda call: came.set())), max_delay=0.001)
    await buffer.add("a", [1, 2], [1.0, 1.0])
    tasks = list(buffer._sending._tasks)
    with pytest.warns(ResourceWarning, match="was not closed and 2 increments still wait"):
        del buffer
    gc.collect()
    await asyncio.wait_for(came.wait(), PATIENCE)
    await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)


async def test_whoever_cancels_all_tasks_loses_nothing() -> None:
    asked, sink = asyncio.Event(), Sink()
    buffer = AsyncUpdateBuffer(AsyncSink(sink, asked.wait), max_delay=0.0)
    await buffer.add("a", [1], [1.0])
    await asyncio.sleep(0)  # it is on its way
    for _ in range(2):
        for task in buffer._sending._tasks:
            task.cancel()
        await asyncio.sleep(0)
        await buffer.add("a", [2], [1.0])
    asked.set()
    await asyncio.wait_for(buffer.close(), PATIENCE)
    assert sink.applied == {("a", "y", 1): 1.0, ("a", "y", 2): 2.0}


async def test_a_cancelled_on_error_leaves_the_refusal_to_a_call() -> None:
    told = asyncio.Event()

    async def on_error(batch: Batch, error: BaseException) -> None:
        told.set()
        await asyncio.Event().wait()

    sink = AsyncSink(Sink(before=no_such_sketch))
    buffer = AsyncUpdateBuffer(sink, max_delay=0.0, on_error=on_error)
    await buffer.add("a", [1], [1.0])
    await asyncio.wait_for(told.wait(), PATIENCE)
    for task in buffer._sending._tasks:
        task.cancel()
    with pytest.raises(UpdatesRefused, match="no such sketch"):
        await asyncio.wait_for(buffer.flush(), PATIENCE)
    await buffer.close()


async def test_a_request_cancelled_by_others_is_sent_again() -> None:
    sink, failures = Sink(), iter([asyncio.CancelledError()])

    async def cancelled_once() -> None:
        for failure in failures:
            raise failure

    async with AsyncUpdateBuffer(AsyncSink(sink, cancelled_once)) as buffer:
        await buffer.add("a", [1], [1.0])
        await asyncio.wait_for(buffer.flush(PATIENCE), PATIENCE)
    assert sink.applied == {("a", "y", 1): 1.0}


@pytest.mark.parametrize("method", ["flush", "close", "add"])
def test_another_loop_is_told_of_and_does_not_hang(method: str) -> None:
    buffer = AsyncUpdateBuffer(AsyncSink(Sink()))
    asyncio.run(buffer.add("a", [1], [1.0]))

    async def ask() -> None:
        await asyncio.wait_for(getattr(buffer, method)(*given), PATIENCE)

    given = ("a", [1], [1.0]) if method == "add" else ()
    with pytest.raises(RuntimeError, match="does not change loops"):
        asyncio.run(ask())
    assert buffer.pending == 1
    buffer._sending._closed = True  # nobody can any more


async def test_a_cancelled_close_logs_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    buffer = AsyncUpdateBuffer(AsyncSink(Sink(), asyncio.Event().wait))
    await buffer.add("a", [1, 2], [1.0, 1.0])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await buffer.close()
    assert "2 increments of a buffer are lost" in caplog.text
