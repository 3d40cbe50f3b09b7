"""What the demo compares with: the exact law, an exact sampler, and the statistics between them.

Arrays: scores float64 (n,), one query's k_i · q, 0 for deleted keys, or those
of pairs, row after row; values float64 (n, d). The law of the draws is
scores² / Σ scores².
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Draws:
    """What one query's lists brought.

    first: int64 (lists,), the first draw of each. independent: int64 (m,), draws
    with replacement. lists: for each list without replacement its keys, its
    estimated scores and its inclusion probabilities.
    """

    first: I64
    independent: I64
    lists: list[tuple[I64, F64, F64]]

    @property
    def total(self) -> int:
        """Draws in the lists without replacement."""
        return sum(index.size for index, _, _ in self.lists)


@dataclass(frozen=True, slots=True)
class Fit:
    """A χ² test over classes. distance: total variation between the class shares."""

    statistic: float
    freedom: int
    p_value: float
    distance: float


def law(scores: F64) -> F64:
    """The exact probabilities, float64 (n,)."""
    squares = scores**2
    return np.asarray(squares / squares.sum())


def effective(probabilities: F64) -> float:
    """How many equally likely keys would be as spread out."""
    return float(1.0 / (probabilities**2).sum())


def classes(probabilities: F64, count: int, order: I64 | None = None) -> I64:
    """A class for each key, int64 (n,): `count` classes of nearly equal mass.

    They follow one another in `order`, int64 (n,); where there is none, rarest keys first.
    """
    if order is None:
        order = np.argsort(probabilities, kind="stable")
    before = np.cumsum(probabilities[order]) - probabilities[order] / 2
    found = np.empty(probabilities.size, dtype=np.int64)
    found[order] = np.minimum((before * count).astype(np.int64), count - 1)
    return found


def fit(draws: I64, probabilities: F64, wanted: int = 16) -> Fit | None:
    """χ² of draws against the law; None when they are too few to say anything.

    Uses at most `wanted` classes, fewer where a class would expect under ten draws.
    """
    count = min(wanted, draws.size // 10)
    if count < 3:
        return None
    count -= 1 - count % 2  # odd, so that the degrees of freedom are even
    member = classes(probabilities, count)
    label = _joined(masses(member, probabilities, count))
    found = int(label[-1]) + 1
    if found < 3:
        return None
    member = label[member]
    return fit_in(member[draws], masses(member, probabilities, found))


def _joined(shares: F64) -> I64:
    """A label for each class, so that none is left with under half of an even share.

    A key that is heavier than a class leaves its neighbours empty. Light classes join the next,
    and two more where the labels would be even in number.
    """
    label = np.zeros(shares.size, dtype=np.int64)
    gathered, current = 0.0, 0
    for position, share in enumerate(shares):
        label[position] = current
        gathered += share
        if gathered >= 0.5 / shares.size:
            gathered, current = 0.0, current + 1
    complete = current - (1 - current % 2)  # an odd number of labels
    return np.minimum(label, max(complete - 1, 0))


def masses(member: I64, probabilities: F64, count: int) -> F64:
    """The mass of each of `count` classes, float64 (count,). member int64 (n,)."""
    found = np.bincount(member, weights=probabilities, minlength=count)
    return np.asarray(found, dtype=np.float64)


def fit_in(drawn: I64, shares: F64) -> Fit:
    """χ² of draws whose classes are `drawn`, int64 (m,), where the law gives class c `shares[c]`.

    The number of classes is odd, so that the degrees of freedom are even.
    """
    expected = shares * drawn.size
    seen = np.bincount(drawn, minlength=shares.size)
    statistic = float(((seen - expected) ** 2 / expected).sum())
    freedom = shares.size - 1
    return Fit(statistic, freedom, chi_square_tail(statistic, freedom), distance(drawn, shares))


def distance(drawn: I64, shares: F64) -> float:
    """Total variation between `shares` and those of draws whose classes are `drawn`."""
    seen = np.bincount(drawn, minlength=shares.size)
    return float(np.abs(seen - shares * drawn.size).sum() / (2 * drawn.size))


def chi_square_tail(statistic: float, freedom: int) -> float:
    """P(χ² ≥ statistic) for an even number of degrees of freedom: a Poisson sum."""
    if freedom <= 0 or freedom % 2:
        raise ValueError("needs an even, positive number of degrees of freedom")
    half = statistic / 2
    logs = [
        k * math.log(half) - half - math.lgamma(k + 1)
        if half > 0
        else (0.0 if k == 0 else -math.inf)
        for k in range(freedom // 2)
    ]
    return min(1.0, math.fsum(math.exp(value) for value in logs))


def output(scores: F64, values: F64) -> F64:
    """Σ y_i² v_i / Σ y_i², float64 (d,)."""
    return np.asarray(law(scores) @ values)


def running_error(draws: Draws, scores: F64, values: F64) -> F64:
    """Relative error of the Horvitz–Thompson output after each list, float64 (lists,).

    Each list estimates Σ y² v and Σ y² by Σ y²v/π and Σ y²/π over its keys;
    the estimates are averaged over the lists so far, and divided.
    """
    exact = output(scores, values)
    above = np.zeros((len(draws.lists), values.shape[1]))
    below = np.zeros(len(draws.lists))
    for position, (index, estimated, inclusion) in enumerate(draws.lists):
        weight = estimated**2 / inclusion
        above[position] = weight @ values[index]
        below[position] = weight.sum()
    estimates = np.cumsum(above, axis=0) / np.cumsum(below)[:, None]
    return np.asarray(np.linalg.norm(estimates - exact, axis=1) / np.linalg.norm(exact))


def exact_draws(scores: F64, lists: int, count: int, rng: np.random.Generator) -> Draws:
    """What an exact sampler brings: the noise that no sampler of as many draws is free of.

    A list is the start of an exponential race: key i arrives at e_i / y_i².
    """
    rates = scores**2
    alive = np.flatnonzero(rates > 0.0)
    brought = []
    for _ in range(lists):
        arrival = rng.exponential(size=alive.size) / rates[alive]
        served = min(count, alive.size - 1)
        nearest = np.argpartition(arrival, served)[: served + 1]
        nearest = nearest[np.argsort(arrival[nearest])]
        index, last = alive[nearest[:served]], arrival[nearest[served]]
        brought.append((index, scores[index], -np.expm1(-rates[index] * last)))
    independent = rng.choice(scores.size, size=lists * count, p=law(scores))
    first = np.array([index[0] for index, _, _ in brought], dtype=np.int64)
    return Draws(first, independent, brought)
