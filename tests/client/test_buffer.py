"""A buffer of updates from many threads: everything counted once, nothing lost in silence."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.client.buffer import UpdateBuffer
from service.client.buffer_batches import Batch
from service.client.buffer_errors import UpdatesPending, UpdatesRefused
from service.client.errors import NotFound, Unavailable
from tests.client.sink import Call, Sink

ROOT = Path(__file__).parents[2]
#: Long enough for anything that is to happen, and then the test fails.
PATIENCE = 60.0
#: Nothing goes because it grew old.
NEVER = float("inf")


def away(call: Call) -> None:
    raise Unavailable("unavailable", "not now")


def no_such_sketch(call: Call) -> None:
    raise NotFound("sketch_not_found", "no such sketch", status=404)


class Gate:
    """Requests wait here until it is opened. waiting: set once one does."""

    def __init__(self) -> None:
        self.waiting = threading.Event()
        self._open = threading.Event()

    def __call__(self, call: Call) -> None:
        self.waiting.set()
        assert self._open.wait(PATIENCE)

    def open(self) -> None:
        self._open.set()


class Thread(threading.Thread):
    """A thread whose error is the test's, and whose end is waited for."""

    def __init__(self, target: Any, *args: Any) -> None:
        super().__init__(target=target, args=args, daemon=True)
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            super().run()
        except BaseException as error:  # noqa: BLE001 - told by `finish`
            self.error = error

    def finish(self) -> None:
        self.join(PATIENCE)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


def test_small_updates_become_few_requests() -> None:
    sink = Sink()
    with UpdateBuffer(sink, max_updates=100, max_delay=NEVER) as buffer:
        for at in range(1000):
            buffer.add("a", [at], [1.0])
        buffer.flush()
        assert (buffer.sent, buffer.pending, buffer.refused) == (1000, 0, 0)
    assert len(sink.calls) == 10
    assert sink.applied == {("a", "y", at): 1.0 for at in range(1000)}


def test_every_layout_goes_by_its_own_method() -> None:
    sink = Sink()
    with UpdateBuffer(sink) as buffer:
        buffer.add("m", [1], [2.0], operand="x")
        buffer.add_entries("m", [3], [0], [4.0])
        buffer.add_rows("t", [5], [[1.0, 2.0]], operand="A2")
    assert sink.applied == {("m", "x", 1): 2.0, ("m", "A", 3): 4.0, ("t", "A2", 5): 3.0}


def test_updates_go_by_themselves_when_they_are_old() -> None:
    came = threading.Event()
    sink = Sink(after=lambda call: came.set())
    with UpdateBuffer(sink, max_delay=0.01) as buffer:
        buffer.add("a", [1], [1.0])
        assert came.wait(PATIENCE)


def test_the_caller_may_use_its_arrays_again() -> None:
    sink = Sink()
    with UpdateBuffer(sink, max_delay=NEVER) as buffer:
        index, delta = np.array([1]), np.array([1.0], np.float32)
        buffer.add("a", index, delta)
        index[0], delta[0] = 2, 5
    assert sink.applied == {("a", "y", 1): 1.0}


