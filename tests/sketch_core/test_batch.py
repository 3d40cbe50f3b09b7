"""Batches: every refusal with its pointer, every boundary of rounding, and their bytes."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketch_core.batch import Batch, Columns, decode, encode, quantise
from sketch_core.errors import InvalidBatch
from sketch_core.spec import Spec
from tests.sketch_core.streams import spec_of

VECTOR = spec_of(n=10, quantum_bits=3)
WIDE = spec_of(n=1 << 63, quantum_bits=3)
MATRIX = spec_of("matrix", n=10, d=2, quantum_bits=3)
FIXED = spec_of("matrix", n=10, d=2, quantum_bits=3, x=[1.0, 0.0])


def _i(*values: int) -> Any:
    """The narrowest signed array, or an unsigned one where one value needs it."""
    return np.array(values, dtype=np.uint64 if max(values, default=0) >= 1 << 63 else np.int64)


def _f(*values: Any) -> Any:
    return np.array(values, dtype=np.float64)


def _y(index: Any, delta: Any) -> Columns:
    return Columns("y", index=index, delta=delta)


LARGE = 2.0**59  # 2^62 quanta at quantum_bits = 3
REFUSED: list[tuple[Spec, Columns, str]] = [
    (VECTOR, Columns("z", index=_i(1), delta=_f(1)), "/operand"),
    (VECTOR, Columns("", index=_i(1), delta=_f(1)), "/operand"),
    (VECTOR, Columns("A", row=_i(1), column=_i(0), delta=_f(1)), "/operand"),
    (VECTOR, Columns("x", index=_i(1), delta=_f(1)), "/operand"),
    (MATRIX, Columns("y", index=_i(1), delta=_f(1)), "/operand"),
    (FIXED, Columns("x", index=_i(1), delta=_f(1)), "/operand"),
    (VECTOR, Columns("y"), "/index"),
    (VECTOR, Columns("y", delta=_f(1)), "/index"),
    (VECTOR, Columns("y", index=_i(1)), "/delta"),
    (VECTOR, Columns("y", index=_i(1), delta=_f(1), row=_i(1)), "/row"),
    (VECTOR, Columns("y", index=_i(1), delta=_f(1), column=_i(1)), "/column"),
    (VECTOR, Columns("y", index=_i(1), delta=_f(1), values=_f([1])), "/values"),
    (VECTOR, _y(_i(1, 2), _f(1)), "/delta"),
    (VECTOR, _y(_i(1), _f(1, 2)), "/delta"),
    (VECTOR, _y(_i(), _f(1)), "/delta"),
    (VECTOR, _y(_i(1).reshape(1, 1), _f(1)), "/index"),
    (VECTOR, _y(np.int64(1), _f(1)), "/index"),
    (VECTOR, _y(_i(1), _f([1])), "/delta"),
    (VECTOR, _y(_f(1), _f(1)), "/index"),
    (VECTOR, _y(np.array([True]), _f(1)), "/index"),
    (VECTOR, _y(_i(0, 10), _f(1, 1)), "/index/1"),
    (VECTOR, _y(_i(0, 9, -1), _f(1, 1, 1)), "/index/2"),
    (VECTOR, _y(np.array([0, -1], np.int8), _f(1, 1)), "/index/1"),
    (VECTOR, _y(_i(-(1 << 63)), _f(1)), "/index/0"),
    (WIDE, _y(_i((1 << 63) - 1, 1 << 63), _f(1, 1)), "/index/1"),
    (WIDE, _y(_i((1 << 64) - 1), _f(1)), "/index/0"),
    (VECTOR, _y(_i(1, 2), _f(1, np.nan)), "/delta/1"),
    (VECTOR, _y(_i(1, 2), _f(np.inf, 1)), "/delta/0"),
    (VECTOR, _y(_i(1, 2), _f(1, -np.inf)), "/delta/1"),
    (VECTOR, _y(_i(1, 2), _f(1, 1e308)), "/delta/1"),
    (VECTOR, _y(_i(1, 2), _f(-1.7976931348623157e308, 1)), "/delta/0"),
    (VECTOR, _y(_i(1), _f(LARGE)), "/delta/0"),
    (VECTOR, _y(_i(1), _f(-LARGE)), "/delta/0"),
    (MATRIX, Columns("A"), "/row"),
    (MATRIX, Columns("A", row=_i(1)), "/column"),
    (MATRIX, Columns("A", row=_i(1), column=_i(1)), "/delta"),
    (MATRIX, Columns("A", row=_i(1), delta=_f(1)), "/column"),
    (MATRIX, Columns("A", index=_i(1), delta=_f(1)), "/row"),
    (MATRIX, Columns("A", index=_i(1), row=_i(1), column=_i(1), delta=_f(1)), "/index"),
    (MATRIX, Columns("A", row=_i(1), values=_f([1, 2]), delta=_f(1)), "/delta"),
    (MATRIX, Columns("A", row=_i(1), values=_f([1, 2]), column=_i(1)), "/column"),
    (MATRIX, Columns("A", row=_i(10), values=_f([1, 2])), "/row/0"),
    (MATRIX, Columns("A", row=_i(1), values=_f([1, 2, 3])), "/values"),
    (MATRIX, Columns("A", row=_i(1), values=_f(1, 2)), "/values"),
    (MATRIX, Columns("A", row=_i(1, 2), values=_f([1, 2])), "/values"),
    (MATRIX, Columns("A", row=_i(1, 2), values=_f([1, 2], [3, np.nan])), "/values/1/1"),
    (MATRIX, Columns("A", row=_i(1, 2), values=_f([1, LARGE], [3, 4])), "/values/0/1"),
    (MATRIX, Columns("A", row=_i(10), column=_i(0), delta=_f(1)), "/row/0"),
    (MATRIX, Columns("A", row=_i(1), column=_i(2), delta=_f(1)), "/column/0"),
    (MATRIX, Columns("A", row=_i(1), column=_i(-1), delta=_f(1)), "/column/0"),
    (MATRIX, Columns("A", row=_i(1, 2), column=_i(0), delta=_f(1, 1)), "/column"),
    (MATRIX, Columns("A", row=_i(1, 2), column=_i(0, 1), delta=_f(1)), "/delta"),
    (MATRIX, Columns("A", row=_i(1), column=_i(0), delta=_f([1])), "/delta"),
    (MATRIX, Columns("A", row=_i(1), column=_i(0), delta=_f(np.nan)), "/delta/0"),
    (MATRIX, Columns("x", index=_i(2), delta=_f(1)), "/index/0"),
    (MATRIX, Columns("x", row=_i(1), delta=_f(1)), "/row"),
    (FIXED, Columns("A", row=_i(1, 2), column=_i(1, 0), delta=_f(1, 2.0**46)), "/delta/1"),
    (FIXED, Columns("A", row=_i(1, 2), values=_f([1, 1], [2.0**46, 1])), "/values/1"),
]  # fmt: skip


@pytest.mark.parametrize(
    "spec, columns, pointer",
    REFUSED,
    ids=[f"{at}-{pointer}" for at, (_, _, pointer) in enumerate(REFUSED)],
)
def test_refused_with_its_pointer(spec: Spec, columns: Columns, pointer: str) -> None:
    with pytest.raises(InvalidBatch) as caught:
        quantise(spec, columns)
    assert caught.value.pointer == pointer
    assert caught.value.detail


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint32, np.int64, np.uint64, ">i4", ">u8"])
def test_indices_of_every_integer_type(dtype: Any) -> None:
    batch, _ = quantise(VECTOR, _y(np.array([0, 9], dtype=dtype), _f(1, 2)))
    assert batch.index.dtype == np.uint64
    assert batch.index.tolist() == [0, 9]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, ">f8"])
def test_numbers_of_every_floating_type(dtype: Any) -> None:
    batch, _ = quantise(VECTOR, _y(_i(1, 2), np.array([1.5, -2.0], dtype=dtype)))
    assert batch.quanta.tolist() == [12, -16]


def test_both_ends_of_every_index_range() -> None:
    one, _ = quantise(spec_of(n=1, quantum_bits=3), _y(_i(0), _f(1)))
    assert one.index.tolist() == [0]
    with pytest.raises(InvalidBatch):
        quantise(spec_of(n=1, quantum_bits=3), _y(_i(1), _f(1)))
    wide, _ = quantise(WIDE, _y(_i(0, (1 << 63) - 1), _f(1, 1)))
    assert wide.index.tolist() == [0, (1 << 63) - 1]


def test_the_largest_increment_is_accepted() -> None:
    largest = np.nextafter(LARGE, 0)
    batch, _ = quantise(VECTOR, _y(_i(1, 2), _f(largest, -largest)))
    assert batch.quanta.tolist() == [(1 << 62) - 512, -((1 << 62) - 512)]


def test_rounding_is_symmetric_and_vanishing_is_counted() -> None:
    eighth = 0.125  # one quantum
    deltas = [0.0, -0.0, 0.4 * eighth, -0.4 * eighth, 0.5 * eighth, -0.5 * eighth, 0.6 * eighth,
              -0.6 * eighth, 1.5 * eighth, -1.5 * eighth, 2.5 * eighth, -2.5 * eighth,
              5e-324, -5e-324, 1e-308, 2.0**-1022]  # fmt: skip
    batch, underflowed = quantise(VECTOR, _y(np.arange(16) % 10, _f(*deltas)))
    assert batch.quanta.tolist() == [0, 0, 0, 0, 0, 0, 1, -1, 2, -2, 2, -2, 0, 0, 0, 0]
    assert underflowed == 8, "zeros themselves have not vanished"
    rows, underflowed = quantise(
        MATRIX, Columns("A", row=_i(1, 2), values=_f([0.01, 1], [0, -0.01]))
    )
    assert rows.quanta.tolist() == [[0, 8], [0, 0]]
    assert underflowed == 2


@pytest.mark.parametrize("bits", [-60, -1, 0, 24, 60])
@given(delta=st.floats(allow_nan=False, allow_infinity=False))
def test_increments_become_the_nearest_whole_number(bits: int, delta: float) -> None:
    """Against rational arithmetic: nearest, ties to even; refused from 2^62 quanta on."""
    spec = spec_of(n=1, quantum_bits=bits)
    known = round(Fraction(delta) * Fraction(2) ** bits)
    columns = _y(_i(0), _f(delta))
    if abs(known) >= 1 << 62:
        with pytest.raises(InvalidBatch):
            quantise(spec, columns)
        return
    batch, underflowed = quantise(spec, columns)
    assert batch.quanta.tolist() == [known]
    assert underflowed == (known == 0 and delta != 0)


@given(
    x=st.lists(st.floats(-100, 100), min_size=3, max_size=3),
    rows=st.lists(st.lists(st.integers(-(2**40), 2**40), min_size=3, max_size=3), max_size=4),
)
def test_a_fixed_x_collapses_rows_and_entries_alike(x: list[float], rows: list[list[int]]) -> None:
    """Products of integers, whichever way the increments come."""
    x = [0.0 if abs(value) < 1e-6 else value for value in x]
    spec = spec_of("matrix", n=10, d=3, quantum_bits=0, x=x)
    assert spec.x is not None
    values = np.array(rows, dtype=np.float64).reshape(len(rows), 3)
    row = np.arange(len(rows), dtype=np.uint64)
    whole, _ = quantise(spec, Columns("A", row=row, values=values))
    assert whole.quanta.tolist() == [
        sum(a * b for a, b in zip(one, spec.x, strict=True)) for one in rows
    ]
    single, _ = quantise(
        spec,
        Columns("A", row=np.repeat(row, 3), column=np.tile(np.arange(3), len(rows)),
                delta=values.ravel()),
    )  # fmt: skip
    assert single.quanta.reshape(-1, 3).sum(axis=1).tolist() == whole.quanta.tolist()
    assert whole.column is None
    assert single.column is None


def test_nothing_of_the_callers_is_changed_or_kept() -> None:
    index, delta = _i(1, 2), _f(1, 2)
    batch, _ = quantise(VECTOR, _y(index, delta))
    index[0], delta[0] = 5, 7
    assert batch.index.tolist() == [1, 2]
    assert batch.quanta.tolist() == [8, 16]
    unsigned = np.array([1, 2], dtype=np.uint64)
    batch, _ = quantise(VECTOR, _y(unsigned, delta))
    unsigned[0] = 5
    assert batch.index.tolist() == [1, 2]


def test_empty_batches_are_batches() -> None:
    for spec, columns in (
        (VECTOR, _y(_i(), _f())),
        (MATRIX, Columns("x", index=_i(), delta=_f())),
        (MATRIX, Columns("A", row=_i(), column=_i(), delta=_f())),
        (MATRIX, Columns("A", row=_i(), values=np.empty((0, 2)))),
        (FIXED, Columns("A", row=_i(), values=np.empty((0, 2)))),
    ):
        batch, underflowed = quantise(spec, columns)
        assert len(batch) == underflowed == 0
        again = decode(encode(batch))
        assert again.quanta.shape == batch.quanta.shape
        assert encode(again) == encode(batch)


# ---- bytes

SAMPLES: dict[str, Batch] = {
    "index": quantise(VECTOR, _y(_i(1, 9), _f(1, -2)))[0],
    "wide": quantise(WIDE, _y(_i(1, 1 << 32), _f(1, 2.0**50)))[0],
    "entry": quantise(MATRIX, Columns("A", row=_i(3), column=_i(1), delta=_f(-1e3)))[0],
    "row": quantise(MATRIX, Columns("A", row=_i(3, 4), values=_f([1, 2], [3, 1e6])))[0],
    "empty": quantise(VECTOR, _y(_i(), _f()))[0],
}
samples = pytest.mark.parametrize("name", SAMPLES)


@pytest.mark.parametrize(
    "largest, size",
    [(0, 1), (127, 1), (-128, 1), (128, 2), (-129, 2), (32_767, 2), (32_768, 4), (-32_769, 4),
     ((1 << 31) - 1, 4), (-(1 << 31), 4), (1 << 31, 8), (-(1 << 31) - 1, 8), ((1 << 62) - 1, 8)],
)  # fmt: skip
def test_quanta_take_the_narrowest_type(largest: int, size: int) -> None:
    batch = Batch("y", np.array([3], np.uint64), None, np.array([largest], np.int64))
    data = encode(batch)
    assert len(data) == 16 + 1 + 4 + size
    assert decode(data).quanta.tolist() == [largest]


def test_indices_take_four_bytes_where_they_can() -> None:
    for index, size in (((1 << 32) - 1, 4), (1 << 32, 8)):
        batch = Batch("y", np.array([index], np.uint64), None, np.array([1], np.int64))
        assert len(encode(batch)) == 16 + 1 + size + 1
        assert decode(encode(batch)).index.tolist() == [index]


@samples
def test_every_truncated_or_extended_batch_is_refused(name: str) -> None:
    data = encode(SAMPLES[name])
    for length in range(len(data)):
        with pytest.raises(InvalidBatch):
            decode(data[:length])
    for extra in (b"\0", b"\0" * 4, b"\xff" * 16):
        with pytest.raises(InvalidBatch):
            decode(data + extra)


@samples
def test_every_flipped_bit_is_refused_or_another_batch(name: str) -> None:
    """Batches carry no checksum of their own; but no bytes decode that `encode` does not write."""
    data = encode(SAMPLES[name])
    for at in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        try:
            batch = decode(bytes(flipped))
        except InvalidBatch:
            continue
        assert encode(batch) == bytes(flipped), at


@samples
@pytest.mark.parametrize("at", range(16))
def test_no_header_byte_may_lie(name: str, at: int) -> None:
    data = encode(SAMPLES[name])
    for value in range(256):
        if value != data[at]:
            changed = data[:at] + bytes([value]) + data[at + 1 :]
            try:
                batch = decode(changed)
            except InvalidBatch:
                continue
            assert encode(batch) == changed, value


LIES = {
    "wider indices than needed": struct.pack("<2sBBBBBBII", b"UB", 1, 0, 8, 1, 1, 0, 1, 1)
    + b"y" + struct.pack("<Qb", 5, 1),
    "wider quanta than needed": struct.pack("<2sBBBBBBII", b"UB", 1, 0, 4, 8, 1, 0, 1, 1)
    + b"y" + struct.pack("<Iq", 5, 1),
    "-2^63, whose size is no int64": struct.pack("<2sBBBBBBII", b"UB", 1, 0, 4, 8, 1, 0, 1, 1)
    + b"y" + struct.pack("<Iq", 5, -(1 << 63)),
    "2^62 quanta": struct.pack("<2sBBBBBBII", b"UB", 1, 0, 4, 8, 1, 0, 1, 1)
    + b"y" + struct.pack("<Iq", 5, 1 << 62),
    "a name that is not ASCII": struct.pack("<2sBBBBBBII", b"UB", 1, 0, 4, 1, 1, 0, 1, 1)
    + b"\xe9" + struct.pack("<Ib", 5, 1),
    "two numbers an update without rows": struct.pack(
        "<2sBBBBBBII", b"UB", 1, 0, 4, 1, 1, 0, 1, 2)
    + b"y" + struct.pack("<Ibb", 5, 1, 2),
    "no numbers an update": struct.pack("<2sBBBBBBII", b"UB", 1, 2, 4, 1, 1, 0, 1, 0)
    + b"A" + struct.pack("<I", 5),
    "an empty batch that names a width": struct.pack("<2sBBBBBBII", b"UB", 1, 0, 8, 8, 1, 0, 0, 1)
    + b"y",
    "great counts": struct.pack("<2sBBBBBBII", b"UB", 1, 2, 8, 8, 1, 0, (1 << 32) - 1,
                                (1 << 32) - 1) + b"A",
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_bytes_that_encode_does_not_write_are_refused(lie: str) -> None:
    with pytest.raises(InvalidBatch):
        decode(LIES[lie])


@pytest.mark.parametrize("form", [0, 2, 255])
def test_other_formats_are_named(form: int) -> None:
    data = bytearray(encode(SAMPLES["index"]))
    data[2] = form
    with pytest.raises(InvalidBatch, match=f"format {form}"):
        decode(bytes(data))


@given(st.binary(max_size=64))
def test_any_bytes_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(InvalidBatch):
        decode(data)
