"""Request bodies, JSON or safetensors, as what the use cases take. Pure; runs in the pool too."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from service import request_schemas as schemas
from service import wire, wire_tensors
from service.errors import InvalidRequest
from service.sketches import SampleRequest
from sketch_core.batch import Columns

F64 = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]

_UPDATE_TENSORS: Final = frozenset({"index", "row", "column", "delta", "values"})
_UPDATE_METADATA: Final = frozenset({"operand"})
_SAMPLE_TENSORS: Final = frozenset({"x", "queries", "X"})
_SAMPLE_METADATA: Final = frozenset({"count", "replacement", "draw"})


def columns_of(update: schemas.Update) -> Columns:
    """A JSON update as columns."""
    values = update.values
    if values is not None and values.size == 0 and values.shape[0] == 0:
        # No rows: the same as no entries, for which d need not be known.
        empty = np.zeros(0, dtype=np.int64)
        return Columns(update.operand, row=update.row, column=empty, delta=empty.astype(np.float64))
    return Columns(
        update.operand,
        index=update.index,
        row=update.row,
        column=update.column,
        delta=update.delta,
        values=values,
    )


def update_from_json(body: bytes) -> Columns:
    """The columns of one sketch's update."""
    return columns_of(schemas.validate(schemas.Update, wire.parse_object(body)))


def update_from_tensors(body: bytes) -> Columns:
    """The same from safetensors; the operand stands in the metadata."""
    read = wire_tensors.parse(body)
    wire_tensors.refuse_unknown(read, _UPDATE_TENSORS, _UPDATE_METADATA)
    return Columns(
        read.metadata.get("operand", "y"),
        index=wire_tensors.integers(read, "index"),
        row=wire_tensors.integers(read, "row"),
        column=wire_tensors.integers(read, "column"),
        delta=wire_tensors.floats(read, "delta", 1),
        values=wire_tensors.floats(read, "values", 2),
    )


def queries_of(asked: schemas.Queries) -> F64 | None:
    """The query or queries of a request as rows (q, d), or an X as (1, d1, d2)."""
    return _queries(asked.x, asked.queries, asked.X)


def _queries(
    x: npt.NDArray[np.floating] | None,
    queries: npt.NDArray[np.floating] | None,
    matrix: npt.NDArray[np.floating] | None,
) -> F64 | None:
    if x is not None and queries is not None:
        raise InvalidRequest("give x or queries, not both", pointer="/queries")
    if matrix is not None:
        if x is not None or queries is not None:
            given = "x" if queries is None else "queries"
            raise InvalidRequest(f"give {given} or X, not both", pointer="/X")
        return matrix.astype(np.float64)[np.newaxis]
    if x is not None:
        return x.astype(np.float64)[np.newaxis, :]
    if queries is None:
        return None
    if queries.shape[0] == 0:
        raise InvalidRequest("must have at least one row", pointer="/queries")
    return queries.astype(np.float64)


def sample_of(asked: schemas.Sample) -> SampleRequest:
    """A JSON sample request as the use case takes it."""
    return SampleRequest(asked.count, asked.replacement, asked.draw, queries_of(asked))


def sample_from_json(body: bytes) -> tuple[SampleRequest, bool]:
    """(the request, whether it asks several queries)."""
    asked = schemas.validate(schemas.Sample, wire.parse_fields(body))
    return sample_of(asked), asked.queries is not None


def sample_from_tensors(body: bytes) -> tuple[SampleRequest, bool]:
    """The same from safetensors: x, queries or X as tensors, the rest in the metadata."""
    read = wire_tensors.parse(body)
    wire_tensors.refuse_unknown(read, _SAMPLE_TENSORS, _SAMPLE_METADATA)
    x = wire_tensors.floats(read, "x", 1)
    queries = wire_tensors.floats(read, "queries", 2)
    matrix = wire_tensors.floats(read, "X", 2)
    request = SampleRequest(
        wire_tensors.whole(read, "count"),
        wire_tensors.truth(read, "replacement"),
        wire_tensors.whole(read, "draw") or 0,
        _queries(x, queries, matrix),
    )
    return request, queries is not None


