"""Update batches: signed increments of one operand, checked whole, as integers, in compact bytes.

A batch is quantised and validated before it is logged, so folding a logged
batch cannot fail. An increment δ becomes rint(δ · 2^quantum_bits), symmetric
about zero; one that rounds to nothing is counted in `underflowed`, not kept
apart. Where x was fixed at creation, increments of A collapse here to
increments of y = A x: Σ_j δ_j x_j, a sum of products of integers.

Bytes of a batch (little-endian), as they stand in a log:

    offset  size  field
    0       2     magic "UB"
    2       1     format, 1
    3       1     layout: 0 = (index), 1 = (row, column), 2 = (row, all columns)
    4       1     bytes an index: 4 or 8
    5       1     bytes a quantum: 1, 2, 4 or 8 (signed)
    6       1     length of the operand's name, a
    7       1     zero
    8       4     b, the number of updates
    12      4     d, the numbers an update carries (1 unless layout is 2)
    16      a     operand, ASCII
    16+a    …     index: b unsigned integers
            …     column: b unsigned 4-byte integers (layout 1 only)
            …     quanta: b · d signed integers
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sketch_core.errors import InvalidBatch
from sketch_core.hashing import I64, U64
from sketch_core.spec import MAX_INCREMENT_BITS, Spec

F64 = npt.NDArray[np.float64]

_HEADER: Final = struct.Struct("<2sBBBBBBII")
_MAGIC: Final = b"UB"
_FORMAT: Final = 1
_INDEX, _ENTRY, _ROW = 0, 1, 2
_MAX_INCREMENT: Final = float(1 << MAX_INCREMENT_BITS)


@dataclass(frozen=True, slots=True)
class Batch:
    """Increments of one operand, quantised and within range.

    operand: one of the kind's streamed operands. index: uint64 (b,), the
    coordinate, or the row of a matrix. column: int64 (b,) for single entries of
    an operand with rows, else None. quanta: int64 (b,), or (b, d) for whole rows.
    """

    operand: str
    index: U64
    column: I64 | None
    quanta: I64

    def __len__(self) -> int:
        return int(self.index.size)

    @property
    def coordinates(self) -> int:
        """Increments of single numbers: b, or b · d for whole rows."""
        return int(self.quanta.size)


@dataclass(frozen=True, slots=True)
class Columns:
    """A batch as a caller sends it: which fields are present decides its layout.

    index: for y and x. row with column and delta: entries of a matrix. row with
    values: whole rows. index and row are unsigned or signed integer arrays (b,);
    column integer (b,); delta floating (b,); values floating (b, d).
    """

    operand: str
    index: npt.NDArray[np.integer] | None = None
    row: npt.NDArray[np.integer] | None = None
    column: npt.NDArray[np.integer] | None = None
    delta: npt.NDArray[np.floating] | None = None
    values: npt.NDArray[np.floating] | None = None


def _first(bad: npt.NDArray[np.bool_]) -> int:
    return int(np.argmax(bad))


def _in_range(values: npt.NDArray[np.integer], limit: int, name: str) -> U64:
    """Check 0 <= values < limit; returns uint64. Raises InvalidBatch naming the first culprit."""
    if values.ndim != 1:
        raise InvalidBatch("must be one-dimensional", pointer=f"/{name}")
    if values.dtype.kind not in "iu":
        raise InvalidBatch("must be whole numbers", pointer=f"/{name}")
    if values.dtype.kind == "i":
        bad = values < 0
        if bad.any():
            at = _first(bad)
            raise InvalidBatch(f"{int(values[at])} is negative", pointer=f"/{name}/{at}")
    unsigned = values.astype(np.uint64)
    bad = unsigned >= np.uint64(limit)
    if bad.any():
        at = _first(bad)
        raise InvalidBatch(
            f"{int(unsigned[at])} is out of range: must be below {limit}", pointer=f"/{name}/{at}"
        )
    return unsigned


def _pointer(name: str, shape: tuple[int, ...], at: int) -> str:
    if len(shape) == 1:
        return f"/{name}/{at}"
    row, column = divmod(at, shape[1])
    return f"/{name}/{row}/{column}"


def _quantise(values: npt.NDArray[np.floating], quantum_bits: int, name: str) -> tuple[I64, int]:
    """Round increments to whole quanta. Returns int64 of the same shape and how many vanished."""
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    if not finite.all():
        at = _first(~finite.ravel())
        raise InvalidBatch("must be finite", pointer=_pointer(name, numbers.shape, at))
    with np.errstate(over="ignore"):
        scaled = np.rint(np.ldexp(numbers, quantum_bits))
    bad = np.abs(scaled) >= _MAX_INCREMENT
    if bad.any():
        at = _first(bad.ravel())
        raise InvalidBatch(
            f"too large: with quantum_bits = {quantum_bits} an increment stays below "
            f"2^{MAX_INCREMENT_BITS - quantum_bits}",
            pointer=_pointer(name, numbers.shape, at),
        )
    underflowed = int(np.count_nonzero((scaled == 0.0) & (numbers != 0.0)))
    return scaled.astype(np.int64), underflowed


def _equal_lengths(names: tuple[str, str], first: int, second: int) -> None:
    if first != second:
        raise InvalidBatch(
            f"has {second} items where {names[0]} has {first}", pointer=f"/{names[1]}"
        )


def _required(value: npt.NDArray[np.generic] | None, name: str) -> None:
    if value is None:
        raise InvalidBatch("is required", pointer=f"/{name}")


def _refuse(columns: Columns, allowed: tuple[str, ...]) -> None:
    for name in ("index", "row", "column", "delta", "values"):
        if name not in allowed and getattr(columns, name) is not None:
            raise InvalidBatch(
                f"does not belong to an update of {columns.operand} that has {allowed[0]}"
                + (f" and {allowed[-1]}" if len(allowed) > 1 else ""),
                pointer=f"/{name}",
            )


def quantise(spec: Spec, columns: Columns) -> tuple[Batch, int]:
    """Check a caller's columns against a spec and make them a Batch.

    Returns (batch, underflowed). Raises InvalidBatch with the pointer of the
    first value at fault: an unknown operand, unequal lengths, an index out of
    range, a number that is not finite or too large for the quantum.
    """
    operand = spec.operand(columns.operand)
    if operand.by_index:
        _refuse(columns, ("index", "delta"))
        _required(columns.index, "index")
        _required(columns.delta, "delta")
        assert columns.index is not None
        assert columns.delta is not None
        index = _in_range(columns.index, operand.rows, "index")
        if columns.delta.ndim != 1:
            raise InvalidBatch("must be one-dimensional", pointer="/delta")
        _equal_lengths(("index", "delta"), index.size, columns.delta.size)
        quanta, underflowed = _quantise(columns.delta, spec.quantum_bits, "delta")
        return Batch(columns.operand, index, None, quanta), underflowed

    _required(columns.row, "row")
    assert columns.row is not None
    if columns.values is not None:
        _refuse(columns, ("row", "values"))
        row = _in_range(columns.row, operand.rows, "row")
        if columns.values.ndim != 2 or columns.values.shape[1] != operand.columns:
            name = {"A1": "d1", "A2": "d2", "X": "d2"}.get(operand.name, "d")
            raise InvalidBatch(
                f"must be rows of {name} = {operand.columns} numbers", pointer="/values"
            )
        _equal_lengths(("row", "values"), row.size, columns.values.shape[0])
        quanta, underflowed = _quantise(columns.values, spec.quantum_bits, "values")
        batch = Batch(columns.operand, row, None, quanta)
    else:
        _refuse(columns, ("row", "column", "delta"))
        _required(columns.column, "column")
        _required(columns.delta, "delta")
        assert columns.column is not None
        assert columns.delta is not None
        row = _in_range(columns.row, operand.rows, "row")
        column = _in_range(columns.column, operand.columns, "column")
        if columns.delta.ndim != 1:
            raise InvalidBatch("must be one-dimensional", pointer="/delta")
        _equal_lengths(("row", "column"), row.size, column.size)
        _equal_lengths(("row", "delta"), row.size, columns.delta.size)
        quanta, underflowed = _quantise(columns.delta, spec.quantum_bits, "delta")
        batch = Batch(columns.operand, row, column.astype(np.int64), quanta)
    if spec.collapsed:
        batch = _collapse(spec, batch)
    return batch, underflowed


def _collapse(spec: Spec, batch: Batch) -> Batch:
    """Increments of A as the increments of y = A x that they are, x being fixed."""
    assert spec.x is not None
    x = np.array(spec.x, dtype=np.int64)
    name = "values" if batch.column is None else "delta"
    factor = x if batch.column is None else x[batch.column]
    size = np.abs(batch.quanta).astype(np.float64) * np.abs(factor)
    total = size.sum(axis=1) if batch.column is None else size
    bad = total >= _MAX_INCREMENT / 2
    if bad.any():
        raise InvalidBatch(
            f"too large: its product with the fixed x must stay below "
            f"2^{MAX_INCREMENT_BITS - 1 - spec.value_bits}",
            pointer=f"/{name}/{_first(bad)}",
        )
    products = batch.quanta * factor
    quanta = products.sum(axis=1) if batch.column is None else products
    return Batch(batch.operand, batch.index, None, quanta)


def _quantum_bytes(low: int, high: int) -> int:
    """Bytes of the narrowest signed type that holds low to high."""
    for size in (1, 2, 4):
        if -(1 << (8 * size - 1)) <= low and high < 1 << (8 * size - 1):
            return size
    return 8


def _index_bytes(index: U64) -> int:
    return 8 if int(index.max(initial=0)) >= 1 << 32 else 4


def encode(batch: Batch) -> bytes:
    """Bytes of a batch, narrow where its numbers allow; the diagram is in the module's header."""
    name = batch.operand.encode("ascii")
    index = batch.index.astype(f"<u{_index_bytes(batch.index)}")
    low, high = int(batch.quanta.min(initial=0)), int(batch.quanta.max(initial=0))
    quanta = batch.quanta.astype(f"<i{_quantum_bytes(low, high)}")
    d = 1 if batch.quanta.ndim == 1 else batch.quanta.shape[1]
    layout = _ROW if batch.quanta.ndim == 2 else _INDEX if batch.column is None else _ENTRY
    header = _HEADER.pack(
        _MAGIC, _FORMAT, layout, index.itemsize, quanta.itemsize, len(name), 0, len(batch), d
    )
    parts = [header, name, index.tobytes()]
    if batch.column is not None:
        parts.append(batch.column.astype("<u4").tobytes())
    parts.append(quanta.tobytes())
    return b"".join(parts)


