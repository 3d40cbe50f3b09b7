"""What is drawn, against the exact law and against the race that decides it, over the grid."""

from __future__ import annotations

import numpy as np
import pytest

from sketch_core.sizing import median_deviation
from tests.statistical import decisions, grid
from tests.statistical.decisions import decide
from tests.statistical.grid import Case
from tests.statistical.lists import Drawn

pytestmark = pytest.mark.statistical

# NEAR, FAR_RATE and MISSED_RATE were set after looking at runs with other seeds: they
# notice when recovery gets worse. The laws and PARTIAL_RATE are promises.
#: Two values are near when they differ by less than this many standard deviations.
NEAR = 5.0
#: Share of served values that may be off by more than NEAR standard deviations of
#: their estimate. For normal rows it is 2 P(Bin(5, Φ(-NEAR · 0.536)) ≥ 3) = 1e-6;
#: rows that met middling coordinates have longer tails.
FAR_RATE = 2e-4
#: Share of arrivals that may be passed over although they stand NEAR deviations
#: above what was served: lost at an upper level, or by rows that disagree.
MISSED_RATE = 1e-3
#: Lists in which the requested coordinates were not all served, at default sizes.
PARTIAL_RATE = 1e-3


@pytest.fixture(
    params=[*grid.SHORT, *(pytest.param(case, marks=pytest.mark.long) for case in grid.LONG)],
    ids=lambda case: case.name,
    scope="module",
)
def case(request: pytest.FixtureRequest) -> Case:
    """One of the grid."""
    found: Case = request.param
    return found


@pytest.fixture
def drawn(case: Case, base_seed: int) -> Drawn:
    """Its lists."""
    return grid.drawn(case, base_seed)


def test_first_draws_follow_the_law(drawn: Drawn) -> None:
    decide(grid.first_draws(drawn), "first draws")


def test_draws_with_replacement_follow_the_law(drawn: Drawn) -> None:
    decide(grid.independent_draws(drawn), "draws with replacement")


def test_second_draws_follow_the_law_without_the_first(drawn: Drawn) -> None:
    verdict = grid.order(drawn)
    if verdict is not None:
        decide(verdict, "first and second draws")


def test_repeats_are_as_frequent_as_in_the_law(drawn: Drawn) -> None:
    decide(grid.number_of_distinct(drawn), "distinct among draws with replacement")


def test_neighbouring_repeats_are_as_frequent_as_in_the_law(drawn: Drawn) -> None:
    verdict = grid.neighbours_agree(drawn)
    # Fewer than 100 expected agreements are no normal mean; the test above has those.
    if verdict.trials * 7 * float((grid.law(drawn).share ** 2).sum()) >= 100.0:
        decide(verdict, "a draw that repeats the one before")


def test_nothing_is_drawn_that_is_zero(drawn: Drawn) -> None:
    """None in any case: the long grid's 3 million draws show a rate of 1 in a million nine
    times in ten. The decoder that peeled all it found at once drew 11 of them.
    """
    assert drawn.never == 0, f"{drawn.never} of {drawn.draws} draws"


def test_lists_are_whole(drawn: Drawn) -> None:
    wanted = min(drawn.setup.samples, drawn.truth.index.size)
    partial = int((drawn.distinct[:, wanted - 1] < 0).sum())
    decide(decisions.rate_at_most(partial, drawn.lists, PARTIAL_RATE), "partial lists")


def test_values_err_by_what_the_noise_explains(drawn: Drawn) -> None:
    deviation = _deviation(drawn)
    served = drawn.distinct >= 0
    error = np.abs(drawn.size - drawn.true_size)
    far = (error > NEAR * deviation[:, None] + _rounding(drawn)) & served
    verdict = decisions.rate_at_most(int(far.sum()), int(served.sum()), FAR_RATE)
    decide(verdict, f"values off by {NEAR} deviations")


def test_the_order_differs_only_between_near_ties(drawn: Drawn) -> None:
    """Two served in the wrong order are within NEAR deviations of a difference of two values."""
    deviation = _deviation(drawn)
    latest = np.maximum.accumulate(drawn.true_size[:, ::-1], axis=1)[:, ::-1]
    gap = latest[:, 1:] - drawn.true_size[:, :-1]
    both = drawn.distinct[:, 1:] >= 0
    wrong = both & (gap > NEAR * np.sqrt(2.0) * deviation[:, None] + _rounding(drawn)[:, 1:])
    decide(decisions.rate_at_most(int(wrong.sum()), int(both.sum()), FAR_RATE), "order")


def test_no_heavier_one_is_passed_over(drawn: Drawn) -> None:
    """What the race has and the list lacks is near the last that was served, or near 3 σ̂."""
    deviation = _deviation(drawn)
    missing = (drawn.raced[:, :, None] != drawn.distinct[:, None, :]).all(axis=2)
    missing &= drawn.raced >= 0
    whole = drawn.distinct[:, -1] >= 0
    least = np.where(whole, drawn.true_size[:, -1], drawn.threshold)
    gap = drawn.raced_size - least[:, None]
    missed = missing & (gap > NEAR * np.sqrt(2.0) * deviation[:, None])
    arrivals = int((drawn.raced >= 0).sum())
    decide(decisions.rate_at_most(int(missed.sum()), arrivals, MISSED_RATE), "passed over")


def _deviation(drawn: Drawn) -> np.ndarray:
    """The standard deviation of a served |z|, list by list."""
    assert drawn.spec.sizes is not None
    return np.asarray(median_deviation(drawn.spec.sizes.depth) * drawn.sigma)


def _rounding(drawn: Drawn) -> np.ndarray:
    """What float64 may lose of a |z| that no noise touches."""
    return np.asarray(1e-9 * drawn.size)
