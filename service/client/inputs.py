"""What callers say, as operations: names, keys, columns and queries, checked and as numpy.

What cannot be read raises ValueError, which names the field; whether it fits the sketch is for the
service to say.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service.client import answers
from service.client import operations as ops
from service.client.arrays import indices, numbers
from service.client.errors import FieldError, InvalidRequest

#: Names of sketches; the service's own rule and words, so that both transports refuse alike.
_NAME: Final = re.compile("[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_NAME_RULE: Final = (
    "a name is a letter or digit, then up to 127 letters, digits, '.', '_', ':' or '-'"
)


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


def checked_name(name: str) -> str:
    """The name of a sketch. Raises what the service would answer."""
    if not isinstance(name, str):
        raise TypeError(f"name: must be a string, is {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            "invalid_name", _NAME_RULE, status=422, fields=(FieldError("/name", _NAME_RULE),)
        )
    return name


def text(value: str, field: str) -> str:
    """A string. Raises ValueError, which names the field."""
    if not isinstance(value, str):
        raise ValueError(f"{field}: must be a string, is {type(value).__name__}")
    return value


def operand_name(value: str, field: str = "operand") -> str:
    """The name of an operand; whether the sketch has it is for the service to say. Raises
    ValueError: a message of gRPC could not tell an empty one from none.
    """
    if not text(value, field):
        raise ValueError(f"{field}: must name an operand, is empty")
    return value


def key_of(given: str | None) -> str:
    """The idempotency key of one call: the caller's, or a new one that nobody else has."""
    if given is None:
        return secrets.token_hex(16)
    text(given, "idempotency_key")
    if not (given and given.isascii() and given.isprintable() and given.strip() == given):
        raise ValueError(
            "idempotency_key: must be printable ASCII characters, at least one, with no space at "
            "either end"
        )
    return given


def add(update: Update) -> ops.Add:
    """An update with its columns as arrays. Raises ValueError, which names the field."""
    columns: ops.Columns = {}
    for field in ("index", "row", "column"):
        value = getattr(update, field)
        if value is not None:
            columns[field] = _column(indices(value, field), field)
    if update.delta is not None:
        columns["delta"] = numbers(update.delta, "delta", 1)
    if update.values is not None:
        columns["values"] = numbers(update.values, "values", 2)
    if not columns:
        raise ValueError("index: give index and delta; row, column and delta; or row and values")
    first = next(iter(columns))
    for field, column in columns.items():
        if len(column) != len(columns[first]):
            raise ValueError(
                f"{field}: has {len(column)} items where {first} has {len(columns[first])}"
            )
    key = key_of(update.idempotency_key)
    return ops.Add(checked_name(update.sketch), operand_name(update.operand), columns, key)


def _column(array: npt.NDArray[Any], field: str) -> npt.NDArray[Any]:
    if array.ndim != 1:
        raise ValueError(f"{field}: must have one dimension, has shape {array.shape}")
    return array


def query_of(x: object = None, X: object = None) -> ops.Query | None:
    """The query of a question: an x (d,), an X (d1, d2), or none."""
    if x is not None and X is not None:
        raise ValueError("X: give x or X, not both")
    if X is not None:
        return ops.Query("X", numbers(X, "X", 2))
    return None if x is None else ops.Query("x", numbers(x, "x", 1))


def queries_of(queries: object) -> ops.Query:
    """Several queries, (q, d) with q at least 1."""
    found = numbers(queries, "queries", 2)
    if len(found) == 0:
        raise ValueError("queries: must have at least one row")
    return ops.Query("queries", found)


def draw_of(asked: SampleOf) -> ops.Draw:
    """A question with its query as an array. Raises ValueError, which names the field."""
    query = query_of(asked.x, asked.X)
    return ops.Draw(
        checked_name(asked.sketch),
        whole(asked.count, "count"),
        _flag(asked.replacement, "replacement"),
        whole(asked.draw, "draw") or 0,
        query,
    )


def _flag(value: bool | None, field: str) -> bool | None:
    """True or False, numpy's too, or None. Raises ValueError, which names the field."""
    if not isinstance(value, bool | np.bool_ | None):
        raise ValueError(f"{field}: must be true or false, is {type(value).__name__}")
    return None if value is None else bool(value)


def page_of(prefix: str, contains: str, page: int) -> ops.ListPage:
    """The first page of a list. Raises ValueError, which names the field."""
    limit = whole(page, "page")
    if not limit:
        raise ValueError("page: must be at least 1")
    return ops.ListPage(text(prefix, "prefix"), limit, None, text(contains, "contains"))


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
    """The operands named, one or several; None where none is. Raises ValueError."""
    if operands is None:
        return None
    names = (operands,) if isinstance(operands, str) else tuple(operands)
    if not names:
        raise ValueError("operands: must name at least one, or be None")
    return tuple(operand_name(name, "operands") for name in names)


def with_queries(asked: ops.Draw, queries: object) -> ops.Draw:
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
