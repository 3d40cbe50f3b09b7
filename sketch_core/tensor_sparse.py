"""TensorSparse: a CountSketch of y = (A1 ⊗ A2) vec(X), made of the CountSketches of A1 and A2.

Problem.   y has n1 · n2 coordinates and is never formed. Estimate single coordinates of it,
           and inner products of two such vectors, from what is kept of the operands.
Source.    Song, Xie, Zhou, Definition 3.1 (TensorSparse); the convolution of two
           CountSketches by FFT: Pagh, Compressed Matrix Multiplication, 2013.
Deviation. S = (S_1 … S_s) has s blocks of w = m / s buckets. Block b maps (i1, i2) to
           (h1(i1, b) + h2(i2, b)) mod w with sign σ1(i1, b) · σ2(i2, b). The factor
           1 / √s of the definition is left out, so that a bucket holds what a row of a
           CountSketch does, and `inner_product` divides by s. Point estimates are
           medians over blocks.
Guarantee. A point estimate is off by about median_deviation(s) · ‖y‖₂ / √w; an
           inner product by at most about √(8 / m) · ‖y‖₂ · ‖y'‖₂ (twice a CountSketch's:
           pairs that share a row or a column share a hash). Linear in each of A1, A2, X.

At frequency f of block b the transform of S_b y is F1[f, :] X F2[f, :]ᵀ, F1 and F2
being those of the operands' tables along their buckets: O(m d1 d2 + m (d1 + d2) log w).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from sketch_core.count_sketch import CountSketch, median_of_rows
from sketch_core.hashing import SECOND_REPETITION, U64, UNSCALED_REPETITION
from sketch_core.tensor_product import ROUNDING

F64 = npt.NDArray[np.float64]

#: Numbers of transforms that exist at a time.
_TRANSFORMED_NUMBERS: Final = 1 << 20


class TensorSparse:
    """The geometry of S: s blocks of w buckets, and the tables of the operands it is made of.

    first, second: CountSketches of s rows of w buckets; keep a table of A1 with
    the one and of A2 with the other (cells of d1 and d2 numbers, see CountSketch.add),
    and `combine` them when asked. seed: 0 to 2^64 - 1.
    """

    __slots__ = ("blocks", "buckets", "first", "second")

    def __init__(self, seed: int, blocks: int, buckets: int) -> None:
        self.blocks = blocks
        self.buckets = buckets
        self.first = CountSketch(seed, UNSCALED_REPETITION, blocks, buckets)
        second = SECOND_REPETITION + UNSCALED_REPETITION
        self.second = CountSketch(seed, second, blocks, buckets)

    def combine(self, first: F64, second: F64, x: F64) -> F64:
        """S y for y = (A1 ⊗ A2) vec(X), without the factor 1 / √s: float64 (s · w,).

        Buckets within rounding of zero are zero.

        first: the table of A1, float64 (s · w, d1). second: of A2, (s · w, d2). x: X, (d1, d2).
        """
        left = first @ x
        left[np.abs(left) <= ROUNDING * x.shape[0] * (np.abs(first) @ np.abs(x))] = 0.0
        left = left.reshape(self.blocks, self.buckets, -1)
        right = second.reshape(self.blocks, self.buckets, -1)
        total = np.zeros((self.blocks, self.buckets // 2 + 1), dtype=np.complex128)
        step = max(1, _TRANSFORMED_NUMBERS // (self.blocks * self.buckets))
        for start in range(0, right.shape[2], step):
            part = slice(start, start + step)
            product = np.fft.rfft(left[:, :, part], axis=1)
            product *= np.fft.rfft(right[:, :, part], axis=1)
            total += product.sum(axis=2)
        combined: F64 = np.fft.irfft(total, n=self.buckets, axis=1)
        # What rounding leaves in empty buckets would pass for the noise of small numbers.
        sizes = np.sqrt((left * left).sum(axis=1) * (right * right).sum(axis=1)).sum(axis=1)
        floor = ROUNDING * math.log2(2 * self.buckets) * sizes
        combined[np.abs(combined) <= floor[:, None]] = 0.0
        return combined.reshape(-1)

    def addresses(self, i1: U64, i2: U64) -> npt.NDArray[np.int64]:
        """Cells of pairs, uint64 (b,) each, among the s · w: int64 (s, b)."""
        start = np.arange(self.blocks)[:, None] * self.buckets
        bucket = self.first.table.prefix_addresses(i1) - start
        bucket += self.second.table.prefix_addresses(i2) - start
        return bucket % self.buckets + start

    def signs(self, i1: U64, i2: U64) -> npt.NDArray[np.int64]:
        """Signs of pairs in each block: int64 (s, b)."""
        return self.first.table.signs_of(i1) * self.second.table.signs_of(i2)

    def point(self, combined: F64, i1: U64, i2: U64) -> F64:
        """Estimates of Y[i1, i2] for pairs, uint64 (b,) each: float64 (b,)."""
        rows = combined[self.addresses(i1, i2)]
        rows *= self.signs(i1, i2)
        return median_of_rows(rows)

    def point_deviation(self, combined: F64) -> float:
        """The standard error of a point estimate, one number for all pairs."""
        return self.first.point_deviation(combined)

    def inner_product(self, combined: F64, other: F64) -> float:
        """The estimate of ⟨y, y'⟩ from two vectors that one TensorSparse combined."""
        return float(combined @ other) / self.blocks
