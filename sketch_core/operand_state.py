"""What sketches and dense operands share: a spec, a state, streamed updates, rows of x."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from sketch_core.batch import Batch
from sketch_core.errors import IncompatibleSketches, InvalidQuery
from sketch_core.hashing import U64
from sketch_core.parameters import PARAMETERS
from sketch_core.spec import OPERANDS, Spec
from sketch_core.state import Arrays, LinearState

F64 = npt.NDArray[np.float64]


class OperandState(ABC):
    """The part of a sketch that does not depend on how its main operand is kept.

    Subclasses add batches of the main operand in `_add_main`.
    """

    def __init__(self, spec: Spec, state: LinearState) -> None:
        self.spec = spec
        self._main = OPERANDS[spec.kind][0]
        self._state = state

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
        """Add another sketch's operands (default: the kind's first).

        Raises IncompatibleSketches before anything changes.
        """
        if self.spec.fingerprint() != other.spec.fingerprint():
            raise IncompatibleSketches("the fingerprints of the two specs differ")
        wanted = tuple(operands) if operands is not None else (self._main,)
        for operand in wanted:
            if operand not in OPERANDS[self.spec.kind]:
                raise IncompatibleSketches(f"a {self.spec.kind} has no operand {operand}")
        self._state.add(other._state, wanted)
        self._changed()

    def apply(self, batches: Sequence[Batch]) -> None:
        """Add increments; batches come from batch.quantise with this spec."""
        for operand, parts in _runs(batches):
            if operand == self._main:
                self._add_main(parts)
            else:
                self._add_x(parts)
        self._changed()

    def _changed(self) -> None:
        """Called after every change of the state: drop what was derived from it."""
        return  # nothing, unless a subclass derives something

    @abstractmethod
    def _add_main(self, parts: list[Batch]) -> None:
        """Add batches of the main operand, all of one layout, in order."""

    def _add_x(self, parts: list[Batch]) -> None:
        self._state.ensure("x", {"dense": np.zeros(self.spec.d, dtype=np.int64)})
        dense = self._state.arrays["x"]["dense"]
        for part in parts:
            if not self._state.grow("x", float(np.abs(part.quanta).astype(np.float64).sum())):
                self._state.give_up()
            np.add.at(dense, part.index.astype(np.int64), part.quanta)

    def _queries(self, queries: F64 | None) -> F64 | None:
        """The rows of x to answer for, float64 (q, d); None for a state that is already y's."""
        if self.spec.kind == "vector" or self.spec.collapsed:
            if queries is not None:
                reason = "a vector has no x" if self.spec.kind == "vector" else "x is fixed"
                raise InvalidQuery(f"{reason}: it cannot come with the query", pointer="/x")
            return None
        streamed = self._state.arrays.get("x")
        if streamed is not None:
            if queries is not None:
                raise InvalidQuery(
                    "x has been streamed: it cannot come with the query", pointer="/x"
                )
            return np.ldexp(streamed["dense"].astype(np.float64), -self.spec.quantum_bits)[None]
        if queries is None:
            raise InvalidQuery("is required: this matrix has no x of its own", pointer="/x")
        if queries.ndim != 2 or queries.shape[1] != self.spec.d:
            raise InvalidQuery(f"must have d = {self.spec.d} numbers", pointer="/x")
        if not (np.abs(queries) <= PARAMETERS["x"].high).all():
            raise InvalidQuery("must be finite, and at most 2^60", pointer="/x")
        return queries


def check_index(index: U64, n: int) -> None:
    """Raise InvalidQuery for a coordinate that is not below n."""
    bad = index >= np.uint64(n)
    if bad.any():
        raise InvalidQuery(f"must be below {n}", pointer=f"/index/{int(np.argmax(bad))}")


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
