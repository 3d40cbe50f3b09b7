"""The exact method for tensors: dense A1, A2 and X, any distribution, Y never stored.

Problem.   Draw pairs (i1, i2) with probability f(Y[i1, i2]) / Σ f(Y), Y = A1 X A2ᵀ, from the
           operands as they are: the oracle of the sketch's tests, and the choice where the
           operands are small or f is not |·|².
Source.    Chain rule: i1 by its row's sum of f, then i2 within the row; exponential races.
Deviation. Power 2 takes the energies of rows from a triangle of A2 (tensor_product.py), in
           O((n1 + n2) d²), with the rounded scales of a sketch: the same seed gives the same
           pairs up to the sketch's errors. Any other f forms Y a block at a time, in
           O(n1 n2 d), and is refused where n1 · n2 passes EXACT_PAIRS.
Guarantee. Exact up to rounding of increments and of float64 sums (4 · eps · d relative to
           the sum of their terms' sizes; smaller Y[i1, i2] count as zero).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from sketch_core import ppswor
from sketch_core.draws import check_pairs, check_replacement, check_request, empty_sample
from sketch_core.errors import InvalidQuery
from sketch_core.exact import asked_law, first_arrivals, norm_of_logs, scaled_keys
from sketch_core.hashing import SECOND_REPETITION, U64
from sketch_core.heavy_rows import row_norms
from sketch_core.log_rates import log_ratio, log_sum, preference
from sketch_core.operand_state import OperandState
from sketch_core.parameters import EXACT_PAIRS, Distribution
from sketch_core.results import Estimates, Norm, Sample
from sketch_core.scaling import Race, natural_log
from sketch_core.spec import Spec
from sketch_core.state import LinearState
from sketch_core.tensor_product import ROUNDING, row_space, scaled_to_one, triangle

F64 = npt.NDArray[np.float64]

#: Numbers of Y that exist at a time.
_BLOCK_NUMBERS: Final = 1 << 20


class ExactTensor(OperandState):
    """Dense operands of a tensor product, with the interface of a sketch."""

    def __init__(self, spec: Spec, state: LinearState | None = None) -> None:
        super().__init__(spec, state)
        self._energies = spec.distribution.power == 2.0
        self._triangle: F64 | None = None
        self._first_sizes: F64 | None = None

    def _changed(self, operands: Collection[str]) -> None:
        super()._changed(operands)
        if "A2" in operands:
            self._triangle = None
        if "A1" in operands:
            self._first_sizes = None

    def _matrices(self, queries: F64 | None) -> F64:
        matrices = self._queries(queries)
        assert matrices is not None
        return matrices

    # ---- operands and Y, a part at a time

    def _floats(self, name: str, rows: slice | npt.NDArray[np.int64]) -> F64:
        """Rows of A1 or A2 as numbers, float64 (b, d). Never all of them: they are kept once."""
        quanta = self._state.arrays[name]["dense"][rows]
        return np.ldexp(quanta.astype(np.float64), -self.spec.quantum_bits)

    def _parts(self, name: str) -> Iterator[slice]:
        """All rows of A1 or A2, some at a time."""
        rows, columns = self._state.arrays[name]["dense"].shape
        step = max(1, _BLOCK_NUMBERS // columns)
        for start in range(0, rows, step):
            yield slice(start, min(start + step, rows))

    def _second_triangle(self) -> F64:
        """T of A2, one block of rows after another; kept until a change."""
        known = self._triangle
        if known is None:
            assert self.spec.d2 is not None
            known = np.zeros((0, self.spec.d2))
            for part in self._parts("A2"):
                known = triangle(np.concatenate([known, self._floats("A2", part)]))
            self._triangle = known
        return known

    def _column_sizes(self) -> F64:
        """max |number| of each column of A1, float64 (d1,); kept until a change."""
        known = self._first_sizes
        if known is None:
            known = np.zeros(self.spec.d)
            for part in self._parts("A1"):
                np.maximum(known, np.abs(self._floats("A1", part)).max(axis=0), out=known)
            self._first_sizes = known
        return known

    def _rows(self, x: F64, first: F64) -> F64:
        """Rows of Y for rows of A1, float64 (m, d1) to (m, n2); zero within rounding is zero."""
        assert self.spec.n2 is not None
        w, size = first @ x, np.abs(first) @ np.abs(x)
        rounding = ROUNDING * (x.shape[0] + x.shape[1])
        out = np.empty((first.shape[0], self.spec.n2))
        for part in self._parts("A2"):
            second = self._floats("A2", part)
            y = w @ second.T
            # |a1|·|X|·|a2| is computed only where a coarse bound leaves the question open.
            widest = float(np.abs(second).max(initial=0.0))
            coarse = rounding * widest * size.sum(axis=1, keepdims=True)
            doubtful = np.flatnonzero(((np.abs(y) <= coarse) & (y != 0.0)).any(axis=0))
            if doubtful.size:
                bound = rounding * (size @ np.abs(second[doubtful]).T)
                some = y[:, doubtful]
                y[:, doubtful] = np.where(np.abs(some) <= bound, 0.0, some)
            out[:, part] = y
        return out

    def _chosen_rows(self, x: F64, rows: U64) -> Iterator[tuple[int, F64]]:
        """(position, Y[i1, :]) for every i1 of a list, each distinct row formed once."""
        distinct, owner = np.unique(rows.astype(np.int64), return_inverse=True)
        for number, i1 in enumerate(distinct):
            row = self._rows(x, self._floats("A1", slice(int(i1), int(i1) + 1)))[0]
            for position in np.flatnonzero(owner == number):
                yield int(position), row

    def _blocks(self, x: F64) -> Iterator[tuple[slice, F64]]:
        """All of Y, some rows at a time."""
        assert self.spec.n2 is not None
        step = max(1, _BLOCK_NUMBERS // self.spec.n2)
        for start in range(0, self.spec.n, step):
            part = slice(start, min(start + step, self.spec.n))
            yield part, self._rows(x, self._floats("A1", part))

    # ---- the first stage

    def _row_sizes(self, x: F64) -> F64:
        """‖Y[i1, :]‖ of every row, float64 (n1,)."""
        space = row_space(x, self._second_triangle(), self._column_sizes())
        sizes = np.empty(self.spec.n)
        for part in self._parts("A1"):
            first = self._floats("A1", part)
            norms = row_norms(first @ space.weigh)
            floor = ROUNDING * self.spec.d * row_norms(np.abs(first) @ np.abs(space.weigh))
            sizes[part] = np.where(norms <= floor, 0.0, norms)
        return sizes

    def _log_rates(self, law: Distribution, x: F64) -> tuple[F64, float]:
        """ln Σ_i2 f(Y[i1, i2]) of every row relative to ln f of the largest, and that largest."""
        largest = np.zeros(self.spec.n)
        logs = np.full(self.spec.n, -math.inf)
        for part, y in self._blocks(x):
            sizes = preference(law, y)
            for i1, row in enumerate(sizes, start=part.start):
                alive = row if law.power is None else row[row > 0.0]
                if alive.size:
                    largest[i1] = float(alive.max())
                    logs[i1] = log_sum(log_ratio(law, alive, largest[i1]))
        alive_rows = np.flatnonzero(logs > -math.inf)
        if not alive_rows.size:
            return logs, 0.0
        top = float(largest[alive_rows].max())
        logs[alive_rows] += log_ratio(law, largest[alive_rows], top)
        return logs, top

    def sample(
        self,
        count: int,
        *,
        replacement: bool | None = None,
        draw: int = 0,
        queries: F64 | None = None,
    ) -> list[Sample]:
        """Draw `count` pairs with replacement, one Sample an X: index is uint64 (m, 2).

        Any draw number. queries: float64 (q, d1, d2).
        """
        check_replacement(replacement)
        check_request(count, draw, None)
        one = self._sample_by_energy if self._energies else self._sample_by_law
        return [one(x, count, draw) for x in self._matrices(queries)]

    def _race(self, draw: int) -> Race:
        return Race(self.spec.seed, draw, 2.0, self.spec.clip)

    def _second_race(self, draw: int, position: int) -> Race:
        """The exponentials that choose i2 for a pair of a list, the sketch's where it has them."""
        # Beyond `samples` no sketch has a list: those pairs take numbers no other draw uses.
        inside = position < self.spec.samples
        which = draw * self.spec.samples + position if inside else _far(draw, position)
        operand = self.spec.operand("A2")
        return Race(self.spec.seed, SECOND_REPETITION + which, 2.0, operand.clip)

    def _sample_by_energy(self, x: F64, count: int, draw: int) -> Sample:
        x, unit = scaled_to_one(x)
        sizes = self._row_sizes(x)
        alive = np.flatnonzero(sizes)
        if not alive.size:
            return empty_sample(draw, replacement=True, pairs=True)
        race = self._race(draw)
        racing = alive.astype(np.uint64)
        key = scaled_keys(race, sizes[alive], race.scales(racing))
        first = first_arrivals(key, race.bits(racing), count + 1)
        log_rate = 2.0 * np.log(sizes[alive][first])
        rows = self._arrivals(race, racing[first], race.first_gaps(racing[first]), log_rate,
                              count, complete=first.size == alive.size)  # fmt: skip
        columns, value = np.empty(rows.size, dtype=np.uint64), np.zeros(rows.size)
        for position, row in self._chosen_rows(x, rows):
            second = self._second_race(draw, position)
            racing = np.flatnonzero(row).astype(np.uint64)
            if not racing.size:
                continue  # its energy is not rounding by the triangle, its numbers are
            key = scaled_keys(second, np.abs(row[racing]), second.scales(racing))
            columns[position] = racing[first_arrivals(key, second.bits(racing), 1)[0]]
            value[position] = row[columns[position]]
        found = value != 0.0
        if not found.any():
            return empty_sample(draw, replacement=True, pairs=True)
        norm = float(np.linalg.norm(sizes))
        pairs, value = np.stack([rows, columns], axis=1)[found], value[found]
        values, norms = np.ldexp(value, unit), math.ldexp(norm, unit)
        return _answer(pairs, values, np.minimum((value / norm) ** 2, 1.0), norms, count, draw)

    def _sample_by_law(self, x: F64, count: int, draw: int) -> Sample:
        law = self.spec.distribution
        logs, top = self._log_rates(law, x)
        alive = np.flatnonzero(logs > -math.inf)
        if not alive.size:
            return empty_sample(draw, replacement=True, pairs=True)
        race = self._race(draw)
        racing = alive.astype(np.uint64)
        gaps = race.unrounded_gaps(racing)
        first = first_arrivals(logs[alive] - natural_log(gaps), race.bits(racing), count + 1)
        rows = self._arrivals(race, racing[first], gaps[first], logs[alive][first], count,
                              complete=first.size == alive.size)  # fmt: skip
        shift = float(logs[alive].max())
        log_total = shift + log_sum(logs[alive] - shift)
        columns, value = np.empty(rows.size, dtype=np.uint64), np.empty(rows.size)
        served = np.zeros(rows.size, dtype=bool)
        for position, row in self._chosen_rows(x, rows):
            second = self._second_race(draw, position)
            alive = np.arange(row.size) if law.power is None else np.flatnonzero(row)
            if not alive.size:
                continue  # formed alone, it rounds to zero where it did not in its block
            served[position] = True
            sizes = preference(law, row[alive])
            racing = alive.astype(np.uint64)
            log_share = log_ratio(law, sizes, float(sizes.max()))
            key = log_share - natural_log(second.unrounded_gaps(racing))
            columns[position] = racing[first_arrivals(key, second.bits(racing), 1)[0]]
            value[position] = row[columns[position]]
        if not served.any():
            return empty_sample(draw, replacement=True, pairs=True)
        pairs, value = np.stack([rows, columns], axis=1)[served], value[served]
        shares = np.exp(np.minimum(log_ratio(law, preference(law, value), top) - log_total, 0.0))
        return _answer(pairs, value, shares, norm_of_logs(law, top, log_total), count, draw)

    def _arrivals(
        self, race: Race, index: U64, gaps: F64, log_rate: F64, count: int, *, complete: bool
    ) -> U64:
        """The rows of the first `count` arrivals, repeats included."""
        cut = -math.inf if complete else float(log_rate[-1] - math.log(gaps[-1]))
        return index[ppswor.with_replacement(race, index, gaps, log_rate, count, log_cut=cut)]

    # ---- other questions

    def estimate(self, index: U64, *, queries: F64 | None = None) -> list[Estimates]:
        """Y at pairs, index uint64 (b, 2), one Estimates an X; the standard errors are 0."""
        check_pairs(index, self.spec)
        out = []
        for x in self._matrices(queries):
            step = max(1, _BLOCK_NUMBERS // sum(x.shape))
            parts = [self._at(x, index[at : at + step]) for at in range(0, len(index), step)]
            y = np.concatenate([np.zeros(0), *parts])
            out.append(Estimates(index, y, np.zeros(y.size)))
        return out

    def _at(self, x: F64, index: U64) -> F64:
        """Y at pairs, uint64 (b, 2); what is within rounding of zero is zero."""
        first = self._floats("A1", index[:, 0].astype(np.int64))
        second = self._floats("A2", index[:, 1].astype(np.int64))
        y: F64 = np.einsum("ij,ij->i", first @ x, second)
        bound = np.einsum("ij,ij->i", np.abs(first) @ np.abs(x), np.abs(second))
        y[np.abs(y) <= ROUNDING * sum(x.shape) * bound] = 0.0
        return y

    def norm(self, power: float | None = None, *, queries: F64 | None = None) -> list[Norm]:
        """‖vec(Y)‖_power, one an X; inf where it is beyond float64.

        power None: the spec's own; for softmax the logarithm of Σ exp(Y / temperature).
        Raises InvalidQuery for a power other than 2 where Y has more than EXACT_PAIRS numbers.
        """
        law = asked_law(self.spec, power)
        if law.power != 2.0 and self.spec.coordinates > EXACT_PAIRS:
            raise InvalidQuery(
                f"this Y has more than {EXACT_PAIRS} coordinates: only the norm of power 2 "
                "does without forming them",
                pointer="/power",
            )
        out = []
        for x in self._matrices(queries):
            if law.power == 2.0:
                x, unit = scaled_to_one(x)
                norm = float(np.linalg.norm(self._row_sizes(x)))
                out.append(Norm(2.0, math.ldexp(norm, unit), 0.0))
                continue
            logs, top = self._log_rates(law, x)
            alive = logs[logs > -math.inf]
            if not alive.size:
                out.append(Norm(law.power, 0.0, 0.0))
                continue
            shift = float(alive.max())
            log_total = shift + log_sum(alive - shift)
            out.append(Norm(law.power, norm_of_logs(law, top, log_total), 0.0))
        return out


def _far(draw: int, position: int) -> int:
    """A list number above all of a sketch's: draws below 2^31, positions below 2^20."""
    return (1 << 60) + (draw << 20) + position


def _answer(pairs: U64, value: F64, probability: F64, norm: float, count: int, draw: int) -> Sample:
    return Sample(
        status="ok" if len(pairs) == count else "partial",
        index=pairs,
        value=value,
        probability=probability,
        inclusion_probability=None,
        norm=norm,
        threshold=0.0,
        draw=draw,
    )
