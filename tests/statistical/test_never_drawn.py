"""No bound hides this one: what was never touched, or was taken back, is never drawn.

10,000 draws a case (half of them with replacement), at default sizes for 16
samples. One such draw fails the test, which catches a rate of 2.3 in 10,000 with
probability 0.9. None was seen in 1.3 million draws at the narrowest default width,
so a case fails by chance at most about once in 50 seeds. The grid in test_draws
demands the same of all its draws together.
"""

from __future__ import annotations

import math

import pytest

from tests.statistical import decisions, shapes
from tests.statistical.lists import Drawn, Setup

pytestmark = pytest.mark.statistical

DRAWS = 10_000
#: The rate at which DRAWS draws show at least one with probability POWER.
CAUGHT = -math.log(1.0 - decisions.POWER) / DRAWS

SPARSE = 1 << 20
SHAPES = {
    "half cancelled": shapes.half_cancelled(SPARSE, 1 << 13),
    "sparse": shapes.scattered(SPARSE, 1 << 12),
    "nearly all cancelled": shapes.heavy_cancellation(SPARSE, 1 << 14, left=200),
}
LARGE = {
    "half of 2^16 cancelled": shapes.half_cancelled(SPARSE, 1 << 16),
    "half of 2^17 cancelled": shapes.half_cancelled(SPARSE, 1 << 17),
    "half of 2^19 cancelled": shapes.half_cancelled(SPARSE, 1 << 19),
    "half of 2^17 cancelled in 2^40": shapes.half_cancelled(1 << 40, 1 << 17),
}


def drawn(shape: shapes.Shape, power: float, seed: int, repetitions: int) -> Drawn:
    """Lists that bring DRAWS draws."""
    setup = Setup(shape, power, samples=16, repetitions=repetitions)
    return Drawn(setup, math.ceil(DRAWS / 32), seed, independent=16)


def check(item: Drawn) -> None:
    """Nothing is drawn that is zero, and there were as many draws as promised."""
    assert item.draws >= 0.98 * DRAWS
    assert item.never == 0, f"{item.never} of {item.draws}; catches {CAUGHT:.1e} a draw"


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("name", SHAPES)
def test_nothing_is_drawn_that_is_zero(name: str, power: float, seed: int) -> None:
    check(drawn(SHAPES[name], power, seed, 32))


def test_nothing_is_drawn_that_is_zero_of_many(seed: int) -> None:
    """2^16 touched, half of them cancelled, at the power that is hardest."""
    check(drawn(LARGE["half of 2^16 cancelled"], 2.0, seed, 32))


@pytest.mark.long
@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("name", LARGE)
def test_nothing_is_drawn_that_is_zero_of_very_many(name: str, power: float, seed: int) -> None:
    check(drawn(LARGE[name], power, seed, 8))
