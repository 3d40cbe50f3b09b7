"""One operand kept in tables: hierarchies of scaled cells, and one unscaled CountSketch.

Problem.   Fold increments of an operand with up to 2^63 rows of d numbers into a state that
           does not grow with them, exactly; and multiply that state by x when asked.
Source.    Exponential scaling: Jayaram & Woodruff, FOCS 2018. Sketching rows at once, so
           that the sketch of A times x is that of A x: Song, Xie, Zhou, Section 5.
Deviation. Cells are int64 numbers of quanta: a scale is a whole multiple of one quantum,
           so increment times scale is exact, and every list has scales of its own.
Guarantee. Cells hold the true integers while the state says so (state.py). Products
           with x come with a bound on their rounding error, below which they are zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from sketch_core.batch import Batch
from sketch_core.count_sketch import CHUNK_NUMBERS, Cells, CountSketch
from sketch_core.hashing import I64, UNSCALED_REPETITION
from sketch_core.heavy_hitters import Hierarchy
from sketch_core.scaling import Race, scale_bits
from sketch_core.sizing import Sizes
from sketch_core.spec import Operand
from sketch_core.state import LinearState
from sketch_core.table_cache import TABLES
from sketch_core.tensor_product import ROUNDING

F64 = npt.NDArray[np.float64]

#: Cells turned into floats at a time for a product with x: so few that a BLAS starts no
#: threads for it, which on a busy machine triples the time of a query.
_CONVERTED_NUMBERS: Final = 1 << 14
#: Cells of projected queries that exist at a time (a single query may have more).
_PROJECTED_NUMBERS: Final = 1 << 21
#: What a geometry takes in memory besides its arrays: keys, tables, objects.
_GEOMETRY_BYTES: Final = 4096


def _hierarchy(seed: int, repetition: int, n: int, sizes: Sizes) -> Hierarchy:
    def make() -> tuple[Hierarchy, int]:
        # The first level's prefixes, uint64, and (below others) their addresses, int32 a row.
        prefixes = ((n - 1) >> sizes.shifts[0]) + 1
        each = 8 + (4 * sizes.depth if sizes.levels > 1 else 0)
        return Hierarchy(seed, repetition, n, sizes), _GEOMETRY_BYTES + each * prefixes

    return TABLES.get((Hierarchy, seed, repetition, n, sizes), make)


def _unscaled(seed: int, repetition: int, sizes: Sizes) -> CountSketch:
    def make() -> tuple[CountSketch, int]:
        sketch = CountSketch(seed, repetition, sizes.depth, sizes.estimate_width)
        return sketch, _GEOMETRY_BYTES

    return TABLES.get((CountSketch, seed, repetition, sizes), make)


#: Numbers of batches that are joined and added together: enough that small batches cost few
#: calls into numpy, and little enough that what is joined stays in a second-level cache.
#: Measured: joined in one piece, a long log costs a third more a number.
GROUP_NUMBERS: Final = 1 << 16


class OperandTables:
    """The tables of one operand within a state.

    Tables are named by (name, which): ("scaled", 0 … lists - 1) and ("unscaled", 0).
    Not safe for concurrent changes; queries change nothing but caches.
    """

    def __init__(self, seed: int, operand: Operand, power: float, state: LinearState) -> None:
        if operand.sizes is None:
            raise ValueError(f"{operand.name} is kept dense")
        self.operand = operand
        self.sizes = operand.sizes
        self._seed = seed
        self._power = power
        self._state = state
        self._maxima: dict[tuple[str, int], F64] = {}

    def changed(self) -> None:
        """Forget what was derived from the cells."""
        self._maxima = {}

    def hierarchy(self, which: int) -> Hierarchy:
        """The geometry of a list."""
        repetition = self.operand.first_repetition + which
        return _hierarchy(self._seed, repetition, self.operand.rows, self.sizes)

    def unscaled(self) -> CountSketch:
        """The geometry of the unscaled table."""
        repetition = self.operand.first_repetition + UNSCALED_REPETITION
        return _unscaled(self._seed, repetition, self.sizes)

    def race(self, which: int) -> Race:
        """The exponentials of a list."""
        repetition = self.operand.first_repetition + which
        return Race(self._seed, repetition, self._power, self.operand.clip)

    # ---- updates

    def add(self, parts: list[Batch]) -> None:
        """Add batches of one layout, as many together as are proven exact together.

        Where exactness cannot be proven for a group its halves are tried, each
        against the cells before it. Only a batch that fails alone decides that
        exactness is lost, so every replica decides alike however it grouped its log.
        """
        pending = _groups(parts)[::-1]
        while pending:
            group = pending.pop()
            joined = _joined(group)
            if self._admit(joined):
                self._add(joined)
            elif len(group) > 1:
                middle = len(group) // 2
                pending += [group[middle:], group[:middle]]
            else:
                self._state.give_up()
                self._add(joined)

    def _admit(self, batch: Batch) -> bool:
        """Whether cells stay proven exact: by the largest scale of all, else by the scales met."""
        name = self.operand.name
        magnitude = _row_magnitude(batch.quanta)
        largest = math.ldexp(1.0, scale_bits(self._power, self.operand.clip))
        if self._state.grow(name, float(magnitude.sum()) * largest):
            return True
        sizes = np.empty(self.operand.lists)
        for which in range(self.operand.lists):
            sizes[which] = (magnitude * self.race(which).scales(batch.index)).sum()
        return self._state.grow(name, sizes)

    def _add(self, batch: Batch) -> None:
        index, quanta, column = batch.index, batch.quanta, batch.column
        arrays = self._state.arrays[self.operand.name]
        races = [self.race(which) for which in range(self.operand.lists)]
        step = max(1, CHUNK_NUMBERS // (quanta.shape[1] if quanta.ndim == 2 else 1))
        for start in range(0, index.size, step):
            part = slice(start, start + step)
            coordinates, increments = index[part], quanta[part]
            columns = None if column is None else column[part]
            for which, race in enumerate(races):
                scale = race.scales(coordinates)
                amounts = increments * (scale[:, None] if quanta.ndim == 2 else scale)
                self.hierarchy(which).add(arrays["scaled"][which], coordinates, columns, amounts)
            self.unscaled().add(arrays["unscaled"], coordinates, columns, increments)

    # ---- products

    def cells(self, name: str, which: int = 0) -> I64:
        """A table, int64 (cells, d), not copied."""
        array = self._state.arrays[self.operand.name][name]
        return array[which] if name == "scaled" else array

    def project(self, name: str, which: int, rows: F64 | None) -> Iterable[tuple[Cells, float]]:
        """One (cells, rounding floor) a query: the cells (c,) of the product, in their quanta.

        rows: x of each query, float64 (q, d); None for a table with one column, as it is.
        """
        array = self.cells(name, which)
        if rows is None:
            yield array[:, 0], 0.0
            return
        floors = self.floors(name, which, np.abs(rows).T)
        together = max(1, _PROJECTED_NUMBERS // array.shape[0])
        for first in range(0, rows.shape[0], together):
            products = np.ascontiguousarray(
                self.products(name, which, rows[first : first + together].T).T
            )
            for cells, floor in zip(products, floors[first : first + together], strict=True):
                if max(cells.max(), -cells.min()) <= floor:
                    cells[:] = 0.0
                yield cells, float(floor)

    def floors(self, name: str, which: int, sizes: F64) -> F64:
        """Bounds on the rounding of `products` with columns of these sizes, (d, q) to (q,)."""
        bound: F64 = ROUNDING * sizes.shape[0] * (self.column_maxima(name, which) @ sizes)
        return bound

    def products(self, name: str, which: int, columns: F64) -> F64:
        """cells @ columns, float64 (c, q): int64 (c, d) by float64 (d, q)."""
        array = self.cells(name, which)
        products = np.empty((array.shape[0], columns.shape[1]))
        for start, piece in _float_pieces(array):
            np.matmul(piece, columns, out=products[start : start + piece.shape[0]])
        return products

    def column_maxima(self, name: str, which: int = 0) -> F64:
        """max |cell| of each column, float64 (d,); remembered until the cells change."""
        known = self._maxima.get((name, which))
        if known is None:
            array = self.cells(name, which)
            high, low = array[0].copy(), array[0].copy()
            step = max(1, _CONVERTED_NUMBERS // array.shape[1])
            for start in range(0, array.shape[0], step):
                piece = array[start : start + step]
                np.maximum(high, piece.max(axis=0), out=high)
                np.minimum(low, piece.min(axis=0), out=low)
            # In float, because |-2^63| is no int64.
            known = np.maximum(high.astype(np.float64), -low.astype(np.float64))
            self._maxima[name, which] = known
        return known


def _float_pieces(array: I64) -> Iterator[tuple[int, F64]]:
    """(first row, rows as floats) of an array, int64 (c, d), piece by piece in one buffer.

    A float copy of the whole would cost more than a product with it.
    """
    step = max(1, _CONVERTED_NUMBERS // array.shape[1])
    buffer = np.empty((min(step, array.shape[0]), array.shape[1]))
    for start in range(0, array.shape[0], step):
        rows = array[start : start + step]
        piece = buffer[: rows.shape[0]]
        np.copyto(piece, rows)
        yield start, piece


def _groups(parts: list[Batch]) -> list[list[Batch]]:
    """Batches in order, together while their numbers stay within the working arrays' bound."""
    groups: list[list[Batch]] = []
    room = 0
    for part in parts:
        if not groups or part.coordinates > room:
            groups.append([])
            room = GROUP_NUMBERS
        groups[-1].append(part)
        room -= part.coordinates
    return groups


def _joined(parts: list[Batch]) -> Batch:
    """Batches of one layout and operand as one."""
    if len(parts) == 1:
        return parts[0]
    columns = [part.column for part in parts if part.column is not None]
    return Batch(
        parts[0].operand,
        np.concatenate([part.index for part in parts]),
        np.concatenate(columns) if columns else None,
        np.concatenate([part.quanta for part in parts]),
    )


def _row_magnitude(quanta: I64) -> F64:
    """The largest |increment| of each update: int64 (b,) or (b, d) to float64 (b,)."""
    magnitude: F64 = np.abs(quanta.astype(np.float64))
    return magnitude.max(axis=1) if magnitude.ndim == 2 else magnitude
