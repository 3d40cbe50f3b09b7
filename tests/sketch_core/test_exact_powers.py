"""The exact method at any power, from nearly uniform to nearly argmax, and any size of y."""

from __future__ import annotations

import decimal
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sketch_core.exact import ExactSketch
from sketch_core.results import Sample
from sketch_core.scaling import Race
from tests.sketch_core.streams import row_batch, sketch_of, spec_of, vector_batch
from tests.statistical.decisions import chi_square, draws_needed, smallest_shift

F64 = npt.NDArray[np.float64]

#: A test on random draws fails by chance this often.
LEVEL: Final = 1e-6
LEAST: Final = math.ulp(0.0)
LARGEST: Final = math.nextafter(math.inf, 0.0)
POWERS: Final = [LEAST, 1e-300, 1e-12, 0.125, 1.0, 1.5, 2.0, 64.0, 1e12, 1e300, LARGEST]
every_power = pytest.mark.parametrize("power", POWERS)


class Given(ExactSketch):
    """The exact method over a y that no stream of increments could make."""

    def __init__(self, y: Sequence[float], power: float) -> None:
        super().__init__(spec_of(n=len(y), method="exact", power=power))
        self.y = np.array(y)

    def _vectors(self, rows: F64 | None) -> Iterator[F64]:
        yield self.y.copy()

    def gaps(self) -> F64:
        """e_i of the first list, as the method has them."""
        power = self.spec.distribution.power
        assert power is not None
        rounded = 1.0 <= power <= 2.0
        race = Race(self.spec.seed, 0, power if rounded else 2.0, self.spec.clip)
        index = np.arange(self.y.size, dtype=np.uint64)
        return race.first_gaps(index) if rounded else race.unrounded_gaps(index)


# ---- against decimal arithmetic


def _saturated(log: Decimal) -> float:
    """e^log, inf or the least positive float64 where that is out of reach."""
    if log > 710:
        return math.inf
    return max(float(log.exp()), LEAST) if log > -760 else LEAST


def _is(ours: float, log: Decimal, rel: float) -> bool:
    """Whether a number is e^log, up to rel or, at the end of float64, on either side of it."""
    if math.isinf(ours) or math.isinf(_saturated(log)):
        return log > Decimal(LARGEST).ln() - Decimal(rel) and ours > LARGEST * (1.0 - rel)
    return ours == pytest.approx(_saturated(log), rel=rel, abs=LEAST)


def _check(sketch: Given, sample: Sample, count: int) -> None:
    """Every number of an answer without replacement, from logarithms of many digits."""
    power = sketch.spec.distribution.power
    assert power is not None
    p = Decimal(power)
    nonzero = np.flatnonzero(sketch.y).tolist()
    size = {i: Decimal(abs(float(sketch.y[i]))).ln() for i in nonzero}
    gap = {i: Decimal(float(sketch.gaps()[i])).ln() for i in nonzero}
    key = {i: p * size[i] - gap[i] for i in nonzero}
    order = sorted(nonzero, key=lambda i: -key[i])
    drawn = sample.index.tolist()
    assert len(set(drawn)) == len(drawn) == min(count, len(nonzero))
    for ours, known in zip(drawn, order, strict=False):
        assert abs(key[ours] - key[known]) < Decimal("1e-8"), "not even a near tie"
    top = max(size.values())
    total = sum((p * (one - top)).exp() for one in size.values())
    log_norm = top + Decimal(total).ln() / p
    assert _is(sample.norm, log_norm, rel=1e-11)
    assert sketch.norm()[0].norm == sample.norm
    assert sample.value.tolist() == sketch.y[drawn].tolist()
    shares = [float((p * (size[i] - top)).exp() / total) for i in drawn]
    assert sample.probability.tolist() == pytest.approx(shares, rel=1e-9, abs=1e-300)
    inclusion = sample.inclusion_probability
    assert inclusion is not None
    if len(nonzero) <= count:
        assert sample.threshold == 0.0
        assert inclusion.tolist() == [1.0] * len(drawn)
        return
    next_one = order[count]
    assert _is(sample.threshold, key[next_one] / p, rel=1e-8)
    excess = [(p * size[i] - key[next_one]).min(Decimal(50)).exp() for i in drawn]
    known_ones = [float(1 - (-one).exp()) for one in excess]
    assert inclusion.tolist() == pytest.approx(known_ones, rel=1e-7, abs=0.0)


def _sizes() -> st.SearchStrategy[list[float]]:
    """Values of any size, and groups of values a few roundings apart or equal."""
    magnitude = st.floats(-300.0, 300.0).map(lambda log: 10.0**log)
    near = st.builds(
        lambda base, steps: [base * (1.0 - step * 2.0**-52) for step in steps],
        magnitude,
        st.lists(st.integers(0, 9), min_size=1, max_size=4),
    )
    signed = st.tuples(magnitude, st.sampled_from([1.0, -1.0, 0.0])).map(lambda it: it[0] * it[1])
    ends = st.sampled_from([LEAST, 2.0**-1022, LARGEST, -LARGEST])
    one = st.one_of(near, signed.map(lambda v: [v]), ends.map(lambda v: [v]))
    return st.lists(one, min_size=1, max_size=5).map(lambda parts: list(chain(*parts)))


@settings(max_examples=150)
@given(
    y=_sizes(),
    power=st.floats(-305.0, 305.0).map(lambda log: 10.0**log)
    | st.floats(-3.0, 17.0).map(lambda log: 10.0**log)
    | st.sampled_from(POWERS),
    count=st.sampled_from([1, 2, 3, 30]),
)
def test_answers_are_those_of_decimal_arithmetic(y: list[float], power: float, count: int) -> None:
    sketch = Given(y, power)
    [sample] = sketch.sample(count)
    if not any(y):
        assert sample.status == "empty"
        return
    digits = 60 + max(0, math.ceil(math.log10(power)))
    with decimal.localcontext(prec=digits, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN):
        _check(sketch, sample, count)


