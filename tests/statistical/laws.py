"""The exact laws that draws are held to, as positions on [0, 1) that are uniform when all is right.

A draw of coordinate i from the law q becomes u = F(i) + V · q_i, F the mass before
i in a fixed order and V uniform: u is exactly uniform, so any number of classes
of exactly equal mass can be cut, however heavy single coordinates are. The order
is by probability, equal ones by position, so that neighbours are alike: a
preference for large, for small, or (among equals) for low or high indices moves
mass between classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Truth:
    """The vector that was streamed: its nonzero coordinates.

    index: uint64 (m,), sorted. value: float64 (m,).
    """

    index: U64
    value: F64

    def positions(self, index: U64) -> I64:
        """Where coordinates stand in `index`; -1 for those that are zero."""
        if self.index.size == 0:
            return np.full(index.shape, -1, dtype=np.int64)
        where = np.minimum(np.searchsorted(self.index, index), self.index.size - 1)
        return np.where(self.index[where] == index, where, -1)


class Law:
    """The law |y_i|^p / Σ |y_j|^p over the nonzero coordinates of a truth."""

    def __init__(self, truth: Truth, power: float) -> None:
        weight = np.abs(truth.value / np.abs(truth.value).max()) ** power
        self.share: F64 = weight / weight.sum()
        order = np.argsort(self.share, kind="stable")
        before = np.cumsum(self.share[order]) - self.share[order]
        self.before: F64 = np.empty_like(before)
        self.before[order] = before

    def uniform(self, drawn: I64, rng: np.random.Generator) -> F64:
        """Positions of draws, int64 (b,) places in the truth, to numbers on [0, 1)."""
        return np.asarray(self.before[drawn] + rng.random(drawn.size) * self.share[drawn])

    def uniform_second(self, first: I64, second: I64, rng: np.random.Generator) -> F64:
        """The same for the second of a draw without replacement, the first being given.

        Its law is q without `first`, divided by what is left.
        """
        taken = self.share[first]
        before = self.before[second]
        before = before - np.where(before > self.before[first], taken, 0.0)
        within = rng.random(second.size) * self.share[second]
        return np.asarray(np.clip((before + within) / (1.0 - taken), 0.0, 1.0))


def distinct_law(share: F64, draws: int) -> F64:
    """P(d distinct among `draws` independent draws), d = 0 … draws: float64 (draws + 1,).

    The number of sequences is counted by draws! [x^draws y^d] Π_i (1 + y (e^(q_i x) - 1)).
    Its logarithm is Σ_k c_k(y) P_k x^k, P_k = Σ_i q_i^k, c_k from one factor.
    """
    size = draws + 1
    factor = np.zeros((size, size))  # [k, j]: coefficient of x^k y^j in 1 + y (e^x - 1)
    factor[0, 0] = 1.0
    for k in range(1, size):
        factor[k, 1] = 1.0 / math.factorial(k)
    log = _log_series(factor)
    for k in range(1, size):
        log[k] *= float((share**k).sum())
    series = _exp_series(log)
    return np.asarray(np.clip(series[draws] * math.factorial(draws), 0.0, 1.0))


def _product(a: F64, b: F64) -> F64:
    """Of two polynomials in y, cut at their length."""
    return np.asarray(np.convolve(a, b)[: a.size])


def _log_series(series: F64) -> F64:
    """log of a power series in x with polynomials in y as coefficients; its constant is 1."""
    out = np.zeros_like(series)
    for k in range(1, series.shape[0]):
        inner = np.zeros(series.shape[1])
        for j in range(1, k):
            inner += j * _product(out[j], series[k - j])
        out[k] = series[k] - inner / k
    return out


def _exp_series(series: F64) -> F64:
    """exp of such a series without constant."""
    out = np.zeros_like(series)
    out[0, 0] = 1.0
    for k in range(1, series.shape[0]):
        for j in range(1, k + 1):
            out[k] += j / k * _product(series[j], out[k - j])
    return out
