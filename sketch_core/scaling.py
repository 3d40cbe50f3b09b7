"""Exponential variables and the scales e^(-1/p) made of them, the same bits everywhere.

Problem.   Coordinate i is multiplied by e_i^(-1/p), e_i ~ Exp(1), so that the
           largest scaled coordinate is a draw with probability |y_i|^p / ‖y‖_p^p.
           Replicas and clients must agree on every scale bit for bit, and sums
           of scaled increments must cancel exactly.
Source.    Scaling by inverse exponentials: Jayaram & Woodruff, FOCS 2018; with
           p-ppswor order: Cohen, Pagh, Woodruff, NeurIPS 2020.
Deviation. The scale is rounded to 10 significant bits and e is clipped below at
           2^-clip_bits, which makes every scale a whole number (below 2^62) of
           one quantum fixed by p. The rounding moves the sampled law by less
           than 10^-5 in total variation; clipping matters with probability at
           most touched · 2^-clip_bits. What is drawn from a list (repeat
           arrivals, inclusion probabilities) uses the rounded scale throughout.
Guarantee. Only integer operations and the IEEE-754 operations that every
           machine rounds alike are used: + - × ÷ sqrt, frexp, ldexp, rint and
           comparisons. No logarithm or power of the maths library, whose last
           bits change with the processor's vector extensions.

From 64 hash bits h:  v = (⌊h/2⌋ + 1/2) · 2^-63, at most 1 - 2^-53, and
e = -ln(1 - v), by Kahan's correction -ln(w) · v/(1 - w) with w = 1 - v, so that
small e, which decide races, keep full relative precision; 2^-64 < e < 36.8.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from sketch_core.hashing import EXPONENTIAL, I64, REPEAT, U64, derive_key, mix

F64 = npt.NDArray[np.float64]

#: Significant bits of a rounded scale.
SCALE_BITS: Final = 10
#: e is clipped below at 2^-(min(L, MAX_CLIP_INDEX_BITS) + 6).
MAX_CLIP_INDEX_BITS: Final = 40

_SQRT_HALF: Final = 0.7071067811865476
_LN2: Final = 0.6931471805599453
_LARGEST_V: Final = 1.0 - 2.0**-53
# -ln(2^-53): the largest exponential that can occur.
_LARGEST_E_LOG2: Final = 5.2  # log2(36.74) = 5.199…; a bound, not a computed value
_ATANH_TERMS: Final = 9
_EXP_TERMS: Final = 13


def natural_log(values: F64) -> F64:
    """Natural logarithm of positive float64 values to about 1e-15, of exactly rounded steps."""
    mantissa, exponent = np.frexp(values)
    low = mantissa < _SQRT_HALF
    mantissa = np.where(low, mantissa * 2.0, mantissa)
    k = exponent.astype(np.float64)
    k -= low
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = np.full_like(s, 1.0 / (2 * _ATANH_TERMS + 1))
    for term in range(_ATANH_TERMS - 1, -1, -1):
        series *= square
        series += 1.0 / (2 * term + 1)
    series *= s
    series *= 2.0
    k *= _LN2
    series += k
    return series


def _exp2(values: F64) -> F64:
    """2 to the power of values, |values| < 1000, to about 1e-14, of exactly rounded steps."""
    whole = np.rint(values)
    x = (values - whole) * _LN2
    series = np.full_like(x, 1.0)
    for term in range(_EXP_TERMS, 0, -1):
        series *= x
        series /= float(term)
        series += 1.0
    return np.ldexp(series, whole.astype(np.int32))


def exponentials(bits: U64) -> F64:
    """Exp(1) variables from hash bits. bits: uint64 (b,); returns float64 (b,) in (2^-64, 36.8)."""
    v = (bits >> np.uint64(1)).view(np.int64).astype(np.float64)
    v += 0.5
    v *= 2.0**-63
    np.minimum(v, _LARGEST_V, out=v)
    w = 1.0 - v
    gap = 1.0 - w  # exact
    with np.errstate(invalid="ignore"):
        correction = np.where(gap > 0.0, v / np.where(gap > 0.0, gap, 1.0), 1.0)
    e = -natural_log(w) * correction
    return np.where(gap > 0.0, e, v)


def clip_bits(n: int) -> int:
    """c such that e is clipped below at 2^-c for n coordinates: min(⌈log2 n⌉, 40) + 6."""
    return min(max(n - 1, 0).bit_length(), MAX_CLIP_INDEX_BITS) + 6


def quantum_exponent(power: float) -> int:
    """The exponent g for which every scale at this power is a whole multiple of 2^g.

    power: at least 1. The smallest scale is 36.8^(-1/power); g leaves it SCALE_BITS
    significant bits.
    """
    return -math.ceil(_LARGEST_E_LOG2 / power) - (SCALE_BITS - 1)


def scale_bits(power: float, clip: int) -> int:
    """Bits of the largest scale in quanta: every scale is below 2^scale_bits."""
    return math.ceil(clip / power) - quantum_exponent(power) + 1


def scales(bits: U64, power: float, clip: int) -> I64:
    """Rounded scales e^(-1/power) in multiples of 2^quantum_exponent(power).

    bits: uint64 (b,), hash bits of the coordinates' exponentials; clip: from
    clip_bits. Returns int64 (b,), at least 2^(SCALE_BITS-1) and below 2^scale_bits.
    """
    e = exponentials(bits)
    np.maximum(e, 2.0**-clip, out=e)
    if power == 2.0:
        scale = 1.0 / np.sqrt(e)
    elif power == 1.0:
        scale = 1.0 / e
    else:
        scale = _exp2(natural_log(e) * (-1.0 / (_LN2 * power)))
    mantissa, exponent = np.frexp(scale)
    mantissa *= float(1 << SCALE_BITS)
    whole = np.rint(mantissa).astype(np.int64)
    shift = exponent.astype(np.int64)
    shift -= SCALE_BITS + quantum_exponent(power)
    whole <<= shift
    return whole


def scales_as_float(quanta: I64, power: float) -> F64:
    """The scales as numbers, quanta · 2^quantum_exponent(power), exact: int64 to float64 (b,)."""
    return np.ldexp(quanta.astype(np.float64), quantum_exponent(power))


class Race:
    """The exponentials of one repetition: first arrivals, ties, repeat arrivals of coordinates.

    power: of the scales, 1 to 2. clip: from clip_bits.
    """

    __slots__ = ("_first", "_repeat", "_repeat_base", "clip", "power")

    def __init__(self, seed: int, repetition: int, power: float, clip: int) -> None:
        self._first = derive_key(seed, EXPONENTIAL, repetition, 0)
        self._repeat_base = derive_key(seed, EXPONENTIAL, repetition, 1)
        self._repeat = derive_key(seed, REPEAT, repetition, 0)
        self.power = power
        self.clip = clip

    def bits(self, coordinates: U64) -> U64:
        """The hash bits of e_i, which also break ties (the smaller first): uint64 (b,)."""
        return mix(self._first, coordinates)

    def scales(self, coordinates: U64) -> I64:
        """Scales in quanta, int64 (b,)."""
        return scales(self.bits(coordinates), self.power, self.clip)

    def first_gaps(self, coordinates: U64) -> F64:
        """e_i as the rounded scale has it, scale^-power: float64 (b,)."""
        scale = scales_as_float(self.scales(coordinates), self.power)
        if self.power == 2.0:
            return 1.0 / (scale * scale)
        if self.power == 1.0:
            return 1.0 / scale
        return _exp2(natural_log(scale) * (-self.power / _LN2))

    def unrounded_gaps(self, coordinates: U64) -> F64:
        """e_i itself, for distributions no scale serves: float64 (b,)."""
        return exponentials(self.bits(coordinates))

    def repeat_gaps(self, coordinates: U64, start: int, count: int) -> F64:
        """The gaps before arrivals start, …, start + count - 1 (the first arrival is 0).

        coordinates: uint64 (b,); start: at least 1. Returns float64 (b, count) of Exp(1).
        """
        base = mix(self._repeat_base, coordinates)
        numbers = np.arange(start, start + count, dtype=np.uint64)
        return exponentials(mix(self._repeat, base[:, None] + numbers))