@every_power
@pytest.mark.parametrize("size", [LEAST, 1e-300, 1.0, 1e300, LARGEST])
def test_equal_sizes_are_ordered_by_their_exponentials(power: float, size: float) -> None:
    """At the top, and far below something larger, where e is lost in the rounding of p · ln|y|."""
    y = [size * (-1.0) ** i for i in range(40)]
    sketch = Given(y, power)
    race = Race(sketch.spec.seed, 0, 2.0, sketch.spec.clip)
    known = np.lexsort((race.bits(np.arange(40, dtype=np.uint64)), sketch.gaps())).tolist()
    assert sketch.sample(40)[0].index.tolist() == known
    if power >= 64.0 and size <= 1e300:
        below = Given([*y, size * 1e5], power)
        assert below.sample(41)[0].index.tolist() == [40, *known]


@every_power
def test_replacement_serves_every_draw(power: float) -> None:
    """300 draws of five sizes: only the largest at a huge power, all of them at a tiny one."""
    [sample] = Given([1e-300, 1e-30, 0.0, 1.0, 1e30, 1e300], power).sample(300, replacement=True)
    assert sample.status == "ok"
    if power >= 1.0:
        assert set(sample.index.tolist()) == {5}
    if power <= 1e-12:
        assert set(sample.index.tolist()) == {0, 1, 3, 4, 5}


@every_power
def test_streamed_quanta_and_queries_take_any_power(power: float) -> None:
    """Ones have the norm n^(1/p); a matrix's answers scale with a query of 10^-290."""
    spec = spec_of(n=8, method="exact", power=power)
    ones = sketch_of(spec, [vector_batch(spec, [1.0] * 8)])
    with decimal.localcontext(prec=400):
        known = _saturated(Decimal(8).ln() / Decimal(power))
    assert ones.norm()[0].norm == pytest.approx(known, rel=1e-12)
    assert ones.norm(2.0)[0].norm == pytest.approx(math.sqrt(8.0), rel=1e-12)
    shape = spec_of("matrix", n=50, d=1, method="exact", power=power)
    matrix = sketch_of(shape, [row_batch(shape, {i: [1.0 + i] for i in range(50)})])
    [large], [small] = (matrix.sample(5, queries=np.array([[x]])) for x in (2.0**40, 2.0**-960))
    assert small.index.tolist() == large.index.tolist()
    assert small.probability == pytest.approx(large.probability, rel=1e-9, abs=1e-300)
    assert small.inclusion_probability == pytest.approx(large.inclusion_probability, rel=1e-9)


# ---- laws


def _counts(sketch: Given, draws: int, place: int) -> npt.NDArray[np.int64]:
    """How often each coordinate came at this place of lists 0 to draws - 1."""
    found = [int(sketch.sample(place + 1, draw=draw)[0].index[place]) for draw in range(draws)]
    return np.bincount(found, minlength=sketch.y.size)


@pytest.mark.statistical
@pytest.mark.parametrize("power", [LEAST, 1e-300, 1e-9])
def test_a_tiny_power_is_uniform_over_what_is_not_zero(power: float) -> None:
    """χ²: fails by chance once in 10^6, catches a total variation distance of 5 % in 9 of 10."""
    y = [1e300, -1e-300, 0.0, 1.0, 7.0, -LEAST, LARGEST, 2.0**-40, 1e5]
    draws = draws_needed(0.05, classes=8, level=LEVEL)
    counts = _counts(Given(y, power), draws, place=0)
    alive = np.array(y) != 0.0
    verdict = chi_square(counts, alive / 8.0)
    assert verdict.smallest == pytest.approx(smallest_shift(draws, 8, LEVEL), rel=0.1)
    assert verdict.passed(LEVEL), verdict


@pytest.mark.parametrize("power", [1e6, 1e18, 1e300, LARGEST])
@pytest.mark.parametrize("unit", [1e-300, 1.0, 1e300])
def test_a_huge_power_is_argmax(power: float, unit: float) -> None:
    """In order of size, whatever the draw; of two at the top each with probability one half."""
    y = [unit * (1.0 + i / 1000.0) for i in range(9)]
    sketch = Given([*y, -y[-1]], power)
    for draw in range(20):
        [sample] = sketch.sample(10, draw=draw)
        assert set(sample.index[:2].tolist()) == {8, 9}
        assert sample.index[2:].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
        assert sample.probability.tolist() == [0.5, 0.5, *[0.0] * 8]
        assert sample.norm == pytest.approx(y[-1], rel=1e-6)


@pytest.mark.statistical
@pytest.mark.parametrize("place", [0, 1])
def test_neighbouring_numbers_follow_the_law_at_a_huge_power(place: int) -> None:
    """Odds of two to one, at a power where p · ln|y| is known to whole numbers only.

    place: of the pair, first or after one that is far larger. χ²: fails by chance once in
    10^6, catches a total variation distance of 3 % in 9 of 10.
    """
    pair = [1e-3, math.nextafter(1e-3, 0.0)]
    power = math.log(2.0) / -math.log1p((pair[1] - pair[0]) / pair[0])
    assert math.ulp(power * math.log(1e-3)) >= 0.5
    sketch = Given([*pair, *[1.0] * place], power)
    draws = draws_needed(0.03, classes=2, level=LEVEL)
    counts = _counts(sketch, draws, place)
    verdict = chi_square(counts[:2], np.array([2.0, 1.0]) / 3.0)
    assert counts[2:].tolist() == [0] * place
    assert verdict.passed(LEVEL), verdict
