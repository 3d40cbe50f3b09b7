"""A hierarchical CountSketch: find the largest coordinates without looking at all of them.

Problem.   From a linear sketch of z ∈ R^n, n up to 2^63, list the coordinates of
           largest |z_i| in order, in time that grows with log n, and know which
           of them to trust.
Source.    CountSketch over prefixes of the index (Charikar, Chen, Farach-Colton,
           2002; Cormode & Hadjieleftheriou, 2010, for the hierarchy).
Deviation. Signs come from the full index at every level, so the square of a cell
           is the energy of its prefixes, which cannot cancel. Decoding keeps a
           beam of prefixes instead of a threshold, chosen by the sum of |cell|
           over all rows but the largest, which recovers more at the same width
           than the usual median. At the last level found
           coordinates are peeled off (subtracted) and the rest is estimated
           again, the largest first where two share a cell, so that nothing is
           found in what a larger one left there. A coordinate is trusted when
           the median of its rows stands DETECTION standard deviations (of the
           residual cells) above zero and their mean agrees with their median:
           rows that look large because three of five met other coordinates
           fail the second test.
Guarantee. A trusted estimate has a standard deviation of about 0.54 σ̂ (t = 5),
           σ̂ the root mean square of the residual cells. Trust depends on |z_i|
           and on noise, not on i: refusing by it does not bias a race, whose
           winner is independent of its time. With widths of sizing.py the
           first samples + 1 coordinates are found with the documented
           probability.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sketch_core.count_sketch import Cells, Table, median_of_rows, root_mean_square
from sketch_core.hashing import I64, U64, BucketHash, SignHash
from sketch_core.sizing import DETECTION, Sizes

F64 = npt.NDArray[np.float64]

#: The mean of a trusted coordinate's rows lies within these multiples of their median …
AGREEMENT: Final = (0.65, 1.5)
AGREEMENT_OF_THREE: Final = 0.8
#: … and is at least this much of the detection threshold.
MEAN_SHARE: Final = 0.9
#: Prefixes kept at each level, and candidates kept at the last: at least this many …
MIN_BEAM: Final = 64
#: … and this many for each coordinate wanted.
BEAM_PER_WANTED: Final = 12
#: Peeling ends when no value moves by more than this many σ̂.
SETTLED: Final = 0.02
MAX_PEELINGS: Final = 16
#: Prefixes judged at a time.
_BLOCK: Final = 1 << 16


def beam_width(wanted: int) -> int:
    """Prefixes kept at each level when so many coordinates are wanted."""
    return max(MIN_BEAM, BEAM_PER_WANTED * wanted)


@dataclass(frozen=True, slots=True)
class Recovered:
    """The trusted coordinates, largest first, ties in order of `tie_break`.

    index: uint64 (m,). value: float64 (m,), estimates of z_i. sigma: σ̂.
    threshold: every coordinate served is at least this; 0 when the residual is
    zero, up to rounding, so that nothing was left out.
    """

    index: U64
    value: F64
    sigma: float
    threshold: float


class Hierarchy:
    """The geometry of one repetition: hash functions and where each level's cells lie.

    Cells are an int64 array (sizes.scaled_cells, d) of the caller's, levels one
    after another, coarsest first.
    """

    def __init__(self, seed: int, repetition: int, n: int, sizes: Sizes) -> None:
        self.n = n
        self.sizes = sizes
        depth = sizes.depth
        self._signs = signs = SignHash(seed, repetition, depth * sizes.levels)
        self.tables: list[Table] = []
        base = 0
        for level, shift in enumerate(sizes.shifts):
            width = sizes.width if shift == 0 else sizes.upper_width
            table = Table(
                BucketHash(seed, repetition, level, depth, width),
                signs,
                base=base,
                first_sign=level * depth,
                shift=shift,
            )
            self.tables.append(table)
            base += table.cells
        self.cells = base

    def add(self, cells: I64, coordinates: U64, column: I64 | None, amounts: I64) -> None:
        """Add scaled increments to every level; arguments as for Table.add."""
        words = self._signs.words(coordinates)
        for table in self.tables:
            table.add(cells, coordinates, column, amounts, words)

    @functools.cached_property
    def _first_prefixes(self) -> U64:
        shift = self.sizes.shifts[0]
        return np.arange(((self.n - 1) >> shift) + 1, dtype=np.uint64)

    @functools.cached_property
    def _first_addresses(self) -> npt.NDArray[np.int32]:
        return self.tables[0].prefix_addresses(self._first_prefixes).astype(np.int32)

    def recover(
        self, cells: Cells, wanted: int, tie_break: Callable[[U64], U64], floor: float = 0.0
    ) -> Recovered:
        """Find the coordinates of largest |z_i|.

        cells: (self.cells,), int64 or (for projected cells) float64. wanted: how
        many the caller hopes for; more may come back. tie_break: hash bits by
        coordinate, smaller first among equals. floor: rounding error of the
        cells, below which nothing is trusted.
        """
        beam = beam_width(wanted)
        last = self.tables[-1]
        prefixes = self.descend(np.abs(cells[: last.base].astype(np.float64)), beam)
        residual = cells[last.base : last.base + last.cells].copy()
        estimate = self._in_blocks(self._estimates, residual.astype(np.float64), -1, prefixes)
        candidates = prefixes[_largest(np.abs(estimate), beam)]
        return _peel(last, residual, candidates, tie_break, floor)

    def descend(self, magnitudes: F64, beam: int) -> U64:
        """The coordinates worth judging at the last level, uint64 (m,): children of a beam.

        magnitudes: |cell| of the levels above it, float64 (cells of them,).
        """
        prefixes = self._first_prefixes
        for level, table in enumerate(self.tables[:-1]):
            weight = self.weights(
                magnitudes[table.base : table.base + table.cells], level, prefixes
            )
            kept = prefixes[_largest(weight, beam)]
            prefixes = self._children(kept, table.shift, self.tables[level + 1].shift)
        return prefixes

    def heaviest(self, magnitudes: F64, prefixes: U64, beam: int) -> U64:
        """The `beam` heaviest of these coordinates. magnitudes: |cell| of the last level."""
        weight = self.weights(magnitudes, -1, prefixes)
        return prefixes[_largest(weight, beam)]

    def weights(self, magnitudes: F64, level: int, prefixes: U64) -> F64:
        """How heavy prefixes look at a level, by its |cell|: float64 (b,)."""
        return self._in_blocks(self._weights, magnitudes, level, prefixes)

    def _in_blocks(
        self, judge: Callable[[F64, int, U64], F64], part: F64, level: int, prefixes: U64
    ) -> F64:
        """One number a prefix, float64 (b,); the rows of all prefixes never exist at once."""
        if prefixes.size <= _BLOCK:
            return judge(part, level, prefixes)
        out = np.empty(prefixes.size)
        for start in range(0, prefixes.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            out[block] = judge(part, level, prefixes[block])
        return out

    def _weights(self, part: F64, level: int, prefixes: U64) -> F64:
        return _weight(part[self._addresses(level, prefixes)])

    def _estimates(self, part: F64, level: int, prefixes: U64) -> F64:
        rows = part[self._addresses(level, prefixes)]
        rows *= self.tables[level].signs_of(prefixes)
        return median_of_rows(rows)

    def _addresses(self, level: int, prefixes: U64) -> npt.NDArray[np.integer]:
        if level == 0 and len(self.tables) > 1:
            return self._first_addresses
        return self.tables[level].prefix_addresses(prefixes)

    def _children(self, prefixes: U64, shift: int, next_shift: int) -> U64:
        bits = shift - next_shift
        children = (prefixes[:, None] << np.uint64(bits)) | np.arange(1 << bits, dtype=np.uint64)
        flat = children.reshape(-1)
        inside: U64 = flat[flat <= np.uint64((self.n - 1) >> next_shift)]
        return inside


def _weight(magnitudes: F64) -> F64:
    """How heavy prefixes look: the sum of |cell| over all rows but the largest.

    (t, b) to (b,). Leaving out one row keeps a prefix from being carried by a
    collision; a sum tells weak prefixes from noise better than a median does.
    """
    weight: F64 = magnitudes.sum(axis=0)
    if magnitudes.shape[0] > 1:
        weight -= magnitudes.max(axis=0)
    return weight


def _largest(values: F64, count: int) -> npt.NDArray[np.intp]:
    """Positions of the `count` largest values above zero, in no order. values: float64 (b,)."""
    positive = values > 0.0
    many = int(np.count_nonzero(positive))
    if many <= count or 2 * many < values.size:
        # Partitioning slows down tenfold among equal values, and a young sketch is mostly zeros.
        held = np.flatnonzero(positive)
        return held if many <= count else held[_top(values[held], count)]
    return _top(values, count)


def _top(values: F64, count: int) -> npt.NDArray[np.intp]:
    return np.argpartition(values, values.size - count)[values.size - count :]


def trustworthy(estimate: Cells, mean: F64, threshold: float, depth: int) -> npt.NDArray[np.bool_]:
    """Which medians stand out and are borne out by the mean of their rows."""
    size = np.abs(estimate).astype(np.float64)
    along = mean * np.sign(estimate)
    # Where (t + 1) / 2 rows are another coordinate's and the others empty, the mean is that
    # share of the median: 0.6 of five rows, but 0.67 of three.
    agreement = AGREEMENT[0] if depth >= 5 else AGREEMENT_OF_THREE
    least = np.maximum(agreement * size, MEAN_SHARE * threshold)
    trusted: npt.NDArray[np.bool_] = (
        (size > 0.0) & (size >= threshold) & (along >= least) & (along <= AGREEMENT[1] * size)
    )
    return trusted


def in_a_shadow(where: npt.NDArray[np.integer], size: F64) -> npt.NDArray[np.bool_]:
    """Which coordinates share a cell with a larger one, bool (m,).

    where: addresses (t, m). size: float64 (m,). A coordinate that is zero but meets a
    heavy one in three of five rows looks like it: peeled together, both settle at half
    the value. Once the larger is gone, the other is seen for what it is.
    """
    shaded = np.zeros(size.size, dtype=bool)
    if size.size < 2:
        return shaded
    smallest_first = np.argsort(size)
    cells = where[:, smallest_first]
    owner = np.empty(int(cells.max()) + 1, dtype=np.intp)
    place = np.arange(size.size)
    for row in cells:
        owner[row] = place  # of several the last, which is the largest
    shaded[smallest_first] = (owner[cells] != place).any(axis=0)
    return shaded


def _peel(
    table: Table, residual: Cells, candidates: U64, tie_break: Callable[[U64], U64], floor: float
) -> Recovered:
    """Subtract what stands out until nothing more does; then order what is trusted."""
    where = table.prefix_addresses(candidates)
    sign = table.signs_of(candidates)
    value: Cells = np.zeros(candidates.size, dtype=residual.dtype)
    trusted = np.zeros(candidates.size, dtype=bool)
    sigma = root_mean_square(residual)
    largest = math.inf
    for _ in range(MAX_PEELINGS):
        rows: Cells = residual[where] * sign + value
        mean = rows.mean(axis=0)
        estimate = median_of_rows(rows)
        threshold = max(DETECTION * sigma, floor)
        before, trusted = trusted, trustworthy(estimate, mean, threshold, table.depth)
        # What was peeled in error, in the shadow of something larger, goes back.
        change: Cells = np.where(trusted, estimate, 0) - value
        # By the mean of rows, which tells a coordinate from what only shares most of its cells.
        new = np.flatnonzero(trusted & (value == 0))
        held = new[in_a_shadow(where[:, new], np.abs(mean[new]))]
        trusted[held] = False
        change[held] = 0
        same = not held.size and bool((trusted == before).all())
        previous, largest = largest, float(np.abs(change).max(initial=0))
        if same and largest <= SETTLED * sigma + floor:
            break
        if same and largest > 0.7 * previous:
            # Two that share cells correct each other back and forth: meet halfway.
            change = change - (change // 2 if change.dtype.kind == "i" else 0.5 * change)
        value += change
        np.subtract.at(residual, where.reshape(-1), (sign * change).reshape(-1))
        sigma = root_mean_square(residual)
    chosen = np.flatnonzero(trusted & (value != 0))
    sizes = np.abs(value[chosen]).astype(np.float64)
    order = np.lexsort((tie_break(candidates[chosen]), -sizes))
    chosen = chosen[order]
    nothing_left = float(np.abs(residual).max(initial=0)) <= floor
    return Recovered(
        index=candidates[chosen],
        value=value[chosen].astype(np.float64),
        sigma=sigma,
        threshold=0.0 if nothing_left else max(DETECTION * sigma, floor),
    )
