"""Tensor products that are streamed, many lists of pairs from each, and Y itself beside them.

Rows of A1 and A2 that were touched are few, so Y over them is formed; the modes may be
2^40 each. Sketches of consecutive seeds each hold `REPETITIONS` lists of `samples` pairs.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from sketch_core.batch import Columns, quantise
from sketch_core.resolve import resolve
from sketch_core.sketch import Sketch, new_sketch
from sketch_core.spec import Spec
from tests.statistical import decisions
from tests.statistical.laws import Law, Truth

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

Mode = Literal["query", "fixed", "streamed"]
Rows = tuple[U64, F64]

#: Lists a sketch folds at once.
REPETITIONS: Final = 64
#: Total variation of pairs that a case of each grid reveals.
SHORT_SHIFT: Final = 0.06
LONG_SHIFT: Final = 0.03
#: For modes of 2^40, which take long to decode.
HEAVY_SHIFT: Final = 0.11


@dataclass(frozen=True, slots=True)
class TensorStream:
    """Batches of whole rows of A1 and A2, and X, float64 (d1, d2)."""

    n1: int
    n2: int
    first: Sequence[Rows]
    second: Sequence[Rows]
    x: F64


Shape = Callable[[np.random.Generator], TensorStream]


def _all(rows: F64) -> list[Rows]:
    return [(np.arange(len(rows), dtype=np.uint64), rows)]


def _of(n1: int, n2: int, d1: int, d2: int) -> Callable[..., TensorStream]:
    """Normal A1, A2 and X, each of which a shape may replace."""

    def make(
        rng: np.random.Generator,
        *,
        first: F64 | None = None,
        second: F64 | None = None,
        x: F64 | None = None,
    ) -> TensorStream:
        first = rng.standard_normal((n1, d1)) if first is None else first
        second = rng.standard_normal((n2, d2)) if second is None else second
        x = rng.standard_normal((d1, d2)) if x is None else x
        return TensorStream(n1, n2, _all(first), _all(second), x)

    return make


def gaussian(rng: np.random.Generator) -> TensorStream:
    return _of(300, 200, 4, 3)(rng)


def one_heavy_row(rng: np.random.Generator) -> TensorStream:
    """A row of Y with nearly half of the energy."""
    first = rng.standard_normal((300, 4))
    first[17] *= 17.0
    return _of(300, 200, 4, 3)(rng, first=first)


def heavy_pairs_in_light_rows(rng: np.random.Generator) -> TensorStream:
    """Rows weigh alike, and each has most of its weight in one of four columns."""
    kinds = rng.integers(0, 4, 300)
    first = np.eye(4)[kinds] + 0.02 * rng.standard_normal((300, 4))
    second = 0.05 * rng.standard_normal((200, 4))
    second[[3, 50, 120, 199]] = np.eye(4)
    return _of(300, 200, 4, 4)(rng, first=first, second=second, x=np.eye(4))


def low_rank(rng: np.random.Generator) -> TensorStream:
    """X = u vᵀ: all rows of Y are multiples of one."""
    x = np.outer(rng.standard_normal(4), rng.standard_normal(3))
    return _of(300, 200, 4, 3)(rng, x=x)


def kronecker(rng: np.random.Generator) -> TensorStream:
    """X is itself a Kronecker product, of rank 2."""
    x = np.kron(rng.standard_normal((2, 1)), rng.standard_normal((2, 3)))
    return _of(250, 250, 4, 3)(rng, x=x)


def spiky_and_flat(rng: np.random.Generator) -> TensorStream:
    """Two rows of equal energy: of one column, and of 199. The second stage finds either alike."""
    second = np.zeros((200, 2))
    second[0, 0] = 1.0
    second[1:, 1] = rng.choice([-1.0, 1.0], 199) / np.sqrt(199.0)
    return _of(2, 200, 2, 2)(rng, first=np.eye(2), second=second, x=np.eye(2))


def blocks(rng: np.random.Generator) -> TensorStream:
    """Y[i1, i2] is zero unless i1 = i2 modulo 4: three quarters of all pairs."""
    first = np.eye(4)[np.arange(300) % 4] * rng.uniform(0.5, 2.0, (300, 1))
    second = np.eye(4)[np.arange(200) % 4] * rng.uniform(0.5, 2.0, (200, 1))
    return _of(300, 200, 4, 4)(rng, first=first, second=second, x=np.eye(4))


def _cancelled(count: int, n: int, d: int, rng: np.random.Generator) -> list[Rows]:
    """`count` rows that stay among as many that are taken back in two pieces."""
    index = np.unique(rng.integers(0, n, 3 * count, dtype=np.uint64))
    index = rng.permutation(index)[: 2 * count]
    rows = rng.standard_normal((index.size, d))
    gone, values = index[:count], np.rint(rows[:count] * 4096.0) / 4096.0
    part = np.rint(values * 1024.0) / 1024.0
    return [(index, np.concatenate([values, rows[count:]])), (gone, part - values), (gone, -part)]


def half_cancelled(rng: np.random.Generator) -> TensorStream:
    """Rows of both operands, half of them cancelled, anywhere in 2^40 by 2^40."""
    n = 1 << 40
    first, second = _cancelled(200, n, 3, rng), _cancelled(150, n, 4, rng)
    return TensorStream(n, n, first, second, rng.standard_normal((3, 4)))


@dataclass(frozen=True, eq=False)
class Case:
    """shift: the smallest total variation of pairs to be caught."""

    name: str
    shape: Shape
    mode: Mode = "query"
    samples: int = 8
    shift: float = SHORT_SHIFT
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def lists(self) -> int:
        """Lists that bring as many pairs as reveal the shift."""
        return -(-decisions.draws_needed(self.shift) // self.samples)

    def seed(self, base: int) -> int:
        """A seed of this case's own."""
        digest = hashlib.sha256(f"{base}/tensor/{self.name}".encode()).digest()
        return int.from_bytes(digest[:6], "little")


