"""What is asked of a service, apart from how: one frozen record an operation, columns as numpy.

An operation names its answer's type and knows what a retry of it may take for granted; the wires
(http_wire, grpc_wire) know how it is written. Whoever makes one has checked what can be checked
without the sketch; everything else is for the service to judge.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, Literal, TypeVar

import numpy.typing as npt

from service.client import answers
from service.client.arrays import indices, numbers
from service.client.errors import (
    FieldError,
    InvalidRequest,
    NotFound,
    RateLimited,
    SketchdError,
    Unavailable,
)

Answer = TypeVar("Answer")
Columns = dict[str, npt.NDArray[Any]]
QueryName = Literal["x", "queries", "X"]

#: Names of sketches; the service's own rule and words, so that both transports refuse alike.
_NAME: Final = re.compile("[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_NAME_RULE: Final = (
    "a name is a letter or digit, then up to 127 letters, digits, '.', '_', ':' or '-'"
)


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

    settled: results of earlier attempts, by position. whole: whether a retry sends all parts again
    (they share a key, by their places), or only those without a result.
    """

    parts: tuple[Part, ...]
    key: str
    settled: Mapping[int, Result | SketchdError]
    whole: bool

    def unsettled(self, answer: list[Result | SketchdError]) -> SketchdError | None:
        """The retryable error of a part that asks for the longest pause."""
        errors = [one for one in answer if isinstance(one, SketchdError) and retryable(one)]
        return max(errors, key=lambda one: one.retry_after or 0.0, default=None)

    def narrowed(
        self, answer: list[Result | SketchdError]
    ) -> Operation[list[Result | SketchdError]]:
        """The same without the parts that are settled."""
        if self.whole:
            return self
        settled = {
            at: one
            for at, one in enumerate(answer)
            if not (isinstance(one, SketchdError) and retryable(one))
        }
        return replace(self, settled=settled)

    def pending(self) -> list[int]:
        """Positions still to be asked."""
        return [at for at in range(len(self.parts)) if at not in self.settled]


@dataclass(frozen=True, slots=True)
class AddMany(_Many[Add, answers.Acknowledgement]):
    """Updates in one exchange."""


@dataclass(frozen=True, slots=True)
class DrawMany(_Many[Draw, answers.Sample]):
    """Questions in one exchange, each for one sample."""


@dataclass(frozen=True, slots=True)
class Update:
    """One batch for `update_many`: the columns of `update`, `update_entries` or `update_rows`.

    With index and delta of y, or x of a matrix; row, column and delta for entries, row and values
    for whole rows of A, A1, A2 or X. idempotency_key: made for the call where there is none.
    """

    sketch: str
    index: object = None
    delta: object = None
    operand: str = "y"
    row: object = None
    column: object = None
    values: object = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class SampleOf:
    """One question for `sample_many`: what `sample` takes, and the sketch."""

    sketch: str
    count: int | None = None
    replacement: bool | None = None
    draw: int = 0
    x: object = None
    X: object = None


def retryable(error: SketchdError) -> bool:
    """Whether the same request may succeed later."""
    return isinstance(error, Unavailable | RateLimited)


def checked_name(name: str) -> str:
    """The name of a sketch. Raises what the service would answer."""
    if not isinstance(name, str):
        raise TypeError(f"name: must be a string, is {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            "invalid_name", _NAME_RULE, status=422, fields=(FieldError("/name", _NAME_RULE),)
        )
    return name


def key_of(given: str | None) -> str:
    """The idempotency key of one call: the caller's, or a new one that nobody else has."""
    if given is None:
        return secrets.token_hex(16)
    if not (given and given.isascii() and given.isprintable() and given.strip() == given):
        raise ValueError(
            "idempotency_key: must be printable ASCII characters, at least one, with no space at "
            "either end"
        )
    return given


def add(update: Update) -> Add:
    """An update with its columns as arrays. Raises ValueError, which names the field."""
    columns: Columns = {}
    for field in ("index", "row", "column"):
        value = getattr(update, field)
        if value is not None:
            columns[field] = _column(indices(value, field), field)
    if update.delta is not None:
        columns["delta"] = numbers(update.delta, "delta", 1)
    if update.values is not None:
        columns["values"] = numbers(update.values, "values", 2)
    first = next(iter(columns), None)
    if first is not None:
        for field, column in columns.items():
            if len(column) != len(columns[first]):
                raise ValueError(
                    f"{field}: has {len(column)} items where {first} has {len(columns[first])}"
                )
    return Add(checked_name(update.sketch), update.operand, columns, key_of(update.idempotency_key))


def _column(array: npt.NDArray[Any], field: str) -> npt.NDArray[Any]:
    if array.ndim != 1:
        raise ValueError(f"{field}: must have one dimension, has shape {array.shape}")
    return array


def query_of(x: object = None, X: object = None) -> Query | None:
    """The query of a question: an x (d,), an X (d1, d2), or none."""
    if x is not None and X is not None:
        raise ValueError("X: give x or X, not both")
    if X is not None:
        return Query("X", numbers(X, "X", 2))
    return None if x is None else Query("x", numbers(x, "x", 1))


def queries_of(queries: object) -> Query:
    """Several queries, (q, d) with q at least 1."""
    found = numbers(queries, "queries", 2)
    if len(found) == 0:
        raise ValueError("queries: must have at least one row")
    return Query("queries", found)


def draw_of(asked: SampleOf) -> Draw:
    """A question with its query as an array. Raises ValueError, which names the field."""
    query = query_of(asked.x, asked.X)
    return Draw(
        checked_name(asked.sketch),
        whole(asked.count, "count"),
        asked.replacement,
        whole(asked.draw, "draw") or 0,
        query,
    )


def whole(value: int | None, field: str) -> int | None:
    """A whole number from 0, numpy's too, or None. Raises ValueError, which names the field."""
    if value is None:
        return None
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(f"{field}: must be a whole number, is {type(value).__name__}")
    found = value.__index__()
    if not 0 <= found < 1 << 63:
        raise ValueError(f"{field}: must be between 0 and 2^63 - 1, is {found}")
    return found


def operand_names(operands: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """The operands named, one or several; None where none is."""
    if operands is None:
        return None
    return (operands,) if isinstance(operands, str) else tuple(operands)


def with_queries(asked: Draw, queries: object) -> Draw:
    """The same question for each of several queries."""
    return replace(asked, query=queries_of(queries))


def real(value: float | None, field: str) -> float | None:
    """A number, numpy's included, or None. Raises ValueError, which names the field."""
    if value is None:
        return None
    try:
        if isinstance(value, bool | str | bytes):
            raise TypeError
        return float(value)
    except TypeError:
        raise ValueError(f"{field}: must be a number, is {type(value).__name__}") from None


def snapshot_bytes(data: object) -> bytes:
    """The bytes of a snapshot. Raises ValueError for what has none."""
    if isinstance(data, answers.Snapshot):
        return data.data
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ValueError(f"data: must be bytes or a Snapshot, is {type(data).__name__}")
    return bytes(data)
