"""The rules themselves: they accept what is right, and reject what they say they reject."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.statistical import decisions
from tests.statistical.decisions import CLASSES, LEVEL, POWER

#: Times a rule is tried; a rate of successes of p is known to about √(p (1 - p) / TRIED).
TRIED = 2000
#: A level that TRIED trials can see.
VISIBLE = 0.01
# Tests of rates below fail by chance in one of 10,000 seeds.
CHANCE = 1e-4


def shifted(shift: float, classes: int) -> np.ndarray:
    """Class shares at total variation `shift` from equal ones, the hardest to notice."""
    step = 2.0 * shift / classes
    shares = np.full(classes, 1.0 / classes)
    shares[::2] += step
    shares[1::2] -= step
    return shares


def rejections(shares: np.ndarray, draws: int, level: float, rng: np.random.Generator) -> int:
    """How often TRIED samplers of these shares are found not to be uniform."""
    equal = np.full(shares.size, 1.0 / shares.size)
    return sum(
        not decisions.chi_square(rng.multinomial(draws, shares), equal).passed(level)
        for _ in range(TRIED)
    )


@pytest.mark.statistical
@pytest.mark.parametrize("draws", [1000, 20000])
def test_an_exact_sampler_passes_as_often_as_stated(draws: int, rng: np.random.Generator) -> None:
    found = rejections(np.full(CLASSES, 1 / CLASSES), draws, VISIBLE, rng)
    assert stats.binomtest(found, TRIED, VISIBLE).pvalue > CHANCE


@pytest.mark.statistical
@pytest.mark.parametrize("level", [VISIBLE, LEVEL])
@pytest.mark.parametrize("shift", [0.02, 0.11])
def test_the_smallest_shift_is_found_as_often_as_stated(
    shift: float, level: float, rng: np.random.Generator
) -> None:
    draws = decisions.draws_needed(shift, CLASSES, level)
    found = rejections(shifted(shift, CLASSES), draws, level, rng)
    # The noncentral law is a limit: a quarter of the failures more are allowed for.
    assert stats.binom.cdf(found, TRIED, 1.0 - 1.25 * (1.0 - POWER)) > CHANCE


@pytest.mark.statistical
def test_any_other_shift_of_that_size_is_easier(rng: np.random.Generator) -> None:
    shift = 0.05
    draws = decisions.draws_needed(shift, CLASSES)
    one = np.full(CLASSES, 1.0 / CLASSES)
    one[0] += shift
    one[1:] -= shift / (CLASSES - 1)
    assert rejections(one, draws, LEVEL, rng) > POWER * TRIED


def test_draws_and_shift_are_inverse() -> None:
    draws = decisions.draws_needed(0.05)
    assert decisions.smallest_shift(draws) <= 0.05 < decisions.smallest_shift(draws - 1)


def test_a_class_without_share_must_not_be_drawn() -> None:
    counts, shares = np.array([500, 499, 1]), np.array([0.5, 0.5, 0.0])
    assert decisions.chi_square(counts, shares).p_value == 0.0


def test_small_classes_are_joined() -> None:
    counts, shares = np.array([90, 4, 3, 3]), np.array([0.9, 0.04, 0.03, 0.03])
    assert decisions.chi_square(counts, shares).p_value == 1.0
    verdict = decisions.chi_square(counts * 10, shares)
    assert verdict.p_value == pytest.approx(1.0)
    assert decisions.chi_square(counts[::-1] * 10, shares).p_value < LEVEL


@pytest.mark.statistical
@pytest.mark.parametrize(("rate", "caught"), [(0.001, 0.02), (0.05, 0.08), (0.0001, 0.01)])
def test_the_smallest_rate_is_found_as_often_as_stated(
    rate: float, caught: float, rng: np.random.Generator
) -> None:
    trials = decisions.trials_needed(rate, caught)
    hits = rng.binomial(trials, caught, TRIED)
    found = sum(not decisions.rate_at_most(int(h), trials, rate).passed() for h in hits)
    assert stats.binom.cdf(found, TRIED, POWER) > CHANCE
    allowed = rng.binomial(trials, rate, TRIED)
    assert all(decisions.rate_at_most(int(h), trials, rate).passed() for h in allowed)


@pytest.mark.statistical
def test_the_smallest_deviation_is_found_as_often_as_stated(rng: np.random.Generator) -> None:
    trials, tried = 1000, 500
    off = decisions.smallest_deviation(1.0 / trials**0.5)
    values = rng.standard_normal((tried, trials))
    assert all(decisions.mean_is(row, 0.0).passed() for row in values)
    found = sum(not decisions.mean_is(row + off, 0.0).passed() for row in values)
    assert stats.binom.cdf(found, tried, POWER) > CHANCE
    assert all(decisions.mean_at_most(row, 0.0).passed() for row in values)
    assert all(decisions.mean_at_most(row - off, 0.0).passed() for row in values)


def test_a_mean_of_equal_values_must_be_right() -> None:
    assert decisions.mean_is(np.full(10, 3.0), 3.0).passed()
    assert not decisions.mean_is(np.full(10, 3.0), 3.0001).passed()


def test_deciding_fails_the_test_and_is_counted() -> None:
    before = decisions.made()
    decisions.decide(decisions.rate_at_most(0, 10, 0.1), "right")
    with pytest.raises(AssertionError, match="wrong"):
        decisions.decide(decisions.rate_at_most(10, 10, 0.01), "wrong")
    assert decisions.made() == before + 2
