"""What is asked of a service, apart from how: one frozen record an operation, columns as numpy.

An operation names its answer's type and knows what a retry of it may take for granted; the wires
(http_wire, grpc_wire) know how it is written. Whoever makes one has checked what can be checked
without the sketch; everything else is for the service to judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

import numpy.typing as npt

from service.client import answers
from service.client.errors import (
    NotFound,
    RateLimited,
    SketchdError,
    Unavailable,
)

Answer = TypeVar("Answer")
Columns = dict[str, npt.NDArray[Any]]
QueryName = Literal["x", "queries", "X"]


class Operation(Generic[Answer]):
    """Something asked of a service, that it answers with an `Answer`."""

    __slots__ = ()

    def done_by(self, error: SketchdError) -> bool:  # noqa: ARG002
        """Whether this error, after an attempt without an answer, says that the attempt worked."""
        return False

    def unsettled(self, answer: Answer) -> SketchdError | None:  # noqa: ARG002
        """Of an answer in parts: why one of them is worth asking again. None where none is."""
        return None

    def narrowed(self, answer: Answer) -> Operation[Answer]:  # noqa: ARG002
        """What is left to ask after such an answer."""
        return self

    def partly(self, error: SketchdError) -> Answer | None:  # noqa: ARG002
        """The answer in parts, those without one having failed with `error`. None for the whole."""
        return None


@dataclass(frozen=True, slots=True)
class Create(Operation[answers.Info]):
    """Make a sketch, or find it made with the same spec."""

    name: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Sketches, and where those after them begin."""

    infos: list[answers.Info]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ListPage(Operation[Page]):
    """Some sketches in the order of their names."""

    prefix: str
    limit: int
    cursor: str | None
    contains: str = ""


@dataclass(frozen=True, slots=True)
class PlanOf(Operation[answers.Plan]):
    """What a spec would become."""

    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Look(Operation[answers.Info]):
    """A sketch's info."""

    sketch: str


@dataclass(frozen=True, slots=True)
class SetTtl(Operation[answers.Info]):
    """When a sketch expires; None for never."""

    sketch: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Delete(Operation[None]):
    """Forget a sketch. Where an earlier attempt may have worked, its absence says that it did."""

    sketch: str

    def done_by(self, error: SketchdError) -> bool:
        """NotFound means that the attempt without an answer was the one."""
        return isinstance(error, NotFound)


@dataclass(frozen=True, slots=True)
class Add(Operation[answers.Acknowledgement]):
    """Increments of one operand. columns: index, delta; row, column, delta; or row, values."""

    sketch: str
    operand: str
    columns: Columns
    key: str

    @property
    def size(self) -> int:
        """Numbers sent."""
        return sum(column.size for column in self.columns.values())


@dataclass(frozen=True, slots=True)
class Query:
    """The x, the several x or the X that a question brings."""

    name: QueryName
    values: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Draw(Operation[list[answers.Sample]]):
    """Draws: one sample, or one for each of several queries."""

    sketch: str
    count: int | None
    replacement: bool | None
    draw: int
    query: Query | None


@dataclass(frozen=True, slots=True)
class EstimateAt(Operation[list[answers.Estimate]]):
    """y at coordinates, once or for each of several queries."""

    sketch: str
    index: npt.NDArray[Any]
    query: Query | None


@dataclass(frozen=True, slots=True)
class NormOf(Operation[list[answers.Norm]]):
    """A norm of y, once or for each of several queries."""

    sketch: str
    power: float | None
    query: Query | None


@dataclass(frozen=True, slots=True)
class Seal(Operation[answers.Info]):
    """Let no later update change an operand."""

    sketch: str
    operand: str
    key: str


@dataclass(frozen=True, slots=True)
class Merge(Operation[answers.Acknowledgement]):
    """Add another sketch as it is now. operands: None for the usual one."""

    sketch: str
    source: str
    operands: tuple[str, ...] | None
    key: str


@dataclass(frozen=True, slots=True)
class TakeSnapshot(Operation[answers.Snapshot]):
    """The bytes of a state."""

    sketch: str


@dataclass(frozen=True, slots=True)
class AddSnapshot(Operation[answers.Acknowledgement]):
    """Add a state made elsewhere. operands: None for the usual one."""

    sketch: str
    data: bytes
    operands: tuple[str, ...] | None
    key: str


Part = TypeVar("Part", Add, Draw)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Many(Operation[list[Result | SketchdError]], Generic[Part, Result]):
    """Operations of one type in one exchange; each has a result of its own, in their order.

    settled: results of earlier attempts, by position; these parts are not sent again, since what is
    sent counts in a tenant's rate.
    """

    parts: tuple[Part, ...]
    key: str
    settled: Mapping[int, Result | SketchdError]

    def unsettled(self, answer: list[Result | SketchdError]) -> SketchdError | None:
        """The retryable error of a part that asks for the longest pause."""
        errors = [one for one in answer if isinstance(one, SketchdError) and retryable(one)]
        return max(errors, key=lambda one: one.retry_after or 0.0, default=None)

    def narrowed(
        self, answer: list[Result | SketchdError]
    ) -> Operation[list[Result | SketchdError]]:
        """The same without the parts that are settled."""
        settled = {
            at: one
            for at, one in enumerate(answer)
            if not (isinstance(one, SketchdError) and retryable(one))
        }
        return replace(self, settled=settled)

    def partly(self, error: SketchdError) -> list[Result | SketchdError] | None:
        """What earlier attempts settled stays so."""
        if not self.settled:
            return None
        return [self.settled.get(at, error) for at in range(len(self.parts))]

    def pending(self) -> list[int]:
        """Positions still to be asked."""
        return [at for at in range(len(self.parts)) if at not in self.settled]


@dataclass(frozen=True, slots=True)
class AddMany(_Many[Add, answers.Acknowledgement]):
    """Updates in one exchange."""


@dataclass(frozen=True, slots=True)
class DrawMany(_Many[Draw, answers.Sample]):
    """Questions in one exchange, each for one sample."""


def retryable(error: SketchdError) -> bool:
    """Whether the same request may succeed later."""
    return isinstance(error, Unavailable | RateLimited)
