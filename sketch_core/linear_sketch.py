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
from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from sketch_core import ppswor
from sketch_core.batch import Batch
from sketch_core.count_sketch import CHUNK_NUMBERS, Cells, CountSketch
from sketch_core.draws import ArrivalList, answer, check_request, empty_sample
from sketch_core.errors import InvalidQuery
from sketch_core.hashing import I64, U64, UNSCALED_REPETITION
from sketch_core.heavy_hitters import Hierarchy, Recovered
from sketch_core.operand_state import OperandState, check_index
from sketch_core.results import Estimates, Norm, Sample
from sketch_core.scaling import Race, quantum_exponent, scale_bits
from sketch_core.sizing import Sizes
from sketch_core.spec import OPERANDS, Spec
from sketch_core.state import Arrays, LinearState
from sketch_core.table_cache import TABLES

F64 = npt.NDArray[np.float64]

_EPS: Final = float(np.finfo(np.float64).eps)
#: Lists whose Horvitz–Thompson sums a norm of power other than 2 averages, at most.
_NORM_LISTS: Final = 8
#: They use what stands this many times above the detection threshold: all of that is found.
_CLEAR: Final = 1.5
#: Cells turned into floats at a time for a product with x: so few that a BLAS starts no
#: threads for it, which on a busy machine triples the time of a query.
_CONVERTED_NUMBERS: Final = 1 << 14
#: Cells of projected queries that exist at a time (a single query may have more).
_PROJECTED_NUMBERS: Final = 1 << 21
#: A list serves at most `samples` coordinates, or one for so many buckets of the last level:
#: more than that no table of this width tells apart.
_BUCKETS_A_SERVED: Final = 8
#: What the hash keys and the objects of a geometry take, roughly, beside its arrays.
_GEOMETRY_BYTES: Final = 4096


def _hierarchy(seed: int, repetition: int, n: int, sizes: Sizes) -> Hierarchy:
    def make() -> tuple[Hierarchy, int]:
        # The first level's prefixes, uint64, and (below others) their addresses, int32 a row.
        prefixes = ((n - 1) >> sizes.shifts[0]) + 1
        each = 8 + (4 * sizes.depth if sizes.levels > 1 else 0)
        return Hierarchy(seed, repetition, n, sizes), _GEOMETRY_BYTES + each * prefixes

    return TABLES.get((Hierarchy, seed, repetition, n, sizes), make)


def _unscaled(seed: int, sizes: Sizes) -> CountSketch:
    def make() -> tuple[CountSketch, int]:
        sketch = CountSketch(seed, UNSCALED_REPETITION, sizes.depth, sizes.estimate_width)
        return sketch, _GEOMETRY_BYTES

    return TABLES.get((CountSketch, seed, sizes), make)


def empty_arrays(spec: Spec) -> Arrays:
    """All-zero state of a spec: scaled int64 (R, cells, d) and unscaled int64 (cells, d)."""
    assert spec.sizes is not None
    d = spec.columns
    return {
        OPERANDS[spec.kind][0]: {
            "scaled": np.zeros((spec.repetitions, spec.sizes.scaled_cells, d), dtype=np.int64),
            "unscaled": np.zeros((spec.sizes.unscaled_cells, d), dtype=np.int64),
        }
    }


