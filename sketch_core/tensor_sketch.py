"""Pairs (i1, i2) drawn by Y[i1, i2]², Y = A1 X A2ᵀ, from sketches of A1 and A2 that know no n.

Problem.   Y has n1 · n2 coordinates; A1, A2 and X change entry by entry. Draw pairs with
           probability Y[i1, i2]² / ‖Y‖_F² from memory and time that grow with log n.
Source.    Song, Xie, Zhou, Section 5 (the tensor case) and Definition 3.1.
Deviation. The paper's sampler takes O(n) space in the larger mode; here both stages decode
           hierarchies. First i1 from the scaled table of A1, by the energy of its row of Y,
           which the unscaled table of A2 gives (tensor_product.py); then, A2 w being
           that row, i2 from a scaled table of A2 with exponentials of its own: a table for
           each pair of a list, so that pairs are independent. Both stages obey 3 σ̂.
Guarantee. Given the tables' hashes, i1 has probability ‖Y[i1, :]‖² / ‖Y‖_F² up to the error of
           A2's energies, a relative √(2 / m2) a row, m2 the cells of its unscaled table, which
           is unbiased over seeds; i2 given i1 up to the error of the recovered row, whose
           squared length is about 0.3 σ̂² (heavy_rows.py). A pair whose second stage finds
           nothing is left out, and the list is `partial`. Within a row leaving out favours no
           column; between rows it favours those whose energy is in few columns, by as much as
           it leaves out: 0.1 % of pairs at default widths.

‖Y‖_F comes from both unscaled tables; point estimates from their convolution (tensor_sparse.py).
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from sketch_core import ppswor
from sketch_core.draws import check_pairs, check_replacement, check_request, empty_sample
from sketch_core.errors import IncompatibleSketches, InvalidQuery
from sketch_core.hashing import U64
from sketch_core.heavy_rows import RecoveredRows, recover_rows, row_norms
from sketch_core.operand_state import OperandState
from sketch_core.results import Estimates, Norm, Sample, Status
from sketch_core.scaling import quantum_exponent
from sketch_core.sizing import expected_errors
from sketch_core.spec import Spec
from sketch_core.state import LinearState
from sketch_core.tensor_product import (
    RowSpace,
    frobenius,
    row_space,
    scaled_to_one,
    triangle,
)
from sketch_core.tensor_sparse import TensorSparse

F64 = npt.NDArray[np.float64]

_POWER = 2.0


class TensorSketch(OperandState):
    """The sketch of a tensor product, X streamed, fixed or given with each query."""

    def __init__(self, spec: Spec, state: LinearState | None = None) -> None:
        if spec.second_sizes is None:
            raise ValueError("this spec is served by the exact method, or by another class")
        super().__init__(spec, state)
        self._first, self._second = self._tables["A1"], self._tables["A2"]
        self._triangles: dict[str, F64] = {}

    def _changed(self, operands: Collection[str]) -> None:
        super()._changed(operands)
        self._triangles = {
            name: known for name, known in self._triangles.items() if name not in operands
        }

    # ---- queries

    def _triangle(self, name: str) -> F64:
        """T with TᵀT an unbiased estimate of AᵀA, float64 (k, d); kept until a change."""
        known = self._triangles.get(name)
        if known is None:
            tables = self._tables[name]
            cells = np.ldexp(tables.cells("unscaled").astype(np.float64), -self.spec.quantum_bits)
            known = triangle(cells) / math.sqrt(tables.sizes.depth)
            self._triangles[name] = known
        return known

    def sample(
        self,
        count: int,
        *,
        replacement: bool | None = None,
        draw: int = 0,
        queries: F64 | None = None,
    ) -> list[Sample]:
        """Draw `count` pairs with replacement, one Sample an X: index is uint64 (m, 2).

        At most `samples` pairs of the spec are served. queries: float64 (q, d1, d2).
        Raises DrawsExhausted when draw is not below the repetitions, InvalidQuery.
        """
        check_replacement(replacement)
        check_request(count, draw, self.spec.repetitions)
        matrices = self._queries(queries)
        assert matrices is not None
        return [self._sample_one(x, count, draw) for x in matrices]

    def _sample_one(self, x: F64, count: int, draw: int) -> Sample:
        x, x_unit = scaled_to_one(x)
        space = self._space(x)
        rows = self._rows(space, min(count, self.spec.samples), draw)
        norm = frobenius(self._triangle("A1"), space)
        if rows is None or norm == 0.0:
            return empty_sample(draw, replacement=True, pairs=True)
        race = self._first.race(draw)
        unit = -self.spec.quantum_bits
        scale = race.scales(rows.index).astype(np.float64)
        log_rate = _POWER * np.log(np.ldexp(rows.size / scale, unit))
        tau = math.ldexp(rows.threshold, unit + quantum_exponent(_POWER))
        chosen = ppswor.with_replacement(
            race,
            rows.index,
            race.first_gaps(rows.index),
            log_rate,
            min(count, self.spec.samples),
            log_cut=_POWER * math.log(tau) if tau > 0.0 else -math.inf,
        )
        pairs: list[tuple[int, int]] = []
        values: list[float] = []
        for position, at in enumerate(chosen):
            row = np.ldexp(rows.value[at] / scale[at], unit)
            found = self._column(space.back @ row, draw * self.spec.samples + position)
            if found is not None:
                pairs.append((int(rows.index[at]), found[0]))
                values.append(found[1])
        status: Status = "ok" if len(pairs) == count else "partial" if pairs else "failed"
        value = np.array(values, dtype=np.float64)
        probability = np.minimum((value / norm) ** 2, 1.0)
        return Sample(
            status=status,
            index=np.array(pairs, dtype=np.uint64).reshape(-1, 2),
            value=np.ldexp(value, x_unit),
            probability=probability,
            inclusion_probability=None,
            norm=math.ldexp(norm, x_unit),
            threshold=math.ldexp(tau, x_unit),
            draw=draw,
        )

    def _rows(self, space: RowSpace, wanted: int, draw: int) -> RecoveredRows | None:
        """The longest scaled rows of Y in the coordinates of `space`; None where Y is zero."""
        if space.weigh.shape[1] == 0:
            return None
        cells = self._first.products("scaled", draw, space.weigh)
        floor = float(np.linalg.norm(self._first.floors("scaled", draw, np.abs(space.weigh))))
        if float(row_norms(cells).max(initial=0.0)) <= floor:
            return None
        race = self._first.race(draw)
        return recover_rows(self._first.hierarchy(draw), cells, wanted + 1, race.bits, floor)

    def _column(self, w: F64, which: int) -> tuple[int, float] | None:
        """The winner among the coordinates of A2 w in a list of their own, and its value."""
        ((cells, floor),) = self._second.project("scaled", which, w[None])
        if not cells.any():
            return None
        race = self._second.race(which)
        recovered = self._second.hierarchy(which).recover(cells, 2, race.bits, floor)
        if not recovered.index.size:
            return None
        scale = float(race.scales(recovered.index[:1])[0])
        value = math.ldexp(float(recovered.value[0]) / scale, -self.spec.quantum_bits)
        return int(recovered.index[0]), value

    def _space(self, x: F64) -> RowSpace:
        """What rows of A1 weigh, for an X: float64 (d1, d2)."""
        return row_space(x, self._triangle("A2"), self._first.column_maxima("unscaled"))

    def _frobenius(self, x: F64) -> float:
        """The estimate of ‖Y‖_F: its square is tr(A1ᵀA1 X A2ᵀA2 Xᵀ), of either's estimate."""
        x, unit = scaled_to_one(x)
        return math.ldexp(frobenius(self._triangle("A1"), self._space(x)), unit)

    def estimate(self, index: U64, *, queries: F64 | None = None) -> list[Estimates]:
        """Point estimates of Y at pairs, index uint64 (b, 2), one Estimates an X."""
        check_pairs(index, self.spec)
        matrices = self._queries(queries)
        assert matrices is not None
        sketch = self.tensor_sparse()
        out = []
        for x in matrices:
            combined = self.combined(x)
            deviation = sketch.point_deviation(combined)
            value = sketch.point(combined, index[:, 0], index[:, 1]) + 0.0  # no minus zero
            out.append(Estimates(index, value, np.full(value.size, deviation)))
        return out

    def tensor_sparse(self) -> TensorSparse:
        """The TensorSparse whose factors the unscaled tables are."""
        sizes = self._first.sizes
        return TensorSparse(self.spec.seed, sizes.depth, sizes.estimate_width)

    def combined(self, x: F64) -> F64:
        """TensorSparse of y for an X, float64 (d1, d2): float64 (depth · estimate_width,)."""
        unit = -self.spec.quantum_bits
        first, second = (
            np.ldexp(tables.cells("unscaled").astype(np.float64), unit)
            for tables in (self._first, self._second)
        )
        return self.tensor_sparse().combine(first, second, x)

    def inner_product(self, other: TensorSketch, x: F64, other_x: F64) -> float:
        """The estimate of Σ Y[i1, i2] · Y'[i1, i2] of two sketches with one fingerprint.

        x, other_x: float64 (d1, d2). Raises IncompatibleSketches.
        """
        if self.spec.fingerprint() != other.spec.fingerprint():
            raise IncompatibleSketches("the fingerprints of the two specs differ")
        return self.tensor_sparse().inner_product(self.combined(x), other.combined(other_x))

    def norm(self, power: float | None = None, *, queries: F64 | None = None) -> list[Norm]:
        """Estimates of ‖Y‖_F, one an X. power: 2 or None."""
        if power not in (None, _POWER):
            raise InvalidQuery("a sketch of a tensor knows the norm of power 2", pointer="/power")
        matrices = self._queries(queries)
        assert matrices is not None
        relative = expected_errors(self._first.sizes, tensor=True)["norm"]
        norms = [self._frobenius(x) for x in matrices]
        return [Norm(_POWER, norm, relative * norm) for norm in norms]
