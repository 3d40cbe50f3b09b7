"""When a random test fails: rules that state how often by chance, and what they would catch.

Every rule takes a *level*, the probability that it rejects although nothing is
wrong, and knows the smallest deviation it rejects with probability POWER or
more; the number of draws a test makes follows from the two. A run of the whole
directory, the long grid included, makes at most DECISIONS decisions, so by
Bonferroni's inequality it fails by chance at most once in 1 / RUN_LEVEL seeds.
`decide` counts, and the session fails when there were more.

χ² over classes. For N draws, class shares p and the drawn law q at total
variation distance δ = ½ Σ |q - p|, the statistic is asymptotically noncentral
χ² with noncentrality λ = N Σ (q - p)² / p. By Cauchy and Schwarz
(2δ)² = (Σ √p · |q - p| / √p)² ≤ Σ (q - p)² / p, so λ ≥ 4 N δ² whatever p and q:
a shift of δ is caught with power at least that at 4 N δ². Solve for N or δ.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

F64 = npt.NDArray[np.float64]

#: A run of the directory fails by chance at most this often …
RUN_LEVEL: Final = 1e-3
#: … making at most this many decisions …
DECISIONS: Final = 1000
#: … each at this level.
LEVEL: Final = RUN_LEVEL / DECISIONS
#: The probability of rejecting the smallest deviation a rule declares.
POWER: Final = 0.9
#: Classes of a χ² test.
CLASSES: Final = 16
#: Least expected count of a class; smaller ones are joined, so that χ² is near its limit law.
LEAST_EXPECTED: Final = 25.0

_made = 0


def made() -> int:
    """Decisions made in this process so far."""
    return _made


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule found. p_value: of the null hypothesis. smallest: the deviation it would catch.

    observed and smallest are in the rule's own unit: total variation, a rate, a mean.
    """

    rule: str
    p_value: float
    observed: float
    smallest: float
    trials: int

    def passed(self, level: float = LEVEL) -> bool:
        """Whether nothing wrong was found."""
        return self.p_value >= level


def decide(verdict: Verdict, what: str, level: float = LEVEL) -> None:
    """Fail the test that asks unless the verdict passes."""
    global _made
    _made += 1
    assert verdict.passed(level), f"{what}: {verdict}, level {level:.0e}"


# ---- shares of classes: χ²


@functools.cache
def noncentrality(classes: int, level: float = LEVEL, power: float = POWER) -> float:
    """The λ at which a χ² test over this many classes rejects with this power."""
    critical = stats.chi2.isf(level, classes - 1)

    def lacking(value: float) -> float:
        return float(stats.ncx2.sf(critical, classes - 1, value)) - power

    return float(optimize.brentq(lacking, 1e-6, 10.0 * critical + 100.0))


def smallest_shift(
    draws: int, classes: int = CLASSES, level: float = LEVEL, power: float = POWER
) -> float:
    """The smallest total variation distance that `draws` draws reveal with this power."""
    return math.sqrt(noncentrality(classes, level, power) / (4.0 * draws))


def draws_needed(
    shift: float, classes: int = CLASSES, level: float = LEVEL, power: float = POWER
) -> int:
    """How many draws reveal a total variation distance of `shift` with this power."""
    return math.ceil(noncentrality(classes, level, power) / (4.0 * shift * shift))


def chi_square(counts: npt.NDArray[np.integer[Any]], shares: F64) -> Verdict:
    """Pearson's test that classes with these shares were drawn this often.

    counts: (m,). shares: (m,), summing to 1. Classes in which fewer than
    LEAST_EXPECTED draws are expected are joined to their neighbours. A class
    without share that was drawn rejects at once.
    """
    draws = int(counts.sum())
    if counts[shares == 0.0].any():
        return Verdict("χ²", 0.0, float("nan"), 0.0, draws)
    seen, expected = _joined(counts, shares * draws)
    shift = float(np.abs(seen - expected).sum()) / (2.0 * draws) if draws else 0.0
    if seen.size < 2:
        return Verdict("χ²", 1.0, shift, 1.0, draws)
    statistic = float(((seen - expected) ** 2 / expected).sum())
    p_value = float(stats.chi2.sf(statistic, seen.size - 1))
    return Verdict("χ²", p_value, shift, smallest_shift(draws, seen.size), draws)


