"""What a row of Y = A1 X A2ᵀ weighs, and which combination of A2's columns it is.

Problem.   Rows of Y have n2 numbers, too many to form. Find a map F of d1 rows and r columns
           with ‖a F‖ = ‖a X A2ᵀ‖ for every row a of A1, and from a F the w with a X A2ᵀ = A2 w.
Source.    Song, Xie, Zhou, Section 5; algorithms for ℓ2 leverage through a Gram matrix.
Deviation. Instead of the square root of M = X A2ᵀA2 Xᵀ: with A2ᵀA2 = TᵀT, T triangular (by QR,
           which loses no digits to squares), and X Tᵀ = V Σ Uᵀ, F = V Σ and w = Xᵀ V Σ⁻¹ (a F)ᵀ.
           Only singular values that rounding cannot have made are kept; X is balanced by the
           scales of A1's columns first, so that "rounding" is that of rows there are.
Guarantee. Exact up to float64 where T is that of A2. From a table of A2 with at least min(d1, d2)
           cells, TᵀT is an unbiased
           estimate of A2ᵀA2, and an error of length ε in a F is one of ε in the row of Y, up to
           T's own error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

#: Twice the rounding of a product of d numbers, relative to the sum of their sizes, over d.
ROUNDING: Final = 4.0 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class RowSpace:
    """weigh: F, float64 (d1, r). back: float64 (d2, r), w = back @ (a F). r may be 0."""

    weigh: F64
    back: F64


def triangle(rows: F64) -> F64:
    """T with TᵀT = rowsᵀ rows: float64 (m, d) to (min(m, d), d)."""
    r: F64 = np.asarray(np.linalg.qr(rows, mode="r"))
    return r


def scaled_to_one(x: F64) -> tuple[F64, int]:
    """(x · 2^-e, e), the largest number between 1/2 and 1: squares of it stay within float64."""
    unit = _unit(x)
    return np.ldexp(x, -unit), unit


def row_space(x: F64, second: F64, first_sizes: F64) -> RowSpace:
    """F and the way back. x: X, float64 (d1, d2). second: T of A2, float64 (k, d2).

    first_sizes: how large each column of A1 is, float64 (d1,), 0 for one that is zero.
    Only their exponents count: X is balanced by them, so that a direction is not
    lost beside a larger one that no row of A1 has.
    """
    # Powers of two keep products of tiny or huge numbers within float64, and round nothing.
    exponents = np.frexp(first_sizes)[1]
    exponents -= exponents.max(initial=0)
    balanced = np.where(first_sizes[:, None] > 0.0, np.ldexp(x, exponents[:, None]), 0.0)
    x_unit, second_unit = _unit(balanced), _unit(second)
    balanced, second = np.ldexp(balanced, -x_unit), np.ldexp(second, -second_unit)
    v, sigma, _ = np.linalg.svd(balanced @ second.T, full_matrices=False)
    # The product's own rounding, term by term: columns of A2 may be of any scale too.
    rounding = np.linalg.norm(np.abs(balanced) @ np.abs(second).T) * ROUNDING * max(x.shape)
    kept = sigma > rounding
    v, sigma = v[:, kept], sigma[kept]
    unit = x_unit + second_unit
    weigh = np.ldexp(v * sigma, unit - exponents[:, None])
    return RowSpace(
        weigh=np.where(first_sizes[:, None] > 0.0, weigh, 0.0),
        back=np.ldexp(balanced.T @ (v / sigma), x_unit - unit),
    )


def frobenius(first: F64, space: RowSpace) -> float:
    """‖Y‖_F from T of A1, float64 (k, d1), and F; 0 within rounding."""
    norm = float(np.linalg.norm(first @ space.weigh))
    bound = ROUNDING * first.shape[1] * np.linalg.norm(np.abs(first) @ np.abs(space.weigh))
    return norm if norm > bound else 0.0


def _unit(numbers: F64) -> int:
    """The exponent of the largest of some numbers."""
    return int(np.frexp(np.abs(numbers).max(initial=0.0))[1])