def test_threads_add_at_once_and_each_increment_counts_once(rng: np.random.Generator) -> None:
    troubles = {"left": 60}
    lock = threading.Lock()

    def trouble(call: Call) -> None:
        with lock:
            troubles["left"] -= 1
            if troubles["left"] > 0 and troubles["left"] % 3 == 0:
                raise Unavailable("unavailable", "not now")

    sink = Sink(before=trouble, after=trouble)
    sequences = rng.integers(0, 50, (8, 300))

    def run(buffer: UpdateBuffer, sequence: Any, name: str) -> None:
        for at in sequence:
            buffer.add(name, [at], [1.0])

    with UpdateBuffer(sink, max_updates=37, max_delay=0.001, max_pending=100) as buffer:
        threads = [Thread(run, buffer, row, "ab"[at % 2]) for at, row in enumerate(sequences)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.finish()
        buffer.flush(PATIENCE)
        assert buffer.sent == sequences.size
    expected: dict[Any, float] = {}
    for at, row in enumerate(sequences):
        for where in row:
            place = ("ab"[at % 2], "y", int(where))
            expected[place] = expected.get(place, 0.0) + 1.0
    assert sink.applied == expected
    assert troubles["left"] < 0


def test_one_operand_is_sent_in_order_and_never_twice_at_once() -> None:
    under_way = threading.Lock()
    seen: list[int] = []

    def alone(call: Call) -> None:
        assert under_way.acquire(blocking=False), "two at once"
        seen.extend(call.columns[0].tolist())
        under_way.release()

    with UpdateBuffer(Sink(before=alone), max_updates=3, senders=4) as buffer:
        for at in range(500):
            buffer.add("a", [at], [1.0])
    assert seen == list(range(500))


def test_add_waits_for_room_and_then_goes_on() -> None:
    gate = Gate()
    sink = Sink(before=gate)
    with UpdateBuffer(sink, max_updates=100, max_delay=NEVER, max_pending=10) as buffer:
        buffer.add("a", range_of(10), np.ones(10))
        adding = Thread(buffer.add, "a", [99], [1.0])
        adding.start()
        assert gate.waiting.wait(PATIENCE), "whoever waits for room lets go what collects"
        assert adding.is_alive()
        gate.open()
        adding.finish()
    assert sink.applied["a", "y", 99] == 1.0


def range_of(count: int) -> Any:
    return np.arange(count)


def test_add_gives_up_in_time_and_has_added_nothing() -> None:
    gate = Gate()
    sink = Sink(before=gate)
    with UpdateBuffer(sink, max_pending=10, add_timeout=0.01) as buffer:
        buffer.add("a", range_of(10), np.ones(10))
        with pytest.raises(UpdatesPending, match="nothing of this call was added") as raised:
            buffer.add("a", [99], [1.0])
        assert raised.value.pending == 10
        gate.open()
    assert ("a", "y", 99) not in sink.applied


def test_one_add_larger_than_may_wait_goes_alone() -> None:
    sink = Sink()
    with UpdateBuffer(sink, max_updates=7, max_pending=10) as buffer:
        buffer.add("a", range_of(50), np.ones(50))
    assert len(sink.applied) == 50
    assert max(len(call.columns[0]) for call in sink.calls) == 7


def test_what_is_refused_is_told_by_the_next_call_once() -> None:
    sink = Sink(before=no_such_sketch)
    buffer = UpdateBuffer(sink, max_updates=2, max_delay=NEVER)
    buffer.add("a", [1, 2], [1.0, 1.0])
    with pytest.raises(UpdatesRefused) as raised:
        buffer.flush()
    assert raised.value.code == "sketch_not_found"
    assert raised.value.status == 404
    assert isinstance(raised.value.__cause__, NotFound)
    assert [(one.sketch, one.operand, one.numbers) for one in raised.value.refusals] == [
        ("a", "y", 2)
    ]
    assert "y of a: no such sketch (2 increments of a dropped)" in str(raised.value)
    assert (buffer.refused, buffer.pending) == (2, 0)
    buffer.flush()
    buffer.close()


def test_an_add_that_raises_for_those_before_adds_nothing() -> None:
    sink = Sink(before=lambda call: no_such_sketch(call) if call.sketch == "a" else None)
    buffer = UpdateBuffer(sink, max_updates=1)
    buffer.add("a", [1], [1.0])
    while not buffer.refused:
        threading.Event().wait(0.001)
    with pytest.raises(UpdatesRefused):
        buffer.add("b", [2], [1.0])
    assert buffer.pending == 0
    buffer.add("b", [3], [1.0])
    buffer.close()
    assert sink.applied == {("b", "y", 3): 1.0}


def test_close_tells_what_was_refused() -> None:
    buffer = UpdateBuffer(Sink(before=no_such_sketch), max_delay=NEVER)
    buffer.add("a", range_of(4), np.ones(4))
    buffer.add("b", range_of(2), np.ones(2))
    with pytest.raises(UpdatesRefused, match="6 increments of a, b dropped"):
        buffer.close()


def test_on_error_is_told_instead_and_before_flush_returns() -> None:
    told: list[tuple[Batch, BaseException]] = []
    sink = Sink(before=no_such_sketch)
    with UpdateBuffer(sink, on_error=lambda *of: told.append(of), max_delay=NEVER) as buffer:
        buffer.add("a", [1, 2], [3.0, 4.0])
        buffer.flush()
        assert len(told) == 1
    batch, error = told[0]
    assert isinstance(error, NotFound)
    assert (batch.sketch, batch.operand, batch.numbers) == ("a", "y", 2)
    assert batch.columns()["delta"].tolist() == [3.0, 4.0]


def test_on_error_may_add_even_when_there_is_no_room() -> None:
    def elsewhere(batch: Batch, error: BaseException) -> None:
        index, delta = batch.columns().values()
        buffer.add("spare", index, delta)

    sink = Sink(before=lambda call: no_such_sketch(call) if call.sketch == "a" else None)
    buffer = UpdateBuffer(sink, max_pending=3, on_error=elsewhere, senders=1)
    buffer.add("a", range_of(3), np.ones(3))
    buffer.flush()
    buffer.close()
    assert {place[0] for place in sink.applied} == {"spare"}


def test_what_on_error_raises_is_told_by_the_next_call() -> None:
    def fails(batch: Batch, error: BaseException) -> None:
        raise SystemExit("mine") from error

    buffer = UpdateBuffer(Sink(before=no_such_sketch), on_error=fails)
    buffer.add("a", [1], [1.0])
    with pytest.raises(UpdatesRefused, match="mine"):
        buffer.flush()
    buffer.close()


def test_on_error_must_not_wait_for_itself() -> None:
    buffer = UpdateBuffer(Sink(before=no_such_sketch), on_error=lambda batch, error: buffer.flush())
    buffer.add("a", [1], [1.0])
    with pytest.raises(UpdatesRefused, match="on_error must not flush"):
        buffer.flush()
    buffer.close()


def test_a_fault_of_the_client_is_told_and_ends_no_thread() -> None:
    def fault(call: Call) -> None:
        if call.sketch == "a":
            raise ZeroDivisionError("division by zero")

    sink = Sink(before=fault)
    buffer = UpdateBuffer(sink, senders=1)
    buffer.add("a", [1], [1.0])
    with pytest.raises(UpdatesRefused, match="client_failed: y of a: division by zero"):
        buffer.flush()
    buffer.add("b", [1], [1.0])
    buffer.close()
    assert sink.applied == {("b", "y", 1): 1.0}


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_flush_tells_that_the_service_is_away_and_the_next_one_counts_once(where: str) -> None:
    sink = Sink()
    setattr(sink, where, away)
    with UpdateBuffer(sink, max_delay=NEVER) as buffer:
        buffer.add("a", [1, 2], [1.0, 2.0])
        with pytest.raises(
            UpdatesPending, match=r"2 increments wait.*not now.*they stay"
        ) as raised:
            buffer.flush()
        assert isinstance(raised.value.__cause__, Unavailable)
        assert buffer.pending == 2
        buffer.add("a", [1], [1.0])
        setattr(sink, where, lambda call: None)
        buffer.flush(PATIENCE)
        assert buffer.sent == 3
    assert sink.applied == {("a", "y", 1): 2.0, ("a", "y", 2): 2.0}
    assert len({call.key for call in sink.calls}) == 2


def test_a_flush_with_time_waits_through_failures() -> None:
    sink = Sink()
    failures = iter([True, True])

    def twice(call: Call) -> None:
        if next(failures, False):
            away(call)

    sink.before = twice
    with UpdateBuffer(sink) as buffer:
        buffer.add("a", [1], [1.0])
        buffer.flush(PATIENCE)
    assert len(sink.calls) == 3
    assert sink.applied == {("a", "y", 1): 1.0}


def test_close_says_what_is_lost_when_its_time_is_over() -> None:
    buffer = UpdateBuffer(Sink(before=away))
    buffer.add("a", [1, 2], [1.0, 1.0])
    with pytest.raises(UpdatesPending, match=r"2 increments wait .*they are lost") as raised:
        buffer.close(0.01)
    assert raised.value.pending == 2
    buffer.close()
    with pytest.raises(ValueError, match="the buffer is closed"):
        buffer.add("a", [1], [1.0])
    with pytest.raises(ValueError, match="the buffer is closed"):
        buffer.flush()


def test_close_gives_what_is_lost_to_on_error() -> None:
    told: list[tuple[Batch, BaseException]] = []
    buffer = UpdateBuffer(Sink(before=away), on_error=lambda *of: told.append(of))
    buffer.add("a", [1, 2], [1.0, 1.0])
    buffer.close()
    assert [(batch.numbers, type(error)) for batch, error in told] == [(2, Unavailable)]


def test_an_add_that_meets_a_close_is_refused_or_sent() -> None:
    gate = Gate()
    sink = Sink(before=gate)
    buffer = UpdateBuffer(sink)
    buffer.add("a", [1], [1.0])
    closing = Thread(buffer.close)
    closing.start()
    added = 1
    with contextlib.suppress(ValueError):  # the buffer is closed
        while True:
            buffer.add("a", [1], [1.0])
            added += 1
    gate.open()
    closing.finish()
    assert sink.applied == {("a", "y", 1): float(added)}


def test_what_on_error_adds_while_the_buffer_closes_is_sent() -> None:
    def elsewhere(batch: Batch, error: BaseException) -> None:
        index, delta = batch.columns().values()
        buffer.add("spare", index, delta)

    sink = Sink(before=lambda call: no_such_sketch(call) if call.sketch == "a" else None)
    buffer = UpdateBuffer(sink, on_error=elsewhere)
    buffer.add("a", [1], [1.0])
    buffer.close()
    assert sink.applied == {("spare", "y", 1): 1.0}


def test_equal_coordinates_are_summed_when_that_is_asked_for() -> None:
    sink = Sink()
    with UpdateBuffer(sink, coalesce=True, max_delay=NEVER) as buffer:
        for _ in range(100):
            buffer.add("a", [7, 8], [0.25, 1.0])
        buffer.flush()
        assert buffer.sent == 200
    assert [call.columns[0].tolist() for call in sink.calls] == [[7, 8]]
    assert sink.applied == {("a", "y", 7): 25.0, ("a", "y", 8): 100.0}


def test_bad_columns_are_refused_at_once_by_name() -> None:
    with UpdateBuffer(Sink()) as buffer:
        with pytest.raises(ValueError, match="delta: has 1 items, index has 2"):
            buffer.add("a", [1, 2], [1.0])
        assert buffer.pending == 0
    with pytest.raises(ValueError, match="senders: must be at least 1"):
        UpdateBuffer(Sink(), senders=0)


def test_a_forgotten_buffer_warns_and_sends_all_the_same() -> None:
    came = threading.Event()
    gate = Gate()
    sink = Sink(before=gate, after=lambda call: came.set())
    buffer = UpdateBuffer(sink, max_delay=0.001)
    buffer.add("a", [1, 2], [1.0, 1.0])
    threads = list(buffer._sending._threads)
    with pytest.warns(ResourceWarning, match="was not closed and 2 increments still wait"):
        del buffer
    gate.open()
    assert came.wait(PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_forgotten_buffer_with_nothing_to_send_ends_in_silence() -> None:
    buffer = UpdateBuffer(Sink())
    buffer.add("a", [1], [1.0])
    buffer.flush()
    threads = list(buffer._sending._threads)
    del buffer
    gc.collect()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


_AT_EXIT = """
import sys
from service.client import buffer as module
from service.client.buffer import UpdateBuffer
from tests.client.sink import Sink
from service.client.errors import Unavailable

module.EXIT_SECONDS = 0.05 if sys.argv[1] == "away" else 60.0
def after(call): print("sent", call.columns[1].tolist(), flush=True)
def away(call): raise Unavailable("unavailable", "not now")
buffer = UpdateBuffer(Sink(before=away) if sys.argv[1] == "away" else Sink(after=after),
                      max_delay=float("inf"))
buffer.add("a", [1, 2], [3.0, 4.0])
"""


def at_exit(how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _AT_EXIT, how],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip


def test_the_end_of_the_interpreter_sends_what_waits() -> None:
    assert at_exit("there").stdout == "sent [3.0, 4.0]\n"


def test_the_end_of_the_interpreter_waits_no_longer_than_it_says_and_tells_what_is_lost() -> None:
    assert "2 increments of an UpdateBuffer that was not closed are lost" in at_exit("away").stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_and_sends_nothing() -> None:
    sink = Sink()
    with UpdateBuffer(sink, max_delay=NEVER) as buffer:
        buffer.add("a", [1], [1.0])
        child = os.fork()
        if child == 0:  # no assertions of pytest here: only the exit status is seen
            try:
                buffer.add("a", [2], [1.0])
            except RuntimeError as error:
                os._exit(0 if "does not cross a fork" in str(error) else 1)
            os._exit(2)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    assert sink.applied == {("a", "y", 1): 1.0}
