"""Log entries: folding many at once is folding each, states included."""

from __future__ import annotations

import numpy as np
import pytest

from service import log_entries
from service.errors import Unavailable
from service.ports import StoredEntry
from sketch_core.batch import Batch, Columns, encode, quantise
from sketch_core.codec import to_snapshot
from sketch_core.resolve import resolve
from sketch_core.sketch import new_sketch


def some_columns(rng: np.random.Generator, count: int) -> Columns:
    """A batch of a matrix of 1000 rows and 3 columns, in one of its three layouts."""
    layout, row = rng.integers(3), rng.integers(0, 1000, count)
    if layout == 0:
        return Columns("x", index=row % 3, delta=rng.standard_normal(count))
    if layout == 1:
        return Columns("A", row=row, values=rng.standard_normal((count, 3)))
    return Columns("A", row=row, column=row % 3, delta=rng.standard_normal(count))


@pytest.mark.parametrize("largest", [1, 20, 9000])
def test_entries_fold_to_what_their_batches_are_one_by_one(
    largest: int, rng: np.random.Generator
) -> None:
    request = {"kind": "matrix", "shape": {"n": 1000, "d": 3}, "method": "sketch", "width": 64}
    spec = resolve(request | {"seed": 5})
    folded, single = new_sketch(spec), new_sketch(spec)
    entries = []
    for position in range(1, 30):
        batch = quantise(spec, some_columns(rng, int(rng.integers(1, largest + 1))))[0]
        single.apply([batch])
        payload = log_entries.pack_batch(encode(batch))
        entries.append(StoredEntry(position, "", payload, None))
    state = to_snapshot(single)
    single.merge(single.copy(), {"A"})
    entries.append(StoredEntry(30, "", log_entries.pack_state({"A"}), state))
    log_entries.fold(folded, entries)
    assert to_snapshot(folded) == to_snapshot(single)
    assert folded.exact == single.exact


def test_a_tensor_folds_to_what_its_entries_are_one_by_one(rng: np.random.Generator) -> None:
    shape = {"n1": 300, "n2": 500, "d1": 3, "d2": 2}
    request = {"kind": "tensor", "shape": shape, "method": "sketch", "samples": 3, "width": 64}
    spec = resolve(request | {"seed": 5})
    widths = {operand.name: (operand.rows, operand.columns) for operand in spec.operands}
    folded, single = new_sketch(spec), new_sketch(spec)
    entries: list[StoredEntry] = []
    for position in range(1, 40):
        name = ("A1", "A2", "X")[int(rng.integers(3))]
        rows, columns = widths[name]
        if position % 7 == 0:
            state = to_snapshot(single)
            single.merge(single.copy(), {name})
            entries.append(StoredEntry(position, "", log_entries.pack_state({name}), state))
            continue
        row = rng.integers(0, rows, 20)
        if position % 2:
            update = Columns(name, row=row, values=rng.standard_normal((20, columns)))
        else:
            update = Columns(name, row=row, column=row % columns, delta=rng.standard_normal(20))
        batch = quantise(spec, update)[0]
        single.apply([batch])
        entries.append(StoredEntry(position, "", log_entries.pack_batch(encode(batch)), None))
    cut = int(rng.integers(1, len(entries)))
    for part in (entries[:cut], entries[cut:]):
        log_entries.fold(folded, part)
    assert to_snapshot(folded) == to_snapshot(single)


@pytest.mark.parametrize("operands", [{"A1", "A2"}, {"y"}, {"A1", "A"}, {""}])
def test_an_entry_that_adds_no_one_operand_of_a_tensor_is_damaged(operands: set[str]) -> None:
    shape = {"n1": 3, "n2": 5, "d1": 3, "d2": 2}
    sketch = new_sketch(resolve({"kind": "tensor", "shape": shape, "seed": 5}))
    before = to_snapshot(sketch)
    entry = StoredEntry(1, "", log_entries.pack_state(operands), before)
    with pytest.raises(Unavailable) as refused:
        log_entries.fold(sketch, [entry])
    assert refused.value.code == log_entries.DAMAGED
    assert to_snapshot(sketch) == before


def test_no_entries_change_nothing() -> None:
    sketch = new_sketch(resolve({"kind": "vector", "shape": {"n": 9}, "seed": 5}))
    before = to_snapshot(sketch)
    log_entries.fold(sketch, [])
    assert to_snapshot(sketch) == before


def test_states_between_updates_keep_their_place() -> None:
    """Cells that come and go stay below 2^63 only in the order of the log."""
    request = {"kind": "vector", "shape": {"n": 9}, "method": "exact", "quantum_bits": 0}
    spec = resolve(request | {"seed": 5})

    def batch_of(amount: float) -> Batch:
        columns = Columns("y", index=np.array([3]), delta=np.array([amount]))
        return quantise(spec, columns)[0]

    large = 0.9 * 2.0**62
    negative = new_sketch(spec)
    negative.apply([batch_of(-large)])
    update = log_entries.pack_batch(encode(batch_of(large)))
    added = log_entries.pack_state({"y"}), to_snapshot(negative)
    entries = [
        StoredEntry(at, "", *(added if at % 2 == 0 else (update, None))) for at in range(1, 8)
    ]
    together, alone = new_sketch(spec), new_sketch(spec)
    log_entries.fold(together, entries)
    for entry in entries:
        log_entries.fold(alone, [entry])
    assert alone.exact
    assert to_snapshot(together) == to_snapshot(alone)
