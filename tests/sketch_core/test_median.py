"""Medians by exchange networks and by partition, against numpy; tables' points and norms."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sketch_core.count_sketch import (
    _MEDIAN_NETWORKS,
    CountSketch,
    median_of_rows,
    root_mean_square,
)


@pytest.mark.parametrize("depth", sorted(_MEDIAN_NETWORKS))
def test_networks_find_the_median_of_every_zero_one_input(depth: int) -> None:
    """The zero-one principle: a network right on all 0/1 columns is right on all columns."""
    columns = np.array(list(itertools.product((0, 1), repeat=depth)), dtype=np.int64).T
    known = np.sort(columns, axis=0)[depth // 2]
    assert median_of_rows(columns.copy()).tolist() == known.tolist()


@pytest.mark.parametrize("depth", [1, 3, 5, 7, 9, 11, 31])
@given(data=st.data())
def test_medians_are_numpys(depth: int, data: st.DataObject) -> None:
    """Of integers to 2^62, of floats, with ties and signed zeros."""
    width = data.draw(st.integers(0, 6))
    dtype: Any = data.draw(st.sampled_from([np.int64, np.float64]))
    tied = st.integers(-2, 2)
    elements: st.SearchStrategy[Any] = tied | (
        st.integers(-(1 << 62), 1 << 62)
        if dtype is np.int64
        else st.floats(allow_nan=False, allow_infinity=False)
    )
    rows = data.draw(arrays.arrays(dtype, (depth, width), elements=elements))
    known = np.sort(rows, axis=0)[depth // 2]
    median = median_of_rows(rows.copy())
    assert median.dtype == rows.dtype
    assert median.tolist() == known.tolist()


@pytest.mark.parametrize("depth", [1, 3, 5, 7, 9])
def test_medians_of_many_columns(depth: int, rng: np.random.Generator) -> None:
    for rows in (rng.normal(size=(depth, 4097)), rng.integers(-3, 4, size=(depth, 4097))):
        assert (median_of_rows(rows.copy()) == np.median(rows, axis=0)).all()


def test_one_coordinate_is_estimated_exactly() -> None:
    sketch = CountSketch(1, 0, 5, 16)
    cells = np.zeros((sketch.cells, 1), dtype=np.int64)
    sketch.add(cells, np.array([7], np.uint64), None, np.array([-12], np.int64))
    floats = cells[:, 0].astype(np.float64)
    assert np.count_nonzero(floats) == 5
    assert sketch.point(floats, np.array([7], np.uint64)).tolist() == [-12.0]
    assert sketch.euclidean_norm(floats) == pytest.approx(12.0, rel=1e-14)


@given(
    cells=arrays.arrays(np.float64, st.integers(1, 40), elements=st.floats(-10, 10)),
    exponent=st.integers(-1000, 1000),
)
def test_root_mean_squares_do_not_overflow(
    cells: np.ndarray[Any, np.dtype[np.float64]], exponent: int
) -> None:
    cells = np.where(np.abs(cells) < 1e-3, 0.0, cells)
    known = float(np.sqrt((cells**2).mean()))
    scaled = np.ldexp(cells, exponent)
    assert np.ldexp(root_mean_square(scaled), -exponent) == pytest.approx(known, rel=1e-12)
    assert root_mean_square(np.empty(0)) == 0.0


@pytest.mark.statistical
def test_energy_and_points_have_their_deviations(seed: int) -> None:
    """Over 400 tables: the norm's and a point's error are as documented.

    The mean of ‖·‖²/‖y‖² is 1 within 5 deviations of its mean, its deviation at
    most 1.25 · √(2/(t w)); points are unbiased and 0.54 · ‖y‖/√w wide within a
    fifth. Each comparison fails falsely less than once in 10^5.
    """
    depth, width, tables = 5, 64, 400
    y = np.random.default_rng(seed).normal(size=500)
    quanta = np.rint(y * 1000).astype(np.int64)
    coordinates = np.arange(500, dtype=np.uint64)
    energies, errors = [], []
    for table in range(tables):
        sketch = CountSketch(seed, table, depth, width)
        cells = np.zeros((sketch.cells, 1), dtype=np.int64)
        sketch.add(cells, coordinates, None, quanta)
        floats = cells[:, 0].astype(np.float64)
        energies.append(sketch.euclidean_norm(floats) ** 2)
        errors.append(sketch.point(floats, coordinates[:20]) - quanta[:20])
    relative = np.array(energies) / float((quanta**2).sum())
    claimed = np.sqrt(2.0 / (depth * width))
    assert abs(relative.mean() - 1.0) < 5.0 * claimed / np.sqrt(tables)
    assert relative.std() < 1.25 * claimed
    scaled = np.array(errors) / (np.linalg.norm(quanta) / np.sqrt(width))
    assert abs(scaled.mean()) < 5.0 * 0.5357 / np.sqrt(scaled.size)
    assert scaled.std() == pytest.approx(0.5357, rel=0.2)
