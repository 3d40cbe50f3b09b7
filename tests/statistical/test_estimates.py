"""Inclusion probabilities, norms and point estimates, against what they promise.

z² is the square of (estimate - truth) / reported standard error; where errors are
honest its mean is at most 1, and about 1 in 22 lies above 4.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.statistical import decisions, grid, shapes
from tests.statistical.decisions import decide
from tests.statistical.lists import Drawn, Setup, filled

pytestmark = pytest.mark.statistical

FEW = 1 << 10
#: Lists a test sums over. With 16 samples a Horvitz–Thompson sum has a relative
#: standard deviation of about 1/√15: a bias of 5 % is caught.
LISTS = 1024
#: Sketches whose norms and point estimates are compared with the truth.
SKETCHES = 1000
#: More than two standard errors off, for normal errors.
OUTSIDE_TWO = 2.0 * float(stats.norm.sf(2.0))

WEIGHED = {
    "equal": shapes.equal(FEW),
    "gaussian": shapes.gaussian(1000),
    "zipf 0.5": shapes.zipf(FEW, 0.5),
    "half cancelled": shapes.half_cancelled(1 << 20, 1 << 11),
}
NORMED = {
    "equal": shapes.equal(FEW),
    "zipf 1": shapes.zipf(FEW, 1.0),
    "one spike": shapes.spikes(FEW, 1),
    "random in 2^40": shapes.scattered(1 << 40, FEW),
}
#: What a point estimate's error depends on; z² averaged over this many coordinates.
ASKED = 64


def weighed(drawn: Drawn, of: np.ndarray) -> np.ndarray:
    """Each list's Σ |y_i|^p / π_i over the served coordinates for which `of` holds: (lists,)."""
    served = (drawn.distinct >= 0) & of[drawn.distinct]
    weight = np.abs(drawn.truth.value[drawn.distinct]) ** drawn.setup.power / drawn.inclusion
    return np.asarray(np.where(served, weight, 0.0).sum(axis=1))


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("name", WEIGHED)
def test_sums_over_inclusion_probabilities_are_unbiased(
    name: str, power: float, base_seed: int
) -> None:
    """Horvitz–Thompson sums of the true |y|^p: their total, and over quarters of the mass.

    An inclusion probability that is off by one arrival would bias them by 1/16.
    """
    setup = Setup(WEIGHED[name], power, samples=16)
    drawn = Drawn(setup, LISTS, base_seed, independent=0)
    exact = grid.law(drawn)
    total = float((np.abs(drawn.truth.value) ** power).sum())
    everything = np.ones(exact.share.size, dtype=bool)
    verdict = decisions.mean_is(weighed(drawn, everything) / total, 1.0)
    assert verdict.smallest < 1.0 / 16
    decide(verdict, "Σ |y|^p / π")
    quarter = np.minimum((exact.before * 4).astype(np.int64), 3)
    for number in range(4):
        share = float(exact.share[quarter == number].sum())
        sums = weighed(drawn, quarter == number) / total
        decide(decisions.mean_is(sums, share), f"quarter {number}")


def test_the_number_of_nonzero_coordinates_is_estimated(base_seed: int) -> None:
    """Σ 1 / π, where magnitudes differ by no more than a factor of 32."""
    drawn = Drawn(Setup(WEIGHED["zipf 0.5"], 1.0, samples=16), LISTS, base_seed, independent=0)
    counts = np.where(drawn.distinct >= 0, 1.0 / drawn.inclusion, 0.0).sum(axis=1)
    decide(decisions.mean_is(counts / drawn.truth.index.size, 1.0), "Σ 1 / π")


def squares(error: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """z², 0 where the estimate is right up to rounding."""
    return np.asarray(np.where(np.abs(error) < 1e-9, 0.0, error / np.maximum(deviation, 1e-9)) ** 2)


@pytest.mark.parametrize(("power", "lists"), [(1.0, 8), (2.0, 1)])
@pytest.mark.parametrize("name", NORMED)
def test_norms_err_as_their_standard_errors_say(
    name: str, power: float, lists: int, seed: int
) -> None:
    """From the unscaled table for p = 2, from eight lists of 16 else."""
    sketches = SKETCHES if power == 2.0 else SKETCHES // 8
    setup = Setup(NORMED[name], power, samples=16, repetitions=lists)
    errors, deviations = [], []
    for item in filled(setup, sketches * lists, seed):
        answer = item.sketch.norm()[0]
        truth = float((np.abs(item.truth.value) ** power).sum() ** (1.0 / power))
        errors.append(answer.norm / truth - 1.0)
        deviations.append(answer.standard_error / truth)
    z = squares(np.array(errors), np.array(deviations))
    outside = decisions.rate_at_most(int((z > 4.0).sum()), z.size, OUTSIDE_TWO)
    decide(outside, "norms more than two standard errors off")
    decide(decisions.mean_at_most(z, 1.0), "z² of norms")


@pytest.mark.parametrize("name", NORMED)
def test_point_estimates_err_as_their_standard_errors_say(name: str, seed: int) -> None:
    """Of ASKED coordinates of each sketch, touched ones and others."""
    setup = Setup(NORMED[name], 2.0, samples=1, repetitions=1)
    means, outside = [], []
    for item in filled(setup, SKETCHES, seed):
        step = max(1, item.truth.index.size // (ASKED // 2))
        touched = item.truth.index[::step][: ASKED // 2]
        index = np.concatenate([touched, np.arange(ASKED // 2, dtype=np.uint64)])
        place = item.truth.positions(index)
        truth = np.where(place >= 0, item.truth.value[place], 0.0)
        answer = item.sketch.estimate(index)[0]
        z = squares(answer.value - truth, answer.standard_error)
        means.append(float(np.minimum(z, 25.0).mean()))
        outside.append(float((z > 4.0).mean()))
    decide(decisions.mean_at_most(np.array(means), 1.0), "z² of point estimates, cut at 25")
    decide(decisions.mean_at_most(np.array(outside), OUTSIDE_TWO), "two standard errors")
