"""How often all is served that was asked for, at default sizes: the promise of sizing.py."""

from __future__ import annotations

import pytest

from sketch_core.sizing import RECOVERY
from tests.statistical import decisions, shapes
from tests.statistical.decisions import decide
from tests.statistical.lists import Setup, filled

pytestmark = pytest.mark.statistical

#: A sketch for one draw fails at most this often.
SINGLE_FAILS = 0.01


def partial(setup: Setup, lists: int, seed: int) -> int:
    """How many lists serve fewer than `samples`."""
    count = 0
    for item in filled(setup, lists, seed):
        count += sum(
            item.sample(setup.samples, number).status != "ok" for number in range(setup.repetitions)
        )
    return count


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_lists_of_16_are_whole(power: float, seed: int) -> None:
    """All 2^14 of 2^14 touched: the worst that n allows. Catches 2 % of partial lists."""
    lists = _even(decisions.trials_needed(1.0 - RECOVERY, 0.02), 32)
    setup = Setup(shapes.equal(1 << 14), power, samples=16, repetitions=32)
    found = partial(setup, lists, seed)
    decide(decisions.rate_at_most(found, lists, 1.0 - RECOVERY), "partial lists")


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_a_sketch_for_one_draw_serves_it(power: float, seed: int) -> None:
    """Catches 3 % of failures where 1 % is allowed."""
    lists = _even(decisions.trials_needed(SINGLE_FAILS, 0.03), 64)
    setup = Setup(shapes.equal(1 << 13), power, samples=1, repetitions=64)
    found = partial(setup, lists, seed)
    decide(decisions.rate_at_most(found, lists, SINGLE_FAILS), "failed draws")


@pytest.mark.long
@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_lists_of_16_are_whole_with_all_touched(power: float, seed: int) -> None:
    """2^20 equal coordinates, the number that default sizes are made for. Catches 4 %."""
    lists = _even(decisions.trials_needed(1.0 - RECOVERY, 0.04), 8)
    setup = Setup(shapes.equal(1 << 20), power, samples=16, repetitions=8)
    found = partial(setup, lists, seed)
    decide(decisions.rate_at_most(found, lists, 1.0 - RECOVERY), "partial lists")


@pytest.mark.long
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_a_sketch_for_one_draw_serves_it_with_many_touched(power: float, seed: int) -> None:
    """2^18 of 2^20. Catches 5 % of failures where 1 % is allowed."""
    lists = _even(decisions.trials_needed(SINGLE_FAILS, 0.05), 8)
    setup = Setup(shapes.scattered(1 << 20, 1 << 18), power, samples=1, repetitions=8)
    found = partial(setup, lists, seed)
    decide(decisions.rate_at_most(found, lists, SINGLE_FAILS), "failed draws")


def _even(lists: int, repetitions: int) -> int:
    """Whole sketches' worth."""
    return -(-lists // repetitions) * repetitions
