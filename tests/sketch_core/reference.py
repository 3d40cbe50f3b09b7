"""The hashes and cells once more, in Python integers and mpmath, from the documentation alone.

Slow and plain on purpose: nothing here calls sketch_core's arithmetic, so that
agreement means something. Cells are unbounded integers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import mpmath
import numpy as np
import numpy.typing as npt

from sketch_core.spec import Spec

MASK = (1 << 64) - 1
EXPONENTIAL, REPEAT, SIGN, BUCKET = 1, 2, 3, 4
UNSCALED = 1 << 32
SECOND = 1 << 33

#: One increment: (coordinate or row, column, quanta).
Increment = tuple[int, int, int]
Cells = npt.NDArray[np.object_]

Key = tuple[int, int]


def finalise(h: int) -> int:
    h ^= h >> 30
    h = h * 0xBF58476D1CE4E5B9 & MASK
    h ^= h >> 27
    h = h * 0x94D049BB133111EB & MASK
    return h ^ h >> 31


def key(seed: int, purpose: int, repetition: int, index: int) -> Key:
    words = []
    for which in (0, 1):
        h = seed
        for part in (purpose, repetition, index, which):
            h = finalise(h + 0x9E3779B97F4A7C15 * (part + 1) & MASK)
        words.append(h)
    return words[0], words[1]


def mix(k: Key, x: int) -> int:
    h = x ^ k[0]
    h ^= h >> 30
    h = h * 0xBF58476D1CE4E5B9 & MASK
    h ^= h >> 27
    h = h + k[1] & MASK
    h = h * 0x94D049BB133111EB & MASK
    return h ^ h >> 31


def bucket(seed: int, repetition: int, level: int, row: int, width: int, prefix: int) -> int:
    bits, starts = (21, (0, 21, 43)) if width <= 1 << 14 else (32, (0, 32))
    word = mix(key(seed, BUCKET, repetition, 64 * level + row // len(starts)), prefix)
    field = word >> starts[row % len(starts)] & (1 << bits) - 1
    return field * width >> bits


def sign(seed: int, repetition: int, cell: int, coordinate: int) -> int:
    bit = mix(key(seed, SIGN, repetition, cell // 64), coordinate) >> cell % 64 & 1
    return -1 if bit else 1


def exponential_bits(seed: int, repetition: int, coordinate: int) -> int:
    return mix(key(seed, EXPONENTIAL, repetition, 0), coordinate)


def repeat_bits(seed: int, repetition: int, coordinate: int, arrival: int) -> int:
    base = mix(key(seed, EXPONENTIAL, repetition, 1), coordinate)
    return mix(key(seed, REPEAT, repetition, 0), base + arrival & MASK)


def exponential(bits: int) -> mpmath.mpf:
    """An unrounded e = -ln(1 - v) to 60 digits, of the v that float64 makes of the bits."""
    v = min((float(bits >> 1) + 0.5) * 2.0**-63, 1.0 - 2.0**-53)
    with mpmath.workdps(60):
        return -mpmath.log1p(-mpmath.mpf(v))


def scale_exponential(bits: int, clip: int) -> mpmath.mpf:
    """The e of a scale: v is the middle of the interval that 13 significant bits leave it."""
    half = float(bits >> 1) * 2.0**-63
    with mpmath.workdps(60):
        smallest = mpmath.ldexp(1, -clip)
        if half == 0.0:
            return smallest
        fraction, exponent = math.frexp(min(half, 1.0 - 2.0**-53))
        leading = math.floor(fraction * 2**13)
        v = mpmath.ldexp(mpmath.mpf(leading) + mpmath.mpf("0.5"), exponent - 13)
        return max(-mpmath.log1p(-v), smallest)


def scale_mantissa(bits: int, power: float, clip: int) -> tuple[mpmath.mpf, int]:
    """(m, k) with m in [512, 1024) and m · 2^k the scale of the bits, unrounded."""
    with mpmath.workdps(60):
        e = scale_exponential(bits, clip)
        fraction, exponent = mpmath.frexp(e ** (-1 / mpmath.mpf(power)))
        return fraction * 1024, int(exponent) - 10


def scale(bits: int, power: float, clip: int, quantum_exponent: int) -> int:
    """The scale rounded to ten bits, in multiples of 2^quantum_exponent."""
    mantissa, exponent = scale_mantissa(bits, power, clip)
    return int(mpmath.nint(mantissa)) << exponent - quantum_exponent


#: Exponent of the quantum of scales by power: the smallest scale, 9.704^(-1/p), has ten bits.
QUANTUM_EXPONENT = {1.0: -13, 1.25: -12, 1.5: -12, 2.0: -11}


def sketch_cells(
    spec: Spec, increments: Iterable[Increment], operand: str | None = None
) -> dict[str, Cells]:
    """The arrays `scaled` and `unscaled` of an operand (the first) as unbounded integers."""
    kept = spec.operand(operand or spec.operands[0].name)
    sizes = kept.sizes
    start = SECOND if kept.name == "A2" else 0
    power = spec.distribution.power
    assert sizes is not None
    assert power is not None
    together: dict[tuple[int, int], int] = defaultdict(int)
    for coordinate, column, quanta in increments:
        together[coordinate, column] += quanta
    d, depth, seed = kept.cell_columns, sizes.depth, spec.seed
    scaled = np.zeros((kept.lists, sizes.scaled_cells, d), dtype=object)
    unscaled = np.zeros((sizes.unscaled_cells, d), dtype=object)
    clip = min((kept.rows - 1).bit_length(), 40) + 6
    for (i, column), quanta in together.items():
        for row in range(depth):
            at = row * sizes.estimate_width
            at += bucket(seed, start + UNSCALED, 0, row, sizes.estimate_width, i)
            unscaled[at, column] += sign(seed, start + UNSCALED, row, i) * quanta
        for which in range(kept.lists):
            repetition = start + which
            bits = exponential_bits(seed, repetition, i)
            amount = quanta * scale(bits, power, clip, QUANTUM_EXPONENT[power])
            base = 0
            for level, shift in enumerate(sizes.shifts):
                width = sizes.width if shift == 0 else sizes.upper_width
                for row in range(depth):
                    at = base + row * width
                    at += bucket(seed, repetition, level, row, width, i >> shift)
                    signed = sign(seed, repetition, level * depth + row, i) * amount
                    scaled[which, at, column] += signed
                base += depth * width
    return {"scaled": scaled, "unscaled": unscaled}


def dense_cells(
    spec: Spec, increments: Iterable[Increment], operand: str | None = None
) -> dict[str, Cells]:
    """The array `dense` of an operand (the first) as unbounded integers."""
    kept = spec.operand(operand or spec.operands[0].name)
    dense = np.zeros((kept.rows, kept.cell_columns), dtype=object)
    for coordinate, column, quanta in increments:
        dense[coordinate, column] += quanta
    return {"dense": dense}
