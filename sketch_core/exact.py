"""The exact method: dense operands, any distribution of a fixed list, the same exponentials.

Problem.   Serve the very answers a sketch approximates, for sizes where keeping
           the operands costs less than sketching them, and for distributions no
           small sketch can serve: softmax needs Ω(n) bits (Song, Xie, Zhou,
           Theorem 4.4), as do powers above 2 (polynomially many) in this service's terms.
Source.    Exponential races over explicit weights; Gumbel-max in another notation.
Deviation. Operands are kept as int64 quanta like a sketch's cells, so streams
           that differ in order or grouping give equal states, and a power from
           1 to 2 uses the rounded scales of scaling.py: the list is the one a
           sketch of the same seed should give, which makes it the tests' oracle.
           Any draw number is served: exponentials are hashed, not stored.
Guarantee. Exact up to rounding of increments and of float64 sums over d columns
           (4 · eps · d relative to Σ|a_j x_j|; smaller y_i count as zero).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from sketch_core.draws import ArrivalList, answer, check_index, check_request, empty_sample
from sketch_core.errors import InvalidQuery, InvalidSpec
from sketch_core.hashing import I64, U64
from sketch_core.log_rates import contenders, log_ratio, log_sum, preference, times_exp
from sketch_core.operand_state import OperandState
from sketch_core.parameters import SKETCH_POWERS, Distribution, number
from sketch_core.results import Estimates, Norm, Sample
from sketch_core.scaling import Race, natural_log, quantum_exponent
from sketch_core.spec import Spec
from sketch_core.state import LinearState

F64 = npt.NDArray[np.float64]

_EPS: Final = float(np.finfo(np.float64).eps)
#: Dense numbers turned into floats at a time.
_CHUNK_NUMBERS: Final = 1 << 20
#: A |y_i| below this share of the largest is multiplied by its scale apart, lest it vanish, …
_FAR: Final = 2.0**-1000
#: … and by this power of two for as long.
_LIFT_BITS: Final = 1500
#: Numbers of projected queries that exist at a time (a single query may have more).
_PROJECTED_NUMBERS: Final = 1 << 21


class ExactSketch(OperandState):
    """Dense operands of a vector or matrix, with the interface of a sketch."""

    def __init__(self, spec: Spec, state: LinearState | None = None) -> None:
        super().__init__(spec, state)
        self._power = spec.distribution.power
        self._scaled = (
            self._power is not None and SKETCH_POWERS.low <= self._power <= SKETCH_POWERS.high
        )

    # ---- queries

    def _vectors(self, rows: F64 | None) -> Iterator[F64]:
        """y for each query, float64 (n,); values within rounding error of zero are zero."""
        if rows is None:
            dense = self._state.arrays[self._main]["dense"]
            yield np.ldexp(dense[:, 0].astype(np.float64), -self.spec.value_bits)
            return
        together = max(1, _PROJECTED_NUMBERS // self.spec.n)
        for first in range(0, rows.shape[0], together):
            yield from self._products(rows[first : first + together])

    def _products(self, rows: F64) -> F64:
        """A x for each row x: float64 (q, d) to float64 (q, n)."""
        dense = self._state.arrays[self._main]["dense"]
        out = np.empty((rows.shape[0], self.spec.n))
        size = np.abs(rows)
        step = max(1, _CHUNK_NUMBERS // self.spec.d)
        for start in range(0, self.spec.n, step):
            part = np.ldexp(dense[start : start + step].astype(np.float64), -self.spec.value_bits)
            products = rows @ part.T
            # |a|·|x| is computed only where a coarse bound leaves the question open.
            coarse = float(np.abs(part).max(initial=0.0)) * size.sum(axis=1, keepdims=True)
            small = np.abs(products) <= 4.0 * _EPS * self.spec.d * coarse
            doubtful = np.flatnonzero((small & (products != 0.0)).any(axis=0))
            if doubtful.size:
                bound = 4.0 * _EPS * self.spec.d * (size @ np.abs(part[doubtful]).T)
                some = products[:, doubtful]
                products[:, doubtful] = np.where(np.abs(some) <= bound, 0.0, some)
            out[:, start : start + step] = products
        return out

    def _race(self, draw: int) -> Race:
        power = self._power if self._scaled and self._power is not None else 2.0
        return Race(self.spec.seed, draw, power, self.spec.clip)

    def sample(
        self,
        count: int,
        *,
        replacement: bool | None = None,
        draw: int = 0,
        queries: F64 | None = None,
    ) -> list[Sample]:
        """Draw `count` coordinates, one Sample a query (one without queries). Any draw number."""
        check_request(count, draw, None)
        return [
            self._sample_one(y, count, bool(replacement), draw)
            for y in self._vectors(self._queries(queries))
        ]

    def _sample_one(self, y: F64, count: int, replacement: bool, draw: int) -> Sample:
        alive = _possible(self.spec.distribution, y)
        if alive.size == 0:
            return empty_sample(draw, replacement=replacement)
        race = self._race(draw)
        sizes = preference(self.spec.distribution, y[alive])
        log_rate = log_ratio(self.spec.distribution, sizes, float(sizes.max()))
        log_total = log_sum(log_rate)
        if self._scaled:
            racing = alive.astype(np.uint64)
            gaps = race.first_gaps(racing)
            key = scaled_keys(race, sizes, race.scales(racing))
        else:
            among, log_rate = contenders(self.spec.distribution, sizes, count + 1)
            racing = alive[among].astype(np.uint64)
            gaps = race.unrounded_gaps(racing)
            key = log_rate - natural_log(gaps)
        first = first_arrivals(key, race.bits(racing), count + 1)
        chosen = racing[first]
        arrivals = ArrivalList(
            index=chosen,
            value=y[chosen.astype(np.int64)],
            first_gaps=gaps[first],
            log_rate=log_rate[first],
            log_cut=-math.inf if chosen.size == alive.size else float(key[first[-1]]),
            log_total=log_total,
        )
        return answer(
            race,
            arrivals,
            power=self._power,
            norm=norm_of_logs(self.spec.distribution, float(sizes.max()), log_total),
            count=count,
            replacement=replacement,
            draw=draw,
            threshold=_threshold(self.spec.distribution, arrivals, count),
        )

    def estimate(self, index: U64, *, queries: F64 | None = None) -> list[Estimates]:
        """y at index, uint64 (b,), one a query; the standard errors are 0."""
        check_index(index, self.spec.n)
        where = index.astype(np.int64)
        return [
            Estimates(index, y[where], np.zeros(index.size))
            for y in self._vectors(self._queries(queries))
        ]

    def norm(self, power: float | None = None, *, queries: F64 | None = None) -> list[Norm]:
        """‖y‖_power for any power above 0, one a query; inf where it is beyond float64.

        power None: the spec's own; for softmax the logarithm of Σ exp(y_i / temperature).
        """
        law = asked_law(self.spec, power)
        return [
            Norm(law.power, _norm_of(law, y), 0.0) for y in self._vectors(self._queries(queries))
        ]


def asked_law(spec: Spec, power: float | None) -> Distribution:
    """The law whose norm is asked for: the spec's own, or a power above 0. Raises InvalidQuery."""
    if power is None:
        return spec.distribution
    try:
        return Distribution(float(number("power", power, "/power")))
    except InvalidSpec as refused:
        raise InvalidQuery(refused.detail, pointer="/power") from refused


