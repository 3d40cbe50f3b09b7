"""The sublinear method for vectors and matrices: one state, one decoder, y = cells @ x in between.

Problem.   Serve samples by |y_i|^p, point estimates and norms of a streamed y, or
           of y = A x for a streamed A, from state that does not grow with n.
Source.    Exponential scaling and CountSketch: Jayaram & Woodruff, FOCS 2018;
           the cases of a streaming A, x, or both: Song, Xie, Zhou, Section 5.
Deviation. R hierarchies of scaled cells and one unscaled CountSketch, all with
           cells of d integers; a query multiplies cells by x and decodes as for
           a vector. ‖y‖₂ comes from the unscaled cells; other norms from the
           list by Horvitz–Thompson.
Guarantee. See heavy_hitters.py and ppswor.py. A y whose cells are all within
           rounding error of zero (4 · eps · d · Σ max|cell| · |x|) is zero.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from sketch_core import ppswor
from sketch_core.count_sketch import Cells
from sketch_core.draws import ArrivalList, answer, check_index, check_request, empty_sample
from sketch_core.errors import InvalidQuery
from sketch_core.hashing import U64
from sketch_core.heavy_hitters import Recovered
from sketch_core.operand_state import OperandState
from sketch_core.results import Estimates, Norm, Sample
from sketch_core.scaling import Race, quantum_exponent
from sketch_core.spec import Spec
from sketch_core.state import LinearState

F64 = npt.NDArray[np.float64]

#: Lists whose Horvitz–Thompson sums a norm of power other than 2 averages, at most.
_NORM_LISTS: Final = 8
#: They use what stands this many times above the detection threshold: all of that is found.
_CLEAR: Final = 1.5
#: A list serves at most `samples` coordinates, or one for so many buckets of the last level:
#: more than that no table of this width tells apart.
_BUCKETS_A_SERVED: Final = 8


class LinearSketch(OperandState):
    """The sketch of a vector, or of a matrix with x fixed, streamed or given with each query.

    Not safe for concurrent changes; queries change nothing but caches.
    """

    def __init__(self, spec: Spec, state: LinearState | None = None) -> None:
        if spec.sizes is None or spec.distribution.power is None:
            raise ValueError("this spec is served by the exact method")
        super().__init__(spec, state)
        self._power = spec.distribution.power
        self._y = self._tables[self._main]

    # ---- queries

    def sample(
        self,
        count: int,
        *,
        replacement: bool | None = None,
        draw: int = 0,
        queries: F64 | None = None,
    ) -> list[Sample]:
        """Draw `count` coordinates, one Sample a query (one without queries).

        Raises DrawsExhausted when draw is not below the repetitions, InvalidQuery.
        """
        check_request(count, draw, self.spec.repetitions)
        rows = self._queries(queries)
        scaled = self._y.project("scaled", draw, rows)
        unscaled = self._y.project("unscaled", 0, rows)
        return [
            self._sample_one(cells, floor, plain, count, bool(replacement), draw)
            for (cells, floor), (plain, _) in zip(scaled, unscaled, strict=True)
        ]

    def _sample_one(
        self,
        cells: Cells,
        floor: float,
        plain: Cells,
        count: int,
        replacement: bool,
        draw: int,
    ) -> Sample:
        if not cells.any():
            return empty_sample(draw, replacement=replacement)
        race = self._y.race(draw)
        arrivals = self._arrivals(race, self._recover(cells, floor, draw, count))
        if self._power == 2.0:
            norm = self._euclidean_norm(plain)
            log_total = 2.0 * math.log(norm) if norm > 0.0 else -math.inf
        else:
            log_total = self._list_total(arrivals, count)[0]
            norm = math.exp(log_total / self._power)
            if not arrivals.index.size:
                norm = self._euclidean_norm(plain)  # a lower bound is all there is
        return answer(
            race,
            _with_total(arrivals, log_total),
            power=self._power,
            norm=norm,
            count=count,
            replacement=replacement,
            draw=draw,
        )

    def _recover(self, cells: Cells, floor: float, draw: int, count: int) -> Recovered:
        race = self._y.race(draw)
        # As wide a search for a few as for `samples`: a shorter list is the longer one's
        # start. No wider than what the tables can tell apart.
        assert self.spec.sizes is not None
        most = max(self.spec.samples, self.spec.sizes.width // _BUCKETS_A_SERVED)
        wanted = min(max(count, self.spec.samples), most) + 1
        return self._y.hierarchy(draw).recover(cells, wanted, race.bits, floor)

    def recovered(self, draw: int, count: int) -> Recovered:
        """The trusted list of one repetition in scaled quanta, for a state that is y's own.

        Raises InvalidQuery for a matrix whose x is not fixed.
        """
        if not (self.spec.kind == "vector" or self.spec.collapsed):
            raise InvalidQuery("the list of a matrix depends on x", pointer="/x")
        return self._recover(self._y.cells("scaled", draw)[:, 0], 0.0, draw, count)

    def _arrivals(self, race: Race, recovered: Recovered) -> ArrivalList:
        scale = race.scales(recovered.index).astype(np.float64)
        unit = -self.spec.value_bits
        value = np.ldexp(recovered.value / scale, unit)
        gaps = race.first_gaps(recovered.index)
        cut = -math.inf
        if recovered.threshold > 0.0:
            tau = math.ldexp(recovered.threshold, unit + quantum_exponent(self._power))
            cut = self._power * math.log(tau)
        return ArrivalList(
            index=recovered.index,
            value=value,
            first_gaps=gaps,
            log_rate=self._power * np.log(np.abs(value)),
            log_cut=cut,
            log_total=0.0,
        )

    def _list_total(self, arrivals: ArrivalList, wanted: int) -> tuple[float, float]:
        """ln Σ |y|^p by Horvitz–Thompson, and its relative standard error.

        Over the part of a list that is sure to be whole: well above the detection
        threshold, near which some are missed, and not so long that the beam, made for
        `wanted`, or the upper levels, made for `samples`, have lost any.
        """
        order = arrivals.log_rate - np.log(arrivals.first_gaps)
        cut = arrivals.log_cut + self._power * math.log(_CLEAR)
        count = int((order >= cut).sum())
        if count == 0:
            cut, count = arrivals.log_cut, order.size
        most = min(max(8, 2 * self.spec.samples), max(16, 3 * wanted))
        if count > most and cut > -math.inf:
            cut, count = float(order[most]), most
        inclusion = ppswor.inclusion_probabilities(arrivals.log_rate[:count], cut)
        return ppswor.total(arrivals.log_rate[:count], inclusion)

    def _euclidean_norm(self, plain: Cells) -> float:
        """The estimate of ‖y‖₂."""
        floats = np.ldexp(plain.astype(np.float64), -self.spec.value_bits)
        return self._y.unscaled().euclidean_norm(floats)

    def estimate(self, index: U64, *, queries: F64 | None = None) -> list[Estimates]:
        """Point estimates of y at index, uint64 (b,), one a query."""
        check_index(index, self.spec.n)
        sketch = self._y.unscaled()
        out = []
        rows = self._queries(queries)
        for cells, _ in self._y.project("unscaled", 0, rows):
            floats = np.ldexp(cells.astype(np.float64), -self.spec.value_bits)
            deviation = sketch.point_deviation(floats)
            out.append(
                # + 0.0: no minus zero.
                Estimates(index, sketch.point(floats, index) + 0.0, np.full(index.size, deviation))
            )
        return out

    def norm(self, power: float | None = None, *, queries: F64 | None = None) -> list[Norm]:
        """Estimates of ‖y‖_power, one a query. power: 2, or the spec's own (the default)."""
        wanted = self._power if power is None else power
        if wanted not in (2.0, self._power):
            raise InvalidQuery(
                f"this sketch knows the norms of power 2 and {self._power}", pointer="/power"
            )
        rows = self._queries(queries)
        if wanted == 2.0:
            relative = math.sqrt(2.0 / self._y.cells("unscaled").shape[0]) / 2.0
            norms = [
                self._euclidean_norm(plain) for plain, _ in self._y.project("unscaled", 0, rows)
            ]
            return [Norm(2.0, norm, relative * norm) for norm in norms]
        lists = range(min(self.spec.repetitions, _NORM_LISTS))
        by_list = [
            [
                self._list_norm(cells, floor, draw)
                for cells, floor in self._y.project("scaled", draw, rows)
            ]
            for draw in lists
        ]
        return [_mean_norm(wanted, [sums[q] for sums in by_list]) for q in range(len(by_list[0]))]

    def _list_norm(self, cells: Cells, floor: float, draw: int) -> tuple[float, float]:
        if not cells.any():
            return -math.inf, 0.0
        recovered = self._recover(cells, floor, draw, self.spec.samples)
        return self._list_total(self._arrivals(self._y.race(draw), recovered), self.spec.samples)


def _with_total(arrivals: ArrivalList, log_total: float) -> ArrivalList:
    return ArrivalList(
        arrivals.index,
        arrivals.value,
        arrivals.first_gaps,
        arrivals.log_rate,
        arrivals.log_cut,
        log_total,
    )


def _mean_norm(power: float, sums: list[tuple[float, float]]) -> Norm:
    """‖y‖_p from several estimates of ln Σ|y|^p with relative standard errors."""
    largest = max(log_sum for log_sum, _ in sums)
    if largest == -math.inf:
        return Norm(power, 0.0, 0.0)
    shares = [math.exp(log_sum - largest) for log_sum, _ in sums]
    mean = sum(shares) / len(shares)
    deviation = math.sqrt(
        sum((share * error) ** 2 for share, (_, error) in zip(shares, sums, strict=True))
    ) / len(shares)
    norm = math.exp((largest + math.log(mean)) / power)
    return Norm(power, norm, norm * deviation / mean / power)
