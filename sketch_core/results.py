"""What queries return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sketch_core.hashing import U64

F64 = npt.NDArray[np.float64]

#: ok: every draw asked for was served. partial: fewer could be served with
#: confidence (or y has fewer nonzero coordinates). failed: none, though y is
#: not zero. empty: y is zero.
Status = Literal["ok", "partial", "failed", "empty"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer to a sample request.

    index: uint64 (m,), m <= count. value: float64 (m,), estimates of y_i.
    probability: float64 (m,), estimates of |y_i|^p / ‖y‖_p^p (of softmax for
    softmax). inclusion_probability: float64 (m,), or None with replacement.
    norm: the estimate of ‖y‖_p (ln Σ exp(y_i / temperature) for softmax); inf
    where float64 does not hold it, as n^(1/p) for a tiny p (a service writes null).
    threshold: τ, the scaled magnitude below which nothing was served; 0 when
    every nonzero coordinate was (for softmax its logarithm, then -inf; a
    service writes null). Beyond float64 inf, or the least positive number.
    draw: which list.
    """

    status: Status
    index: U64
    value: F64
    probability: F64
    inclusion_probability: F64 | None
    norm: float
    threshold: float
    draw: int


@dataclass(frozen=True, slots=True)
class Estimates:
    """Point estimates. index: uint64 (b,). value, standard_error: float64 (b,)."""

    index: U64
    value: F64
    standard_error: F64


@dataclass(frozen=True, slots=True)
class Norm:
    """An estimate of ‖y‖_power (ln Σ exp(y_i / temperature) for softmax, power None).

    norm: inf where float64 does not hold it.
    """

    power: float | None
    norm: float
    standard_error: float
