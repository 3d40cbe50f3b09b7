"""Exponential variables and the scales e^(-1/p) made of them, the same bits everywhere.

Problem.   Coordinate i is multiplied by e_i^(-1/p), e_i ~ Exp(1), so that the
           largest scaled coordinate is a draw with probability |y_i|^p / ‖y‖_p^p.
           Replicas and clients must agree on every scale bit for bit, and sums
           of scaled increments must cancel exactly.
Source.    Scaling by inverse exponentials: Jayaram & Woodruff, FOCS 2018; with
           p-ppswor order: Cohen, Pagh, Woodruff, NeurIPS 2020.
Deviation. e is computed from the leading VARIATE_BITS significant bits of a
           uniform variate, so that a scale is one look-up in a table; the scale
           is rounded to SCALE_BITS significant bits and e is clipped below at
           2^-clip_bits. Every scale is thereby a whole number of one quantum
           fixed by p. What is drawn from a list (repeat arrivals, inclusion
           probabilities) uses the rounded scale throughout.
Guarantee. Rounding moves the law between two coordinates by less than 10^-4,
           except where they differ by less than the rounding (0.2 %) without
           being equal: there by less than 4·10^-4. (Both bounds are computed, not
           sampled, by tests/sketch_core/test_scaling_law.py. The values that a
           sketch recovers are less exact than that.) Clipping matters with
           probability at most touched · 2^-clip_bits. Only integer
           operations and the IEEE-754 operations that every machine rounds alike
           are used: + - × ÷ sqrt, frexp, ldexp, rint and comparisons. No
           logarithm or power of the maths library, whose last bits change with
           the processor's vector extensions.

From 64 hash bits h the variate is v = ⌊h/2⌋ · 2^-63, rounded to a double.
    A scale reads the double's exponent and its first VARIATE_BITS - 1 bits after
    the leading one, and takes v as the middle of the interval they leave:
    e = -ln(1 - v), scale = e^(-1/p) of that. Values of v that round to 1 share
    the last interval.
    An unrounded exponential takes v + 2^-64, at most 1 - 2^-53, as it is.
-ln(1 - v) is Kahan's -ln(w) · v / (1 - w), w = 1 - v, so that small e, which
decide races, keep full relative precision.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from sketch_core.hashing import EXPONENTIAL, I64, REPEAT, U64, derive_key, mix
from sketch_core.table_cache import TABLES

F64 = npt.NDArray[np.float64]

#: Significant bits of a rounded scale.
SCALE_BITS: Final = 10
#: Significant bits of the variate that a scale is computed from.
VARIATE_BITS: Final = 13
#: e is clipped below at 2^-(min(L, MAX_CLIP_INDEX_BITS) + 6).
MAX_CLIP_INDEX_BITS: Final = 40

_SQRT_HALF: Final = 0.7071067811865476
_LN2: Final = 0.6931471805599453
_LARGEST_V: Final = 1.0 - 2.0**-53
#: log2 of the largest exponential a scale is made of, -ln(2^-14) = 9.704, rounded up.
_LARGEST_E_LOG2: Final = 3.28
_ATANH_TERMS: Final = 9
_EXP_TERMS: Final = 13
_MANTISSA_SHIFT: Final = 52 - (VARIATE_BITS - 1)
#: Index of the first interval of v in [1/2, 1), where float(h >> 1) is in [2^62, 2^63).
_TOP_OCTAVE: Final = (1023 + 62) << (VARIATE_BITS - 1)


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


def _minus_log1m(v: F64) -> F64:
    """-ln(1 - v) for v in (0, 1), with full relative precision at both ends."""
    w = 1.0 - v
    gap = 1.0 - w  # exact
    tiny = gap == 0.0
    gap[tiny] = 1.0
    return np.where(tiny, v, -natural_log(w) * (v / gap))


def exponentials(bits: U64) -> F64:
    """Exp(1) variables from hash bits, uint64 of any shape: float64 in (2^-65, 36.8)."""
    v = (bits >> np.uint64(1)).view(np.int64).astype(np.float64)
    v += 0.5
    v *= 2.0**-63
    np.minimum(v, _LARGEST_V, out=v)
    return _minus_log1m(v)


def clip_bits(n: int) -> int:
    """c such that e is clipped below at 2^-c for n coordinates: min(⌈log2 n⌉, 40) + 6."""
    return min(max(n - 1, 0).bit_length(), MAX_CLIP_INDEX_BITS) + 6


def quantum_exponent(power: float) -> int:
    """The exponent g for which every scale at this power is a whole multiple of 2^g.

    power: at least 1. The smallest scale is 9.71^(-1/power); g leaves it SCALE_BITS
    significant bits.
    """
    return -math.ceil(_LARGEST_E_LOG2 / power) - (SCALE_BITS - 1)


def scale_bits(power: float, clip: int) -> int:
    """Bits of the largest scale in quanta: every scale is below 2^scale_bits."""
    return math.ceil(clip / power) - quantum_exponent(power) + 1


def _scale_table(power: float, clip: int) -> tuple[int, I64]:
    """The index of the first interval of v, and the scales from there on; all below are clipped."""

    def make() -> tuple[tuple[int, I64], int]:
        first, table = _new_scale_table(power, clip)
        return (first, table), table.nbytes

    return TABLES.get((_new_scale_table, power, clip), make)


def _new_scale_table(power: float, clip: int) -> tuple[int, I64]:
    """What _scale_table says, made anew.

    One interval more than there are, for variates that round up to 1.
    """
    per_octave = 1 << (VARIATE_BITS - 1)
    octaves = clip + 2
    octave = np.repeat(np.arange(-octaves, 0), per_octave)
    within = np.tile(np.arange(per_octave), octaves)
    v = np.ldexp(1.0 + (within + 0.5) / per_octave, octave)
    e = np.maximum(_minus_log1m(v), 2.0**-clip)
    if power == 2.0:
        scale = 1.0 / np.sqrt(e)
    elif power == 1.0:
        scale = 1.0 / e
    else:
        scale = _exp2(natural_log(e) * (-1.0 / (_LN2 * power)))
    mantissa, exponent = np.frexp(scale)
    whole = np.rint(mantissa * float(1 << SCALE_BITS)).astype(np.int64)
    whole <<= exponent.astype(np.int64) - (SCALE_BITS + quantum_exponent(power))
    table = np.append(whole, whole[-1])
    table.setflags(write=False)
    return _TOP_OCTAVE - (octaves - 1) * per_octave, table


def scales(bits: U64, power: float, clip: int) -> I64:
    """Rounded scales e^(-1/power) in multiples of 2^quantum_exponent(power).

    bits: uint64 (b,), hash bits of the coordinates' exponentials; clip: from
    clip_bits. Returns int64 (b,), at least 2^(SCALE_BITS-1) and below 2^scale_bits.
    """
    first, table = _scale_table(power, clip)
    interval = (bits >> np.uint64(1)).view(np.int64).astype(np.float64).view(np.int64)
    interval >>= _MANTISSA_SHIFT
    interval -= first
    np.maximum(interval, 0, out=interval)
    return table[interval]


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
