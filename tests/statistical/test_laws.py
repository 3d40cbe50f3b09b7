"""The laws that draws are held to, against counting and against an exact sampler."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sketch_core.batch import Columns, quantise
from sketch_core.resolve import resolve
from sketch_core.sketch import new_sketch
from tests.statistical import decisions, shapes
from tests.statistical.laws import Law, Truth, distinct_law
from tests.statistical.lists import Arrivals, Setup, filled

SHARES = np.array([0.55, 0.2, 0.15, 0.07, 0.03])


def truth_of(values: np.ndarray) -> Truth:
    return Truth(np.arange(values.size, dtype=np.uint64), values)


@pytest.mark.parametrize("draws", [1, 2, 5])
def test_number_of_distinct_is_that_of_all_sequences(draws: int) -> None:
    expected = np.zeros(draws + 1)
    for sequence in itertools.product(range(SHARES.size), repeat=draws):
        expected[len(set(sequence))] += float(np.prod(SHARES[list(sequence)]))
    assert distinct_law(SHARES, draws) == pytest.approx(expected, abs=1e-12)


def test_number_of_distinct_among_many() -> None:
    law = distinct_law(np.full(1 << 20, 2.0**-20), 8)
    assert law.sum() == pytest.approx(1.0, abs=1e-9)
    assert law[8] == pytest.approx(np.prod(1.0 - np.arange(8) / 2.0**20), rel=1e-9)


@pytest.mark.statistical
def test_exact_draws_become_uniform(rng: np.random.Generator) -> None:
    law = Law(truth_of(np.array([3.0, -1.0, 2.0, 0.5, -0.25, 2.0])), 2.0)
    first = rng.choice(law.share.size, size=20000, p=law.share)
    second = np.array([rng.choice(6, p=_without(law.share, taken)) for taken in first])
    u = law.uniform(first, rng)
    decisions.decide(decisions.uniform(u), "first")
    decisions.decide(decisions.uniform_pairs(u, law.uniform_second(first, second, rng)), "both")


@pytest.mark.statistical
def test_a_second_draw_that_ignores_the_first_is_noticed(rng: np.random.Generator) -> None:
    """The equal chance of all others, where the law wants a share of the rest."""
    law = Law(truth_of(np.array([3.0, -1.0, 2.0, 0.5, -0.25, 2.0])), 2.0)
    first = rng.choice(6, size=20000, p=law.share)
    second = (first + rng.integers(1, 6, first.size)) % 6
    u = law.uniform(first, rng)
    assert not decisions.uniform_pairs(u, law.uniform_second(first, second, rng)).passed()


def _without(share: np.ndarray, taken: int) -> np.ndarray:
    rest = share.copy()
    rest[taken] = 0.0
    return np.asarray(rest / rest.sum())


def test_places_of_coordinates() -> None:
    truth = Truth(np.array([3, 7, 1 << 40], dtype=np.uint64), np.array([1.0, 2.0, 3.0]))
    asked = np.array([7, 8, 1 << 40, 0, 1 << 41], dtype=np.uint64)
    assert truth.positions(asked).tolist() == [1, -1, 2, -1, -1]


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_races_are_those_of_the_exact_method(power: float, seed: int) -> None:
    """Arrivals, the oracle for vectors too long to hold, against ExactSketch."""
    for item in filled(Setup(shapes.half_cancelled(3000, 1000), power, repetitions=4), 4, seed):
        exact = new_sketch(resolve({**item.spec.to_json(), "method": "exact"} | _NO_SIZES))
        values = Columns("y", index=item.truth.index, delta=item.truth.value)
        exact.apply([quantise(exact.spec, values)[0]])
        for draw in range(4):
            race = Arrivals(item.spec, item.truth, draw, 20)
            sample = exact.sample(20, draw=draw)[0]
            assert item.truth.index[race.order].tolist() == sample.index.tolist()
            last = race.size[race.order[-1]]
            assert exact.sample(19, draw=draw)[0].threshold == pytest.approx(last)


_NO_SIZES = {"width": None, "upper_width": None, "estimate_width": None, "depth": None}
