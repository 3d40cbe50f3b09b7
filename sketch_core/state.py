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

from sketch_core.errors import IncompatibleSketches
from sketch_core.hashing import I64

#: First value that an int64 cell cannot hold.
CELL_LIMIT: Final = float(1 << 63)
#: Float sums of sizes are rounded; this keeps a computed bound above the true one.
_ROUNDING: Final = 1.0 + 2.0**-20

Arrays = dict[str, dict[str, I64]]


class LinearState:
    """int64 arrays by operand and name, with the bound that proves them exact.

    arrays: operand -> name -> int64 array, in canonical order. An operand that
    may stay absent until it is streamed is added by `ensure`.
    """

    __slots__ = ("_bounds", "arrays", "exact")

    def __init__(self, arrays: Arrays, *, exact: bool = True, empty: bool = False) -> None:
        self.arrays = arrays
        self.exact = exact
        self._bounds = dict.fromkeys(arrays, 0.0) if empty else {}
        for operand in arrays:
            if operand not in self._bounds:
                self._bounds[operand] = self._measured_bound(operand)

    def _measured_bound(self, operand: str) -> float:
        """A bound with room: one without would stand still where +1 rounds to nothing."""
        return self._measure(operand) * _ROUNDING

    def _measure(self, operand: str) -> float:
        largest = 0.0
        for array in self.arrays[operand].values():
            if array.size:
                # In float, because |-2^63| is no int64.
                largest = max(largest, float(array.max()), -float(array.min()))
        return largest

    def ensure(self, operand: str, arrays: Mapping[str, I64]) -> None:
        """Add an operand's arrays, all zero, unless it is there."""
        if operand not in self.arrays:
            self.arrays[operand] = dict(arrays)
            self._bounds[operand] = 0.0

    def grow(self, operand: str, size: float) -> bool:
        """Account for an addition of total size `size` to an operand's cells, before it is made.

        Returns False, and changes nothing, where exactness could not be proven
        even after measuring; the caller may try smaller additions, or `give_up`.
        """
        if not self.exact:
            return True
        size *= _ROUNDING
        if self._bounds[operand] + size >= CELL_LIMIT:
            self._bounds[operand] = self._measured_bound(operand)
            if self._bounds[operand] + size >= CELL_LIMIT:
                return False
        self._bounds[operand] += size
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
        twin = LinearState({}, exact=self.exact, empty=True)
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