def estimate_from_json(body: bytes) -> tuple[U64, F64 | None, bool]:
    """(coordinates (b,) or pairs of them (b, 2), queries, whether several)."""
    return estimate_of(schemas.validate(schemas.Estimate, wire.parse_object(body)))


def estimate_of(asked: schemas.Estimate) -> tuple[U64, F64 | None, bool]:
    """The same of a request as read."""
    return asked.index.astype(np.uint64), queries_of(asked), asked.queries is not None


def norm_from_json(body: bytes) -> tuple[float | None, F64 | None, bool]:
    """(power, queries, whether several)."""
    asked = schemas.validate(schemas.Norm, wire.parse_fields(body))
    return asked.power, queries_of(asked), asked.queries is not None


def updates_from_json(body: bytes, most: int) -> list[tuple[str | None, Columns | InvalidRequest]]:
    """(sketch, columns or what is wrong with them) of each part. most: parts allowed."""
    found: list[tuple[str | None, Columns | InvalidRequest]] = []
    for part in _parts(body, "updates", most):
        try:
            read = schemas.validate(schemas.SketchUpdate, part)
            found.append((read.sketch, columns_of(read)))
        except InvalidRequest as error:
            found.append((_sketch_name(part), _kept(error)))
    return found


def samples_from_json(
    body: bytes, most: int
) -> list[tuple[str | None, tuple[SampleRequest, bool] | InvalidRequest]]:
    """(sketch, its request and whether it asks several queries, or what is wrong) of each part."""
    found: list[tuple[str | None, tuple[SampleRequest, bool] | InvalidRequest]] = []
    for part in _parts(body, "requests", most):
        try:
            read = schemas.validate(schemas.SketchSample, part)
            found.append((read.sketch, (sample_of(read), read.queries is not None)))
        except InvalidRequest as error:
            found.append((_sketch_name(part), _kept(error)))
    return found


def draws_of(asked: SampleRequest) -> int:
    """Draws a request names, over its queries; 0 when it leaves the number to the sketch."""
    return (asked.count or 0) * (1 if asked.queries is None else len(asked.queries))


def check_draws(
    parts: list[tuple[str | None, tuple[SampleRequest, bool] | InvalidRequest]],
    most: int,
    most_each: int,
) -> int:
    """Draws that are left for parts which name no count. Raises InvalidRequest when none were.

    most_each: parts that ask for more are refused on their own and cost nothing.
    """
    draws = [draws_of(asked[0]) for _, asked in parts if not isinstance(asked, InvalidRequest)]
    total = sum(one for one in draws if one <= most_each)
    if total > most:
        raise InvalidRequest(
            f"asks for {total} draws in all; at most {most} are allowed",
            code="too_many_draws",
            pointer="/requests",
        )
    return most - total


def _parts(body: bytes, field: str, most: int) -> list[object]:
    """The list under the one field of a batch request; its items are judged one by one later."""
    whole = wire.parse_object(body)
    for name in whole:
        if name != field:
            pointer = f"/{wire_tensors.escape(name)}"
            raise InvalidRequest("unknown field", code="unknown_field", pointer=pointer)
    parts = whole.get(field)
    if not isinstance(parts, list):
        detail = "is required" if parts is None else "must be a list"
        raise InvalidRequest(detail, pointer=f"/{field}")
    if len(parts) > most:
        raise InvalidRequest(
            f"has {len(parts)} parts; at most {most} are allowed",
            code="too_many_parts",
            pointer=f"/{field}",
        )
    return parts


def _kept(error: InvalidRequest) -> InvalidRequest:
    """An error to be told later, without the frames it went through.

    They lead back to the list it is kept in: thousands of such circles hold everything up
    while they are collected.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _sketch_name(part: object) -> str | None:
    name = part.get("sketch") if isinstance(part, dict) else None
    return name if isinstance(name, str) else None
