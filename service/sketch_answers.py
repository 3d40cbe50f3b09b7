"""What the use cases take and return besides names and columns; the transports make JSON of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from service.materializer import Identity
from service.ports import Record
from sketch_core.results import Estimates, Norm, Sample
from sketch_core.spec import Spec

T = TypeVar("T")

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Info:
    """A sketch as its owner sees it. Times in seconds since the epoch.

    incarnation: for what is kept of it outside the store; its owner sees the version.
    """

    name: str
    spec: Spec
    ttl_seconds: float | None
    state_bytes: int
    log_bytes: int
    updates: int
    underflowed: int
    version: str
    incarnation: str
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
    """count and replacement: None for the defaults.

    queries: float64 (q, d), of a tensor (1, d1, d2), or None.
    """

    count: int | None = None
    replacement: bool | None = None
    draw: int = 0
    queries: F64 | None = None


@dataclass(frozen=True, slots=True)
class SampleAnswer:
    """samples: one a query, or one. draws: R of the spec, None where any draw number is served.

    exact: whether the state that answered is proven exact.
    """

    samples: list[Sample]
    draws: int | None
    version: str
    exact: bool


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """What a sketch answered, which one, and whether the state that did is proven exact."""

    answer: T
    exact: bool
    identity: Identity
    version: str


@dataclass(frozen=True, slots=True)
class EstimateAnswer(Estimates):
    """exact: whether the state that answered is proven exact."""

    exact: bool


@dataclass(frozen=True, slots=True)
class NormAnswer(Norm):
    """exact: whether the state that answered is proven exact."""

    exact: bool


def sample_of(asked: Asked[list[Sample]]) -> SampleAnswer:
    """What was drawn; `draws` only where they are counted."""
    spec = asked.identity.spec
    draws = spec.repetitions if spec.method == "sketch" else None
    return SampleAnswer(asked.answer, draws, asked.version, asked.exact)


def estimates_of(asked: Asked[list[Estimates]]) -> list[EstimateAnswer]:
    """What the state answered, with what is known of the state."""
    return [
        EstimateAnswer(one.index, one.value, one.standard_error, asked.exact)
        for one in asked.answer
    ]


def norms_of(asked: Asked[list[Norm]]) -> list[NormAnswer]:
    """The same of norms."""
    return [
        NormAnswer(one.power, one.norm, one.standard_error, asked.exact) for one in asked.answer
    ]


def version_of(identity: Identity, position: int) -> str:
    """The name of a state: equal for equal logs of one incarnation."""
    return f"{identity.incarnation[:8]}-{position}"


def infos_of(identities: Sequence[Identity], records: Sequence[Record]) -> list[Info]:
    """The same of a page of a list."""
    return [info_of(*pair) for pair in zip(identities, records, strict=True)]


def info_of(identity: Identity, record: Record) -> Info:
    """What the record says. Not what this process has folded, or replicas would differ."""
    fixed = identity.spec.fixed_operand
    sealed = record.sealed | (set() if fixed is None else {fixed})
    return Info(
        name=record.key.name,
        spec=identity.spec,
        ttl_seconds=record.ttl_seconds,
        state_bytes=record.state_bytes,
        log_bytes=record.log_bytes,
        updates=record.updates,
        underflowed=record.underflowed,
        version=version_of(identity, record.position),
        incarnation=record.incarnation,
        exact=record.exact,
        sealed=tuple(sorted(sealed)),
        created_at=record.created_at,
        expires_at=record.expires_at,
    )