def _joined(counts: npt.NDArray[np.integer[Any]], expected: F64) -> tuple[F64, F64]:
    """Neighbouring classes added up until each expects LEAST_EXPECTED."""
    seen_groups: list[float] = []
    expected_groups: list[float] = []
    seen = due = 0.0
    for count, share in zip(counts, expected, strict=True):
        seen += float(count)
        due += float(share)
        if due >= LEAST_EXPECTED:
            seen_groups.append(seen)
            expected_groups.append(due)
            seen = due = 0.0
    if expected_groups:
        seen_groups[-1] += seen
        expected_groups[-1] += due
    else:
        seen_groups, expected_groups = [seen], [due]
    return np.array(seen_groups), np.array(expected_groups)


def uniform(positions: F64, classes: int = CLASSES) -> Verdict:
    """That numbers from [0, 1) are uniform, over `classes` classes of equal mass."""
    found = np.minimum((positions * classes).astype(np.int64), classes - 1)
    return chi_square(np.bincount(found, minlength=classes), np.full(classes, 1.0 / classes))


def uniform_pairs(first: F64, second: F64, side: int = 4) -> Verdict:
    """That pairs are uniform on the square, over side² classes of equal mass."""
    across = np.minimum((first * side).astype(np.int64), side - 1)
    along = np.minimum((second * side).astype(np.int64), side - 1)
    counts = np.bincount(across * side + along, minlength=side * side)
    return chi_square(counts, np.full(side * side, 1.0 / (side * side)))


# ---- rates: exact binomial


def rate_at_most(hits: int, trials: int, rate: float) -> Verdict:
    """The exact binomial test that something happens at a rate of at most `rate`."""
    p_value = float(stats.binom.sf(hits - 1, trials, rate))
    observed = hits / trials if trials else 0.0
    return Verdict("rate", p_value, observed, smallest_rate(trials, rate), trials)


@functools.cache
def smallest_rate(trials: int, rate: float, level: float = LEVEL, power: float = POWER) -> float:
    """The smallest rate above `rate` that `trials` trials reveal with this power."""
    if trials == 0:
        return 1.0
    # Rejected from `least` hits on: the smallest number whose chance is below the level.
    least = int(stats.binom.isf(level, trials, rate)) + 1
    if least > trials:
        return 1.0

    def lacking(value: float) -> float:
        return float(stats.binom.sf(least - 1, trials, value)) - power

    return float(optimize.brentq(lacking, rate, 1.0))


def trials_needed(rate: float, caught: float, level: float = LEVEL, power: float = POWER) -> int:
    """How many trials tell a rate of `caught` from one of at most `rate`, to within 5 %."""
    trials = 8
    while smallest_rate(trials, rate, level, power) > caught:
        trials = math.ceil(trials * 1.05) + 1
    return trials


# ---- means: z


def mean_is(values: F64, expected: float) -> Verdict:
    """The two-sided z-test that independent values have this mean.

    Its level is nominal: values of skewness g multiply the tail by about
    exp(g z³ / (6 √N)), which stays below 2 for g = 1 from N = 1,000 on.
    """
    trials = values.size
    error = float(values.std(ddof=1)) / math.sqrt(trials)
    off = float(values.mean()) - expected
    # Values that do not vary must be right up to rounding.
    error = max(error, 1e-12 * max(abs(expected), 1e-300))
    p_value = float(2.0 * stats.norm.sf(abs(off) / error))
    return Verdict("mean", p_value, off, smallest_deviation(error), trials)


def smallest_deviation(error: float, level: float = LEVEL, power: float = POWER) -> float:
    """The smallest deviation of a mean, its standard error given, that mean_is reveals."""
    return float(stats.norm.isf(level / 2.0) + stats.norm.ppf(power)) * error


def mean_at_most(values: F64, bound: float) -> Verdict:
    """The one-sided z-test that independent values have a mean of at most `bound`."""
    trials = values.size
    error = float(values.std(ddof=1)) / math.sqrt(trials)
    off = float(values.mean()) - bound
    error = max(error, 1e-12 * max(abs(bound), 1e-300))
    p_value = float(stats.norm.sf(off / error))
    caught = float(stats.norm.isf(LEVEL) + stats.norm.ppf(POWER)) * error
    return Verdict("mean bound", p_value, off, caught, trials)