class LinearSketch(OperandState):
    """The sketch of a vector, or of a matrix with x fixed, streamed or given with each query.

    Not safe for concurrent changes; queries change nothing but caches.
    """

    def __init__(self, spec: Spec, state: LinearState | None = None) -> None:
        if spec.sizes is None or spec.distribution.power is None:
            raise ValueError("this spec is served by the exact method")
        super().__init__(spec, state or LinearState(empty_arrays(spec), empty=True))
        self._power = spec.distribution.power
        self._maxima: dict[tuple[str, int], F64] = {}

    # ---- updates

    def _changed(self) -> None:
        self._maxima = {}

    def _add_main(self, parts: list[Batch]) -> None:
        """Add batches of one layout, as many together as are proven exact together.

        Where exactness cannot be proven for a group its halves are tried, each
        against the cells before it. Only a batch that fails alone decides that
        exactness is lost, so every replica decides alike however it grouped its log.
        """
        pending = [parts]
        while pending:
            group = pending.pop()
            if self._admit(group):
                self._add(group)
            elif len(group) > 1:
                middle = len(group) // 2
                pending += [group[middle:], group[:middle]]
            else:
                self._state.give_up()
                self._add(group)

    def _admit(self, parts: list[Batch]) -> bool:
        """Whether cells stay proven exact: by the largest scale of all, else by the scales met."""
        magnitude = np.concatenate([_row_magnitude(part.quanta) for part in parts])
        largest = math.ldexp(1.0, scale_bits(self._power, self.spec.clip))
        if self._state.grow(self._main, float(magnitude.sum()) * largest):
            return True
        index = np.concatenate([part.index for part in parts])
        sizes = np.empty(self.spec.repetitions)
        for repetition in range(self.spec.repetitions):
            sizes[repetition] = (magnitude * self._race(repetition).scales(index)).sum()
        return self._state.grow(self._main, sizes)

    def _add(self, parts: list[Batch]) -> None:
        index = np.concatenate([part.index for part in parts])
        quanta = np.concatenate([part.quanta for part in parts])
        column = None
        if parts[0].column is not None:
            column = np.concatenate([part.column for part in parts if part.column is not None])
        arrays = self._state.arrays[self._main]
        races = [self._race(repetition) for repetition in range(self.spec.repetitions)]
        step = max(1, CHUNK_NUMBERS // (quanta.shape[1] if quanta.ndim == 2 else 1))
        for start in range(0, index.size, step):
            part = slice(start, start + step)
            coordinates, increments = index[part], quanta[part]
            columns = None if column is None else column[part]
            for repetition, race in enumerate(races):
                scale = race.scales(coordinates)
                amounts = increments * (scale[:, None] if quanta.ndim == 2 else scale)
                self._hierarchy(repetition).add(
                    arrays["scaled"][repetition], coordinates, columns, amounts
                )
            self._unscaled().add(arrays["unscaled"], coordinates, columns, increments)

    def _hierarchy(self, repetition: int) -> Hierarchy:
        assert self.spec.sizes is not None
        return _hierarchy(self.spec.seed, repetition, self.spec.n, self.spec.sizes)

    def _unscaled(self) -> CountSketch:
        assert self.spec.sizes is not None
        return _unscaled(self.spec.seed, self.spec.sizes)

    def _race(self, repetition: int) -> Race:
        return Race(self.spec.seed, repetition, self._power, self.spec.clip)

    # ---- queries

    def _project(self, name: str, draw: int, rows: F64 | None) -> Iterable[tuple[Cells, float]]:
        """One (cells, rounding floor) a query: the cells (c,) of y's sketch, in its quanta.

        name, draw: which table; draw is 0 for the unscaled one.
        """
        array = self._table(name, draw)
        if rows is None:
            yield array[:, 0], 0.0
            return
        floors = 4.0 * _EPS * self.spec.d * (np.abs(rows) @ self._column_maxima(name, draw))
        together = max(1, _PROJECTED_NUMBERS // array.shape[0])
        for first in range(0, rows.shape[0], together):
            products = self._products(array, rows[first : first + together])
            for cells, floor in zip(products, floors[first : first + together], strict=True):
                if max(cells.max(), -cells.min()) <= floor:
                    cells[:] = 0.0
                yield cells, float(floor)

    def _products(self, array: I64, rows: F64) -> F64:
        """rows @ array.T, float64 (q, c): int64 (c, d) by float64 (q, d)."""
        products = np.empty((array.shape[0], rows.shape[0]))
        # Converted a piece at a time: a float copy of the whole would cost more than the product.
        step = max(1, _CONVERTED_NUMBERS // self.spec.d)
        for start in range(0, array.shape[0], step):
            piece = array[start : start + step].astype(np.float64)
            np.matmul(piece, rows.T, out=products[start : start + step])
        return np.ascontiguousarray(products.T)

    def _table(self, name: str, draw: int) -> I64:
        array = self._state.arrays[self._main][name]
        return array[draw] if name == "scaled" else array

    def _column_maxima(self, name: str, draw: int) -> F64:
        """max |cell| of each column, float64 (d,); remembered until the cells change."""
        known = self._maxima.get((name, draw))
        if known is None:
            array = self._table(name, draw)
            known = np.zeros(self.spec.d)
            step = max(1, _CONVERTED_NUMBERS // self.spec.d)
            for start in range(0, array.shape[0], step):
                piece = np.abs(array[start : start + step].astype(np.float64))
                np.maximum(known, piece.max(axis=0), out=known)
            self._maxima[name, draw] = known
        return known

    def sample(
        self, count: int, *, replacement: bool = False, draw: int = 0, queries: F64 | None = None
    ) -> list[Sample]:
        """Draw `count` coordinates, one Sample a query (one without queries).

        Raises DrawsExhausted when draw is not below the repetitions, InvalidQuery.
        """
        check_request(count, draw, self.spec.repetitions)
        rows = self._queries(queries)
        scaled = self._project("scaled", draw, rows)
        unscaled = self._project("unscaled", 0, rows)
        return [
            self._sample_one(cells, floor, plain, count, replacement, draw)
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
        race = self._race(draw)
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
        race = self._race(draw)
        # As wide a search for a few as for `samples`: a shorter list is the longer one's
        # start. No wider than what the tables can tell apart.
        assert self.spec.sizes is not None
        most = max(self.spec.samples, self.spec.sizes.width // _BUCKETS_A_SERVED)
        wanted = min(max(count, self.spec.samples), most) + 1
        return self._hierarchy(draw).recover(cells, wanted, race.bits, floor)

    def recovered(self, draw: int, count: int) -> Recovered:
        """The trusted list of one repetition in scaled quanta, for a state that is y's own.

        Raises InvalidQuery for a matrix whose x is not fixed.
        """
        if not (self.spec.kind == "vector" or self.spec.collapsed):
            raise InvalidQuery("the list of a matrix depends on x", pointer="/x")
        return self._recover(self._table("scaled", draw)[:, 0], 0.0, draw, count)

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
        return self._unscaled().euclidean_norm(floats)

    def estimate(self, index: U64, *, queries: F64 | None = None) -> list[Estimates]:
        """Point estimates of y at index, uint64 (b,), one a query."""
        check_index(index, self.spec.n)
        sketch = self._unscaled()
        out = []
        rows = self._queries(queries)
        for cells, _ in self._project("unscaled", 0, rows):
            floats = np.ldexp(cells.astype(np.float64), -self.spec.value_bits)
            deviation = sketch.point_deviation(floats)
            out.append(
                Estimates(index, sketch.point(floats, index), np.full(index.size, deviation))
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
            relative = math.sqrt(2.0 / self._table("unscaled", 0).shape[0]) / 2.0
            norms = [self._euclidean_norm(plain) for plain, _ in self._project("unscaled", 0, rows)]
            return [Norm(2.0, norm, relative * norm) for norm in norms]
        lists = range(min(self.spec.repetitions, _NORM_LISTS))
        by_list = [
            [
                self._list_norm(cells, floor, draw)
                for cells, floor in self._project("scaled", draw, rows)
            ]
            for draw in lists
        ]
        return [_mean_norm(wanted, [sums[q] for sums in by_list]) for q in range(len(by_list[0]))]

    def _list_norm(self, cells: Cells, floor: float, draw: int) -> tuple[float, float]:
        if not cells.any():
            return -math.inf, 0.0
        recovered = self._recover(cells, floor, draw, self.spec.samples)
        return self._list_total(self._arrivals(self._race(draw), recovered), self.spec.samples)


def _row_magnitude(quanta: I64) -> F64:
    """The largest |increment| of each update: int64 (b,) or (b, d) to float64 (b,)."""
    magnitude: F64 = np.abs(quanta.astype(np.float64))
    return magnitude.max(axis=1) if magnitude.ndim == 2 else magnitude


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
