"""Small specs and streams that the tests of sketch_core share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sketch_core.batch import Batch, Columns, quantise
from sketch_core.resolve import resolve
from sketch_core.sketch import Sketch, new_sketch
from sketch_core.spec import SHAPE_FIELDS, Spec
from tests.sketch_core.reference import Increment

#: Tables so small that everything collides: cells matter here, not answers.
TINY: dict[str, Any] = {"width": 4, "upper_width": 3, "estimate_width": 2, "depth": 3}


def spec_of(kind: str = "vector", **fields: Any) -> Spec:
    """A spec with a fixed seed, by a request's fields; n, d and the like go into the shape."""
    shape = {name: fields.pop(name) for name in SHAPE_FIELDS[kind] if name in fields}
    request = {"kind": kind, "shape": shape, "seed": 20_251_003, **fields}
    if "power" in request:
        request["distribution"] = {"power": request.pop("power")}
    return resolve(request)


def entries(spec: Spec, operand: str, increments: Sequence[Increment]) -> Batch:
    """A batch of single numbers that are whole quanta: (coordinate, column, quanta)."""
    delta = np.array(
        [math.ldexp(float(quanta), -spec.quantum_bits) for _, _, quanta in increments]
    ).reshape(-1)
    first = np.array([i for i, _, _ in increments], dtype=np.uint64)
    if not spec.operand(operand).by_index:
        column = np.array([j for _, j, _ in increments], dtype=np.int64)
        columns = Columns(operand, row=first, column=column, delta=delta)
    else:
        columns = Columns(operand, index=first, delta=delta)
    batch, underflowed = quantise(spec, columns)
    assert underflowed == 0
    return batch


def rows(spec: Spec, increments: Sequence[tuple[int, Sequence[int]]], operand: str = "A") -> Batch:
    """A batch of whole rows of an operand: (row, its quanta)."""
    values = np.array([list(quanta) for _, quanta in increments], dtype=np.float64)
    columns = spec.operand(operand).columns
    values = np.ldexp(values.reshape(len(increments), columns), -spec.quantum_bits)
    row = np.array([i for i, _ in increments], dtype=np.uint64)
    batch, underflowed = quantise(spec, Columns(operand, row=row, values=values))
    assert underflowed == 0
    return batch


def vector_batch(spec: Spec, values: dict[int, float] | Sequence[float]) -> Batch:
    """A batch of y from real increments by coordinate."""
    pairs = values.items() if isinstance(values, dict) else enumerate(values)
    index, delta = zip(*pairs, strict=True)
    columns = Columns("y", index=np.array(index, dtype=np.uint64), delta=np.array(delta, float))
    return quantise(spec, columns)[0]


def row_batch(spec: Spec, values: Mapping[int, Sequence[float]], operand: str = "A") -> Batch:
    """A batch of rows of an operand from real numbers."""
    row = np.array(list(values), dtype=np.uint64)
    numbers = np.array(list(values.values()), dtype=np.float64)
    return quantise(spec, Columns(operand, row=row, values=numbers))[0]


def x_batch(spec: Spec, values: Sequence[float]) -> Batch:
    """A batch of a streamed x."""
    index = np.arange(len(values), dtype=np.uint64)
    return quantise(spec, Columns("x", index=index, delta=np.array(values, float)))[0]


def sketch_of(spec: Spec, batches: Iterable[Batch]) -> Sketch:
    """A new sketch after one `apply` a batch."""
    sketch = new_sketch(spec)
    for batch in batches:
        sketch.apply([batch])
    return sketch
