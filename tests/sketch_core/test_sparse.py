"""Few touched coordinates: errors are rare collisions, and nobody untouched is served."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sketch_core.batch import Columns, quantise
from sketch_core.resolve import resolve
from sketch_core.sketch import Sketch, new_sketch

U64 = npt.NDArray[np.uint64]
N = 1 << 20


def touched(count: int, **more: Any) -> tuple[Sketch, U64]:
    """A vector sketch in which `count` random coordinates are 1000."""
    seed = int(more.get("seed", 1))
    request = {"kind": "vector", "shape": {"n": N}, "method": "sketch", "seed": seed}
    spec = resolve({**request, **more})
    index = np.random.default_rng(seed).choice(N, count, replace=False).astype(np.uint64)
    sketch = new_sketch(spec)
    batch, _ = quantise(spec, Columns("y", index=index, delta=np.full(count, 1000.0)))
    sketch.apply([batch])
    return sketch, index


def test_standard_errors_of_a_nearly_empty_sketch_cover_its_collisions() -> None:
    """About 50 of 800,000 estimates meet others in most of their rows, with one sign; the squares
    of all errors sum to what the standard errors say within a factor of 2. A Poisson count
    of 50 leaves that range with probability below 10⁻³; errors reported as 0 are caught."""
    sketch, index = touched(30)
    asked = np.setdiff1d(np.random.default_rng(5).integers(0, N, 800_000).astype(np.uint64), index)
    found = sketch.estimate(asked)[0]
    assert (found.standard_error > 0.0).all()
    ratio = float((found.value**2).sum() / (found.standard_error**2).sum())
    assert 0.5 < ratio < 2.0


def test_an_empty_sketch_has_no_errors() -> None:
    sketch, _ = touched(0)
    found = sketch.estimate(np.arange(9, dtype=np.uint64))[0]
    assert not found.value.any()
    assert not found.standard_error.any()


@pytest.mark.parametrize("width", [256, 1024, 3392])
def test_three_rows_serve_nobody_untouched_where_few_are_touched(width: int) -> None:
    served = 0
    for seed in range(40):
        sketch, index = touched(50, depth=3, width=width, seed=seed, samples=4)
        drawn = sketch.sample(4)[0].index
        served += drawn.size
        # At 256 buckets three rows can agree by chance; the documents say so.
        if width > 256:
            assert set(drawn.tolist()) <= set(index.tolist())
    assert served > 0


def test_a_list_is_no_longer_than_its_tables_can_tell_apart() -> None:
    sketch, index = touched(5000, samples=16)
    sizes = sketch.spec.sizes
    assert sizes is not None
    sample = sketch.sample(10_000)[0]
    assert sample.status == "partial"
    assert set(sample.index.tolist()) <= set(index.tolist())
    assert math.isfinite(sample.norm)
