"""JSON on the wire <-> numpy columns, with a JSON pointer for every value that is refused.

Reading goes bytes -> Python objects -> arrays. `from_json` of pydantic-core is
the fastest parser at hand (0.64 ms for 10,000 pairs; `json.loads` takes 2.3 ms,
a strict pydantic model of the columns 0.94 ms without telling us more), and it
refuses what is deeper than 200 levels, so nesting cannot exhaust the stack.
It lets NaN and Infinity through, which is wanted here: they are refused below,
where the place they stand at is known.

Columns come in three types: integers (0 to 2^63 - 1, decimal strings allowed
since JavaScript and others lose integers over 2^53), numbers (finite float64)
and rows (lists of equally many numbers).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic_core import to_json

from service import wire_long
from service.errors import InvalidRequest

Column = TypeVar("Column", npt.NDArray[np.int64], npt.NDArray[np.float64])
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Indices fit int64, in every format.
MAX_INDEX: Final = (1 << 63) - 1
#: The largest integer every JSON reader keeps whole; indices above it are written as strings.
MAX_JSON_INTEGER: Final = 1 << 53
#: JSON bodies over this many bytes take longer than about 0.1 ms to read: not on the event loop.
INLINE_JSON_BYTES: Final = 16 * 1024
#: Answers with more numbers than this are written in the pool.
INLINE_NUMBERS: Final = 1024

#: Items converted at a time: numpy keeps the interpreter lock while it does, and other threads,
#: the event loop's among them, should get a turn within a millisecond.
_SLICE: Final = 8192
_INTEGERS: Final = frozenset({int})
_NUMBERS: Final = frozenset({int, float})


def parse_json(body: bytes) -> Any:
    """The value a JSON body holds. Raises InvalidRequest (malformed) if it is not JSON in UTF-8."""
    try:
        return wire_long.parse(body)
    except ValueError as error:
        raise InvalidRequest(
            f"the body is not JSON: {error}", code="malformed_json", malformed=True
        ) from error


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object a body holds."""
    return as_object(parse_json(body), "")


def parse_fields(body: bytes) -> dict[str, Any]:
    """The JSON object a body holds where every field may be left out: an empty body is {}."""
    return parse_object(body) if body else {}


def as_object(value: object, pointer: str) -> dict[str, Any]:
    """`value` itself when it is a JSON object; InvalidRequest otherwise."""
    if not isinstance(value, dict):
        raise InvalidRequest("must be an object", pointer=pointer)
    return value


def dump_json(value: object) -> bytes:
    """JSON bytes. A number that is not finite is written as null: JSON has no name for it."""
    return to_json(value, inf_nan_mode="null")


def integers(value: object, pointer: str) -> I64:
    """A column of whole numbers from 0 to 2^63 - 1, or InvalidRequest naming the first culprit."""
    items = _as_list(value, pointer)
    if not _all_of(_INTEGERS, items):
        items = [_integer(item, f"{pointer}/{at}") for at, item in enumerate(items)]
    try:
        column = _filled(np.empty(len(items), dtype=np.int64), items)
    except OverflowError:
        column = None
    if column is None or (column.size and int(column.min()) < 0):
        for at, item in enumerate(items):
            _integer(item, f"{pointer}/{at}")
        raise AssertionError("a column out of range has an item out of range")
    return column


def coordinates(value: object, pointer: str) -> I64:
    """Coordinates of y (b,), or, where the first item is a list, pairs of them (b, 2)."""
    items = _as_list(value, pointer)
    if not items or not isinstance(items[0], list):
        return integers(items, pointer)
    for at, item in enumerate(items):
        if not isinstance(item, list) or len(item) != 2:
            raise InvalidRequest("must be a pair like the first", pointer=f"{pointer}/{at}")
    try:
        return integers(list(chain.from_iterable(items)), pointer).reshape(len(items), 2)
    except InvalidRequest as error:
        at = int(error.pointer.rpartition("/")[2])
        error.pointer = f"{pointer}/{at // 2}/{at % 2}"
        raise


def numbers(value: object, pointer: str) -> F64:
    """A column of finite numbers. Raises InvalidRequest naming the first culprit."""
    items = _as_list(value, pointer)
    return _floats(items, lambda at: f"{pointer}/{at}")


def rows(value: object, pointer: str) -> F64:
    """A matrix of finite numbers from a list of rows of equal length; (0, 0) when it is empty."""
    table = _as_list(value, pointer)
    if not table:
        return np.zeros((0, 0))
    width = -1
    for at, row in enumerate(table):
        if not isinstance(row, list):
            raise InvalidRequest("must be a list of numbers", pointer=f"{pointer}/{at}")
        if width not in (-1, len(row)):
            raise InvalidRequest(
                f"has {len(row)} numbers where the first row has {width}",
                pointer=f"{pointer}/{at}",
            )
        width = len(row)

    def place(at: int) -> str:
        row, column = divmod(at, width)
        return f"{pointer}/{row}/{column}"

    flat = _floats(list(chain.from_iterable(table)), place)
    return flat.reshape(len(table), width)


def coordinates_json(index: npt.NDArray[np.integer]) -> list[Any]:
    """Coordinates (b,), or pairs of them (b, 2), as JSON carries them."""
    if index.ndim == 1:
        return index_json(index)
    columns = (index_json(column) for column in index.T)
    return [list(pair) for pair in zip(*columns, strict=True)]


def index_json(index: npt.NDArray[np.integer]) -> list[int | str]:
    """Indices as JSON carries them: those over 2^53 as strings."""
    items: list[int | str] = index.tolist()
    if index.size and int(index.max()) > MAX_JSON_INTEGER:
        return [str(item) if int(item) > MAX_JSON_INTEGER else item for item in items]
    return items


def _as_list(value: object, pointer: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidRequest("must be a list", pointer=pointer)
    return value


def _all_of(types: frozenset[type], items: Sequence[Any]) -> bool:
    return all(
        types.issuperset(map(type, items[at : at + _SLICE])) for at in range(0, len(items), _SLICE)
    )


def _filled(column: Column, items: Sequence[Any]) -> Column:
    for at in range(0, len(items), _SLICE):
        column[at : at + _SLICE] = items[at : at + _SLICE]
    return column


def _integer(item: object, pointer: str) -> int:
    if isinstance(item, str) and item.isascii() and item.isdigit() and len(item) <= 19:
        item = int(item)
    if isinstance(item, bool) or not isinstance(item, int):
        raise InvalidRequest("must be a whole number", pointer=pointer)
    if not 0 <= item <= MAX_INDEX:
        raise InvalidRequest("must be between 0 and 2^63 - 1", pointer=pointer)
    return item


def _floats(items: Sequence[Any], place: Any) -> F64:
    """float64 of ints and floats. place: from an item's position to its pointer."""
    if _all_of(_NUMBERS, items):
        try:
            column = _filled(np.empty(len(items)), items)
        except OverflowError:  # an integer beyond the largest float64
            column = None
        if column is not None and bool(np.isfinite(column).all()):
            return column
    for at, item in enumerate(items):
        _number(item, place(at))
    raise AssertionError("a refused column has a refused item")


def _number(item: object, pointer: str) -> None:
    if isinstance(item, bool) or not isinstance(item, int | float):
        raise InvalidRequest("must be a number", pointer=pointer)
    try:
        finite = bool(np.isfinite(float(item)))
    except OverflowError:
        finite = False
    if not finite:
        raise InvalidRequest("must be finite", pointer=pointer)
