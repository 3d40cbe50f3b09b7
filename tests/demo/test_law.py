"""The demo's own statistics: right on exact draws, wrong draws found out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from service.demo import law
from service.demo.findings import LEVEL, Findings, find
from service.demo.input import Input, Size, read_input
from service.demo.law import Draws

SIZE = Size(keys=4096, queries=2, sketches=10, repetitions=10)


@pytest.fixture(scope="module")
def data() -> Input:
    return read_input(SIZE, seed=3)


def exact(data: Input, rng: np.random.Generator) -> list[Draws]:
    """What a perfect service would bring."""
    return [
        law.exact_draws(data.scores(query), SIZE.lists, SIZE.count, rng)
        for query in range(SIZE.queries)
    ]


def judged(data: Input, draws: list[Draws]) -> Findings:
    return find(data, SIZE, draws, seed=1)


@pytest.mark.parametrize("freedom", [2, 6, 14])
@pytest.mark.parametrize("statistic", [0.0, 0.3, 5.0, 40.0])
def test_chi_square_tail_is_scipys(statistic: float, freedom: int) -> None:
    expected = stats.chi2.sf(statistic, freedom)
    assert law.chi_square_tail(statistic, freedom) == pytest.approx(expected, rel=1e-12)


def test_chi_square_tail_refuses_odd_degrees() -> None:
    with pytest.raises(ValueError, match="even"):
        law.chi_square_tail(1.0, 3)


def test_classes_hold_equal_mass(data: Input) -> None:
    probabilities = law.law(data.scores(0))
    member = law.classes(probabilities, 15)
    mass = np.bincount(member, weights=probabilities, minlength=15)
    assert mass == pytest.approx(np.full(15, 1 / 15), rel=0.05)


def test_deleted_keys_have_no_mass(data: Input) -> None:
    assert law.law(data.scores(1))[data.deleted].sum() == 0.0


@pytest.mark.statistical
def test_exact_draws_pass(data: Input, rng: np.random.Generator) -> None:
    """Fails by chance once in 10,000 seeds."""
    found = judged(data, exact(data, rng))
    assert found.passed
    assert found.tests == 4


@pytest.mark.statistical
def test_uniform_draws_fail(data: Input, rng: np.random.Generator) -> None:
    """Passes by chance with a probability under 10^-9: the law's χ² is in the hundreds."""
    alive = np.flatnonzero(data.scores(0))
    draws = [
        Draws(rng.choice(alive, item.first.size), rng.choice(alive, 1600), item.lists)
        for item in exact(data, rng)
    ]
    found = judged(data, draws)
    assert not found.passed
    assert found.smallest < LEVEL


def test_one_deleted_key_fails(data: Input, rng: np.random.Generator) -> None:
    draws = exact(data, rng)
    draws[1].independent[7] = data.deleted[0]
    found = judged(data, draws)
    assert found.deleted_drawn == 1
    assert not found.passed


def test_nothing_drawn_fails(data: Input) -> None:
    nothing = Draws(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), [])
    assert not judged(data, [nothing, nothing]).passed


@pytest.mark.statistical
def test_the_output_estimate_closes_in(data: Input, rng: np.random.Generator) -> None:
    """1,600 draws bring the relative error under 20 %; it is typically 8 %."""
    draws = exact(data, rng)[0]
    errors = law.running_error(draws, data.scores(0), data.values)
    assert errors.shape == (SIZE.lists,)
    assert errors[-1] < 0.2
    assert errors[-1] < errors[0]


@pytest.mark.statistical
def test_a_key_heavier_than_a_class_spoils_no_test(rng: np.random.Generator) -> None:
    """Exact draws pass but once in 10,000 seeds; draws that miss the heavy key never do."""
    scores = np.concatenate([np.full(200, 1.0), [12.0, 9.0]])
    probabilities = law.law(scores)
    draws = rng.choice(scores.size, 4000, p=probabilities)
    found = law.fit(draws, probabilities)
    assert found is not None
    assert found.freedom % 2 == 0
    assert found.freedom >= 6
    assert found.p_value > 1e-4
    without = law.fit(draws[draws != 200], probabilities)
    assert without is not None
    assert without.p_value < 1e-9
    assert law.fit(draws, law.law(np.array([0.0, 1.0, 1e-9]))) is None
