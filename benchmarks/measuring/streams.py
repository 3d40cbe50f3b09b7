"""Specs at their defaults, and streams of updates to fill sketches with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from sketch_core.batch import Batch, Columns, quantise
from sketch_core.resolve import resolve
from sketch_core.sketch import Sketch, new_sketch
from sketch_core.spec import Spec

F64 = npt.NDArray[np.float64]

#: Numbers of a batch, about what one request brings.
BATCH_NUMBERS: Final = 1 << 16


def spec_of(
    kind: str, shape: dict[str, int], seed: int, method: str = "sketch", **rest: object
) -> Spec:
    """A spec at its defaults but for what is given."""
    return resolve({"kind": kind, "shape": shape, "seed": seed, "method": method, **rest})


def index_batch(spec: Spec, index: npt.NDArray[np.integer], delta: F64) -> Batch:
    """Increments of coordinates of a vector."""
    return quantise(spec, Columns("y", index=index, delta=delta))[0]


def row_batch(spec: Spec, operand: str, rows: npt.NDArray[np.integer], values: F64) -> Batch:
    """Increments of whole rows of an operand."""
    return quantise(spec, Columns(operand, row=rows, values=values))[0]


def no_rows(spec: Spec, operand: str) -> Batch:
    """An update that changes an operand, for all a sketch knows, and costs nothing to fold."""
    columns = spec.operand(operand).columns
    return row_batch(spec, operand, np.empty(0, dtype=np.int64), np.empty((0, columns)))


def touched_coordinates(n: int, most: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """All coordinates, or about `most` random ones where there are more; none twice."""
    if n <= most:
        return np.arange(n)
    return np.unique(rng.integers(0, n, most))


def filled_vector(spec: Spec, index: npt.NDArray[np.int64], delta: F64) -> Sketch:
    """A sketch of a vector after these increments."""
    sketch = new_sketch(spec)
    for part in _parts(index.size, BATCH_NUMBERS, "vector"):
        sketch.apply([index_batch(spec, index[part], delta[part])])
    return sketch


def fill_rows(sketch: Sketch, operand: str, values: F64) -> None:
    """Stream every row of an operand in, once."""
    rows = np.arange(values.shape[0])
    for part in _parts(rows.size, max(1, BATCH_NUMBERS // values.shape[1]), operand):
        sketch.apply([row_batch(sketch.spec, operand, rows[part], values[part])])


def heavy_tailed_rows(n: int, d: int, rng: np.random.Generator) -> F64:
    """Gaussian rows whose lengths vary: some rows matter much more than others."""
    rows = rng.normal(size=(n, d))
    rows *= rng.exponential(size=(n, 1)) + 0.25
    return rows


def _parts(size: int, step: int, title: str) -> Iterator[slice]:
    starts = range(0, size, step)
    shown = tqdm(starts, desc=f"streaming {title}", leave=False, disable=None)
    return (slice(start, start + step) for start in shown)
