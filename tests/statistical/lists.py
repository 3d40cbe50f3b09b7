"""Many independent lists of draws from one streamed vector, and the race that decided them.

One list a (seed, draw number) pair: sketches of consecutive seeds, each folding
`repetitions` lists at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from sketch_core.batch import Batch, Columns, quantise
from sketch_core.resolve import resolve
from sketch_core.results import Sample
from sketch_core.scaling import Race, quantum_exponent
from sketch_core.sketch import Sketch, new_sketch
from sketch_core.spec import Spec
from tests.statistical.laws import Truth
from tests.statistical.shapes import Shape, Stream

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: vector: y streams. query, fixed, streamed: A streams, and x comes with the
#: query, was fixed at creation, or streams too.
Mode = Literal["vector", "query", "fixed", "streamed"]

COLUMNS: Final = 4
#: Lists a sketch folds at once, where the vector is small.
REPETITIONS: Final = 64


@dataclass(frozen=True, slots=True)
class Setup:
    """What is streamed into what. sizes: spec fields that override the defaults."""

    shape: Shape
    power: float = 2.0
    mode: Mode = "vector"
    samples: int = 8
    repetitions: int = REPETITIONS
    sizes: Mapping[str, int] = field(default_factory=dict)

    def spec(self, n: int, seed: int, x: F64) -> Spec:
        """The spec of one sketch."""
        request: dict[str, Any] = {
            "kind": "vector" if self.mode == "vector" else "matrix",
            "shape": {"n": n} if self.mode == "vector" else {"n": n, "d": COLUMNS},
            "method": "sketch",
            "distribution": {"power": self.power},
            "samples": self.samples,
            "repetitions": self.repetitions,
            "seed": seed,
            **self.sizes,
        }
        if self.mode == "fixed":
            request["x"] = x.tolist()
        return resolve(request)


@dataclass(frozen=True, slots=True)
class Filled:
    """A sketch that has met a whole stream, and what to ask it with."""

    spec: Spec
    sketch: Sketch
    truth: Truth
    queries: F64 | None

    def sample(self, count: int, draw: int, *, replacement: bool = False) -> Sample:
        """One answer."""
        return self.sketch.sample(count, draw=draw, replacement=replacement, queries=self.queries)[
            0
        ]


def filled(setup: Setup, lists: int, seed: int) -> Iterator[Filled]:
    """Sketches that hold at least `lists` lists of one stream, seeds `seed`, `seed` + 1, …"""
    rng = np.random.default_rng(seed)
    stream = setup.shape(rng)
    x = rng.choice([-1.75, -1.0, -0.5, 0.625, 1.25, 2.0], COLUMNS)
    batches: list[Batch] | None = None
    truth: Truth | None = None
    for number in range(-(-lists // setup.repetitions)):
        spec = setup.spec(stream.n, seed + number, x)
        if batches is None or truth is None:
            columns = _columns(setup.mode, stream, x, rng)
            batches = [quantise(spec, item)[0] for item in columns]
            truth = _truth(spec, batches, x)
        sketch = new_sketch(spec)
        sketch.apply(batches)
        queries = x[None] if setup.mode == "query" else None
        yield Filled(spec, sketch, truth, queries)


def _columns(mode: Mode, stream: Stream, x: F64, rng: np.random.Generator) -> list[Columns]:
    if mode == "vector":
        return [Columns("y", index=index, delta=delta) for index, delta in stream.batches]
    # Row i of A is y_i times a direction g_i with g_i · x about 1: short dyadic
    # numbers, so that what cancels in y cancels in A, rounded increments and all.
    directions = rng.standard_normal((stream.n, COLUMNS))
    directions += np.outer(1.0 - directions @ x, x) / (x @ x)
    directions = np.rint(directions * 64.0) / 64.0
    out = [
        Columns("A", row=index, values=delta[:, None] * directions[index.astype(np.int64)])
        for index, delta in stream.batches
    ]
    if mode == "streamed":
        where = np.arange(COLUMNS, dtype=np.uint64)
        out.insert(1, Columns("x", index=where, delta=x - 3.0))
        out.append(Columns("x", index=where, delta=np.full(COLUMNS, 3.0)))
    return out


def _truth(spec: Spec, batches: list[Batch], x: F64) -> Truth:
    """The vector that rounded increments sum to."""
    main = [batch for batch in batches if batch.operand != "x"]
    index, place = np.unique(np.concatenate([batch.index for batch in main]), return_inverse=True)
    quanta = np.concatenate([batch.quanta for batch in main])
    sums = np.zeros((index.size, *quanta.shape[1:]), dtype=np.int64)
    np.add.at(sums, place, quanta)
    y = np.ldexp(sums.astype(np.float64), -spec.value_bits)
    if y.ndim == 2:
        y = y @ x
    return Truth(index[y != 0.0], y[y != 0.0])


class Arrivals:
    """One list's race over the whole vector: what a sketch of unlimited width would find.

    size: float64 (m,), |z| of every coordinate of the truth. order: int64 (c,), places of
    the `count` largest, in order. sigma: the standard deviation of a cell of the last
    level that holds everything else.
    """

    __slots__ = ("order", "sigma", "size")

    def __init__(self, spec: Spec, truth: Truth, draw: int, count: int) -> None:
        power = spec.distribution.power
        assert power is not None
        assert spec.sizes is not None
        race = Race(spec.seed, draw, power, spec.clip)
        # In quanta of the scales: the product of an integer and a float is rounded once.
        z = np.abs(truth.value) * race.scales(truth.index).astype(np.float64)
        count = min(count, z.size)
        among = np.flatnonzero(z >= np.partition(z, z.size - count)[z.size - count])
        order = np.lexsort((race.bits(truth.index[among]), -z[among]))
        self.order: I64 = among[order[:count]]
        self.size: F64 = np.ldexp(z, quantum_exponent(power))
        found = self.size[self.order]
        rest = max(float(self.size @ self.size) - float(found @ found), 0.0)
        self.sigma = math.sqrt(rest / spec.sizes.width)


def scaled_size(spec: Spec, sample: Sample) -> F64:
    """|z| of what a sample served, from its estimates of y."""
    power = spec.distribution.power
    assert power is not None
    race = Race(spec.seed, sample.draw, power, spec.clip)
    scales = np.ldexp(race.scales(sample.index).astype(np.float64), quantum_exponent(power))
    return np.asarray(np.abs(sample.value) * scales)


class Drawn:
    """What many lists brought, beside the races that decided them.

    Places are positions in the truth, -1 where nothing was served. K = samples.

    distinct: int64 (lists, K). independent: int64 (lists, wanted), draws with
    replacement. value, inclusion: float64 (lists, K). size, true_size: float64 (lists, K),
    |z| as served and as it is. raced: int64 (lists, K + 1), the race's own order;
    raced_size: float64, their |z|. sigma: float64 (lists,). threshold: float64 (lists,), τ.
    never: how many draws were of coordinates that are zero. whole: lists with status ok.
    """

    def __init__(self, setup: Setup, lists: int, seed: int, independent: int = 8) -> None:
        kept = setup.samples
        self.setup = setup
        self.distinct: I64 = np.full((lists, kept), -1, dtype=np.int64)
        self.independent: I64 = np.full((lists, independent), -1, dtype=np.int64)
        self.inclusion: F64 = np.ones((lists, kept))
        self.value: F64 = np.zeros((lists, kept))
        self.size: F64 = np.zeros((lists, kept))
        self.true_size: F64 = np.zeros((lists, kept))
        self.raced: I64 = np.full((lists, kept + 1), -1, dtype=np.int64)
        self.raced_size: F64 = np.zeros((lists, kept + 1))
        self.sigma: F64 = np.zeros(lists)
        self.threshold: F64 = np.zeros(lists)
        self.never = 0
        self.whole = 0
        row = 0
        for item in filled(setup, lists, seed):
            self.truth, self.spec = item.truth, item.spec
            for number in range(min(setup.repetitions, lists - row)):
                self._list(item, number, row)
                row += 1

    def _list(self, item: Filled, number: int, row: int) -> None:
        kept = self.setup.samples
        sample = item.sample(kept, number)
        got = sample.index.size
        place = item.truth.positions(sample.index)
        race = Arrivals(item.spec, item.truth, number, kept + 1)
        assert sample.inclusion_probability is not None
        self.distinct[row, :got] = place
        self.inclusion[row, :got] = sample.inclusion_probability
        self.value[row, :got] = sample.value
        self.size[row, :got] = scaled_size(item.spec, sample)
        self.true_size[row, :got] = np.where(place >= 0, race.size[place], 0.0)
        self.raced[row, : race.order.size] = race.order
        self.raced_size[row, : race.order.size] = race.size[race.order]
        self.sigma[row] = race.sigma
        self.threshold[row] = sample.threshold
        self.never += int((place < 0).sum())
        self.whole += sample.status == "ok"
        if self.independent.shape[1]:
            again = item.sample(self.independent.shape[1], number, replacement=True)
            place = item.truth.positions(again.index)
            self.independent[row, : place.size] = place
            self.never += int((place < 0).sum())

    @property
    def lists(self) -> int:
        """How many lists were asked for."""
        return int(self.distinct.shape[0])

    @property
    def first(self) -> I64:
        """First draws of the lists that served any."""
        first = self.distinct[:, 0]
        return first[first >= 0]

    @property
    def failed(self) -> int:
        """How many lists served nothing."""
        return self.lists - int(self.first.size)

    @property
    def draws(self) -> int:
        """Everything that was drawn, with and without replacement."""
        return int((self.distinct >= 0).sum() + (self.independent >= 0).sum()) + self.never
