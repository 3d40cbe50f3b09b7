"""Laws of linear state, bit for bit on snapshot bytes, for every kind and method."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketch_core.batch import Batch, decode, encode
from sketch_core.codec import from_snapshot, to_snapshot
from sketch_core.errors import IncompatibleSketches
from sketch_core.sketch import Sketch, new_sketch
from sketch_core.spec import Operand, Spec
from tests.sketch_core import reference
from tests.sketch_core.reference import Increment
from tests.sketch_core.streams import TINY, entries, rows, sketch_of, spec_of

N = 1 << 16
SPECS: dict[str, Spec] = {
    "vector p=2": spec_of(n=N, power=2, method="sketch", repetitions=2, **TINY),
    "vector p=1.5": spec_of(n=N, power=1.5, method="sketch", **TINY),
    "vector p=1": spec_of(n=1 << 63, power=1, method="sketch", **TINY),
    "vector exact": spec_of(n=50, method="exact"),
    "matrix p=2": spec_of("matrix", n=N, d=3, method="sketch", repetitions=2, **TINY),
    "matrix p=1": spec_of("matrix", n=N, d=2, power=1, method="sketch", **TINY),
    "matrix x fixed": spec_of("matrix", n=N, d=3, method="sketch", x=[1.5, -0.25, 3], **TINY),
    "matrix exact": spec_of("matrix", n=50, d=3, method="exact"),
    "matrix exact x fixed": spec_of("matrix", n=50, d=2, method="exact", x=[0.1, -7]),
    "matrix softmax": spec_of("matrix", n=50, d=2, distribution={"softmax": {"temperature": 2}}),
}
SPECS |= {
    "tensor": spec_of(
        "tensor", n1=N, n2=1 << 40, d1=3, d2=2, method="sketch", samples=2, repetitions=2,
        second_width=3, second_upper_width=2, **TINY,
    ),
    "tensor X fixed": spec_of(
        "tensor", n1=20, n2=N, d1=1, d2=3, method="sketch", samples=1, X=[[0.5, -3, 0]], **TINY
    ),
    "tensor exact": spec_of("tensor", n1=50, n2=20, d1=2, d2=3, method="exact"),
}  # fmt: skip
every = pytest.mark.parametrize("name", SPECS)


@dataclasses.dataclass(frozen=True)
class Piece:
    """Part of a stream: increments of one operand, single or (whole) as rows of d."""

    operand: str
    increments: tuple[Increment, ...]
    whole: bool = False

    def batch(self, spec: Spec) -> Batch:
        if not self.whole:
            return entries(spec, self.operand, self.increments)
        d = spec.operand(self.operand).columns
        grouped = [self.increments[at : at + d] for at in range(0, len(self.increments), d)]
        quanta = [(row[0][0], [quanta for _, _, quanta in row]) for row in grouped]
        return rows(spec, quanta, self.operand)


def _pieces(spec: Spec, largest: int = 1 << 20) -> st.SearchStrategy[list[Piece]]:
    """Streams that meet few coordinates often, the ends among them."""
    return st.lists(
        st.one_of([_pieces_of(operand, largest) for operand in spec.operands]), max_size=5
    )


def _pieces_of(operand: Operand, largest: int) -> st.SearchStrategy[Piece]:
    n, d = operand.rows, operand.columns
    ends = [i for i in (0, 1, 2, 7, n // 2, n - 2, n - 1) if 0 <= i < n]
    coordinate = st.sampled_from(ends) | st.integers(0, n - 1)
    quanta = st.integers(-largest, largest)
    single = _single(operand.name, st.tuples(coordinate, st.integers(0, d - 1), quanta))
    if operand.by_index:
        return single
    whole = st.lists(
        st.tuples(coordinate, st.lists(quanta, min_size=d, max_size=d)), max_size=4
    ).map(
        lambda found: Piece(
            operand.name,
            tuple((i, j, value) for i, row in found for j, value in enumerate(row)),
            whole=True,
        )
    )
    return single | whole


def _single(operand: str, one: st.SearchStrategy[Increment]) -> st.SearchStrategy[Piece]:
    return st.lists(one, max_size=8).map(lambda found: Piece(operand, tuple(found)))


def _made(spec: Spec, pieces: Sequence[Piece]) -> Sketch:
    return sketch_of(spec, [piece.batch(spec) for piece in pieces])


def _bytes(spec: Spec, pieces: Sequence[Piece]) -> bytes:
    return to_snapshot(_made(spec, pieces))


@every
@given(data=st.data())
def test_cells_are_those_of_the_documentation(name: str, data: st.DataObject) -> None:
    """Linearity at its sharpest: cells equal sums over big integers of the reference's hashes."""
    spec = SPECS[name]
    pieces = data.draw(_pieces(spec))
    sketch = _made(spec, pieces)
    assert sketch.exact
    for operand in spec.operands:
        streamed = [piece for piece in pieces if piece.operand == operand.name]
        if operand.name == spec.query_operand:
            assert (operand.name in sketch.arrays()) == bool(streamed)
            if not streamed:
                continue
        factor = spec.x if spec.collapsed and spec.x is not None else None
        increments = [
            (i, j if factor is None else 0, quanta * (1 if factor is None else factor[j]))
            for piece in streamed
            for i, j, quanta in piece.increments
        ]
        cells = reference.dense_cells if operand.sizes is None else reference.sketch_cells
        for array, known in cells(spec, increments, operand.name).items():
            kept = sketch.arrays()[operand.name][array]
            assert kept.reshape(known.shape).tolist() == known.tolist()


