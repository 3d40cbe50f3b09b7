"""What a sketchd service answers, as numpy columns and typed records; the same by HTTP and gRPC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]

#: ok: every draw asked for was served. partial: fewer could be served with confidence. failed:
#: none, though y is not zero. empty: y is zero.
Status = Literal["ok", "partial", "failed", "empty"]


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A change is durable. accepted: increments in it. version: of the state that includes it."""

    accepted: int
    version: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Coordinates drawn with probability |y_i|^p / ‖y‖_p^p.

    index: uint64 (m,), of a tensor (m, 2). value: float64 (m,), estimates of y_i. probability:
    float64 (m,). inclusion_probability: float64 (m,), None with replacement. norm: the estimate
    of ‖y‖_p, inf where float64 does not hold it. threshold: the scaled magnitude below which
    nothing was served (-inf where everything was, of softmax). draws: the lists the sketch holds,
    None where any `draw` is served.
    """

    status: Status
    index: U64
    value: F64
    probability: F64
    inclusion_probability: F64 | None
    norm: float
    threshold: float
    draw: int
    draws: int | None
    version: str
    exact: bool


@dataclass(frozen=True, slots=True)
class Estimate:
    """y at coordinates. index: uint64 (b,) or (b, 2). value, standard_error: float64 (b,)."""

    index: U64
    value: F64
    standard_error: F64
    version: str
    exact: bool


@dataclass(frozen=True, slots=True)
class Norm:
    """An estimate of ‖y‖_power; of softmax (power None) of ln Σ exp(y_i / temperature)."""

    power: float | None
    norm: float
    standard_error: float
    version: str
    exact: bool


@dataclass(frozen=True, slots=True)
class MemoryBytes:
    """What a sketch takes in the store."""

    state: int
    log: int


@dataclass(frozen=True, slots=True)
class Info:
    """A sketch. spec: as sent to `create`, with every default filled in, the seed included.

    created_at, expires_at: RFC 3339 in UTC.
    """

    name: str
    spec: dict[str, Any]
    levels: int | None
    second_levels: int | None
    ttl_seconds: float | None
    memory_bytes: MemoryBytes
    updates: int
    underflowed: int
    version: str
    exact: bool
    sealed: tuple[str, ...]
    created_at: str
    expires_at: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a spec would become. expected_errors: shares of ‖y‖₂, empty for the exact method.

    advised_method, reason: what `auto` takes, and why.
    """

    spec: dict[str, Any]
    method: str
    quantum: float
    largest_value: float
    memory_bytes: int
    exact_memory_bytes: int
    limit_bytes: int
    fits: bool
    expected_errors: dict[str, float]
    advised_method: str
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The canonical bytes of a state, and the version they hold."""

    data: bytes
    version: str
