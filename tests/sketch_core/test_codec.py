"""Snapshots: what is cut, changed, extended or lies is refused by name, and changes nothing."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable

import numpy as np
import pytest

from sketch_core.codec import VERSION, from_snapshot, to_snapshot
from sketch_core.errors import (
    IncompatibleSketches,
    InvalidSnapshot,
    SketchError,
    UnsupportedSnapshot,
)
from sketch_core.sketch import Sketch, new_sketch
from sketch_core.spec import Spec
from tests.sketch_core.streams import rows, sketch_of, spec_of, vector_batch, x_batch

HEADER = 56
CHECKSUM = 16


def _vector() -> Sketch:
    spec = spec_of(n=40, method="sketch", width=2, upper_width=1, estimate_width=1, depth=3)
    return sketch_of(spec, [vector_batch(spec, {0: 1.0, 39: -2.5})])


def _matrix() -> Sketch:
    """A matrix whose x has been streamed: two operands."""
    spec = spec_of("matrix", n=3, d=2, method="exact")
    return sketch_of(spec, [rows(spec, [(0, (1, -1)), (2, (7, 0))]), x_batch(spec, [1.0, 0.5])])


def _exact() -> Sketch:
    spec = spec_of(n=3, method="exact")
    return sketch_of(spec, [vector_batch(spec, {1: 3.0})])


SKETCHES: dict[str, Callable[[], Sketch]] = {
    "vector": _vector,
    "matrix": _matrix,
    "exact": _exact,
}


def _sealed(data: bytes) -> bytes:
    """Bytes with a checksum that agrees, whatever they say."""
    inner = data[:-CHECKSUM]
    return inner + hashlib.blake2b(inner, digest_size=CHECKSUM).digest()


def _with_body(data: bytes, body: bytes, operands: int | None = None) -> bytes:
    """The header of `data` around another body, lengths and checksum right."""
    header = bytearray(data[:HEADER])
    header[48:56] = struct.pack("<Q", len(body))
    if operands is not None:
        header[11] = operands
    return _sealed(bytes(header) + body + b"\0" * CHECKSUM)


@pytest.mark.parametrize("name", SKETCHES)
def test_round_trip(name: str) -> None:
    sketch = SKETCHES[name]()
    data = to_snapshot(sketch)
    back = from_snapshot(data, sketch.spec)
    assert to_snapshot(back) == data
    assert back.exact
    for operand, arrays in sketch.arrays().items():
        for array, cells in arrays.items():
            assert np.array_equal(back.arrays()[operand][array], cells)
            assert not np.shares_memory(back.arrays()[operand][array], cells)
            assert back.arrays()[operand][array].flags.writeable


@pytest.mark.parametrize("name", SKETCHES)
def test_every_truncation_is_refused(name: str) -> None:
    sketch = SKETCHES[name]()
    data = to_snapshot(sketch)
    for length in range(len(data)):
        with pytest.raises(InvalidSnapshot):
            from_snapshot(data[:length], sketch.spec)


@pytest.mark.parametrize("name", SKETCHES)
def test_every_flipped_bit_is_refused(name: str) -> None:
    sketch = SKETCHES[name]()
    data = to_snapshot(sketch)
    for at in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(InvalidSnapshot):
            from_snapshot(bytes(flipped), sketch.spec)


@pytest.mark.parametrize("name", SKETCHES)
def test_every_changed_header_or_name_is_refused_under_a_new_checksum(name: str) -> None:
    """Whatever byte outside the cells changes to whatever value: a typed error, always.

    The only byte that may change is the flag, from exact to not.
    """
    sketch = SKETCHES[name]()
    data = to_snapshot(sketch)
    body = len(data) - HEADER - CHECKSUM
    accepted = []
    for at in range(HEADER + min(body, 40)):
        for value in (data[at] ^ 1, data[at] ^ 0x80, 0, 1, 2, 127, 128, 255):
            if value == data[at]:
                continue
            changed = _sealed(data[:at] + bytes([value]) + data[at + 1 :])
            expected: type[SketchError] = InvalidSnapshot
            if at in (8, 9):
                expected = UnsupportedSnapshot
            elif 16 <= at < 48:
                expected = IncompatibleSketches
            outcome = _outcome(changed, sketch.spec)
            if isinstance(outcome, SketchError):
                assert type(outcome) is expected, (at, value)
            else:
                assert to_snapshot(outcome) == changed, (at, value)
                accepted.append((at, value))
    first_cell = data.index(sketch.arrays()[_main(sketch)][_first_array(sketch)].tobytes())
    assert {at for at, _ in accepted if at < first_cell} == {10}
    assert {value for at, value in accepted if at == 10} == {0}


def _outcome(data: bytes, spec: Spec) -> Sketch | SketchError:
    try:
        return from_snapshot(data, spec)
    except SketchError as error:
        return error


def _main(sketch: Sketch) -> str:
    return next(iter(sketch.arrays()))


def _first_array(sketch: Sketch) -> str:
    return next(iter(sketch.arrays()[_main(sketch)]))


@pytest.mark.parametrize("name", SKETCHES)
@pytest.mark.parametrize("extra", [b"\0", b"\0" * 8, b"SKETCHD\0", b"\xff" * 100])
def test_trailing_bytes_are_refused(name: str, extra: bytes) -> None:
    """After the end, and inside the body under lengths and checksum that agree."""
    sketch = SKETCHES[name]()
    data = to_snapshot(sketch)
    with pytest.raises(InvalidSnapshot):
        from_snapshot(data + extra, sketch.spec)
    with pytest.raises(InvalidSnapshot):
        from_snapshot(_with_body(data, data[HEADER:-CHECKSUM] + extra), sketch.spec)


@pytest.mark.parametrize("name", SKETCHES)
def test_every_short_body_is_refused_under_a_new_checksum(name: str) -> None:
    sketch = SKETCHES[name]()
    data = to_snapshot(sketch)
    body = data[HEADER:-CHECKSUM]
    for length in range(len(body)):
        with pytest.raises(InvalidSnapshot):
            from_snapshot(_with_body(data, body[:length]), sketch.spec)


@pytest.mark.parametrize("length", [0, 1, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_lying_length_is_refused(length: int) -> None:
    sketch = _vector()
    data = bytearray(to_snapshot(sketch))
    data[48:56] = struct.pack("<Q", length)
    with pytest.raises(InvalidSnapshot):
        from_snapshot(_sealed(bytes(data)), sketch.spec)


def test_lying_counts_and_extents_are_refused() -> None:
    sketch = _matrix()
    data = to_snapshot(sketch)
    body = data[HEADER:-CHECKSUM]
    at_x = body.index(b"\1x\1\5dense")
    a, x = body[:at_x], body[at_x:]
    lies = {
        "no operand": (b"", 0),
        "x alone": (x, 1),
        "x first": (x + a, 2),
        "A twice": (a + a, 2),
        "x twice": (a + x + x, 3),
        "more operands than there are": (body, 3),
        "fewer operands than there are": (body, 1),
        "another operand": (a.replace(b"\1A", b"\1B", 1), 1),
        "no array": (a[:2] + b"\0" + a[3:], 1),
        "two arrays": (a[:2] + b"\2" + a[3:], 1),
        "another array": (a.replace(b"dense", b"dents"), 1),
        "a name that is not ASCII": (a.replace(b"dense", b"d\xe9nse"), 1),
        "one dimension": (a.replace(struct.pack("<BQQ", 2, 3, 2), struct.pack("<BQ", 1, 6)), 1),
        "other extents": (
            a.replace(struct.pack("<BQQ", 2, 3, 2), struct.pack("<BQQ", 2, 2, 3)), 1),
        "great extents": (
            a.replace(struct.pack("<BQQ", 2, 3, 2), struct.pack("<BQQ", 2, 1 << 63, 1 << 63)), 1),
        "255 dimensions": (a.replace(struct.pack("<BQ", 2, 3), struct.pack("<BQ", 255, 3)), 1),
    }  # fmt: skip
    for lie, (changed, operands) in lies.items():
        assert changed != body or operands != 2, lie
        with pytest.raises(InvalidSnapshot):
            from_snapshot(_with_body(data, changed, operands), sketch.spec)
    whole = from_snapshot(_with_body(data, a, 1), sketch.spec)
    assert list(whole.arrays()) == ["A"], "without x it is the snapshot of a matrix without x"


@pytest.mark.parametrize("version", [0, VERSION + 1, 255, 65_535])
def test_other_versions_are_unsupported(version: int) -> None:
    sketch = _exact()
    data = bytearray(to_snapshot(sketch))
    data[8:10] = struct.pack("<H", version)
    with pytest.raises(UnsupportedSnapshot):
        from_snapshot(_sealed(bytes(data)), sketch.spec)


@pytest.mark.parametrize(
    "other",
    [
        spec_of(n=3, method="exact", seed=1),
        spec_of(n=4, method="exact"),
        spec_of(n=3, method="exact", quantum_bits=3),
        spec_of(n=3, method="exact", power=1.0),
        spec_of("matrix", n=3, d=1, method="exact"),
    ],
)
def test_a_snapshot_of_another_spec_is_incompatible(other: Spec) -> None:
    with pytest.raises(IncompatibleSketches):
        from_snapshot(to_snapshot(_exact()), other)


@pytest.mark.parametrize("data", [b"", b"SKETCHD\0", b"\0" * 71, b"\0" * 72, b"\xff" * 1000])
def test_other_bytes_are_no_snapshot(data: bytes) -> None:
    with pytest.raises(InvalidSnapshot):
        from_snapshot(data, _exact().spec)


def test_a_state_that_is_not_proven_stays_so() -> None:
    spec = spec_of(n=1, method="exact", quantum_bits=0)
    sketch = sketch_of(spec, [vector_batch(spec, [2.0**61])] * 5)
    assert not sketch.exact
    back = from_snapshot(to_snapshot(sketch), spec)
    assert not back.exact
    assert to_snapshot(back) == to_snapshot(sketch)


def test_refused_merges_change_nothing() -> None:
    sketch, spec = _exact(), _exact().spec
    before = to_snapshot(sketch)
    other = new_sketch(spec_of(n=3, method="exact", seed=spec.seed + 1))
    with pytest.raises(IncompatibleSketches):
        sketch.merge(other)
    with pytest.raises(IncompatibleSketches):
        sketch.merge(sketch.copy(), ("y", "x"))
    assert to_snapshot(sketch) == before