def decode(data: bytes) -> Batch:
    """The inverse of `encode`. Raises InvalidBatch for bytes that `encode` did not write."""
    if len(data) < _HEADER.size:
        raise InvalidBatch("a stored batch is cut short")
    magic, form, layout, index_size, quantum_size, a, zero, b, d = _HEADER.unpack_from(data)
    if magic != _MAGIC or zero != 0:
        raise InvalidBatch("not a stored batch")
    if form != _FORMAT:
        raise InvalidBatch(f"a stored batch of format {form}; this code knows format {_FORMAT}")
    rows = d >= 1 if layout == _ROW else d == 1
    if (
        not (layout <= _ROW and rows)
        or index_size not in (4, 8)
        or quantum_size not in (1, 2, 4, 8)
    ):
        raise InvalidBatch("a stored batch with an impossible header")
    column_size = 4 if layout == _ENTRY else 0
    if len(data) != _HEADER.size + a + b * (index_size + column_size + d * quantum_size):
        raise InvalidBatch("a stored batch of the wrong length")
    at = _HEADER.size
    name = data[at : at + a]
    at += a
    index = np.frombuffer(data, f"<u{index_size}", b, at).astype(np.uint64)
    at += b * index_size
    column = None
    if layout == _ENTRY:
        column = np.frombuffer(data, "<u4", b, at).astype(np.int64)
        at += b * column_size
    quanta = np.frombuffer(data, f"<i{quantum_size}", b * d, at).astype(np.int64)
    low, high = int(quanta.min(initial=0)), int(quanta.max(initial=0))
    if (
        not name.isascii()
        or max(-low, high) >= 1 << MAX_INCREMENT_BITS
        or index_size != _index_bytes(index)
        or quantum_size != _quantum_bytes(low, high)
    ):
        raise InvalidBatch("a stored batch that was not written like this")
    if layout == _ROW:
        quanta = quanta.reshape(b, d)
    return Batch(name.decode("ascii"), index, column, quanta)
