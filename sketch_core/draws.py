"""From recovered coordinates to an answer: what is drawn, with which probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sketch_core import ppswor
from sketch_core.errors import DrawsExhausted, InvalidQuery
from sketch_core.hashing import U64
from sketch_core.results import Sample, Status
from sketch_core.scaling import Race
from sketch_core.spec import Spec

F64 = npt.NDArray[np.float64]


def check_request(count: int, draw: int, repetitions: int | None) -> None:
    """Raise InvalidQuery or DrawsExhausted for a count or draw number that cannot be served."""
    if count < 1:
        raise InvalidQuery("must be at least 1", pointer="/count")
    if draw < 0:
        raise InvalidQuery("must not be negative", pointer="/draw")
    if repetitions is not None and draw >= repetitions:
        raise DrawsExhausted(
            f"this sketch holds {repetitions} independent lists, numbered from 0; "
            "the same number repeats a draw",
            pointer="/draw",
        )


def check_replacement(replacement: bool | None) -> None:
    """Raise InvalidQuery for draws without replacement, which a tensor does not serve."""
    if replacement is False:
        raise InvalidQuery("a tensor is drawn from with replacement only", pointer="/replacement")


def check_index(index: U64, n: int) -> None:
    """Raise InvalidQuery for coordinates, uint64 (b,), that are not below n."""
    if index.ndim != 1:
        raise InvalidQuery("must be coordinates, not pairs", pointer="/index")
    bad = index >= np.uint64(n)
    if bad.any():
        raise InvalidQuery(f"must be below {n}", pointer=f"/index/{int(np.argmax(bad))}")


def check_pairs(index: U64, spec: Spec) -> None:
    """Raise InvalidQuery unless index is uint64 (b, 2), pairs of a row and a column of Y."""
    if index.ndim != 2 or index.shape[1] != 2:
        raise InvalidQuery("must be pairs of a row and a column of Y", pointer="/index")
    assert spec.n2 is not None
    for position, limit in enumerate((spec.n, spec.n2)):
        bad = index[:, position] >= np.uint64(limit)
        if bad.any():
            pointer = f"/index/{int(np.argmax(bad))}/{position}"
            raise InvalidQuery(f"must be below {limit}", pointer=pointer)


def empty_sample(draw: int, *, replacement: bool, pairs: bool = False) -> Sample:
    """The answer for y = 0."""
    nothing = np.empty(0, dtype=np.float64)
    return Sample(
        status="empty",
        index=np.empty((0, 2) if pairs else 0, dtype=np.uint64),
        value=nothing,
        probability=nothing,
        inclusion_probability=None if replacement else nothing,
        norm=0.0,
        threshold=0.0,
        draw=draw,
    )


@dataclass(frozen=True, slots=True)
class ArrivalList:
    """The first coordinates to arrive in a race, as far as they are known.

    index: uint64 (m,), in order of arrival. value: float64 (m,), y_i.
    first_gaps: e_i, float64 (m,). log_rate: ln f(y_i), float64 (m,); the order is
    that of log_rate - ln(first_gaps). log_cut: where the list ends on that
    scale; -inf when it holds every coordinate that can arrive. log_total: ln Σ f(y_j).
    All logarithms may be relative to that of one common rate.
    """

    index: U64
    value: F64
    first_gaps: F64
    log_rate: F64
    log_cut: float
    log_total: float

    def log_arrival(self, position: int) -> float:
        """ln f(y_i) - ln e_i, which is p · ln |z_i| for a power p."""
        return float(self.log_rate[position] - np.log(self.first_gaps[position]))


def answer(
    race: Race,
    arrivals: ArrivalList,
    *,
    power: float | None,
    norm: float,
    count: int,
    replacement: bool,
    draw: int,
    threshold: float | None = None,
) -> Sample:
    """Draw `count` coordinates from a list of arrivals.

    power: None for softmax, whose threshold is reported as a logarithm. norm, threshold: as
    reported; a list of relative rates cannot tell the threshold, others can (None).
    """
    size = arrivals.index.size
    log_threshold = arrivals.log_arrival(count) if size > count else arrivals.log_cut
    inclusion = None
    if replacement:
        chosen = ppswor.with_replacement(
            race,
            arrivals.index,
            arrivals.first_gaps,
            arrivals.log_rate,
            count,
            log_cut=arrivals.log_cut,
        )
    else:
        chosen = np.arange(min(count, size))
        inclusion = ppswor.inclusion_probabilities(arrivals.log_rate[chosen], log_threshold)
    status: Status = "ok" if chosen.size == count else "partial" if chosen.size else "failed"
    if threshold is None:
        threshold = log_threshold if power is None else math.exp(log_threshold / power)
    return Sample(
        status=status,
        index=arrivals.index[chosen],
        value=arrivals.value[chosen],
        probability=np.exp(np.minimum(arrivals.log_rate[chosen] - arrivals.log_total, 0.0)),
        inclusion_probability=inclusion,
        norm=norm,
        threshold=threshold,
        draw=draw,
    )
