"""Draws from a list of arrivals: against brute force, against merging by hand, and in law.

The statistical tests state their false-failure rate and the smallest deviation
they would catch nineteen times in twenty.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from sketch_core import ppswor
from sketch_core.scaling import Race

F64 = npt.NDArray[np.float64]
FALSE_FAILURES = 1e-4


def _race_of(race: Race, coordinates: npt.NDArray[np.uint64], log_rate: F64) -> tuple[F64, F64]:
    """First gaps and arrival times of coordinates, on the scale of 1 / rate."""
    gaps = race.first_gaps(coordinates)
    return gaps, gaps * np.exp(-log_rate)


def _in_order(
    race: Race, coordinates: npt.NDArray[np.uint64], log_rate: F64
) -> tuple[npt.NDArray[np.uint64], F64, F64, F64]:
    """Coordinates, gaps, rates and times in order of first arrival."""
    gaps, times = _race_of(race, coordinates, log_rate)
    order = np.argsort(times)
    return coordinates[order], gaps[order], log_rate[order], times[order]


def _by_hand(
    race: Race, coordinates: npt.NDArray[np.uint64], gaps: F64, log_rate: F64, until: float
) -> list[int]:
    """Positions of all arrivals up to a time, by adding gaps one after another."""
    found = []
    for position, coordinate in enumerate(coordinates):
        pace = math.exp(-log_rate[position])
        time, number = float(gaps[position]) * pace, 0
        while time <= until:
            found.append((time, position))
            number += 1
            gap = race.repeat_gaps(np.array([coordinate], np.uint64), number, 1)[0, 0]
            time += float(gap) * pace
    return [position for _, position in sorted(found)]


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("trial", range(5))
def test_independent_draws_are_the_merged_arrivals(power: float, trial: int) -> None:
    race = Race(trial, 0, power, 46)
    source = np.random.default_rng(trial)
    coordinates = source.integers(0, 1 << 63, 6).astype(np.uint64)
    listed = _in_order(race, coordinates, source.normal(0.0, 1.0, 6))
    index, gaps, log_rate, times = listed
    known = _by_hand(race, index, gaps, log_rate, float(times[-1]))
    cut = -math.log(float(times[-1]))
    drawn = ppswor.with_replacement(race, index, gaps, log_rate, 10_000, log_cut=cut)
    assert drawn.tolist() == known, "all arrivals up to the horizon, none after it"
    for count in (0, 1, 2, len(known) // 2, len(known)):
        first = ppswor.with_replacement(race, index, gaps, log_rate, count, log_cut=cut)
        assert first.tolist() == known[:count]
    longer = _by_hand(race, index, gaps, log_rate, 3.0 * float(times[-1]))
    complete = ppswor.with_replacement(race, index, gaps, log_rate, len(longer), log_cut=-math.inf)
    assert complete.tolist() == longer, "a complete list goes on"


@pytest.mark.parametrize("trial", range(5))
def test_a_shorter_list_draws_a_prefix(trial: int) -> None:
    """What is beyond the list does not change what is drawn before its horizon."""
    race = Race(trial, 3, 2.0, 46)
    index, gaps, log_rate, times = _in_order(
        race, np.arange(40, dtype=np.uint64), np.random.default_rng(trial).normal(0.0, 1.5, 40)
    )
    everything = ppswor.with_replacement(race, index, gaps, log_rate, 500, log_cut=-math.inf)
    for size in (1, 2, 5, 20, 39):
        cut = -math.log(times[size - 1])
        shorter = ppswor.with_replacement(
            race, index[:size], gaps[:size], log_rate[:size], 500, log_cut=cut
        )
        assert shorter.tolist() == everything[: shorter.size].tolist()
        if shorter.size < 500:
            assert set(shorter.tolist()) == set(range(size)), "everyone listed has arrived"
        else:
            assert size > 5


def test_only_ratios_of_rates_count() -> None:
    race = Race(9, 0, 2.0, 46)
    index, gaps, log_rate, _ = _in_order(
        race, np.arange(8, dtype=np.uint64), np.linspace(-3.0, 3.0, 8)
    )
    drawn = [
        ppswor.with_replacement(race, index, gaps, log_rate + shift, 50, log_cut=-math.inf).tolist()
        for shift in (0.0, 0.0, 600.0, -600.0)
    ]
    assert drawn[0] == drawn[1] == drawn[2] == drawn[3]


@pytest.mark.parametrize("ratio", [1e12, 1e300, math.inf])
def test_a_spike_repeats_and_takes_no_time(ratio: float) -> None:
    """10^12 of the mass, and rates whose ratio no double holds: nothing overflows."""
    race = Race(1, 0, 2.0, 46)
    rate = 1_000.0 if ratio == math.inf else math.log(ratio)
    log_rate = np.array([rate, 0.0, 0.0])
    index = np.arange(3, dtype=np.uint64)
    gaps = race.first_gaps(index)
    drawn = ppswor.with_replacement(race, index, gaps, log_rate, 5_000, log_cut=-math.inf)
    assert drawn.size == 5_000
    assert not drawn.any()
    few = ppswor.with_replacement(race, index[:1], gaps[:1], log_rate[:1], 7, log_cut=-math.inf)
    assert few.tolist() == [0] * 7


def test_nothing_comes_of_nothing() -> None:
    race = Race(1, 0, 2.0, 46)
    nothing = np.empty(0)
    drawn = ppswor.with_replacement(
        race, np.empty(0, np.uint64), nothing, nothing, 5, log_cut=-math.inf
    )
    assert drawn.size == 0
    assert ppswor.total(nothing, nothing) == (-math.inf, 0.0)


def test_inclusion_probabilities_are_the_formula_at_every_size() -> None:
    """1 - exp(-f/τ) to 14 digits, from 10^-300 to 1; a complete list includes all."""
    import mpmath

    for exponent in (-690.0, -40.0, -1e-3, 0.0, 1e-3, 3.0, 40.0, 1e4):
        with mpmath.workdps(40):
            known = float(1 - mpmath.exp(-mpmath.exp(exponent)))
        ours = ppswor.inclusion_probabilities(np.array([exponent + 5.0]), 5.0)[0]
        assert ours == pytest.approx(known, rel=1e-12)
    assert ppswor.inclusion_probabilities(np.array([-5.0, 700.0]), -math.inf).tolist() == [1.0, 1.0]


RATES = np.array([16.0, 8.0, 4.0, 2.0, 1.0, 1.0])
LISTS = 40_000
KEPT = 3


def _lists(seed: int) -> tuple[npt.NDArray[np.intp], F64]:
    """Independent races of RATES: the order of arrival (LISTS, n) and the times (LISTS, n)."""
    race = Race(seed, 0, 2.0, 46)
    coordinates = np.arange(LISTS * RATES.size, dtype=np.uint64)
    times = race.first_gaps(coordinates).reshape(LISTS, -1) / RATES
    order = np.argsort(times, axis=1, kind="stable")
    return order, np.take_along_axis(times, order, axis=1)


def _smallest_shift(chance: float, trials: int, cells: int) -> float:
    """The shift of one frequency that a two-sided test over `cells` finds 19 times in 20."""
    deviate = stats.norm.isf(FALSE_FAILURES / cells / 2) + stats.norm.isf(0.05)
    return float(deviate * math.sqrt(chance * (1 - chance) / trials))


@pytest.mark.statistical
def test_lists_are_successive_samples(seed: int) -> None:
    """Every ordered triple, against its product of conditional probabilities, all 120 of them.

    False failures 10^-4. Catches a first place whose frequency is off by 1.2 %.
    """
    order, _ = _lists(seed)
    triples = dict.fromkeys(itertools.permutations(range(RATES.size), KEPT), 0)
    for code, count in zip(
        *np.unique(order[:, :KEPT] @ [36, 6, 1], return_counts=True), strict=True
    ):
        triples[int(code) // 36, int(code) // 6 % 6, int(code) % 6] = int(count)
    expected = []
    for triple in triples:
        left, chance = RATES.sum(), 1.0
        for i in triple:
            chance *= RATES[i] / left
            left -= RATES[i]
        expected.append(chance * LISTS)
    assert sum(expected) == pytest.approx(LISTS)
    together = np.array(expected) >= 5.0
    seen = np.array(list(triples.values()))
    left_over = (seen[~together].sum(), np.array(expected)[~together].sum())
    observed = np.append(seen[together], left_over[0] or 0)
    known = np.append(np.array(expected)[together], left_over[1] or 0)
    keep = known > 0
    result = stats.chisquare(observed[keep], known[keep])
    assert result.pvalue > FALSE_FAILURES
    assert _smallest_shift(0.5, LISTS, 6) < 0.016


@pytest.mark.statistical
def test_inclusion_and_weighted_sums_agree_with_brute_force(seed: int) -> None:
    """Frequencies of inclusion, and the unbiasedness of 1 / π, coordinate by coordinate.

    Brute force: all ordered triples. False failures 10^-4 over 12 comparisons. The
    smallest shift of an inclusion frequency it catches is 1.5 %.
    """
    order, times = _lists(seed + 1)
    inside = np.zeros(RATES.size)
    for triple in itertools.permutations(range(RATES.size), KEPT):
        left, chance = RATES.sum(), 1.0
        for i in triple:
            chance *= RATES[i] / left
            left -= RATES[i]
        inside[list(triple)] += chance
    kept = order[:, :KEPT]
    counts = np.bincount(kept.ravel(), minlength=RATES.size)
    limit = FALSE_FAILURES / 12
    for i, count in enumerate(counts):
        assert stats.binomtest(int(count), LISTS, inside[i]).pvalue > limit, i
    # 1 / π with τ the (k+1)-th arrival: its mean is 1 for every coordinate.
    log_cut = -np.log(times[:, KEPT])
    weights = np.zeros((LISTS, RATES.size))
    log_rate = np.log(RATES)
    for at in range(LISTS):
        pi = ppswor.inclusion_probabilities(log_rate[kept[at]], float(log_cut[at]))
        weights[at, kept[at]] = 1.0 / pi
    deviate = (weights.mean(axis=0) - 1.0) / (weights.std(axis=0) / math.sqrt(LISTS))
    assert (np.abs(deviate) < stats.norm.isf(limit / 2)).all(), deviate
    # Off by one, τ the k-th arrival, and the same comparison must fail.
    wrong = np.zeros((LISTS, RATES.size))
    for at in range(0, LISTS, 10):
        pi = ppswor.inclusion_probabilities(log_rate[kept[at]], -math.log(times[at, KEPT - 1]))
        wrong[at, kept[at]] = 1.0 / pi
    wrong = wrong[::10]
    off = (wrong.mean(axis=0) - 1.0) / (wrong.std(axis=0) / math.sqrt(wrong.shape[0]))
    assert np.abs(off).max() > 10.0


@pytest.mark.statistical
def test_independent_draws_have_the_law_of_independent_draws(seed: int) -> None:
    """Pairs of successive draws, and the number of distinct ones among 8, over 4,000 races.

    Pairs: χ² on 16 cells against products. Distinct: against the exact law by
    enumeration of counts. False failures 10^-4 together; the smallest shift of the
    mean number of distinct ones caught is 0.08.
    """
    rates = np.array([8.0, 4.0, 2.0, 1.0])
    share = rates / rates.sum()
    races, count = 4_000, 8
    race = Race(seed, 0, 2.0, 46)
    drawn = np.empty((races, count), dtype=np.int64)
    for at in range(races):
        coordinates = np.arange(4 * at, 4 * at + 4, dtype=np.uint64)
        index, gaps, log_rate, _ = _in_order(race, coordinates, np.log(rates))
        positions = ppswor.with_replacement(race, index, gaps, log_rate, count, log_cut=-math.inf)
        drawn[at] = index[positions].astype(np.int64) - 4 * at
    for first in range(count - 1):
        pairs = np.bincount(4 * drawn[:, first] + drawn[:, first + 1], minlength=16)
        known = races * np.outer(share, share).ravel()
        assert stats.chisquare(pairs, known).pvalue > FALSE_FAILURES / count
    distinct = np.array([np.unique(row).size for row in drawn])
    law = np.zeros(5)
    for parts in itertools.product(range(count + 1), repeat=4):
        if sum(parts) == count:
            law[np.count_nonzero(parts)] += stats.multinomial.pmf(parts, count, share)
    observed = np.bincount(distinct, minlength=5)[1:]
    assert stats.chisquare(observed, races * law[1:]).pvalue > FALSE_FAILURES / count
    spread = math.sqrt(law @ np.arange(5) ** 2 - (law @ np.arange(5)) ** 2)
    assert (stats.norm.isf(FALSE_FAILURES / 16) + 1.645) * spread / math.sqrt(races) < 0.08


def test_totals_add_weights() -> None:
    log_rate = np.log([4.0, 2.0, 1.0])
    inclusion = np.array([1.0, 0.5, 0.25])
    log_sum, relative = ppswor.total(log_rate, inclusion)
    assert math.exp(log_sum) == pytest.approx(4.0 + 2.0 / 0.5 + 1.0 / 0.25)
    variance = 0.5 * 4.0**2 + 0.75 * 4.0**2
    assert relative == pytest.approx(math.sqrt(variance) / 12.0)
    shifted = ppswor.total(log_rate + 5_000.0, inclusion)
    assert shifted == pytest.approx((log_sum + 5_000.0, relative))
