"""Answers as JSON objects -> records. Every reader raises KeyError, TypeError or ValueError for
an object that is none of the service's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service.client.answers import (
    F64,
    U64,
    Acknowledgement,
    Estimate,
    Info,
    MemoryBytes,
    Norm,
    Plan,
    Sample,
)

Object = Mapping[str, Any]

#: What an info has beside its spec.
_NOT_OF_SPEC: Final = frozenset({
    "name", "levels", "second_levels", "ttl_seconds", "memory_bytes", "updates", "underflowed",
    "version", "exact", "sealed", "created_at", "expires_at",
})  # fmt: skip


def acknowledgement(found: Object) -> Acknowledgement:
    """Of a change."""
    return Acknowledgement(int(found["accepted"]), str(found["version"]))


def info(found: Object) -> Info:
    """Of a sketch."""
    memory = found["memory_bytes"]
    return Info(
        name=found["name"],
        spec={name: value for name, value in found.items() if name not in _NOT_OF_SPEC},
        levels=found["levels"],
        second_levels=found.get("second_levels"),
        ttl_seconds=found["ttl_seconds"],
        memory_bytes=MemoryBytes(memory["state"], memory["log"]),
        updates=found["updates"],
        underflowed=found["underflowed"],
        version=found["version"],
        exact=found["exact"],
        sealed=tuple(found["sealed"]),
        created_at=found["created_at"],
        expires_at=found["expires_at"],
    )


def plan(found: Object) -> Plan:
    """Of a spec."""
    return Plan(
        spec=dict(found["spec"]),
        method=found["method"],
        quantum=found["quantum"],
        largest_value=found["largest_value"],
        memory_bytes=found["memory_bytes"],
        exact_memory_bytes=found["exact_memory_bytes"],
        limit_bytes=found["limit_bytes"],
        fits=found["fits"],
        expected_errors=dict(found["expected_errors"]),
        advised_method=found["advice"]["method"],
        reason=found["advice"]["reason"],
    )


def sample(found: Object) -> Sample:
    """Of one query."""
    inclusion = found.get("inclusion_probability")
    norm = _beyond(found["norm"])
    threshold = found["threshold"]
    if threshold is None:
        # Beyond float64 like the norm; or, of softmax, the logarithm of 0.
        threshold = np.inf if norm == np.inf else -np.inf
    return Sample(
        status=found["status"],
        index=coordinates(found["index"]),
        value=_column(found["value"]),
        probability=_column(found["probability"]),
        inclusion_probability=None if inclusion is None else _column(inclusion),
        norm=norm,
        threshold=float(threshold),
        draw=found["draw"],
        draws=found["draws"],
        version=found["version"],
        exact=found["exact"],
    )


def estimate(found: Object) -> Estimate:
    """Of one query."""
    return Estimate(
        index=coordinates(found["index"]),
        value=_column(found["value"]),
        standard_error=_column(found["standard_error"]),
        version=found["version"],
        exact=found["exact"],
    )


def norm(found: Object) -> Norm:
    """Of one query."""
    return Norm(
        power=found["power"],
        norm=_beyond(found["norm"]),
        standard_error=_beyond(found["standard_error"]),
        version=found["version"],
        exact=found["exact"],
    )


def results(found: Object) -> list[Object]:
    """The answers to several queries, or the one answer."""
    several: list[Object] | None = found.get("results")
    return [found] if several is None else several


def coordinates(items: list[Any]) -> U64:
    """(m,), or of pairs (m, 2); large ones come as strings."""
    if items and isinstance(items[0], list):
        return np.array([[int(one) for one in pair] for pair in items], np.uint64)
    return np.array([int(one) for one in items], np.uint64)


def _column(items: list[Any]) -> F64:
    """null, for a number that float64 does not hold, as NaN: its sign is lost."""
    column: npt.NDArray[np.float64] = np.array(items, np.float64)
    return column


def _beyond(value: float | None) -> float:
    """A magnitude; null is one that float64 does not hold."""
    return np.inf if value is None else float(value)
