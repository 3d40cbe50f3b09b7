"""Answers whose truth is known exactly, refusals, and floats that stay finite."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sketch_core.errors import DrawsExhausted, InvalidQuery
from sketch_core.results import Estimates, Norm, Sample
from sketch_core.sketch import Sketch, new_sketch
from sketch_core.spec import Spec
from tests.sketch_core.streams import row_batch, sketch_of, spec_of, vector_batch, x_batch

F64 = npt.NDArray[np.float64]
POWERS = [1.0, 1.5, 2.0]
both = pytest.mark.parametrize("method", ["sketch", "exact"])
every_power = pytest.mark.parametrize("power", POWERS)


def _vector(values: dict[int, float], **fields: Any) -> Sketch:
    spec = spec_of(**{"n": 1000, "samples": 8, **fields})
    return sketch_of(spec, [vector_batch(spec, values)])


def _x(*values: float) -> F64:
    return np.array([values], dtype=np.float64)


def _floats(answer: Sample | Estimates | Norm) -> list[float]:
    """Every float in an answer, but the logarithm of a threshold of zero."""
    fields = [
        getattr(answer, name)
        for name in answer.__dataclass_fields__
        if not (name == "threshold" and getattr(answer, name) == -math.inf)
    ]
    found: list[float] = []
    for field in fields:
        if isinstance(field, np.ndarray) and field.dtype == np.float64:
            found += field.tolist()
        elif isinstance(field, float):
            found.append(field)
    return found


def _complete(sample: Sample, values: dict[int, float], power: float) -> None:
    """That a sample lists every coordinate there is, exactly."""
    assert sample.status == "partial"
    assert dict(zip(sample.index.tolist(), sample.value.tolist(), strict=True)) == values
    assert sample.threshold == 0.0
    assert sample.inclusion_probability is not None
    assert sample.inclusion_probability.tolist() == [1.0] * len(values)
    total = sum(abs(value) ** power for value in values.values())
    if power != 2.0:
        # The list's own total; for p = 2 the norm is the unscaled sketch's estimate.
        assert sample.norm == pytest.approx(total ** (1.0 / power), rel=1e-12)
        for i, chance in zip(sample.index.tolist(), sample.probability.tolist(), strict=True):
            assert chance == pytest.approx(abs(values[i]) ** power / total, rel=1e-12)


# ---- nothing, one, few


@both
@every_power
@pytest.mark.parametrize("replacement", [False, True])
def test_nothing_is_empty(method: str, power: float, replacement: bool) -> None:
    for sketch in (
        new_sketch(spec_of(n=1000, method=method, power=power)),
        _vector({3: 0.0}, method=method, power=power),
        _vector({5: 1.5, 9: -1.5}, method=method, power=power),
    ):
        if sketch.sample(1)[0].status != "empty":
            sketch.apply([vector_batch(sketch.spec, {5: -1.5, 9: 1.5})])
        [sample] = sketch.sample(4, replacement=replacement)
        assert sample.status == "empty"
        assert sample.index.size == sample.value.size == sample.probability.size == 0
        assert (sample.inclusion_probability is None) == replacement
        assert sample.norm == sample.threshold == 0.0
        [norm] = sketch.norm()
        assert (norm.norm, norm.standard_error) == (0.0, 0.0)
        [estimates] = sketch.estimate(np.array([0, 999], np.uint64))
        assert estimates.value.tolist() == estimates.standard_error.tolist() == [0.0, 0.0]


@both
@every_power
def test_a_vector_of_one(method: str, power: float) -> None:
    sketch = _vector({0: -2.5}, n=1, method=method, power=power)
    _complete(sketch.sample(3)[0], {0: -2.5}, power)
    [once] = sketch.sample(1)
    assert once.status == "ok"
    assert once.index.tolist() == [0]
    [often] = sketch.sample(50, replacement=True)
    assert often.status == "ok"
    assert often.index.tolist() == [0] * 50
    assert often.inclusion_probability is None
    assert sketch.norm()[0].norm == pytest.approx(2.5, rel=1e-12)
    assert sketch.estimate(np.array([0], np.uint64))[0].value.tolist() == [-2.5]


@every_power
@pytest.mark.parametrize("n", [1000, 70_001, (1 << 40) + 1, 1 << 63])
def test_the_ends_of_any_n_are_drawn(n: int, power: float) -> None:
    """Coordinates 0, n - 1 and one between, n a power of two or not, up to 2^63 - 1 itself."""
    values = {0: 3.0, n // 2: -1.0, n - 1: 2.0}
    sketch = _vector(values, n=n, method="sketch", power=power)
    _complete(sketch.sample(8)[0], values, power)
    index = np.array(list(values), np.uint64)
    assert sketch.estimate(index)[0].value.tolist() == list(values.values())


@both
@every_power
def test_fewer_coordinates_than_asked_for(method: str, power: float) -> None:
    values = {i * 37 % 1000: float((-1) ** i * (1 + i)) for i in range(6)}
    sketch = _vector(values, method=method, power=power)
    _complete(sketch.sample(7)[0], values, power)
    [all_of_them] = sketch.sample(6)
    assert all_of_them.status == "ok"
    assert all_of_them.threshold == 0.0
    assert set(all_of_them.index.tolist()) == set(values)
    [most] = sketch.sample(5)
    assert most.status == "ok"
    assert most.index.tolist() == all_of_them.index.tolist()[:5]
    assert most.threshold > 0.0
    assert most.inclusion_probability is not None
    assert ((most.inclusion_probability > 0.0) & (most.inclusion_probability <= 1.0)).all()
    [many] = sketch.sample(200, replacement=True)
    assert many.status == "ok"
    assert set(many.index.tolist()) <= set(values)


@both
@every_power
def test_the_threshold_is_the_scaled_size_of_the_next(method: str, power: float) -> None:
    """τ as the definition has it, and π from it."""
    from sketch_core.scaling import Race, scales_as_float

    values = {i: float(1 + i) for i in range(9)}
    sketch = _vector(values, method=method, power=power)
    spec = sketch.spec
    race = Race(spec.seed, 0, power, spec.clip)
    z = np.arange(1.0, 10.0) * scales_as_float(race.scales(np.arange(9, dtype=np.uint64)), power)
    order = np.argsort(-z)
    [sample] = sketch.sample(4)
    assert sample.index.tolist() == order[:4].tolist()
    assert sample.threshold == pytest.approx(z[order[4]], rel=1e-12)
    known = 1.0 - np.exp(-((np.arange(1.0, 10.0)[order[:4]] / z[order[4]]) ** power))
    assert sample.inclusion_probability == pytest.approx(known, rel=1e-9)


# ---- spikes


@every_power
def test_a_spike_hides_nothing(power: float) -> None:
    """10^12 times the rest: the rest is found, and exactly."""
    values = {4321: 1.0e12, **{i * 101: float(1 + i) for i in range(7)}}
    sketch = _vector(values, n=1 << 16, samples=16, power=power, method="sketch", quantum_bits=0)
    assert sketch.exact
    [sample] = sketch.sample(16)
    _complete(sample, values, power)


@both
@every_power
def test_a_spike_is_drawn_again_and_again(method: str, power: float) -> None:
    values = {4321: 2.0**40, 17: 1.0}
    sketch = _vector(values, n=1 << 16, power=power, method=method, quantum_bits=0)
    [sample] = sketch.sample(500, replacement=True)
    assert sample.status == "ok"
    assert sample.index.tolist() == [4321] * 500


@every_power
def test_two_equal_spikes_are_both_found(power: float) -> None:
    """Beside 500 small ones; in the first two places, in the order of their exponentials."""
    source = np.random.default_rng(1)
    values = {int(i): float(source.normal()) for i in source.choice(60_000, 500, replace=False)}
    values |= {60_001: 1e5, 60_002: -1e5}
    fields: dict[str, Any] = {"n": 1 << 16, "power": power, "repetitions": 5, "quantum_bits": 4}
    sketch = _vector(values, method="sketch", **fields)
    exact = _vector(values, method="exact", **fields)
    for draw in range(5):
        [ours], [known] = sketch.sample(2, draw=draw), exact.sample(2, draw=draw)
        assert ours.index.tolist() == known.index.tolist()
        assert set(ours.index.tolist()) == {60_001, 60_002}
        assert ours.value == pytest.approx(known.value, rel=1e-3)


@both
def test_equal_coordinates_are_ordered_by_their_exponentials(method: str) -> None:
    """Of equal |y| the smaller exponential comes first, that is the smaller hash word or scale."""
    from sketch_core.scaling import Race

    values = {i: (-1.0) ** i for i in range(40)}
    sketch = _vector(values, method=method, samples=64)
    race = Race(sketch.spec.seed, 0, 2.0, sketch.spec.clip)
    coordinates = np.arange(40, dtype=np.uint64)
    known = np.lexsort((race.bits(coordinates), -race.scales(coordinates)))
    [sample] = sketch.sample(40)
    assert sample.index.tolist() == known.tolist()


@both
@every_power
def test_equal_scaled_sizes_are_ordered_by_hash_words(method: str, power: float) -> None:
    """Coordinates whose rounded scales are equal too: the smaller word comes first."""
    from sketch_core.scaling import Race

    n = 1 << 15
    spec = spec_of(n=n, method=method, power=power, samples=64)
    race = Race(spec.seed, 0, power, spec.clip)
    coordinates = np.arange(n, dtype=np.uint64)
    scales, counts = np.unique(race.scales(coordinates), return_counts=True)
    tied = coordinates[race.scales(coordinates) == scales[np.argmax(counts)]][:20]
    assert tied.size == 20
    sketch = sketch_of(spec, [vector_batch(spec, {int(i): (-1.0) ** int(i) for i in tied})])
    [sample] = sketch.sample(20)
    assert sample.index.tolist() == tied[np.argsort(race.bits(tied))].tolist()


# ---- matrices


def _matrix(method: str, rows: Mapping[int, Sequence[float]], d: int, **fields: Any) -> Sketch:
    spec = spec_of("matrix", **{"n": 1000, "d": d, "method": method, "samples": 8, **fields})
    return sketch_of(spec, [row_batch(spec, rows)])


def _same(left: Sample, right: Sample, rel: float) -> None:
    assert left.status == right.status
    assert left.index.tolist() == right.index.tolist()
    for name in ("value", "probability", "inclusion_probability", "norm", "threshold"):
        ours, known = getattr(left, name), getattr(right, name)
        if known is None:
            assert ours is None
        else:
            assert ours == pytest.approx(known, rel=rel, abs=1e-300), name


ROWS: dict[int, Sequence[float]] = {
    0: (1.0, 2.0, -1.0), 5: (0.5, 0.25, 4.0), 77: (-3.0, 1.0, 1.0), 999: (8.0, -8.0, 0.125),
    400: (0.0, 1.0, 0.0), 401: (1.0, 1.0, 1.0),
}  # fmt: skip


@both
@every_power
@pytest.mark.parametrize("replacement", [False, True])
def test_a_matrix_of_one_column_is_a_vector(method: str, power: float, replacement: bool) -> None:
    values = {i * 13: float(1 + i) for i in range(20)}
    fields: dict[str, Any] = {"method": method, "power": power, "quantum_bits": 10}
    vector = _vector(values, **fields)
    matrix = _matrix(rows={i: (v,) for i, v in values.items()}, d=1, **fields)
    for count in (1, 4, 19, 20, 25):
        [known] = vector.sample(count, replacement=replacement)
        [ours] = matrix.sample(count, replacement=replacement, queries=_x(1.0))
        _same(ours, known, 1e-12)
    index = np.arange(0, 300, 7, dtype=np.uint64)
    assert (
        matrix.estimate(index, queries=_x(1.0))[0].value.tolist()
        == vector.estimate(index)[0].value.tolist()
    )
    assert matrix.norm(queries=_x(1.0))[0].norm == pytest.approx(vector.norm()[0].norm, rel=1e-12)


@both
@every_power
@pytest.mark.parametrize("replacement", [False, True])
def test_three_ways_of_giving_x_agree(method: str, power: float, replacement: bool) -> None:
    """With the query, streamed, and fixed at creation."""
    x = (1.5, -0.25, 3.0)
    fields: dict[str, Any] = {"method": method, "power": power, "quantum_bits": 10}
    given_ = _matrix(rows=ROWS, d=3, **fields)
    streamed = _matrix(rows=ROWS, d=3, **fields)
    streamed.apply([x_batch(streamed.spec, x)])
    fixed = _matrix(rows=ROWS, d=3, x=x, **fields)
    for count in (1, 3, 6, 9):
        [one] = given_.sample(count, replacement=replacement, queries=_x(*x))
        [two] = streamed.sample(count, replacement=replacement)
        [three] = fixed.sample(count, replacement=replacement)
        _same(one, two, 1e-12)
        _same(one, three, 1e-9)
    index = np.arange(1000, dtype=np.uint64)
    assert given_.estimate(index, queries=_x(*x))[0].value == pytest.approx(
        fixed.estimate(index)[0].value, abs=1e-9
    )


@both
@every_power
def test_many_queries_are_answered_like_each_alone(method: str, power: float) -> None:
    matrix = _matrix(method, ROWS, 3, power=power)
    queries = np.array(
        [(1, 0, 0), (0, 0, 0), (0.1, 0.2, -0.3), (-2, 1, 5), (1, 1, -1), (1e-3, 1e3, 0)], float
    )
    index = np.arange(1000, dtype=np.uint64)
    for replacement in (False, True):
        together = matrix.sample(4, replacement=replacement, queries=queries)
        assert len(together) == len(queries)
        for at, ours in enumerate(together):
            [alone] = matrix.sample(4, replacement=replacement, queries=queries[at : at + 1])
            _same(ours, alone, 1e-9)
    estimates = matrix.estimate(index, queries=queries)
    norms = matrix.norm(queries=queries)
    for at in range(len(queries)):
        [alone_there] = matrix.estimate(index, queries=queries[at : at + 1])
        assert estimates[at].value == pytest.approx(alone_there.value, abs=1e-9)
        [norm] = matrix.norm(queries=queries[at : at + 1])
        assert norms[at].norm == pytest.approx(norm.norm, rel=1e-9)
    assert matrix.sample(4, queries=np.empty((0, 3))) == []
    assert together[1].status == "empty"


@both
@every_power
@pytest.mark.parametrize("x", [(0.1, 0.2, -0.3), (0.0, 0.0, 0.0), (1.0, -1.0, 0.0), (1e-9, 1, -1)])
def test_a_query_orthogonal_to_every_row_is_empty(
    method: str, power: float, x: tuple[float, ...]
) -> None:
    """Rows along (1, 1, 1): floating point leaves noise of 10^-17 that must not be drawn."""
    if sum(x) > 1e-12:
        x = (x[0], x[1], -x[0] - x[1])
    rows = {i: (float(1 + i),) * 3 for i in range(0, 1000, 3)}
    matrix = _matrix(method, rows, 3, power=power)
    for replacement in (False, True):
        [sample] = matrix.sample(8, replacement=replacement, queries=_x(*x))
        assert sample.status == "empty"
        assert sample.index.size == 0
        assert sample.norm == 0.0
    [norm] = matrix.norm(queries=_x(*x))
    assert norm.norm == 0.0


@both
def test_a_matrix_answers_for_the_state_it_has(method: str) -> None:
    """What is remembered between queries is forgotten at every change: apply, merge, copy."""
    matrix = _matrix(method, {1: (1e-3, 0.0)}, 2)
    assert matrix.sample(1, queries=_x(1, 0))[0].index.tolist() == [1]
    assert matrix.norm(queries=_x(1, 0))[0].norm == pytest.approx(1e-3, rel=1e-3)
    matrix.apply([row_batch(matrix.spec, {7: (1e6, 0.0)})])
    fresh = _matrix(method, {1: (1e-3, 0.0), 7: (1e6, 0.0)}, 2)
    _same(matrix.sample(3, queries=_x(1, 0))[0], fresh.sample(3, queries=_x(1, 0))[0], 0.0)
    matrix.apply([row_batch(matrix.spec, {7: (-1e6, 0.0)})])
    twin = matrix.copy()
    assert matrix.sample(3, queries=_x(1, 0))[0].index.tolist() == [1]
    twin.merge(_matrix(method, {9: (1e6, 0.0)}, 2))
    assert twin.sample(1, queries=_x(1, 0))[0].index.tolist() == [9]
    merged = _matrix(method, {1: (1e-3, 0.0), 9: (1e6, 0.0)}, 2)
    _same(twin.sample(3, queries=_x(1, 0))[0], merged.sample(3, queries=_x(1, 0))[0], 0.0)
    assert matrix.sample(3, queries=_x(1, 0))[0].index.tolist() == [1]


@both
def test_rounding_errors_are_judged_by_the_cells_there_are(method: str) -> None:
    """What a query takes for zero grows and shrinks with the cells, by apply and by merge."""
    x = _x(0.1, 0.2, -0.3)
    fields: dict[str, Any] = {"d": 3, "quantum_bits": 0, "method": method}
    large = {i: (float(i) * 2.0**20,) * 3 for i in range(1, 300, 3)}
    grown = _matrix(rows={0: (1.0, 1.0, 1.0)}, **fields)
    assert grown.sample(1, queries=x)[0].status == "empty"
    twin = grown.copy()
    grown.apply([row_batch(grown.spec, large)])
    twin.merge(_matrix(rows=large, **fields))
    for matrix in (grown, twin):
        assert matrix.sample(1, queries=x)[0].status == "empty"
        assert matrix.norm(queries=x)[0].norm == 0.0
        matrix.apply([row_batch(matrix.spec, {i: [-v for v in row] for i, row in large.items()})])
        matrix.apply([row_batch(matrix.spec, {7: (1.0, 0.0, 0.0)})])
        # 2^-50 of the rows that are gone, but all there is.
        tiny = _x(2.0**-40, 0.0, 0.0)
        assert matrix.sample(1, queries=tiny)[0].status == "ok"
        near = _x(1.0, -1.0 + 2.0**-45, 0.0)
        [sample] = matrix.sample(2, queries=near)
        assert set(sample.index.tolist()) == {0, 7}


# ---- refusals


@both
def test_mixing_up_where_x_comes_from_is_refused(method: str) -> None:
    x = _x(1.0, 2.0)
    vector = _vector({1: 1.0}, method=method)
    fixed = _matrix(method, {1: (1.0, 1.0)}, 2, x=[1.0, 2.0])
    streamed = _matrix(method, {1: (1.0, 1.0)}, 2)
    streamed.apply([x_batch(streamed.spec, [1.0, 2.0])])
    given_ = _matrix(method, {1: (1.0, 1.0)}, 2)
    index = np.array([1], np.uint64)
    for sketch, queries in (
        (vector, x), (fixed, x), (streamed, x), (given_, None), (given_, _x(1.0)),
        (given_, _x(1, 2, 3)), (given_, np.array([1.0, 2.0])), (given_, _x(1.0, np.nan)),
        (given_, _x(np.inf, 1.0)), (given_, _x(1.0, 1e300)),
    ):  # fmt: skip
        asked: list[Callable[[], object]] = [
            functools.partial(sketch.sample, 1, queries=queries),
            functools.partial(sketch.estimate, index, queries=queries),
            functools.partial(sketch.norm, queries=queries),
        ]
        for ask in asked:
            with pytest.raises(InvalidQuery) as caught:
                ask()
            assert caught.value.pointer == "/x"


def test_a_sketch_holds_as_many_lists_as_repetitions() -> None:
    sketch = _vector(dict.fromkeys(range(50), 1.0), method="sketch", repetitions=3)
    lists = [sketch.sample(8, draw=draw)[0] for draw in range(3)]
    assert [one.draw for one in lists] == [0, 1, 2]
    assert len({tuple(one.index.tolist()) for one in lists}) == 3
    _same(sketch.sample(8, draw=1)[0], lists[1], 0.0)
    for draw in (3, 4, 1 << 40):
        with pytest.raises(DrawsExhausted, match="3 independent lists") as caught:
            sketch.sample(1, draw=draw)
        assert caught.value.pointer == "/draw"


def test_the_exact_method_serves_any_draw() -> None:
    exact = _vector(dict.fromkeys(range(50), 1.0), method="exact", repetitions=1)
    lists = {tuple(exact.sample(8, draw=d)[0].index.tolist()) for d in (0, 1, 7, 1 << 20, 1 << 40)}
    assert len(lists) == 5


@both
def test_impossible_requests_are_refused(method: str) -> None:
    sketch = _vector({1: 1.0}, method=method)
    for count, draw, pointer in ((0, 0, "/count"), (-1, 0, "/count"), (1, -1, "/draw")):
        with pytest.raises(InvalidQuery) as caught:
            sketch.sample(count, draw=draw)
        assert caught.value.pointer == pointer
    with pytest.raises(InvalidQuery) as caught:
        sketch.estimate(np.array([0, 999, 1000], np.uint64))
    assert caught.value.pointer == "/index/2"
    for power in (0.0, -1.0, math.nan, math.inf, 1.5 if method == "sketch" else -5e-324):
        with pytest.raises(InvalidQuery) as caught:
            sketch.norm(power)
        assert caught.value.pointer == "/power"


# ---- the exact method against numpy


@given(
    values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30),
    power=st.sampled_from([0.125, 0.5, 1.0, 1.5, 2.0, 3.0, 64.0]),
)
def test_exact_norms_and_estimates_are_numpys(values: list[float], power: float) -> None:
    spec = spec_of(n=len(values), method="exact", power=power, quantum_bits=20)
    sketch = sketch_of(spec, [vector_batch(spec, values)])
    y = np.rint(np.array(values) * 2.0**20) / 2.0**20
    index = np.arange(len(values), dtype=np.uint64)
    assert sketch.estimate(index)[0].value.tolist() == y.tolist()
    assert sketch.estimate(index)[0].standard_error.tolist() == [0.0] * len(values)
    for wanted in (None, 0.125, 0.5, 1.0, 2.0, 7.5):
        p = power if wanted is None else wanted
        largest = np.abs(y).max()
        known = largest and largest * float((np.abs(y / largest) ** p).sum()) ** (1.0 / p)
        [norm] = sketch.norm(wanted)
        assert norm.norm == pytest.approx(known, rel=1e-9)
        assert norm.standard_error == 0.0
        assert norm.power == p
    [sample] = sketch.sample(len(values))
    assert set(sample.index.tolist()) == set(np.flatnonzero(y).tolist())
    if sample.index.size:
        share = np.abs(y / np.abs(y).max()) ** power
        known_share = (share / share.sum())[sample.index.astype(np.int64)]
        assert sample.probability == pytest.approx(known_share, rel=1e-9, abs=1e-12)
        assert sample.norm == pytest.approx(sketch.norm()[0].norm, rel=1e-12)


@pytest.mark.parametrize("temperature", [2.0**-60, 1e-3, 1.0, 50.0, 2.0**60])
def test_softmax_draws_untouched_coordinates_too(temperature: float) -> None:
    """exp(0) is 1: a coordinate nobody touched has its share, at every temperature."""
    softmax = {"softmax": {"temperature": temperature}}
    spec = spec_of(n=6, distribution=softmax, quantum_bits=10)
    sketch = sketch_of(spec, [vector_batch(spec, {0: 3.0, 1: -2.0})])
    y = np.array([3.0, -2.0, 0.0, 0.0, 0.0, 0.0])
    [sample] = sketch.sample(10)
    assert sample.status == "partial"
    assert sorted(sample.index.tolist()) == list(range(6))
    weights = np.exp(np.maximum((y - 3.0) / temperature, -745.0))
    weights[(y - 3.0) / temperature < -745.0] = 0.0
    known = (weights / weights.sum())[sample.index.astype(np.int64)]
    assert sample.probability == pytest.approx(known, rel=1e-12, abs=1e-300)
    [norm] = sketch.norm()
    assert norm.power is None
    assert norm.norm == pytest.approx(3.0 / temperature + math.log(weights.sum()), rel=1e-12)
    assert sample.norm == norm.norm
    [few] = sketch.sample(2)
    assert few.status == "ok"
    [many] = sketch.sample(100, replacement=True)
    assert many.status == "ok"
    if temperature < 1.0:
        assert set(many.index.tolist()) == {0}
    if temperature > 10.0:
        assert len(set(many.index.tolist())) == 6
    assert sample.threshold == many.threshold == -math.inf, "nothing is left out: ln 0"
    assert few.threshold > -math.inf
    for answer in (few, many, norm):
        assert all(math.isfinite(number) for number in _floats(answer))


def test_softmax_of_nothing_is_uniform() -> None:
    spec = spec_of(n=5, distribution={"softmax": {}})
    [sample] = new_sketch(spec).sample(5)
    assert sample.status == "ok"
    assert sample.probability.tolist() == pytest.approx([0.2] * 5)
    assert new_sketch(spec).norm()[0].norm == pytest.approx(math.log(5))


# ---- floats


def _spec_choices() -> st.SearchStrategy[Spec]:
    def spec(kind: str, method: str, law: Any, bits: int, n: int) -> Spec:
        shape = {"n": n} if kind == "vector" else {"n": n, "d": 2}
        if "softmax" in law or not 1 <= law["power"] <= 2:
            method = "exact"
        return spec_of(
            kind, **shape, method=method, distribution=law, quantum_bits=bits, samples=3,
            repetitions=2,
        )  # fmt: skip

    laws = st.sampled_from(
        [{"power": p} for p in (0.125, 1.0, 1.3, 2.0, 64.0)]
        + [{"softmax": {"temperature": t}} for t in (2.0**-60, 1.0, 2.0**60)]
    )
    return st.builds(
        spec,
        st.sampled_from(["vector", "matrix"]),
        st.sampled_from(["sketch", "exact"]),
        laws,
        st.sampled_from([-60, 0, 60]),
        st.sampled_from([1, 2, 300]),
    )


@settings(max_examples=400)
@given(
    spec=_spec_choices(),
    quanta=st.lists(st.integers(-(2**61), 2**61), min_size=1, max_size=12),
    x=st.tuples(*[st.sampled_from([0.0, 1.0, -(2.0**60), 2.0**60, 1e-30, -1e-150])] * 2),
    streamed=st.booleans(),
    count=st.sampled_from([1, 4, 400]),
)
def test_every_float_of_every_answer_is_finite(
    spec: Spec, quanta: list[int], x: tuple[float, float], streamed: bool, count: int
) -> None:
    """Huge and tiny quanta, queries and temperatures, wrapped cells too; and no warning."""
    values = [math.ldexp(float(q), -spec.quantum_bits) for q in quanta]
    queries = None
    if spec.kind == "vector":
        batches = [vector_batch(spec, {i % spec.n: v}) for i, v in enumerate(values)]
    else:
        batches = [row_batch(spec, {i % spec.n: (v, -v / 3)}) for i, v in enumerate(values)]
        if streamed:
            batches.append(x_batch(spec, [values[0], values[-1]]))
        else:
            queries = _x(*x)
    sketch = sketch_of(spec, batches)
    index = np.arange(min(spec.n, 20), dtype=np.uint64)
    for replacement in (False, True):
        for draw in (0, 1):
            [sample] = sketch.sample(count, replacement=replacement, draw=draw, queries=queries)
            numbers = _floats(sample)
            assert all(math.isfinite(number) for number in numbers), sample
            assert sample.threshold >= 0.0 or spec.distribution.power is None
            assert ((sample.probability >= 0) & (sample.probability <= 1)).all()
            assert sample.index.size == sample.value.size <= count
            if sample.inclusion_probability is not None:
                pi = sample.inclusion_probability
                assert ((pi > 0) & (pi <= 1)).all()
            assert (sample.status == "ok") == (sample.index.size == count)
            if sample.status in ("empty", "failed"):
                assert sample.index.size == 0
    [estimates] = sketch.estimate(index, queries=queries)
    assert all(math.isfinite(number) for number in _floats(estimates))
    for power in {None, 2.0}:
        [norm] = sketch.norm(power, queries=queries)
        assert all(math.isfinite(number) for number in _floats(norm))
        assert norm.standard_error >= 0.0


@both
@every_power
@pytest.mark.parametrize("exponent", [60 - 3, -60, -520, -900])
def test_the_size_of_a_query_does_not_matter(method: str, power: float, exponent: int) -> None:
    """x and 2^k · x draw alike; values, norms and thresholds scale, however small they become."""
    matrix = _matrix(method, ROWS, 3, power=power, n=1 << 17)
    x = _x(1.5, -0.25, 3.0)
    factor = 2.0**exponent
    for count in (2, 9):
        [one] = matrix.sample(count, queries=x)
        [other] = matrix.sample(count, queries=x * factor)
        assert one.index.tolist() == other.index.tolist()
        assert other.value == pytest.approx(one.value * factor, rel=1e-12, abs=0.0)
        assert other.probability == pytest.approx(one.probability, rel=1e-9)
        assert other.inclusion_probability == pytest.approx(one.inclusion_probability, rel=1e-9)
        assert other.norm == pytest.approx(one.norm * factor, rel=1e-9, abs=0.0)
        assert other.threshold == pytest.approx(one.threshold * factor, rel=1e-9, abs=0.0)
    for wanted in {power, 2.0}:
        [norm], [scaled] = matrix.norm(wanted, queries=x), matrix.norm(wanted, queries=x * factor)
        assert scaled.norm == pytest.approx(norm.norm * factor, rel=1e-9, abs=0.0)
