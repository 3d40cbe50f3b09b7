"""The beam: the largest magnitudes above zero, however many are zero."""

from __future__ import annotations

import numpy as np
import pytest

from sketch_core.heavy_hitters import _largest


@pytest.mark.parametrize("filled", [0.0, 0.001, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 60, 5000])
def test_the_largest_above_zero_are_kept(
    rng: np.random.Generator, filled: float, count: int
) -> None:
    values = np.where(rng.random(4096) < filled, rng.random(4096) + 1e-9, 0.0)
    kept = _largest(values, count)
    expected = np.sort(values[values > 0.0])[::-1][:count]
    assert np.array_equal(np.sort(values[kept])[::-1], expected)
    assert np.unique(kept).size == kept.size
