"""What the use cases take and return besides names and columns; the transports make JSON of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sketch_core.results import Sample
from sketch_core.spec import Spec

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Info:
    """A sketch as its owner sees it. Times in seconds since the epoch."""

    name: str
    spec: Spec
    ttl_seconds: float | None
    state_bytes: int
    log_bytes: int
    updates: int
    underflowed: int
    version: str
    exact: bool
    sealed: tuple[str, ...]
    created_at: float
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An update is durable. accepted: updates in the batch. version: includes it."""

    accepted: int
    version: str


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """count and replacement: None for the defaults. queries: float64 (q, d), or None."""

    count: int | None = None
    replacement: bool | None = None
    draw: int = 0
    queries: F64 | None = None


@dataclass(frozen=True, slots=True)
class SampleAnswer:
    """samples: one a query, or one. draws: R of the spec, None where any draw number is served."""

    samples: list[Sample]
    draws: int | None
    version: str
