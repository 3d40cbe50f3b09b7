"""Which batch goes when: the rules of a buffer, without threads and with time told to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.client.buffer_batches import Batch, Layout, coalesced, read
from service.client.buffer_queue import BufferQueue
from service.client.errors import RateLimited, Unavailable


def queue(**limits: Any) -> BufferQueue:
    return BufferQueue(**{"max_updates": 4, "max_delay": 1.0, "max_pending": 100, **limits})


def put(
    held: BufferQueue, sketch: str, count: int, now: float = 0.0, first: int = 0, operand: str = "y"
) -> bool:
    """`count` increments at coordinates from `first` on."""
    index = np.arange(first, first + count)
    columns = read("index", (index, np.ones(count)))
    return held.add(sketch, operand, "index", columns, now)


def sent(batch: Batch | None) -> tuple[str, list[int]]:
    assert batch is not None
    return batch.sketch, batch.columns()["index"].tolist()


def test_a_batch_goes_when_it_is_old_enough_and_not_before() -> None:
    held = queue()
    assert put(held, "a", 1, now=10.0), "somebody must be woken"
    assert not put(held, "a", 1, now=10.5, first=1), "the time it goes at is the same"
    assert held.take(10.9) is None
    assert held.wait_seconds(10.9) == pytest.approx(0.1)
    assert sent(held.take(11.0)) == ("a", [0, 1])


def test_a_batch_goes_at_once_when_it_is_full_and_the_rest_waits_its_turn() -> None:
    held = queue()
    assert put(held, "a", 3)
    assert put(held, "a", 7, first=3)
    first = held.take(0.0)
    assert sent(first) == ("a", [0, 1, 2, 3])
    assert held.take(0.0) is None, "one at a time"
    assert first is not None
    held.done(first)
    second = held.take(0.0)
    assert sent(second) == ("a", [4, 5, 6, 7])
    assert second is not None
    held.done(second)
    assert held.take(0.5) is None
    assert sent(held.take(1.0)) == ("a", [8, 9])
    assert (held.sent, held.pending) == (8, 2)


def test_other_lanes_go_meanwhile() -> None:
    held = queue()
    put(held, "a", 4)
    put(held, "a", 4, operand="x")
    put(held, "b", 4)
    taken = [held.take(0.0) for _ in range(4)]
    assert [(batch.sketch, batch.operand) for batch in taken if batch] == [
        ("a", "y"), ("a", "x"), ("b", "y"),
    ]  # fmt: skip
    assert len({batch.key for batch in taken if batch}) == 3


def test_a_batch_that_could_not_be_taken_goes_again_first_and_unchanged() -> None:
    held = queue()
    put(held, "a", 2)
    put(held, "a", 4, first=2)
    first = held.take(0.0)
    assert first is not None
    before = first.columns()
    held.put_back(first, Unavailable("unavailable", "not now"), 5.0)
    put(held, "a", 4, first=6, now=5.0)
    assert held.take(5.05) is None, "nothing overtakes it"
    again = held.take(5.1)
    assert again is first
    assert again.columns() is before
    held.put_back(first, Unavailable("unavailable", "not now"), 6.0)
    assert held.take(6.15) is None, "the pause has doubled"
    assert held.take(6.2) is first
    held.put_back(first, RateLimited("rate_limited", "slow", retry_after=30.0), 7.0)
    assert held.take(36.9) is None
    assert held.take(37.0) is first
    for _ in range(100):
        held.put_back(first, Unavailable("unavailable", "not now"), 40.0)
        assert held.take(45.0) is first, "never longer than five seconds"


def test_another_layout_or_width_ends_a_batch() -> None:
    held = queue()

    def add(layout: Layout, *given: object) -> None:
        held.add("m", "A", layout, read(layout, given), 0.0)

    add("entries", [0], [0], [1.0])
    add("rows", [1], [[1.0, 2.0]])
    add("rows", [2], [[1.0]])
    layouts = []
    while (batch := held.take(1.0)) is not None:
        layouts.append((batch.layout, [part.shape for part in batch.columns().values()]))
        held.done(batch)
    assert layouts == [
        ("entries", [(1,), (1,), (1,)]), ("rows", [(1,), (1, 2)]), ("rows", [(1,), (1, 1)]),
    ]  # fmt: skip


def test_rows_are_counted_by_their_numbers_and_cut_between_them() -> None:
    held = queue(max_updates=5)
    held.add("m", "A", "rows", read("rows", ([0, 1, 2, 3, 4], np.ones((5, 2)))), 0.0)
    lengths = []
    while (batch := held.take(1.0)) is not None:
        lengths.append((batch.numbers, len(batch.columns()["row"])))
        held.done(batch)
    assert lengths == [(4, 2), (4, 2), (2, 1)]
    held.add("m", "A", "rows", read("rows", ([0], np.ones((1, 9)))), 2.0)
    wide = held.take(2.0)
    assert wide is not None, "one row is never cut"
    assert wide.numbers == 9


def test_columns_are_copied_and_types_that_differ_meet_without_loss() -> None:
    held = queue(max_updates=10)
    index, delta = np.array([2**53 + 1, 3], np.int64), np.array([0.5, 1.5], np.float16)
    held.add("a", "y", "index", read("index", (index, delta)), 0.0)
    index[:], delta[:] = 0, 0
    held.add("a", "y", "index", read("index", ([2**64 - 1], [1e-9])), 0.0)
    batch = held.take(1.0)
    assert batch is not None
    assert batch.columns()["index"].dtype == np.uint64
    assert batch.columns()["index"].tolist() == [2**53 + 1, 3, 2**64 - 1]
    assert batch.columns()["delta"].tolist() == [0.5, 1.5, 1e-9]


def test_a_flush_waits_for_what_was_there_and_not_for_what_came_later() -> None:
    held = queue()
    put(held, "a", 1)
    put(held, "b", 1)
    serial = held.seal_all(0.0)
    put(held, "a", 1, first=9)
    taken = [held.take(0.0), held.take(0.0)]
    assert {sent(batch)[0] for batch in taken} == {"a", "b"}
    for batch in taken:
        assert batch is not None
        assert not held.settled(serial)
        held.done(batch)
    assert held.settled(serial)
    assert held.pending == 1
    assert held.settled(0)


def test_a_flush_is_stuck_once_each_lane_it_waits_for_has_failed_since() -> None:
    held = queue()
    for name in "ab":
        put(held, name, 4)
    first, second = held.take(0.0), held.take(0.0)
    assert first is not None
    assert second is not None
    error = Unavailable("unavailable", "not now")
    held.put_back(first, error, 0.0)
    serial, since = held.seal_all(0.0), held.failures
    put(held, "c", 1, now=9.0)  # later: it is not waited for
    assert not held.stuck(serial, since), "what failed before does not count"
    held.put_back(second, error, 0.0)
    assert not held.stuck(serial, since), "the other is still to be tried"
    assert held.take(1.0) is first
    held.put_back(first, error, 1.0)
    assert held.stuck(serial, since)
    assert held.waiting_upto(serial) == 8
    assert held.take(2.0) is second
    held.done(second)
    assert held.stuck(serial, since)
    assert held.waiting_upto(serial) == 4


def test_room_is_for_increments_and_one_larger_add_goes_alone() -> None:
    held = queue(max_pending=5)
    assert held.has_room(9)
    put(held, "a", 3)
    assert held.has_room(2)
    assert not held.has_room(3)


def test_nothing_is_opened_for_nothing() -> None:
    held = queue()
    assert not held.add("a", "y", "index", read("index", ([], [])), 0.0)
    assert held.wait_seconds(0.0) is None
    assert held.settled(held.seal_all(0.0))


@pytest.mark.parametrize(
    "limits, says",
    [
        ({"max_updates": 0}, "max_updates: must be at least 1"),
        ({"max_delay": -1.0}, "max_delay: must not be negative"),
        ({"max_delay": float("nan")}, "max_delay: must not be negative"),
        ({"max_pending": 0}, "max_pending: must be at least 1"),
    ],
)  # fmt: skip
def test_limits_that_make_no_sense_are_refused_by_name(limits: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        queue(**limits)


@pytest.mark.parametrize(
    "layout, given, says",
    [
        ("index", ([1, 2], [1.0]), "delta: has 1 items, index has 2"),
        ("index", ([[1, 2]], [1.0]), "index: must have one dimension"),
        ("entries", ([1], [1, 2], [1.0]), "column: has 2 items, row has 1"),
        ("entries", ([1], [-1], [1.0]), "column: must not be negative"),
        ("rows", ([1, 2], [[1.0]]), "values: has 1 items, row has 2"),
        ("rows", ([1], [1.0]), "values: must have 2 dimensions"),
    ],
)  # fmt: skip
def test_columns_that_do_not_fit_are_refused_by_name(
    layout: Layout, given: tuple[object, ...], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        read(layout, given)


def test_equal_coordinates_are_summed(rng: np.random.Generator) -> None:
    row, column = rng.integers(0, 7, 500), rng.integers(0, 5, 500)
    delta = rng.integers(-8, 9, 500).astype(np.float32)
    whole = np.zeros((7, 5))
    np.add.at(whole, (row, column), delta)
    entries = coalesced("entries", {"row": row, "column": column, "delta": delta})
    again = np.zeros((7, 5))
    again[entries["row"], entries["column"]] = entries["delta"]
    assert len(entries["delta"]) == 35
    np.testing.assert_array_equal(again, whole)
    index = coalesced("index", {"index": row, "delta": delta})
    np.testing.assert_array_equal(index["delta"], whole.sum(1))
    np.testing.assert_array_equal(index["index"], np.arange(7))
    values = rng.integers(-8, 9, (500, 5)).astype(np.float16)
    summed = np.zeros((7, 5))
    np.add.at(summed, row, values.astype(np.float64))
    rows = coalesced("rows", {"row": row, "values": values})
    np.testing.assert_array_equal(rows["values"], summed)
    assert rows["values"].dtype == np.float64


def test_coordinates_that_differ_are_left_as_they_are() -> None:
    columns = {"index": np.array([3, 1]), "delta": np.array([1, 2], np.float16)}
    assert coalesced("index", columns) is columns
