"""From an ordered list of race arrivals to draws, inclusion probabilities and weighted sums.

Problem.   Given the coordinates that arrive first in a race in which i arrives at
           rate f(y_i), answer: k distinct draws, k independent draws, the
           probability with which each distinct draw was included, and an
           estimate of Σ f(y_i).
Source.    Successive sampling by exponential arrival times and its conditional
           inclusion probabilities: Cohen, Pagh, Woodruff, *WOR and p's*, NeurIPS
           2020; the Horvitz–Thompson estimator (1952).
Deviation. Independent draws are the further arrivals of the same race, exactly in
           law and without knowing the norm: coordinate i arrives again after
           independent exponential gaps, hashed, so that asking twice returns the
           same draws. When the list ends because noise hides the next
           coordinate, the threshold is the detection threshold instead of the
           (k+1)-th magnitude; both are independent of whether i is included.
Guarantee. Exact up to the error of the recovered values. Independent draws are
           served up to the time of the threshold, before which every first
           arrival is known. How many arrive by a given time does not depend on
           whose they are, so the time's running out favours nobody.

Times here are relative: any common factor of all rates cancels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sketch_core.hashing import U64
from sketch_core.scaling import Race

F64 = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]


def inclusion_probabilities(log_rate: F64, log_threshold: float) -> F64:
    """π_i = 1 - exp(-f(y_i) / τ_f).

    log_rate: ln f(y_i), float64 (m,). log_threshold: ln τ_f, may be -inf; τ_f is the
    threshold on f's scale, τ^p for a power p.
    """
    if log_threshold == -np.inf:
        return np.ones_like(log_rate)
    with np.errstate(over="ignore"):
        return -np.expm1(-np.exp(log_rate - log_threshold))


def with_replacement(
    race: Race, coordinates: U64, first_gaps: F64, log_rate: F64, count: int, *, log_cut: float
) -> Positions:
    """Positions, in the list, of the first `count` arrivals of the race, repeats included.

    coordinates: uint64 (m,) in order of first arrival. first_gaps: their e_i.
    log_rate: ln f(y_i). log_cut: minus the logarithm of the time by which every
    other coordinate that could arrive would be known, -inf for all time. Fewer
    than `count` come back when that time ends before. It is the time that ends,
    not the list: ending at the last known first arrival would serve fewer
    repeats than the law has.
    """
    if coordinates.size == 0 or count == 0:
        return np.empty(0, dtype=np.intp)
    with np.errstate(over="ignore"):
        pace = np.exp(log_rate.max() - log_rate)  # 1 / rate, relative to the fastest
        last = first_gaps * pace
        horizon = max(float(np.exp(log_rate.max() - log_cut)), float(last.max()))
    times, owners = [last], [np.arange(coordinates.size)]
    made = np.ones(coordinates.size, dtype=np.int64)
    block = 4
    while True:
        flat = np.concatenate(times)
        cutoff = horizon
        if flat.size >= count:
            cutoff = min(cutoff, float(np.partition(flat, count - 1)[count - 1]))
        # Every coordinate's arrivals must be known up to the cutoff.
        open_ones = np.flatnonzero(last < cutoff)
        if open_ones.size == 0:
            break
        # The open ones have all been extended by the same earlier blocks: a
        # coordinate once closed stays closed, because the cutoff only falls.
        start = int(made[open_ones[0]])
        gaps = race.repeat_gaps(coordinates[open_ones], start, block)
        arrivals = last[open_ones, None] + np.cumsum(gaps * pace[open_ones, None], axis=1)
        times.append(arrivals.reshape(-1))
        owners.append(np.repeat(open_ones, block))
        last = last.copy()
        last[open_ones] = arrivals[:, -1]
        made[open_ones] += block
        block = min(2 * block, 1024)
    owner = np.concatenate(owners)
    within = flat <= horizon
    flat, owner = flat[within], owner[within]
    return owner[np.argsort(flat, kind="stable")[:count]]


def total(log_rate: F64, inclusion: F64) -> tuple[float, float]:
    """The Horvitz–Thompson estimate of ln Σ_i f(y_i), and the relative standard error of the sum.

    log_rate, inclusion: float64 (m,) of the coordinates included. -inf for an empty list.
    """
    if log_rate.size == 0:
        return -np.inf, 0.0
    largest = float(log_rate.max())
    rate = np.exp(log_rate - largest)
    weight = rate / inclusion
    sum_of_weights = float(weight.sum())
    variance = float(((1.0 - inclusion) * weight * weight).sum())
    return largest + float(np.log(sum_of_weights)), float(np.sqrt(variance)) / sum_of_weights
