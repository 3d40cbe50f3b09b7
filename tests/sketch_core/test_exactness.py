"""`exact`: never a wrong cell under it, and once lost it does not come back.

The oracle is the reference's unbounded integers. "Right" means equal to them;
a sketch that has given up may hold anything congruent modulo 2^64.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sketch_core.batch import Batch
from sketch_core.codec import from_snapshot, to_snapshot
from sketch_core.sketch import Sketch, new_sketch
from sketch_core.spec import Spec
from sketch_core.state import LinearState
from tests.sketch_core import reference
from tests.sketch_core.reference import Increment
from tests.sketch_core.streams import TINY, entries, rows, sketch_of, spec_of

LIMIT = 1 << 63
SPECS = {
    "p=2": spec_of(n=4, power=2, method="sketch", quantum_bits=0, repetitions=2, **TINY),
    "p=1": spec_of(n=1 << 63, power=1, method="sketch", quantum_bits=0, **TINY),
    "exact": spec_of(n=4, method="exact", quantum_bits=0),
    "rows": spec_of("matrix", n=4, d=2, method="sketch", quantum_bits=0, **TINY),
    "fixed": spec_of("matrix", n=4, d=2, method="sketch", quantum_bits=0, x=[1, -3], **TINY),
}
every = pytest.mark.parametrize("name", SPECS)
#: Sizes that double precision keeps whole, on both sides of every limit.
HEAVY = sorted(
    {
        sign * (base + step * (1 << max(0, bits - 52)))
        for bits in (0, 8, 30, 36, 40, 44, 47, 48, 49, 50, 52, 56, 59, 60, 61)
        for base in (1 << bits,)
        for step in (-1, 0, 1)
        for sign in (1, -1)
    }
    - {0}
)


def _known(spec: Spec, increments: list[Increment]) -> list[int]:
    cells = reference.dense_cells if spec.method == "exact" else reference.sketch_cells
    collapsed = [
        (i, 0 if spec.x is not None else j, q * (spec.x[j] if spec.x is not None else 1))
        for i, j, q in increments
    ]
    return [int(c) for array in cells(spec, collapsed).values() for c in array.ravel()]


def _held(sketch: Sketch) -> list[int]:
    main = next(iter(sketch.arrays().values()))
    return [int(cell) for array in main.values() for cell in array.ravel()]


def _lost(sketch: Sketch) -> bool:
    return not sketch.exact


def _wrapped(value: int) -> int:
    return (value + LIMIT) % (2 * LIMIT) - LIMIT


class HeavyStream(RuleBasedStateMachine):
    """Heavy increments by every door, beside big integers: batches, merges, copies, snapshots."""

    spec: Spec

    @initialize()
    def start(self) -> None:
        self.sketch = new_sketch(self.spec)
        self.increments: list[Increment] = []
        self.lost = False

    @property
    def operand(self) -> str:
        return "y" if self.spec.kind == "vector" else "A"

    def _batch(self, found: list[tuple[int, int]]) -> tuple[Batch, list[Increment]]:
        limit = 1 << (61 - 14 if self.spec.collapsed else 62)
        ones = [
            (i if i < 3 else self.spec.n - 1, abs(q) % self.spec.d, q)
            for i, q in found
            if abs(q) * 4 < limit
        ]
        return entries(self.spec, self.operand, ones), ones

    heavy = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(HEAVY)), max_size=4)

    @rule(found=heavy)
    def add(self, found: list[tuple[int, int]]) -> None:
        batch, ones = self._batch(found)
        self.sketch.apply([batch])
        self.increments += ones

    @rule(found=heavy, more=heavy)
    def add_two_together(self, found: list[tuple[int, int]], more: list[tuple[int, int]]) -> None:
        first, ones = self._batch(found)
        second, twos = self._batch(more)
        self.sketch.apply([first, second])
        self.increments += ones + twos

    @rule(i=st.integers(0, 2), amount=st.sampled_from(HEAVY), share=st.sampled_from([0, 1, -1]))
    def add_row(self, i: int, amount: int, share: int) -> None:
        if self.spec.kind == "matrix" and abs(amount) < 1 << 44:
            self.sketch.apply([rows(self.spec, [(i, (amount, share * amount))])])
            self.increments += [(i, 0, amount), (i, 1, share * amount)]

    @rule(found=heavy)
    def merge(self, found: list[tuple[int, int]]) -> None:
        batch, ones = self._batch(found)
        self.sketch.merge(sketch_of(self.spec, [batch]))
        self.increments += ones

    @rule()
    def merge_with_itself(self) -> None:
        if len(self.increments) < 64:
            self.sketch.merge(self.sketch)
            self.increments += self.increments

    @rule()
    def delete_all(self) -> None:
        back = [(i, j, -q) for i, j, q in self.increments]
        self.sketch.apply([entries(self.spec, self.operand, back)])
        self.increments = []

    @rule()
    def through_bytes(self) -> None:
        self.sketch = from_snapshot(to_snapshot(self.sketch), self.spec)

    @rule()
    def through_a_copy(self) -> None:
        self.sketch = self.sketch.copy()

    @invariant()
    def cells_are_right_while_exact(self) -> None:
        if not hasattr(self, "sketch"):
            return
        known = _known(self.spec, self.increments)
        held = _held(self.sketch)
        if self.sketch.exact:
            assert not self.lost, "exactness came back"
            assert held == known
        else:
            self.lost = True
            assert held == [_wrapped(value) for value in known]


def _machine(name: str) -> type[RuleBasedStateMachine]:
    class Named(HeavyStream):
        spec = SPECS[name]

    Named.__name__ = f"HeavyStream_{name}"
    return Named


@every
def test_no_wrong_cell_under_exact(name: str) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        _machine(name), settings=settings(max_examples=25, stateful_step_count=12)
    )


@every
def test_exactness_lasts_as_long_as_it_can_be_proven(name: str) -> None:
    """+v and -v of half the room, a thousand times: the bound is measured again, not added up."""
    spec = SPECS[name]
    operand = "y" if spec.kind == "vector" else "A"
    probe = sketch_of(spec, [entries(spec, operand, [(1, 0, 1)])])
    largest = max(abs(cell) for cell in _held(probe))
    amount = 1 << 60 - largest.bit_length()
    sketch = new_sketch(spec)
    for _ in range(1000):
        sketch.apply([entries(spec, operand, [(1, 0, amount)])])
        sketch.apply([entries(spec, operand, [(1, 0, -amount)])])
    assert sketch.exact
    assert to_snapshot(sketch) == to_snapshot(new_sketch(spec))


@every
@pytest.mark.parametrize("together", [False, True])
def test_many_increments_count_together(name: str, together: bool) -> None:
    """Each alone is nothing; in one batch, or one call, they pass the limit unless it is seen."""
    spec = SPECS[name]
    operand = "y" if spec.kind == "vector" else "A"
    probe = sketch_of(spec, [entries(spec, operand, [(1, 0, 1)])])
    largest = max(abs(cell) for cell in _held(probe))
    amount = 1 << 53 - largest.bit_length()
    ones = [(1, 0, amount)] * 1000
    sketch = new_sketch(spec)
    for part in range(4):
        if together:
            sketch.apply([entries(spec, operand, ones)])
        else:
            sketch.apply([entries(spec, operand, [one]) for one in ones])
        assert _lost(sketch) or _held(sketch) == _known(spec, ones * (part + 1))
    assert _lost(sketch)


@every
def test_exactness_is_lost_for_good(name: str) -> None:
    """Once sums may have wrapped nothing restores it: not deletion, merge, copy or bytes."""
    spec = SPECS[name]
    operand = "y" if spec.kind == "vector" else "A"
    amount = 1 << (46 if spec.collapsed else 60)
    one = entries(spec, operand, [(1, 0, amount)])
    back = entries(spec, operand, [(1, 0, -amount)])
    sketch = new_sketch(spec)
    count = 1
    while sketch.exact:
        sketch.apply([one])
        count += 1
        assert count < 1 << 10
    for _ in range(count):
        sketch.apply([back])
    assert not sketch.exact
    assert not sketch.copy().exact
    assert not from_snapshot(to_snapshot(sketch), spec).exact
    fresh = new_sketch(spec)
    assert not _lost(fresh)
    fresh.merge(sketch)
    assert _lost(fresh)
    sketch.merge(new_sketch(spec))
    assert not sketch.exact


def test_the_bound_is_not_eroded_by_reading_snapshots() -> None:
    """Additions chosen to fill the room, a snapshot read between them, then many ones.

    Near 2^63 a double cannot tell a bound from the bound plus one: a bound that
    starts at the measured maximum, without room for rounding, would stand still
    there while the cell goes on and wraps.
    """
    spec = spec_of(n=1, method="exact", quantum_bits=0)
    sketch, total = new_sketch(spec), 0
    for bits in range(61, -1, -1):
        for _ in range(3):
            trial = from_snapshot(to_snapshot(sketch), spec)
            trial.apply([entries(spec, "y", [(0, 0, 1 << bits)])])
            if trial.exact:
                sketch, total = trial, total + (1 << bits)
                assert _held(sketch) == [total]
                assert total < LIMIT
    for _ in range(3000):
        sketch.apply([entries(spec, "y", [(0, 0, 1)])])
        total += 1
        assert _lost(sketch) or _held(sketch) == [total]


def test_copies_merged_until_they_cannot_be() -> None:
    """Doubling by merge: exact as long as the sum is below 2^63, and not beyond."""
    spec = spec_of(n=1, method="exact", quantum_bits=0)
    sketch = sketch_of(spec, [entries(spec, "y", [(0, 0, 3)])])
    total = 3
    while sketch.exact:
        sketch.merge(sketch)
        total *= 2
        assert _lost(sketch) or _held(sketch) == [total]
    assert LIMIT <= total < 2 * LIMIT


def test_replicas_that_read_snapshots_agree_on_exactness() -> None:
    """The same batches, one replica reading its own snapshot between any two of them."""
    spec = spec_of(n=1, method="exact", quantum_bits=0)
    source = np.random.default_rng(5)
    for _ in range(30):
        straight = restored = new_sketch(spec)
        restored = straight.copy()
        for step in range(6):
            room = LIMIT - abs(_held(straight)[0])
            amount = min(room - (int(room * source.choice([0, 2.0**-19, 2.0**-20, 2.0**-21]))),
                         (1 << 62) - 512)  # fmt: skip
            amount = math.floor(math.ldexp(math.floor(math.ldexp(amount, -10)), 10))
            batch = entries(spec, "y", [(0, 0, amount * (1 if step % 3 else -1))])
            straight.apply([batch])
            restored = from_snapshot(to_snapshot(restored), spec)
            restored.apply([batch])
            assert straight.exact == restored.exact
            assert to_snapshot(straight) == to_snapshot(restored)


@given(st.lists(st.integers(-LIMIT, LIMIT - 1), min_size=1, max_size=5), st.booleans())
def test_a_state_read_from_anywhere_measures_itself(cells: list[int], exact: bool) -> None:
    """Any int64 cells, -2^63 too: what may be added before exactness is lost fits."""
    state = LinearState({"y": {"dense": np.array(cells, dtype=np.int64)}}, exact=exact)
    largest = max(abs(cell) for cell in cells)
    if not exact:
        assert state.grow("y", 2.0**63)
        return
    assert not state.grow("y", float(LIMIT - largest + 1024))
    if largest < LIMIT // 2:
        assert state.grow("y", float(LIMIT // 2) * 0.999)


@pytest.mark.parametrize("method", ["sketch", "exact"])
def test_replicas_that_group_their_log_differently_agree(method: str) -> None:
    """Entries and rows by turns, never beyond the room in this order: one call or five, one state.

    Entries before rows would pass the limit on the way.
    """
    spec = spec_of("matrix", n=4, d=2, method=method, quantum_bits=0, **TINY)
    probe = sketch_of(spec, [entries(spec, "A", [(1, 0, 1)])])
    amount = int(0.45 * LIMIT) // max(abs(cell) for cell in _held(probe)) >> 10 << 10
    up = entries(spec, "A", [(1, 0, amount)])
    down = rows(spec, [(1, (-amount, 0))])
    x = entries(spec, "x", [(0, 0, 1)])
    log = [up, x, down, up, down, x, up]
    straight = sketch_of(spec, log)
    assert straight.exact
    for cut in range(len(log)):
        other = new_sketch(spec)
        other.apply(log[:cut])
        other.apply(log[cut:])
        assert other.exact
        assert to_snapshot(other) == to_snapshot(straight)


def test_both_operands_are_guarded() -> None:
    """A streamed x that may have wrapped takes exactness away as well."""
    spec = spec_of("matrix", n=4, d=2, method="sketch", quantum_bits=0, **TINY)
    sketch = new_sketch(spec)
    for _ in range(7):
        sketch.apply([entries(spec, "x", [(1, 0, 1 << 60)])])
        assert sketch.exact
        assert sketch.arrays()["x"]["dense"].tolist()[0] == 0
    sketch.apply([entries(spec, "x", [(1, 0, 1 << 60)])])
    assert not sketch.exact