SHORT: Final = [
    Case("gaussian", gaussian),
    Case("one heavy row", one_heavy_row, "fixed"),
    Case("heavy pairs in light rows", heavy_pairs_in_light_rows),
    Case("low rank", low_rank, "streamed"),
    Case("Kronecker X", kronecker, "fixed"),
    Case("blocks", blocks),
    Case("a spiky and a flat row", spiky_and_flat),
    Case("half cancelled in 2^40", half_cancelled, "streamed", shift=HEAVY_SHIFT),
]
#: Ways to ask that the long grid goes through, with the pairs a list has.
LONG_WAYS: Final[list[tuple[Mode, int]]] = [("query", 16), ("streamed", 1)]
LONG: Final = [
    Case(f"{case.name}, {mode}, {samples} (long)", case.shape, mode, samples, LONG_SHIFT)
    for case in SHORT
    for mode, samples in LONG_WAYS
]


class DrawnPairs:
    """Pairs of many lists, as places in the truth: -1 where Y is zero, -2 where none was served.

    drawn: int64 (lists, samples). raced: the same of the exact method with the same seeds.
    statuses: how many lists ended how. truth: Y's nonzero coordinates, by i1 · m2 + i2 over
    the m1 · m2 touched rows of the operands.
    """

    def __init__(self, case: Case, lists: int, seed: int, *, paired: bool = True) -> None:
        rng = np.random.default_rng(seed)
        stream = case.shape(rng)
        self.case = case
        self.drawn: I64 = np.full((lists, case.samples), -2, dtype=np.int64)
        self.raced: I64 = self.drawn.copy()
        self.value: F64 = np.zeros(self.drawn.shape)
        self.norm: F64 = np.zeros(lists)
        self.statuses: dict[str, int] = {}
        repetitions = min(REPETITIONS, lists)
        row = 0
        for number in range(-(-lists // repetitions)):
            spec = _spec(case, stream, "sketch", seed + number, repetitions)
            sketch = streamed(spec, stream, case.mode)
            if number == 0:
                self._form(spec, stream)
            exact = None
            if paired and max(stream.n1, stream.n2) <= 1 << 12:
                spec = _spec(case, stream, "exact", seed + number, repetitions)
                exact = streamed(spec, stream, case.mode)
            queries = stream.x[None] if case.mode == "query" else None
            for draw in range(min(repetitions, lists - row)):
                self._list(sketch, exact, draw, row, queries)
                row += 1

    def _form(self, spec: Spec, stream: TensorStream) -> None:
        """Y of the increments as they were rounded, over the touched rows."""
        self.rows, first = _sum(spec, "A1", stream.first)
        self.columns, second = _sum(spec, "A2", stream.second)
        fixed = spec.fixed_matrix()
        x = stream.x if fixed is None else fixed
        if self.case.mode == "streamed":
            x = np.ldexp(np.rint(np.ldexp(x, spec.quantum_bits)), -spec.quantum_bits)
        self.y = first @ x @ second.T
        self.y[np.abs(self.y) <= 1e-12 * np.abs(self.y).max()] = 0.0
        flat = self.y.reshape(-1)
        index = np.flatnonzero(flat)
        self.truth = Truth(index.astype(np.uint64), flat[index])

    def places(self, pairs: U64) -> I64:
        """Places in the truth of pairs, uint64 (m, 2)."""
        found = []
        for known, asked in ((self.rows, pairs[:, 0]), (self.columns, pairs[:, 1])):
            at = np.minimum(np.searchsorted(known, asked), known.size - 1)
            found.append(np.where(known[at] == asked, at, -1))
        i1, i2 = found
        flat = (i1 * self.columns.size + i2).astype(np.uint64)
        return np.where((i1 < 0) | (i2 < 0), -1, self.truth.positions(flat))

    def _list(
        self, sketch: Sketch, exact: Sketch | None, draw: int, row: int, queries: F64 | None
    ) -> None:
        [sample] = sketch.sample(self.case.samples, draw=draw, queries=queries)
        self.statuses[sample.status] = self.statuses.get(sample.status, 0) + 1
        got = sample.value.size
        self.drawn[row, :got] = self.places(sample.index)
        self.value[row, :got] = sample.value
        self.norm[row] = sample.norm
        if exact is not None:
            [known] = exact.sample(self.case.samples, draw=draw, queries=queries)
            self.raced[row] = self.places(known.index)

    @functools.cached_property
    def law(self) -> Law:
        """The exact law of a pair."""
        return Law(self.truth, 2.0)

    @property
    def served(self) -> I64:
        """Places of all pairs that were served and are not zero."""
        flat = self.drawn.reshape(-1)
        return flat[flat >= 0]

    @property
    def zeros(self) -> int:
        """How many pairs were served at which Y is zero."""
        return int((self.drawn == -1).sum())


def _spec(case: Case, stream: TensorStream, method: str, seed: int, repetitions: int) -> Spec:
    request: dict[str, Any] = {
        "kind": "tensor",
        "shape": {
            "n1": stream.n1, "n2": stream.n2, "d1": stream.x.shape[0], "d2": stream.x.shape[1]
        },
        "method": method,
        "samples": case.samples,
        "repetitions": repetitions,
        "seed": seed,
        **(case.sizes if method == "sketch" else {}),
    }  # fmt: skip
    if case.mode == "fixed":
        request["X"] = stream.x.tolist()
    return resolve(request)


def _batches(stream: TensorStream, mode: Mode) -> Iterator[Columns]:
    for operand, batches in (("A1", stream.first), ("A2", stream.second)):
        for row, values in batches:
            yield Columns(operand, row=row, values=values)
    if mode == "streamed":
        where = np.arange(stream.x.shape[0], dtype=np.uint64)
        yield Columns("X", row=where, values=stream.x - 2.0)
        yield Columns("X", row=where, values=np.full_like(stream.x, 2.0))


def streamed(spec: Spec, stream: TensorStream, mode: Mode) -> Sketch:
    """A sketch that has met a whole stream."""
    sketch = new_sketch(spec)
    sketch.apply([quantise(spec, columns)[0] for columns in _batches(stream, mode)])
    return sketch


def _sum(spec: Spec, operand: str, batches: Sequence[Rows]) -> tuple[U64, F64]:
    """The touched rows of an operand that are not zero, sorted, after rounding."""
    parts = [quantise(spec, Columns(operand, row=row, values=v))[0] for row, v in batches]
    index, place = np.unique(np.concatenate([part.index for part in parts]), return_inverse=True)
    sums = np.zeros((index.size, parts[0].quanta.shape[1]), dtype=np.int64)
    np.add.at(sums, place, np.concatenate([part.quanta for part in parts]))
    alive = sums.any(axis=1)
    return index[alive], np.ldexp(sums[alive].astype(np.float64), -spec.quantum_bits)


@functools.lru_cache(maxsize=2)
def drawn(case: Case, base_seed: int) -> DrawnPairs:
    """The pairs of a case; kept for the tests that follow one another."""
    return DrawnPairs(case, case.lists, case.seed(base_seed))