def _possible(law: Distribution, y: F64) -> npt.NDArray[np.intp]:
    """The coordinates with f(y_i) > 0."""
    return np.arange(y.size) if law.power is None else np.flatnonzero(y)


def _norm_of(law: Distribution, y: F64) -> float:
    """‖y‖_p, or ln Σ exp(y_i / temperature)."""
    sizes = preference(law, y[_possible(law, y)])
    if sizes.size == 0:
        return 0.0
    largest = float(sizes.max())
    return norm_of_logs(law, largest, log_sum(log_ratio(law, sizes, largest)))


def norm_of_logs(law: Distribution, largest: float, log_total: float) -> float:
    """The norm of a y whose largest |y_i|, or y_i, is given, and ln Σ f(y_i) relative to its f."""
    if law.power is None:
        assert law.temperature is not None
        return largest / law.temperature + log_total
    return times_exp(largest, log_total / law.power)


def _threshold(law: Distribution, arrivals: ArrivalList, count: int) -> float:
    """τ, the scaled size of the first coordinate that `count` leaves out; as Sample has it."""
    all_are_in = arrivals.index.size <= count
    if law.power is None:
        assert law.temperature is not None
        if all_are_in:
            return -math.inf
        log_gap = math.log(float(arrivals.first_gaps[count]))
        return float(arrivals.value[count]) / law.temperature - log_gap
    if all_are_in:
        return 0.0
    log_gap = math.log(float(arrivals.first_gaps[count]))
    return times_exp(abs(float(arrivals.value[count])), -log_gap / law.power)


def scaled_keys(race: Race, sizes: F64, scales: I64) -> F64:
    """p · ln |z_i|, relative to p · ln of the largest |y_i|: float64 (m,).

    sizes: |y_i|, float64 (m,); scales: in quanta, int64 (m,). Through |y| · scale, as a
    sketch has it, so that what is equal there is equal here too.
    """
    largest = float(sizes.max())
    exponent = math.frexp(largest)[1]
    # Times a power of two, which rounds nothing.
    quotient = np.ldexp(sizes, -exponent)
    far = np.flatnonzero(quotient < _FAR)
    quotient[far] = np.ldexp(sizes[far], _LIFT_BITS - exponent)
    logs = np.log(quotient * scales)
    logs[far] -= _LIFT_BITS * math.log(2.0)
    logs += quantum_exponent(race.power) * math.log(2.0)
    logs -= math.log(math.ldexp(largest, -exponent))
    keys: F64 = race.power * logs
    return keys


def first_arrivals(key: F64, tie_break: U64, count: int) -> npt.NDArray[np.intp]:
    """Positions of the `count` largest keys in order, fewer tie-break bits first among equals."""
    candidates = np.arange(key.size)
    if key.size > count:
        least = np.partition(key, key.size - count)[key.size - count]
        candidates = np.flatnonzero(key >= least)
    order = np.lexsort((tie_break[candidates], -key[candidates]))
    return candidates[order[:count]]
