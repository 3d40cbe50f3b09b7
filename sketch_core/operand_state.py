"""What sketches and dense operands share: a spec, a state, and streamed updates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from sketch_core.batch import Batch
from sketch_core.errors import IncompatibleSketches, InvalidQuery
from sketch_core.operand_tables import OperandTables
from sketch_core.parameters import PARAMETERS
from sketch_core.spec import OPERANDS, Operand, Spec
from sketch_core.state import Arrays, LinearState

F64 = npt.NDArray[np.float64]


def empty_arrays(spec: Spec) -> Arrays:
    """All-zero state of a spec: of every operand but x or X, which is absent until streamed."""
    return {
        operand.name: _zeros(operand)
        for operand in spec.operands
        if operand.name != spec.query_operand
    }


def _zeros(operand: Operand) -> dict[str, npt.NDArray[np.int64]]:
    return {name: np.zeros(shape, dtype=np.int64) for name, shape in operand.extents().items()}


class OperandState:
    """The part of a sketch that does not depend on what is asked of its operands.

    Not safe for concurrent changes; queries change nothing but caches.
    """

    def __init__(self, spec: Spec, state: LinearState | None = None) -> None:
        self.spec = spec
        self._main = OPERANDS[spec.kind][0]
        self._operands = {operand.name: operand for operand in spec.operands}
        self._state = state or LinearState(empty_arrays(spec), empty=True)
        power = spec.distribution.power or 2.0
        self._tables = {
            operand.name: OperandTables(spec.seed, operand, power, self._state)
            for operand in spec.operands
            if operand.sizes is not None
        }

    @property
    def exact(self) -> bool:
        """Whether every cell is proven to hold the true integer."""
        return self._state.exact

    def arrays(self) -> Arrays:
        """The state by operand and name, not copied."""
        return self._state.arrays

    def copy(self) -> Self:
        """An independent copy."""
        return type(self)(self.spec, self._state.copy())

    def merge(self, other: Self, operands: Collection[str] | None = None) -> None:
        """Add another sketch's operands (default: the kind's first; a tensor's must be named).

        Raises IncompatibleSketches before anything changes.
        """
        if self.spec.fingerprint() != other.spec.fingerprint():
            raise IncompatibleSketches("the fingerprints of the two specs differ")
        wanted = tuple(operands) if operands is not None else (self._main,)
        for operand in wanted:
            if operand not in OPERANDS[self.spec.kind]:
                raise IncompatibleSketches(f"a {self.spec.kind} has no operand {operand}")
        if self.spec.kind == "tensor" and (operands is None or len(wanted) != 1):
            raise IncompatibleSketches(
                "name exactly one operand: Y is linear in each of A1, A2 and X, not in all together"
            )
        self._state.add(other._state, wanted)
        self._changed(wanted)

    def apply(self, batches: Sequence[Batch]) -> None:
        """Add increments; batches come from batch.quantise with this spec."""
        for name, parts in _runs(batches):
            operand = self._operands[name]
            if operand.sizes is None:
                self._add_dense(operand, parts)
            else:
                self._tables[name].add(parts)
        self._changed({batch.operand for batch in batches})

    def _changed(self, operands: Collection[str]) -> None:
        """Called after every change of some operands: drop what was derived from them."""
        for name in operands:
            if name in self._tables:
                self._tables[name].changed()

    def _add_dense(self, operand: Operand, parts: list[Batch]) -> None:
        if operand.name not in self._state.arrays:
            self._state.ensure(operand.name, _zeros(operand))
        dense = self._state.arrays[operand.name]["dense"]
        flat = dense.reshape(-1)
        for part in parts:
            size = float(np.abs(part.quanta).astype(np.float64).sum())
            if not self._state.grow(operand.name, size):
                self._state.give_up()
            where = part.index.astype(np.int64)
            if part.quanta.ndim == 2:
                np.add.at(dense, where, part.quanta)
            elif part.column is None:
                np.add.at(flat, where, part.quanta)
            else:
                np.add.at(flat, where * operand.cell_columns + part.column, part.quanta)

    def _queries(self, queries: F64 | None) -> F64 | None:
        """The rows of x to answer for, float64 (q, d), or X, float64 (q, d1, d2).

        None for a state that is already y's.
        """
        name = self.spec.query_operand
        if name is None or self.spec.fixed_operand is not None:
            if queries is not None:
                reason = "a vector has no x" if name is None else f"{name} is fixed"
                raise InvalidQuery(
                    f"{reason}: it cannot come with the query", pointer=f"/{name or 'x'}"
                )
            fixed = None if self.spec.collapsed else self.spec.fixed_matrix()
            return None if fixed is None else fixed[None]
        streamed = self._state.arrays.get(name)
        if streamed is not None:
            if queries is not None:
                raise InvalidQuery(
                    f"{name} has been streamed: it cannot come with the query", pointer=f"/{name}"
                )
            return np.ldexp(streamed["dense"].astype(np.float64), -self.spec.quantum_bits)[None]
        if queries is None:
            raise InvalidQuery(
                f"is required: this {self.spec.kind} has no {name} of its own", pointer=f"/{name}"
            )
        self._check_queries(name, queries)
        return queries

    def _check_queries(self, name: str, queries: F64) -> None:
        if self.spec.d2 is None:
            if queries.ndim != 2 or queries.shape[1] != self.spec.d:
                raise InvalidQuery(f"must have d = {self.spec.d} numbers", pointer=f"/{name}")
        elif queries.ndim != 3 or queries.shape[1:] != (self.spec.d, self.spec.d2):
            raise InvalidQuery(
                f"must have d1 = {self.spec.d} rows of d2 = {self.spec.d2} numbers",
                pointer=f"/{name}",
            )
        if not (np.abs(queries) <= PARAMETERS[name].high).all():
            raise InvalidQuery("must be finite, and at most 2^60", pointer=f"/{name}")


def _layout(batch: Batch) -> tuple[bool, int]:
    return batch.column is None, batch.quanta.ndim


def _runs(batches: Sequence[Batch]) -> list[tuple[str, list[Batch]]]:
    """Batches that can be added in one go: those of one operand and layout with no other between.

    Sums know no order, but whether they are proven exact on the way does:
    replicas that group one log differently must decide alike.
    """
    runs: list[tuple[str, list[Batch]]] = []
    latest: dict[str, list[Batch]] = {}
    for batch in batches:
        run = latest.get(batch.operand)
        if run is None or _layout(run[0]) != _layout(batch):
            run = latest[batch.operand] = []
            runs.append((batch.operand, run))
        run.append(batch)
    return runs