@every
@given(data=st.data())
def test_order_does_not_matter(name: str, data: st.DataObject) -> None:
    """Of batches, and of increments inside them."""
    spec = SPECS[name]
    pieces = data.draw(_pieces(spec))
    mixed = []
    for piece in data.draw(st.permutations(pieces)):
        increments = piece.increments
        if not piece.whole:
            increments = tuple(data.draw(st.permutations(increments)))
        mixed.append(dataclasses.replace(piece, increments=increments))
    assert _bytes(spec, pieces) == _bytes(spec, mixed)


@every
@given(data=st.data())
def test_grouping_does_not_matter(name: str, data: st.DataObject) -> None:
    """One batch at a time, all in one call, one increment a batch, rows as entries: one state."""
    spec = SPECS[name]
    pieces = data.draw(_pieces(spec))
    known = _bytes(spec, pieces)
    at_once = new_sketch(spec)
    at_once.apply([piece.batch(spec) for piece in pieces])
    assert to_snapshot(at_once) == known
    single = [
        Piece(piece.operand, (increment,)) for piece in pieces for increment in piece.increments
    ]
    # An operand that was streamed stays streamed, even if nothing of it was in the batch.
    single += [Piece(piece.operand, ()) for piece in pieces if not piece.increments]
    assert _bytes(spec, single) == known
    together = {
        operand: [one for piece in pieces if piece.operand == operand for one in piece.increments]
        for operand in {piece.operand for piece in pieces}
    }
    assert _bytes(spec, [Piece(op, tuple(all_)) for op, all_ in together.items()]) == known


def _merge(sketch: Sketch, other: Sketch, operands: Sequence[str]) -> None:
    """All operands, one after another: a tensor takes no more at a time."""
    for operand in operands:
        sketch.merge(other, (operand,))


@every
@given(data=st.data())
def test_merging_is_concatenation(name: str, data: st.DataObject) -> None:
    spec = SPECS[name]
    parts = [data.draw(_pieces(spec)) for _ in range(3)]
    operands = [operand.name for operand in spec.operands]
    whole = _bytes(spec, [piece for part in parts for piece in part])
    left = _made(spec, parts[0])
    others = [_made(spec, part) for part in parts[1:]]
    before = [to_snapshot(one) for one in others]
    for one in others:
        _merge(left, one, operands)
    assert to_snapshot(left) == whole
    assert [to_snapshot(one) for one in others] == before, "what is merged in is left alone"
    right = _made(spec, parts[2])
    for part in (parts[0], parts[1]):
        _merge(right, _made(spec, part), operands)
    assert to_snapshot(right) == whole


