"""Sizes: monotone, within bounds, honouring what is given; levels that reach every coordinate."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sketch_core import sizing

SAMPLES = (1, 2, 3, 4, 8, 16, 17, 64, 256, 1024, 4096)
POWERS = (1.0, 1.25, 1.5, 1.9, 2.0)
SHAPES = (1, 2, 100, 1 << 13, 1 << 15, (1 << 15) + 1, 1 << 20, 1 << 30, 1 << 63)


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("n", SHAPES)
def test_more_samples_take_no_fewer_cells(n: int, power: float) -> None:
    """Where there are at least eight coordinates for each; below, fewer are left to be noise."""
    found = [s for s in SAMPLES if 8 * sizing.arrival_quantile(s) <= n]
    sizes = [sizing.suggest_sizes(n, samples, power) for samples in found]
    for less, more in itertools.pairwise(sizes):
        assert less.width <= more.width
        assert less.upper_width <= more.upper_width
        assert less.estimate_width <= more.estimate_width
        assert less.scaled_cells <= more.scaled_cells
        assert less.unscaled_cells <= more.unscaled_cells


@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("n", SHAPES)
@pytest.mark.parametrize("power", POWERS)
def test_sizes_are_within_bounds(samples: int, n: int, power: float) -> None:
    sizes = sizing.suggest_sizes(n, samples, power)
    assert sizes.depth == sizing.DEFAULT_DEPTH
    assert sizes.depth % 2 == 1
    # The rule of detection can be met at all: a lone spike in w buckets is √w deviations high.
    assert sizes.width > sizing.DETECTION**2
    assert sizes.upper_width >= 1
    low, high = sizing.ESTIMATE_BOUNDS
    assert low <= sizes.estimate_width <= max(high, sizes.width)
    assert sizes.shifts == sizing.level_shifts(n)
    assert sizes.levels == len(sizes.shifts)
    expected = sizes.depth * (sizes.width + (sizes.levels - 1) * sizes.upper_width)
    assert sizes.scaled_cells == expected
    assert sizes.unscaled_cells == sizes.depth * sizes.estimate_width


@pytest.mark.parametrize("power", POWERS)
def test_size_does_not_grow_with_n_beyond_what_is_touched(power: float) -> None:
    widths = {sizing.suggest_sizes(n, 16, power).width for n in (1 << 20, 1 << 30, 1 << 63)}
    assert len(widths) == 1


@given(
    width=st.none() | st.integers(1, 1 << 22),
    upper=st.none() | st.integers(1, 1 << 22),
    estimate=st.none() | st.integers(1, 1 << 22),
    depth=st.none() | st.integers(0, 15).map(lambda half: 2 * half + 1),
)
def test_what_is_given_is_honoured(
    width: int | None, upper: int | None, estimate: int | None, depth: int | None
) -> None:
    sizes = sizing.suggest_sizes(
        1 << 30, 16, 2.0, width=width, upper_width=upper, estimate_width=estimate, depth=depth
    )
    assert width in (None, sizes.width)
    assert upper in (None, sizes.upper_width)
    assert estimate in (None, sizes.estimate_width)
    assert depth in (None, sizes.depth)


@given(st.integers(1, 1 << 63))
def test_levels_reach_every_coordinate(n: int) -> None:
    """Few prefixes at first, few children each, and single coordinates at last."""
    shifts = sizing.level_shifts(n)
    assert shifts[-1] == 0
    assert list(shifts) == sorted(set(shifts), reverse=True)
    first = ((n - 1) >> shifts[0]) + 1
    limit = sizing.SINGLE_LEVEL_BITS if len(shifts) == 1 else sizing.FIRST_LEVEL_BITS
    assert first <= 1 << limit
    for above, below in itertools.pairwise(shifts):
        assert 1 <= above - below <= sizing.MAX_EXPANSION_BITS
    assert depth_of(n) == len(shifts)


def depth_of(n: int) -> int:
    """Levels as documented: one up to 2^15, else the first 13 bits and then at most 7 a level."""
    bits = max(n - 1, 0).bit_length()
    return 1 if bits <= 15 else 1 + math.ceil((bits - 13) / 7)


@pytest.mark.parametrize("samples", [1, 2, 4, 16, 64, 1024, 4096])
def test_arrival_quantiles_are_gammas(samples: int) -> None:
    """Wilson and Hilferty's cube against scipy's quantile of Γ_k: 2.5 % above, never below."""
    known = stats.gamma.ppf(sizing.RECOVERY, samples)
    assert 0.9995 * known <= sizing.arrival_quantile(samples) <= 1.025 * known


@pytest.mark.parametrize("power", POWERS)
def test_noise_energy_is_the_integral(power: float) -> None:
    """∫ x^(-2/p) dx from the coordinates found to those touched; continuous at p = 2."""
    from scipy import integrate

    for found, touched in ((5.0, 100.0), (40.0, 2.0**20), (10.0, 10.0), (20.0, 10.0)):
        known = 0.0
        if touched > found:
            known = integrate.quad(
                lambda u: math.exp(u * (1.0 - 2.0 / power)), math.log(found), math.log(touched)
            )[0]
        assert sizing.noise_energy(power, found, touched) == pytest.approx(known, rel=1e-8)
    near = sizing.noise_energy(math.nextafter(2.0, 1.0), 5.0, 100.0)
    assert near == pytest.approx(sizing.noise_energy(2.0, 5.0, 100.0), rel=0.3)


@pytest.mark.statistical
@pytest.mark.parametrize("depth", [1, 3, 5, 7, 9, 15, 31])
def test_median_deviations_are_those_of_normal_medians(depth: int) -> None:
    """By integrating the density of the middle order statistic: 0.1 %, or 3 % where asymptotic."""
    from scipy import integrate

    half = depth // 2
    density = stats.beta(half + 1, half + 1).pdf

    def variance(x: float) -> float:
        return float(x * x * density(stats.norm.cdf(x)) * stats.norm.pdf(x))

    known = math.sqrt(integrate.quad(variance, -9, 9)[0])
    allowed = 1e-3 if depth <= 9 else 0.03
    assert sizing.median_deviation(depth) == pytest.approx(known, rel=allowed)
