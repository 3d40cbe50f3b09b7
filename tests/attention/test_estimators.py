"""The estimators: exact where they see everything, unbiased where they should be."""

from __future__ import annotations

import numpy as np
import pytest

from service.attention import estimators
from service.demo import law
from service.demo.law import F64

N, D = 400, 6


@pytest.fixture
def scores(rng: np.random.Generator) -> F64:
    return np.asarray(rng.normal(size=N) * rng.pareto(2.0, N))


@pytest.fixture
def values(rng: np.random.Generator) -> F64:
    return np.asarray(rng.normal(size=(N, D)) + 0.3)


def test_every_token_once_is_the_exact_output(scores: F64, values: F64) -> None:
    weights = scores**2
    exact = estimators.output(weights, values)
    everything = np.arange(N)
    for found in (
        estimators.of_heaviest(weights, values, (N,), exact),
        estimators.of_weighted(everything, weights, values, (N,), exact),
        estimators.of_weighted(everything, weights, values, (N,), exact, float(weights.mean())),
    ):
        assert found == pytest.approx([0.0], abs=1e-12)
    sure = [(everything, scores, np.ones(N))]
    assert estimators.of_lists(sure, values, exact) == pytest.approx(0.0, abs=1e-12)


def test_the_heaviest_come_first() -> None:
    weights, values = np.array([1.0, 9.0, 4.0]), np.eye(3)
    exact = estimators.output(weights, values)
    found = estimators.of_heaviest(weights, values, (1, 2), exact)
    assert found[0] == estimators.error(np.array([0.0, 1.0, 0.0]), exact)
    assert found[1] == pytest.approx(estimators.error(np.array([0.0, 9.0, 4.0]) / 13, exact))


def test_softmax_survives_large_scores() -> None:
    found = estimators.softmax_weights(np.array([5000.0, 4999.0]))
    assert found.tolist() == [1.0, pytest.approx(np.exp(-1.0))]


@pytest.mark.statistical
def test_the_error_of_one_draw_is_what_is_seen(
    scores: F64, values: F64, rng: np.random.Generator
) -> None:
    """Mean squared errors of 4,000 runs of 16 draws; fails by chance less than once in 10^6.

    The relative standard error of the mean is at most 3 %, six of them are allowed. A
    factor of 1.2 in the variance would be found out.
    """
    weights = scores**2
    exact = estimators.output(weights, values)
    runs, m = 4000, 16
    flat = np.full(N, 1 / N)
    for proposal, claimed in (
        (weights / weights.sum(), estimators.single_draw_error(weights, values)),
        (flat, estimators.single_draw_error(np.ones(N), values, flat)),
    ):
        index = rng.choice(N, size=(runs, m), p=proposal)
        target = exact if proposal is not flat else values.mean(axis=0)
        errors = ((values[index].mean(axis=1) - target) ** 2).sum(axis=1) / (target @ target)
        assert errors.std() / np.sqrt(runs) < 0.03 * errors.mean()
        assert errors.mean() * m == pytest.approx(claimed**2, rel=0.18)


@pytest.mark.statistical
def test_exact_draws_follow_the_law(scores: F64, rng: np.random.Generator) -> None:
    """Fails by chance once in 10,000 runs; uniform draws always do."""
    probabilities = law.law(scores)
    fit = law.fit(estimators.exact_index(scores, 4000, rng), probabilities)
    assert fit is not None
    assert fit.p_value > 1e-4
    uniform = law.fit(rng.integers(N, size=4000), probabilities)
    assert uniform is not None
    assert uniform.p_value < 1e-9


@pytest.mark.statistical
def test_sums_over_exact_lists_are_unbiased(
    scores: F64, values: F64, rng: np.random.Generator
) -> None:
    """2,000 lists of 16 together are within 5 standard errors, once in 10^6 not.

    Their error is at most that of as many draws with replacement.
    """
    exact = estimators.output(scores**2, values)
    lists = [estimators.exact_lists(scores, 16, rng) for _ in range(2000)]
    bound = 5 * estimators.single_draw_error(scores**2, values) / np.sqrt(16 * 2000)
    assert estimators.of_lists(lists, values, exact) < bound
    halved = [(index, score, np.sqrt(inclusion)) for index, score, inclusion in lists]
    assert estimators.of_lists(halved, values, exact) > bound