@every
@given(data=st.data())
def test_deleting_everything_in_other_pieces_leaves_nothing(name: str, data: st.DataObject) -> None:
    """Each amount is taken back in several parts, in another order, in other batches."""
    spec = SPECS[name]
    pieces = data.draw(_pieces(spec))
    source = random.Random(data.draw(st.integers(0, 1 << 32)))
    back: list[tuple[str, Increment]] = []
    for piece in pieces:
        for i, j, quanta in piece.increments:
            first, second = source.randint(-(1 << 21), 1 << 21), source.randint(-3, 3)
            for part in (first, second, -quanta - first - second):
                back.append((piece.operand, (i, j, part)))
    source.shuffle(back)
    sketch = _made(spec, pieces)
    for operand, one in back:
        sketch.apply([entries(spec, operand, [one])])
    fresh = new_sketch(spec)
    wanted = spec.query_operand
    if wanted is not None and wanted in sketch.arrays():
        fresh.apply([entries(spec, wanted, [])])
    assert to_snapshot(sketch) == to_snapshot(fresh)
    if spec.distribution.power is not None:
        queries = None
        if wanted not in (None, spec.fixed_operand, *sketch.arrays()):
            queries = np.ones((1, spec.d) if spec.d2 is None else (1, spec.d, spec.d2))
        [sample] = sketch.sample(3, queries=queries)
        assert sample.status == "empty"
        assert sample.index.size == 0
        [norm] = sketch.norm(queries=queries)
        assert norm.norm == 0.0


@every
@given(data=st.data())
def test_bytes_of_state_and_batches_come_back(name: str, data: st.DataObject) -> None:
    spec = SPECS[name]
    pieces = data.draw(_pieces(spec))
    batches = [piece.batch(spec) for piece in pieces]
    for batch in batches:
        again = decode(encode(batch))
        assert again.operand == batch.operand
        assert again.index.tolist() == batch.index.tolist()
        assert again.quanta.tolist() == batch.quanta.tolist()
        assert again.quanta.shape == batch.quanta.shape
        assert (again.column is None) == (batch.column is None)
        if batch.column is not None and again.column is not None:
            assert again.column.tolist() == batch.column.tolist()
        assert encode(again) == encode(batch)
    half = len(batches) // 2
    stored = from_snapshot(to_snapshot(sketch_of(spec, batches[:half])), spec)
    stored.apply([decode(encode(batch)) for batch in batches[half:]])
    assert to_snapshot(stored) == to_snapshot(sketch_of(spec, batches))


@every
@given(data=st.data())
def test_copies_are_independent(name: str, data: st.DataObject) -> None:
    spec = SPECS[name]
    sketch = _made(spec, data.draw(_pieces(spec)))
    before = to_snapshot(sketch)
    twin = sketch.copy()
    assert to_snapshot(twin) == before
    more = data.draw(_pieces(spec))
    twin.apply([piece.batch(spec) for piece in more])
    assert to_snapshot(sketch) == before
    after = to_snapshot(twin)
    sketch.apply([piece.batch(spec) for piece in more])
    assert to_snapshot(sketch) == after
    sketch.merge(twin, (spec.operands[0].name,))
    assert to_snapshot(twin) == after


@every
def test_a_sketch_merged_with_itself_is_twice_itself(name: str) -> None:
    spec = SPECS[name]
    operand = spec.operands[0].name
    one = Piece(operand, ((3, 0, 5), (spec.n - 1, 0, -7)))
    sketch = _made(spec, [one])
    sketch.merge(sketch, (operand,))
    assert to_snapshot(sketch) == _bytes(spec, [one, one])


def test_merging_takes_the_named_operands_alone() -> None:
    spec = SPECS["matrix p=2"]
    a, x = Piece("A", ((3, 0, 5),)), Piece("x", ((1, 0, 2),))
    only_a, only_x = _made(spec, []), _made(spec, [])
    only_a.merge(_made(spec, [a, x]))
    only_x.merge(_made(spec, [a, x]), ("x",))
    assert to_snapshot(only_a) == _bytes(spec, [a])
    assert to_snapshot(only_x) == _bytes(spec, [x])
    neither = _made(spec, [])
    neither.merge(_made(spec, [a]), ("x",))
    assert to_snapshot(neither) == to_snapshot(new_sketch(spec)), (
        "x is not made where there is none"
    )


def test_a_tensor_merges_one_operand_at_a_time() -> None:
    """Y is linear in each operand, not in all together: a merge of two would mean nothing."""
    spec = SPECS["tensor"]
    sketch, other = _made(spec, []), _made(spec, [Piece("A1", ((3, 0, 5),))])
    before = to_snapshot(sketch)
    for operands in (None, (), ("A1", "A2"), ("y",)):
        with pytest.raises(IncompatibleSketches):
            sketch.merge(other, operands)
        assert to_snapshot(sketch) == before
    sketch.merge(other, ("A1",))
    assert to_snapshot(sketch) == to_snapshot(other)
