"""The grid of vectors, powers and ways to stream them, and what is measured of each.

The short grid runs in `make test`, the long one in `make test-long`;
`python -m benchmarks.distribution` prints either as a table.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from tests.statistical import decisions, shapes
from tests.statistical.decisions import Verdict
from tests.statistical.laws import Law, distinct_law
from tests.statistical.lists import Drawn, Setup

#: Total variation of a first draw that a case of each grid reveals; draws follow from it.
SHORT_SHIFT: Final = 0.11
LONG_SHIFT: Final = 0.06
#: For vectors of 2^17 touched coordinates and more, which take long to fold.
HEAVY_SHIFT: Final = 0.16
#: Draws with replacement of each list; each is as good as a first draw.
INDEPENDENT: Final = 8


@dataclass(frozen=True, eq=False)
class Case:
    """A setup by name. shift: the smallest total variation of first draws to be caught."""

    name: str
    setup: Setup
    shift: float

    @property
    def lists(self) -> int:
        """How many lists reveal the shift: one first draw each."""
        return decisions.draws_needed(self.shift)

    def seed(self, base: int) -> int:
        """A seed of this case's own."""
        digest = hashlib.sha256(f"{base}/{self.name}".encode()).digest()
        return int.from_bytes(digest[:6], "little")


def _case(name: str, shape: shapes.Shape, power: float, shift: float, **more: object) -> Case:
    return Case(f"{name}, p={power:g}", Setup(shape, power, **more), shift)  # type: ignore[arg-type]


def _short() -> list[Case]:
    def case(name: str, shape: shapes.Shape, power: float, **more: object) -> Case:
        return _case(name, shape, power, SHORT_SHIFT, **more)

    few = 1 << 10
    return [
        case("uniform", shapes.uniform(1000), 1.5),
        case("gaussian", shapes.gaussian(few), 2.0),
        case("zipf 0.5", shapes.zipf(few, 0.5), 2.0),
        case("zipf 1", shapes.zipf(few, 1.0), 1.0),
        case("zipf 1.5", shapes.zipf(few, 1.5), 2.0),
        case("one spike", shapes.spikes(few, 1), 2.0),
        case("two equal spikes", shapes.spikes(few, 2), 1.5),
        case("equal", shapes.equal(few), 1.0),
        case("cluster", shapes.cluster(1 << 20, few), 2.0),
        case("n = 1", shapes.single(-2.5), 1.0),
        case("random in 2^40", shapes.scattered(1 << 40, few), 2.0),
        case("strided in 2^40", shapes.strided(1 << 40, few), 1.0),
        case("half cancelled", shapes.half_cancelled(1 << 20, few), 2.0),
        case("matrix, x with the query", shapes.gaussian(500), 2.0, mode="query"),
        case("matrix, x fixed", shapes.zipf(few, 0.5), 1.0, mode="fixed"),
        case("matrix, x streamed", shapes.half_cancelled(few, few), 1.5, mode="streamed"),
    ]


def _long() -> list[Case]:
    few, some, many = 1 << 10, 1 << 12, 1 << 20
    kinds: dict[str, shapes.Shape] = {
        "uniform": shapes.uniform(some),
        "gaussian": shapes.gaussian(5000),
        "zipf 0.5": shapes.zipf(some, 0.5),
        "zipf 1": shapes.zipf(some, 1.0),
        "zipf 1.5": shapes.zipf(some, 1.5),
        "one spike": shapes.spikes(some, 1),
        "two equal spikes": shapes.spikes(some, 2),
        "cluster": shapes.cluster(1 << 20, some),
        "n = 1": shapes.single(-2.5),
        "random in 2^40": shapes.scattered(1 << 40, few),
        "strided in 2^40": shapes.strided(1 << 40, few),
        "half cancelled": shapes.half_cancelled(1 << 20, some),
    }
    cases = [
        _case(f"{name} (long)", shape, power, LONG_SHIFT)
        for name, shape in kinds.items()
        for power in (1.0, 1.5, 2.0)
    ]
    for mode in ("query", "fixed", "streamed"):
        for power in (1.0, 1.5, 2.0):
            shape = shapes.half_cancelled(2000, 2000)
            name = f"matrix, half cancelled, x {mode} (long)"
            cases.append(_case(name, shape, power, LONG_SHIFT, mode=mode))
    heavy = {"samples": 16, "repetitions": 8}
    cases.append(_case("2^20 equal (long)", shapes.equal(many), 2.0, HEAVY_SHIFT, **heavy))
    for power in (1.0, 2.0):
        shape = shapes.heavy_cancellation(many, 1_000_000)
        cases.append(_case("10 of 10^6 left (long)", shape, power, 0.5, samples=4, repetitions=8))
    return cases


SHORT: Final = _short()
LONG: Final = _long()


@functools.lru_cache(maxsize=4)
def drawn(case: Case, base_seed: int) -> Drawn:
    """The lists of a case; kept for the tests that follow one another."""
    return Drawn(case.setup, case.lists, case.seed(base_seed), INDEPENDENT)


def law(item: Drawn) -> Law:
    """The exact law of a first draw."""
    return Law(item.truth, item.setup.power)


def _rng(item: Drawn, purpose: int) -> np.random.Generator:
    return np.random.default_rng([item.spec.seed, purpose])


def first_draws(item: Drawn) -> Verdict:
    """First draws of all lists that served any, against the law."""
    return decisions.uniform(law(item).uniform(item.first, _rng(item, 1)))


def independent_draws(item: Drawn) -> Verdict:
    """Draws with replacement, against the law."""
    chosen = item.independent[item.independent >= 0]
    return decisions.uniform(law(item).uniform(chosen, _rng(item, 2)))


def order(item: Drawn) -> Verdict | None:
    """First and second draws without replacement together; None when there is no second."""
    if item.truth.index.size < 2:
        return None
    both = item.distinct[item.distinct[:, 1] >= 0]
    exact, rng = law(item), _rng(item, 3)
    first = exact.uniform(both[:, 0], rng)
    return decisions.uniform_pairs(first, exact.uniform_second(both[:, 0], both[:, 1], rng))


def number_of_distinct(item: Drawn) -> Verdict:
    """How many different coordinates there are among the draws with replacement of a list."""
    whole = item.independent[(item.independent >= 0).all(axis=1)]
    ordered = np.sort(whole, axis=1)
    count = 1 + (np.diff(ordered, axis=1) != 0).sum(axis=1)
    size = item.independent.shape[1]
    expected = distinct_law(law(item).share, size)
    return decisions.chi_square(np.bincount(count, minlength=size + 1)[1:], expected[1:])


def neighbours_agree(item: Drawn) -> Verdict:
    """How often one draw with replacement repeats the one before, list by list."""
    whole = item.independent[(item.independent >= 0).all(axis=1)]
    agree = (whole[:, 1:] == whole[:, :-1]).mean(axis=1)
    return decisions.mean_is(agree, float((law(item).share ** 2).sum()))


def first_differs(item: Drawn) -> tuple[int, int]:
    """How many served first draws are not the winner of the race, of how many."""
    served = item.distinct[:, 0] >= 0
    wrong = item.distinct[served, 0] != item.raced[served, 0]
    return int(wrong.sum()), int(served.sum())
