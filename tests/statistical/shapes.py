"""The vectors that are streamed, each as batches of increments whose sum it is.

Values are at most 512, half of the spec's default `magnitude`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]

LARGEST: Final = 512.0

Increments = tuple[U64, F64]


@dataclass(frozen=True, slots=True)
class Stream:
    """n, and batches of (index uint64 (b,), increment float64 (b,))."""

    n: int
    batches: Sequence[Increments]


Shape = Callable[[np.random.Generator], Stream]


def _spread(index: U64, value: F64, n: int, rng: np.random.Generator) -> Stream:
    """One batch, in random order, with random signs."""
    order = rng.permutation(index.size)
    signs = rng.choice([-1.0, 1.0], index.size)
    return Stream(n, [(index[order], (value * signs)[order])])


def _everywhere(n: int) -> U64:
    return np.arange(n, dtype=np.uint64)


def _scattered(n: int, touched: int, rng: np.random.Generator) -> U64:
    """Distinct random coordinates."""
    if n <= 1 << 21:
        return rng.choice(n, touched, replace=False).astype(np.uint64)
    index = np.unique(rng.integers(0, n, 2 * touched, dtype=np.uint64))
    return rng.permutation(index)[:touched]


def uniform(n: int) -> Shape:
    """Values uniform between 0 and LARGEST."""
    return lambda rng: _spread(_everywhere(n), LARGEST * rng.random(n), n, rng)


def gaussian(n: int) -> Shape:
    """Normal values."""
    return lambda rng: _spread(_everywhere(n), 64.0 * rng.standard_normal(n), n, rng)


def zipf(n: int, exponent: float) -> Shape:
    """Value r^-exponent for the r-th largest, at random places."""

    def build(rng: np.random.Generator) -> Stream:
        value = LARGEST * np.arange(1, n + 1, dtype=np.float64) ** -exponent
        return _spread(rng.permutation(n).astype(np.uint64), value, n, rng)

    return build


def spikes(n: int, count: int) -> Shape:
    """`count` equal coordinates of LARGEST over small normal noise."""

    def build(rng: np.random.Generator) -> Stream:
        value = rng.standard_normal(n) * LARGEST / n**0.5 / 2.0
        value[rng.choice(n, count, replace=False)] = LARGEST
        return _spread(_everywhere(n), value, n, rng)

    return build


def equal(n: int) -> Shape:
    """All coordinates 1."""
    return lambda rng: Stream(n, [(_everywhere(n), np.ones(n))])


def cluster(n: int, touched: int) -> Shape:
    """Normal values in one block of neighbours, nothing elsewhere."""

    def build(rng: np.random.Generator) -> Stream:
        start = (n // 3) // touched * touched
        index = np.arange(start, start + touched, dtype=np.uint64)
        return _spread(index, 64.0 * rng.standard_normal(touched), n, rng)

    return build


def scattered(n: int, touched: int) -> Shape:
    """Normal values at few random coordinates."""

    def build(rng: np.random.Generator) -> Stream:
        index = _scattered(n, touched, rng)
        return _spread(index, 64.0 * rng.standard_normal(index.size), n, rng)

    return build


def strided(n: int, touched: int) -> Shape:
    """Normal values at every (n / touched)-th coordinate."""

    def build(rng: np.random.Generator) -> Stream:
        index = np.arange(touched, dtype=np.uint64) * np.uint64(n // touched)
        return _spread(index, 64.0 * rng.standard_normal(touched), n, rng)

    return build


def half_cancelled(n: int, touched: int) -> Shape:
    """Normal values, of which every second one is taken back in two other pieces."""

    def build(rng: np.random.Generator) -> Stream:
        index = _scattered(n, touched, rng)
        value = np.rint(64.0 * rng.standard_normal(touched) * 64.0) / 64.0
        gone, back = index[::2], value[::2]
        piece = np.rint(back * 64.0 * rng.random(back.size)) / 64.0
        return Stream(n, [(index, value), (gone, -piece), (gone[::-1], (piece - back)[::-1])])

    return build


def heavy_cancellation(n: int, touched: int, left: int = 10) -> Shape:
    """Normal values, all but `left` of them deleted."""

    def build(rng: np.random.Generator) -> Stream:
        index = _scattered(n, touched, rng)
        value = np.rint(64.0 * rng.standard_normal(touched) * 64.0) / 64.0
        value[:left] = 64.0 * (1.0 + np.arange(left))
        order = left + rng.permutation(touched - left)
        return Stream(n, [(index, value), (index[order], -value[order])])

    return build


def single(value: float) -> Shape:
    """n = 1."""
    return lambda _: Stream(1, [(np.zeros(1, dtype=np.uint64), np.array([value]))])
