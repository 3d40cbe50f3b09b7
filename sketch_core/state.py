"""The integers a sketch is made of, how they add, and the proof that none of them has wrapped.

Every sketch is linear in its streamed operands, and its cells are int64 sums of
integers. Such sums do not depend on order, grouping or replica, as long as the
true sum fits: int64 addition is exact modulo 2^64. `exact` says that it is
proven to fit. The proof is a bound on max |cell|: it grows by the total size
Σ |increment · scale| of what is added, and when it would pass 2^63 it is
measured again. Only if the measured maximum plus the next batch could pass
2^63 is exactness lost, for good: what is decided depends on the cells and that
batch alone, so replicas that add the same batches agree.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from sketch_core.errors import IncompatibleSketches
from sketch_core.hashing import I64

#: First value that an int64 cell cannot hold.
CELL_LIMIT: Final = float(1 << 63)
#: Float sums of sizes are rounded; this keeps a computed bound above the true one.
_ROUNDING: Final = 1.0 + 2.0**-20

F64 = npt.NDArray[np.float64]

#: The array whose first axis counts repetitions. Each has a bound of its own, or a
#: group of batches could be proven where its batches one by one could not.
REPEATED: Final = "scaled"

Arrays = dict[str, dict[str, I64]]


def _tables(named: Mapping[str, I64]) -> int:
    """R: how many arrays of the operand have a bound of their own."""
    return named[REPEATED].shape[0] if REPEATED in named else 1


class LinearState:
    """int64 arrays by operand and name, with the bound that proves them exact.

    arrays: operand -> name -> int64 array, in canonical order. An operand that
    may stay absent until it is streamed is added by `ensure`.
    """

    __slots__ = ("_bounds", "arrays", "exact")

    def __init__(self, arrays: Arrays, *, exact: bool = True, empty: bool = False) -> None:
        self.arrays = arrays
        self.exact = exact
        self._bounds: dict[str, F64] = {}
        for operand, named in arrays.items():
            self._bounds[operand] = (
                np.zeros(_tables(named)) if empty else self._measured_bound(operand)
            )

    def _measured_bound(self, operand: str) -> F64:
        """Bounds with room: one without would stand still where +1 rounds to nothing."""
        return self._measure(operand) * _ROUNDING

    def _measure(self, operand: str) -> F64:
        """The largest |cell| of each repetition, and of what all repetitions share: (R,)."""
        named = self.arrays[operand]
        largest = np.zeros(_tables(named))
        for name, array in named.items():
            rows = array.reshape(largest.size if name == REPEATED else 1, -1)
            if rows.size:
                # In float, because |-2^63| is no int64.
                high, low = rows.max(axis=1).astype(np.float64), rows.min(axis=1)
                np.maximum(largest, np.maximum(high, -low.astype(np.float64)), out=largest)
        return largest

    def ensure(self, operand: str, arrays: Mapping[str, I64]) -> None:
        """Add an operand's arrays, all zero, unless it is there."""
        if operand not in self.arrays:
            self.arrays[operand] = dict(arrays)
            self._bounds[operand] = np.zeros(_tables(self.arrays[operand]))

    def grow(self, operand: str, size: float | F64) -> bool:
        """Account for an addition to an operand's cells, before it is made.

        size: the total size of what is added, of each repetition, (R,), or of all alike.
        Returns False, and changes nothing, where exactness could not be proven
        even after measuring; the caller may try smaller additions, or `give_up`.
        """
        if not self.exact:
            return True
        grown = self._bounds[operand] + np.multiply(size, _ROUNDING)
        if (grown >= CELL_LIMIT).any():
            self._bounds[operand] = self._measured_bound(operand)
            grown = self._bounds[operand] + np.multiply(size, _ROUNDING)
            if (grown >= CELL_LIMIT).any():
                return False
        self._bounds[operand] = grown
        return True

    def give_up(self) -> None:
        """Exactness can no longer be proven, whatever follows."""
        self.exact = False

    def copy(self) -> LinearState:
        """An independent copy, bounds included."""
        arrays = {
            operand: {name: array.copy() for name, array in named.items()}
            for operand, named in self.arrays.items()
        }
        twin = LinearState({}, exact=self.exact)
        twin.arrays = arrays
        twin._bounds = dict(self._bounds)
        return twin

    def add(self, other: LinearState, operands: Collection[str]) -> None:
        """Add another state's operands cell by cell; those it lacks are zero there."""
        shared = [name for name in operands if name in other.arrays]
        for operand in shared:
            if operand not in self.arrays:
                self.ensure(
                    operand,
                    {name: np.zeros_like(a) for name, a in other.arrays[operand].items()},
                )
            for name, array in other.arrays[operand].items():
                if self.arrays[operand][name].shape != array.shape:
                    raise IncompatibleSketches(f"arrays of operand {operand} differ in shape")
        if not other.exact:
            self.give_up()
        for operand in shared:
            if not self.grow(operand, other._measure(operand)):
                self.give_up()
            for name, array in other.arrays[operand].items():
                self.arrays[operand][name] += array
