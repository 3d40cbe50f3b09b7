"""Rates of a race as logarithms, relative to the largest, for any power and temperature.

|y|^p overflows float64 for a large p and is 1 for a tiny one, and p · ln|y| rounds away what
decides between neighbours once it passes 2^52. So a rate is never formed. What is formed
is ln f(a) - ln f(b), from the difference a - b, which is exact where a and b are near.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from sketch_core.parameters import Distribution

F64 = npt.NDArray[np.float64]

#: Rates further apart than e^this differ as if by infinity: e^-1024 is zero in float64.
FARTHEST: Final = 1024.0
#: -ln e of a hashed exponential lies within (-3.61, 45.06), so a coordinate whose log rate is
#: further than this below another's arrives after it.
LOG_GAP_SPREAD: Final = 49.0

#: Quotients below this are near the end of float64, where they lose digits.
_SMALL_QUOTIENT: Final = 1e-290
#: The largest logarithm of which math.exp is asked.
_SAFE_EXPONENT: Final = 700.0
#: No product of a float64 and e^x, |x| above this, is a float64.
_FARTHEST_EXPONENT: Final = 1500.0


def preference(law: Distribution, y: F64) -> F64:
    """What f grows with, |y| or for softmax y itself: float64, the shape of y."""
    return y if law.power is None else np.abs(y)


def log_ratio(law: Distribution, a: F64, b: F64 | float) -> F64:
    """ln f(a) - ln f(b) to full relative precision, float64 (m,); -inf where float64 ends.

    a: float64 (m,), of `preference`, positive for a power. b: alike, or one for all of a;
    nowhere less than a.
    """
    with np.errstate(over="ignore"):
        if law.power is None:
            assert law.temperature is not None
            return (a - b) / law.temperature
        return law.power * _log_quotient(a, np.broadcast_to(b, a.shape))


def _log_quotient(a: F64, b: F64) -> F64:
    """ln(a / b) of positive numbers, float64 (m,), a at most b."""
    quotient = a / b
    small = quotient < _SMALL_QUOTIENT
    some_are_small = bool(small.any())
    if some_are_small:
        quotient[small] = 0.5  # for now
    logs: F64 = np.log(quotient)
    near = np.flatnonzero(quotient > 0.5)
    logs[near] = np.log1p((a[near] - b[near]) / b[near])
    if some_are_small:
        logs[small] = np.log(a[small]) - np.log(b[small])
    return logs


def log_sum(logs: F64) -> float:
    """ln Σ exp(logs), logs float64 (m,), some of them 0 and none larger; -inf for nothing."""
    return math.log(float(np.exp(logs).sum())) if logs.size else -math.inf


def times_exp(factor: float, exponent: float) -> float:
    """factor · e^exponent of a factor of at least 0.

    What is too large is infinity; what is too small, and not 0, the least positive float64.
    """
    if factor == 0.0:
        return 0.0
    if exponent > _FARTHEST_EXPONENT:
        return math.inf
    if exponent < -_FARTHEST_EXPONENT:
        return math.ulp(0.0)
    parts = 1 if abs(exponent) < _SAFE_EXPONENT else 4
    for _ in range(parts):
        factor *= math.exp(exponent / parts)
    return max(factor, math.ulp(0.0))


def contenders(law: Distribution, sizes: F64, count: int) -> tuple[npt.NDArray[np.intp], F64]:
    """Which coordinates can be among the first `count` to arrive, and their log rates.

    sizes: float64 (m,), of `preference`, m at least 1; count: at least 1. Returns
    positions (b,) and float64 (b,), b at least min(count, m): ln f relative to the
    largest, as far as e^ of a difference of two can tell. Steps between neighbours are at
    most FARTHEST, so that logarithms in the millions do not drown the exponentials.
    """
    if sizes.size <= count:
        least = float(sizes.min())
        rest = np.flatnonzero(sizes == least)
    else:
        least = float(np.partition(sizes, sizes.size - count)[sizes.size - count])
        rest = np.flatnonzero(sizes <= least)
        rest = rest[log_ratio(law, sizes[rest], least) >= -LOG_GAP_SPREAD]
    above = np.flatnonzero(sizes > least)
    above = above[np.argsort(-sizes[above], kind="stable")]
    rungs = _rungs(law, np.append(sizes[above], least))
    tail = rungs[-1] + log_ratio(law, sizes[rest], least)
    return np.concatenate([above, rest]), np.concatenate([rungs[:-1], tail])


def _rungs(law: Distribution, falling: F64) -> F64:
    """ln f of sizes in falling order, float64 (m,), relative to the first, steps capped."""
    steps = np.maximum(log_ratio(law, falling[1:], falling[:-1]), -FARTHEST)
    return np.append(0.0, np.cumsum(steps))
