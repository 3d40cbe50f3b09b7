"""What the rounding of scales does to the law, computed from their exact distribution.

No sampling: a table of scales has finitely many values with known probabilities,
so the probability that one of two coordinates wins the race is a finite sum.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from sketch_core import scaling
from sketch_core.table_cache import TABLES

F64 = npt.NDArray[np.float64]
POWERS = (1.0, 1.1, 1.25, 1.5, 1.75, 2.0)


def deviations(power: float, ratios: F64) -> F64:
    """P(the first wins) - r / (1 + r) for |y_1|^p / |y_2|^p = r; ties go either way alike."""
    _, table = scaling._scale_table(power, scaling.clip_bits(1 << 40))
    intervals = table[:-1]
    octaves = intervals.size >> (scaling.VARIATE_BITS - 1)
    chance = np.repeat(np.ldexp(1.0, np.arange(-octaves, 0)), intervals.size // octaves)
    chance /= intervals.size // octaves
    chance[0] += 2.0**-octaves  # everything below the table is clipped to its first entry
    values, which = np.unique(scaling.scales_as_float(intervals, power), return_inverse=True)
    mass = np.bincount(which, chance)
    below = np.append(0.0, np.cumsum(mass))
    assert below[-1] == pytest.approx(1.0, abs=1e-12)
    out = np.empty(ratios.size)
    for at, ratio in enumerate(ratios):
        reach = ratio ** (1.0 / power) * values
        left = below[np.searchsorted(values, reach, "left")]
        right = below[np.searchsorted(values, reach, "right")]
        out[at] = float((mass * (left + right)).sum()) / 2.0 - ratio / (1.0 + ratio)
    return out


@pytest.mark.parametrize("power", POWERS)
def test_equal_coordinates_are_equally_likely(power: float) -> None:
    assert abs(deviations(power, np.array([1.0]))[0]) < 1e-12


@pytest.mark.parametrize("power", POWERS)
def test_nearly_equal_coordinates_move_by_less_than_4e_4(power: float) -> None:
    ratios = 1.0 + np.geomspace(1e-9, 4e-3, 200)
    assert np.abs(deviations(power, ratios)).max() < 4e-4


@pytest.mark.parametrize("power", POWERS)
def test_other_ratios_move_by_less_than_1e_4(power: float) -> None:
    close = 1.0 + np.geomspace(4e-3, 5e-2, 200)
    far = 1.05 * np.geomspace(1.0, 1e9, 1000)
    assert np.abs(deviations(power, np.concatenate([close, far]))).max() < 1e-4


def test_a_coarser_rounding_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    TABLES.clear()
    monkeypatch.setattr(scaling, "SCALE_BITS", 7)
    try:
        far = 1.05 * np.geomspace(1.0, 1e9, 1000)
        assert np.abs(deviations(2.0, far)).max() > 1e-4
    finally:
        TABLES.clear()
