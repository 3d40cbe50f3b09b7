"""Batches are proven exact together only if they are one by one, whatever the repetitions."""

from __future__ import annotations

import numpy as np

from sketch_core.batch import Batch, Columns, quantise
from sketch_core.codec import to_snapshot
from sketch_core.operand_tables import GROUP_NUMBERS
from sketch_core.resolve import resolve
from sketch_core.scaling import Race
from sketch_core.sketch import new_sketch
from sketch_core.spec import Spec


def test_each_repetition_has_a_bound_of_its_own() -> None:
    """Two increments near the limit, each in another repetition: no cell holds both."""
    request = {"kind": "vector", "shape": {"n": 4096}, "method": "sketch", "quantum_bits": 0}
    spec = resolve(request | {"seed": 1, "repetitions": 2})
    every = np.arange(spec.n, dtype=np.uint64)
    first, second = (Race(spec.seed, draw, 2.0, spec.clip).scales(every) for draw in (0, 1))
    pair = int(np.argmax(first / second)), int(np.argmax(second / first))
    batches = [
        heavy(spec, pair[0], 0.6 * 2.0**63 / float(first[pair[0]])),
        heavy(spec, pair[1], 0.6 * 2.0**63 / float(second[pair[1]])),
    ]
    together, alone = new_sketch(spec), new_sketch(spec)
    together.apply(batches)
    for batch in batches:
        alone.apply([batch])
    assert together.exact
    assert alone.exact
    assert to_snapshot(together) == to_snapshot(alone)


def test_a_long_log_in_groups_is_the_sum_of_its_batches(rng: np.random.Generator) -> None:
    """More numbers than are joined at a time, in batches that do not fill a group evenly."""
    request = {"kind": "matrix", "shape": {"n": 5000, "d": 3}, "method": "sketch", "seed": 1}
    spec = resolve(request)
    batches = []
    for size in (GROUP_NUMBERS // 3 - 7, 5, GROUP_NUMBERS // 3, 11, GROUP_NUMBERS // 2, 1, 999):
        row, column = rng.integers(0, spec.n, size), rng.integers(0, 3, size)
        entries = Columns("A", row=row, column=column, delta=rng.normal(size=size))
        batches.append(quantise(spec, entries)[0])
    together, alone = new_sketch(spec), new_sketch(spec)
    together.apply(batches)
    for batch in batches:
        alone.apply([batch])
    assert to_snapshot(together) == to_snapshot(alone)


def heavy(spec: Spec, index: int, amount: float) -> Batch:
    """One increment."""
    return quantise(spec, Columns("y", index=np.array([index]), delta=np.array([amount])))[0]
