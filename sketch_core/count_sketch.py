"""CountSketch tables with cells of one or more int64 numbers: add, point query, energy.

Problem.   Keep t rows of w buckets such that any coordinate of a streamed vector
           can be estimated, updates add, and equal streams give equal tables.
Source.    CountSketch: Charikar, Chen, Farach-Colton, 2002. The row sum of squared
           cells as an estimate of ‖y‖₂²: Alon, Matias, Szegedy, 1996.
Deviation. Cells are rows of d numbers when the operand has rows, so that the
           table of A times x is the table of y = A x. Signs and buckets come
           from one keyed mixer (hashing.py) rather than k-wise families.
Guarantee. For a point query, median over rows of sign · cell: an error of about
           median_deviation(t) · ‖y_rest‖₂ / √w standard deviation, y_rest being
           y without the coordinate and without what dominates single cells.
           For the energy, the mean over rows: relative standard deviation at
           most √(2 / (t w)). All sums are integers modulo 2^64.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sketch_core.hashing import I64, U64, BucketHash, SignHash
from sketch_core.sizing import median_deviation

F64 = npt.NDArray[np.float64]
#: Cells or rows of cells: int64 as kept, or float64 after a product with x.
Cells = npt.NDArray[Any]

#: Compare-exchange pairs after which the middle row holds the median.
_MEDIAN_NETWORKS: Final[dict[int, tuple[tuple[int, int], ...]]] = {
    1: (),
    3: ((0, 1), (1, 2), (0, 1)),
    5: ((0, 1), (3, 4), (0, 3), (1, 4), (1, 2), (2, 3), (1, 2)),
    7: (
        (0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6),
        (2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4),
    ),
}  # fmt: skip

#: Numbers scattered at a time: the working arrays stay within a second-level cache, and calls
#: into numpy are few. Measured: 2^13 is a quarter slower, 2^16 half as slow again.
CHUNK_NUMBERS: Final = 1 << 15


def median_of_rows(rows: Cells) -> Cells:
    """The median down the columns of (t, b), t odd: (b,), the same dtype. Overwrites `rows`."""
    depth = rows.shape[0]
    network = _MEDIAN_NETWORKS.get(depth)
    if network is None:
        middle: Cells = np.partition(rows, depth // 2, axis=0)[depth // 2]
        return middle
    lanes: list[Cells] = list(rows)
    spare: Cells = np.empty_like(rows[0])
    for low, high in network:
        np.minimum(lanes[low], lanes[high], out=spare)
        np.maximum(lanes[low], lanes[high], out=lanes[high])
        lanes[low], spare = spare, lanes[low]
    median: Cells = lanes[depth // 2]
    return median


def root_mean_square(cells: Cells) -> float:
    """The root mean square of cells of any size that float64 holds; 0 for none."""
    floats = cells.astype(np.float64)
    largest = float(max(floats.max(initial=0.0), -floats.min(initial=0.0)))
    if largest == 0.0:
        return 0.0
    floats /= largest
    floats *= floats
    # Not a dot product: that would start the threads of a BLAS for a few
    # microseconds of work, and round differently on every machine.
    return largest * math.sqrt(float(floats.sum()) / floats.size)


class Table:
    """Where coordinates of one level fall: addresses and signs, without the cells themselves.

    The cells live in a caller's array; this level's start at `base`. `shift`
    low bits of a coordinate are dropped before the bucket is chosen, never
    before the sign. signs is shared by the levels of a hierarchy; this level's
    cells are numbered from `first_sign`.
    """

    __slots__ = ("base", "buckets", "depth", "first_sign", "shift", "signs", "width")

    def __init__(
        self, buckets: BucketHash, signs: SignHash, *, base: int, first_sign: int, shift: int
    ) -> None:
        self.buckets = buckets
        self.signs = signs
        self.base = base
        self.first_sign = first_sign
        self.shift = shift
        self.depth = buckets.depth
        self.width = buckets.width

    @property
    def cells(self) -> int:
        return self.depth * self.width

    def prefix_addresses(self, prefixes: U64) -> I64:
        """Addresses of prefixes, relative to `base`: uint64 (b,) to int64 (t, b)."""
        return self.buckets.addresses(prefixes)

    def signs_of(self, coordinates: U64) -> I64:
        """+1 or -1: uint64 (b,) to int64 (t, b)."""
        words = self.signs.words(coordinates)
        out = np.empty((self.depth, coordinates.size), dtype=np.int64)
        for row in range(self.depth):
            negative = self.signs.negative(words, self.first_sign + row, out[row].view(np.uint64))
            negative |= 1
        return out

    def add(
        self,
        cells: I64,
        coordinates: U64,
        column: I64 | None,
        amounts: I64,
        sign_words: list[U64],
    ) -> None:
        """Add signed amounts to the cells; callers pass about CHUNK_NUMBERS numbers at a time.

        cells: int64 (all cells, d), C-contiguous. coordinates: uint64 (b,).
        amounts: int64 (b,) for column `column` (int64 (b,); None when d = 1),
        or (b, d) for whole rows. sign_words: signs.words(coordinates).
        """
        d = cells.shape[1]
        flat = cells.reshape(-1)
        prefixes = coordinates >> np.uint64(self.shift) if self.shift else coordinates
        spare = np.empty_like(coordinates)
        signed = np.empty_like(amounts)
        within = np.arange(d) if amounts.ndim == 2 else None
        for row, where in enumerate(self.buckets.rows(prefixes)):
            negative = self.signs.negative(sign_words, self.first_sign + row, spare)
            if d > 1:
                where *= d
            if column is not None:
                where += column
            if within is not None:
                where, negative = where[:, None] + within, negative[:, None]
            np.bitwise_xor(amounts, negative, out=signed)
            signed -= negative
            start = (self.base + row * self.width) * d
            part = flat[start : start + self.width * d]
            np.add.at(part, where.reshape(-1), signed.reshape(-1))


class CountSketch:
    """The geometry of a plain CountSketch: t rows of w buckets of d numbers, keys of its own."""

    __slots__ = ("depth", "table", "width")

    def __init__(self, seed: int, repetition: int, depth: int, width: int) -> None:
        self.depth = depth
        self.width = width
        self.table = Table(
            BucketHash(seed, repetition, 0, depth, width),
            SignHash(seed, repetition, depth),
            base=0,
            first_sign=0,
            shift=0,
        )

    @property
    def cells(self) -> int:
        return self.table.cells

    def add(self, cells: I64, coordinates: U64, column: I64 | None, amounts: I64) -> None:
        """Add increments; see Table.add."""
        words = self.table.signs.words(coordinates)
        self.table.add(cells, coordinates, column, amounts, words)

    def point(self, cells: F64, coordinates: U64) -> F64:
        """Estimates at coordinates, uint64 (b,), from cells float64 (t·w,): float64 (b,)."""
        rows = cells[self.table.prefix_addresses(coordinates)]
        rows *= self.table.signs_of(coordinates)
        return median_of_rows(rows)

    def euclidean_norm(self, cells: F64) -> float:
        """‖y‖₂, estimated from cells float64 (t·w,), of any size that float64 holds.

        The relative deviation of its square is at most √(2/(t w)).
        """
        return root_mean_square(cells) * math.sqrt(self.width)

    def point_deviation(self, cells: F64) -> float:
        """The standard error of a point estimate, one number for all coordinates.

        From the 95 % quantile of |cell|, which a few dominant coordinates (whose
        cells a median ignores) do not move, and never more than the root mean square; where
        that quantile is zero, from the chance that most rows of a coordinate meet others.
        """
        magnitudes = np.abs(cells)
        rank = min(int(0.95 * cells.size), cells.size - 1)
        quantile = float(np.partition(magnitudes, rank)[rank])
        spread = root_mean_square(cells)
        if quantile > 0.0:
            return median_deviation(self.depth) * min(quantile / 1.96, spread)
        # Hardly a cell is in use: an estimate is off only where most of its rows meet
        # others, with one sign, and then by the magnitude of a used cell.
        used = np.count_nonzero(cells) / cells.size
        met = 2.0 * sum(
            math.comb(self.depth, k) * (used / 2) ** k * (1.0 - used / 2) ** (self.depth - k)
            for k in range((self.depth + 1) // 2, self.depth + 1)
        )
        return spread * math.sqrt(met / used) if used > 0.0 else 0.0
