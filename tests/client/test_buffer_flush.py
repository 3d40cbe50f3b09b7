"""How long a flush and a close wait for a service that is away, however many sketches there are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pytest

from service.client import AsyncClient, Client
from service.client.buffer import UpdateBuffer
from service.client.buffer_async import AsyncUpdateBuffer
from service.client.buffer_batches import read
from service.client.buffer_errors import UpdatesPending
from service.client.buffer_flush import Flush, Patience, patience_of_close, patience_of_flush
from service.client.buffer_queue import BufferQueue
from service.client.errors import Unavailable
from tests.client.sink import Call, Sink
from tests.client.test_buffer_async import AsyncSink

PATIENCE = 60.0
NEVER = float("inf")
#: Of the sketches below; few senders try few of them.
NAMES = [f"s{at}" for at in range(12)]
AWAY = Unavailable("unavailable", "not now")


def held(lanes: int) -> BufferQueue:
    queue = BufferQueue(max_updates=4, max_delay=NEVER, max_pending=100)
    for name in NAMES[:lanes]:
        queue.add(name, "y", "index", read("index", (np.arange(2), np.ones(2))), 0.0)
    return queue


def fail(queue: BufferQueue, times: int) -> None:
    """So many attempts at different lanes, one after another."""
    for _ in range(times):
        batch = queue.take(0.0)
        assert batch is not None
        queue.put_back(batch, AWAY, 0.0)


def test_a_flush_gives_up_once_as_many_attempts_as_senders_failed_in_a_row() -> None:
    queue = held(8)
    queue.seal_all(0.0)
    fail(queue, 2)
    flush = Flush(queue, 0.0, patience_of_flush(None, 0.0, senders=3))
    fail(queue, 2)
    assert not flush.over(1e9), "what failed before it does not count"
    got_through = queue.take(0.0)
    assert got_through is not None
    queue.done(got_through)
    fail(queue, 2)
    assert not flush.over(1e9), "somebody answered in between"
    fail(queue, 1)
    assert flush.over(0.0)
    assert flush.waiting() == 14


def test_a_flush_with_time_waits_through_failures_until_then() -> None:
    queue = held(1)
    flush = Flush(queue, 0.0, patience_of_flush(7.0, 100.0, senders=1))
    fail(queue, 1)
    assert not flush.over(106.9)
    assert flush.seconds(106.0) == 1.0
    assert flush.over(107.0)


def test_a_close_asks_for_every_operand_within_its_time() -> None:
    queue = held(3)
    flush = Flush(queue, 0.0, patience_of_close(None, 100.0, 1, close_timeout=30.0))
    fail(queue, 2)
    assert not flush.over(129.9), "the third might get through, and would be lost"
    assert flush.over(130.0)
    fail(queue, 1)
    assert flush.over(100.0)
    assert patience_of_close(None, 100.0, 2, None) == Patience(in_a_row=2)
    assert patience_of_close(5.0, 100.0, 2, 30.0) == Patience(105.0, through_failures=True)


def away_then_silent(failures: int, silence: threading.Event) -> Callable[[Call], None]:
    """So many calls fail at once; those after them only when the silence is over."""
    left = list(range(failures))

    def before(call: Call) -> None:
        if left:
            left.pop()
        else:
            silence.wait(5.0)
        raise AWAY

    return before


def test_a_flush_does_not_try_all_sketches_of_a_service_that_is_away() -> None:
    silence = threading.Event()
    sink = Sink(before=away_then_silent(2, silence))
    with UpdateBuffer(sink, max_delay=NEVER, senders=2) as buffer:
        for name in NAMES:
            buffer.add(name, [1], [1.0])
        with pytest.raises(UpdatesPending, match="they stay") as raised:
            buffer.flush()
        assert raised.value.pending == len(NAMES)
        assert len(sink.calls) <= 4, "two failed, two are under way"
        sink.before = lambda call: None
        silence.set()
        buffer.flush(PATIENCE)
    assert sink.applied == {(name, "y", 1): 1.0 for name in NAMES}


async def test_neither_does_one_of_tasks() -> None:
    silent = asyncio.Event()
    began: list[int] = []

    async def before() -> None:
        began.append(1)
        if len(began) > 2:
            await asyncio.wait_for(silent.wait(), 5.0)

    sink = Sink(before=away_then_silent(len(NAMES) * 9, threading.Event()))
    async with AsyncUpdateBuffer(AsyncSink(sink, before), max_delay=NEVER, senders=2) as buffer:
        for name in NAMES:
            await buffer.add(name, [1], [1.0])
        with pytest.raises(UpdatesPending, match="they stay"):
            await buffer.flush()
        assert len(began) <= 4
        sink.before = lambda call: None
        silent.set()
        await buffer.flush(PATIENCE)
    assert sink.applied == {(name, "y", 1): 1.0 for name in NAMES}


def test_leaving_the_block_takes_no_longer_than_close_timeout() -> None:
    silence = threading.Event()

    def before(call: Call) -> None:
        assert silence.wait(PATIENCE)

    sink = Sink(before=before)
    with pytest.raises(UpdatesPending, match="1 increments wait; they are lost"):
        with UpdateBuffer(sink, max_delay=NEVER, close_timeout=0.05) as buffer:
            buffer.add("a", [1], [1.0])
    assert not sink.applied, "it did not wait for the answer"
    silence.set()


async def test_nor_does_that_of_a_buffer_of_tasks() -> None:
    async def leave() -> None:
        hung = AsyncSink(Sink(), asyncio.Event().wait)
        async with AsyncUpdateBuffer(hung, max_delay=NEVER, close_timeout=0.05) as buffer:
            await buffer.add("a", [1], [1.0])

    with pytest.raises(UpdatesPending, match="1 increments wait; they are lost"):
        await asyncio.wait_for(leave(), PATIENCE)


async def test_clients_hand_the_close_timeout_on() -> None:
    with Client("http://127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="close_timeout: must not be negative, is -1"):
            client.buffer(close_timeout=-1.0)
    async with AsyncClient("http://127.0.0.1:1") as other:
        with pytest.raises(ValueError, match="close_timeout: must not be negative, is nan"):
            other.buffer(close_timeout=float("nan"))
