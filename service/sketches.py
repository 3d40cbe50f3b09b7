"""The use cases: what one can do with named sketches, free of transport and framework."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sketch_core.batch import Columns
from sketch_core.results import Estimates, Norm, Sample
from sketch_core.spec import Spec

F64 = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Info:
    """A sketch as its owner sees it; http_schemas turns it into JSON. Times in seconds since the epoch."""

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
    """count and replacement: None for the spec's defaults. queries: float64 (q, d), or None.

    """

    count: int | None = None
    replacement: bool | None = None
    draw: int = 0
    queries: F64 | None = None


@dataclass(frozen=True, slots=True)
class SampleAnswer:
    """samples: one a query, or one. draws: R of the spec, None where any draw number is served (exact)."""

    samples: list[Sample]
    draws: int | None
    version: str


class Sketches:
    """Every method takes the tenant first and raises service.errors only.

    Core errors are translated with their pointers: InvalidSpec, InvalidBatch,
    InvalidQuery -> InvalidRequest; DrawsExhausted -> InvalidRequest (code
    draws_exhausted); IncompatibleSketches -> Conflict (code incompatible_sketches);
    InvalidSnapshot -> InvalidRequest (code invalid_snapshot).
    """

    def plan(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The body of POST /v1/plan. request: a spec as sent (ttl_seconds allowed)."""
        raise NotImplementedError

    async def create(
        self, tenant: str, name: str, request: Mapping[str, Any]
    ) -> tuple[Info, bool]:
        """Create, or find the same. request: the spec as sent, with ttl_seconds. Returns (info, new)."""
        raise NotImplementedError

    async def get(self, tenant: str, name: str) -> Info:
        raise NotImplementedError

    async def list(
        self, tenant: str, *, prefix: str = "", limit: int = 100, cursor: str | None = None
    ) -> tuple[list[Info], str | None]:
        """(infos by name, the cursor of the next page or None)."""
        raise NotImplementedError

    async def delete(self, tenant: str, name: str) -> None:
        raise NotImplementedError

    async def set_ttl(self, tenant: str, name: str, ttl_seconds: float | None) -> Info:
        raise NotImplementedError

    async def seal(
        self, tenant: str, name: str, operand: str, *, idempotency_key: str | None = None
    ) -> Info:
        raise NotImplementedError

    async def update(
        self, tenant: str, name: str, columns: Columns, *, idempotency_key: str | None = None
    ) -> Acknowledgement:
        """Validate against the spec, append, return once durable."""
        raise NotImplementedError

    async def merge(
        self,
        tenant: str,
        name: str,
        source: str,
        operands: Collection[str] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Acknowledgement:
        """Add another sketch of the tenant as it is now. The acknowledgement's accepted is 0."""
        raise NotImplementedError

    async def sample(self, tenant: str, name: str, request: SampleRequest) -> SampleAnswer:
        raise NotImplementedError

    async def estimate(
        self, tenant: str, name: str, index: U64, queries: F64 | None = None
    ) -> tuple[list[Estimates], str]:
        """(one Estimates a query or one, version)."""
        raise NotImplementedError

    async def norm(
        self, tenant: str, name: str, power: float | None = None, queries: F64 | None = None
    ) -> tuple[list[Norm], str]:
        raise NotImplementedError

    async def snapshot(self, tenant: str, name: str) -> tuple[bytes, str]:
        """(canonical bytes, version)."""
        raise NotImplementedError

    async def add_snapshot(
        self,
        tenant: str,
        name: str,
        data: bytes,
        operands: Collection[str] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Acknowledgement:
        raise NotImplementedError
