"""What a tensor answers, beside Y itself: both methods, every way X can come, every end."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

from sketch_core.codec import from_snapshot, to_snapshot
from sketch_core.errors import DrawsExhausted, InvalidQuery
from sketch_core.sketch import Sketch
from sketch_core.tensor_sketch import TensorSketch
from tests.sketch_core.answers import both
from tests.sketch_core.streams import entries, row_batch, sketch_of, spec_of

F64 = npt.NDArray[np.float64]
Mode = Literal["query", "fixed", "streamed"]
every_mode = pytest.mark.parametrize("mode", ["query", "fixed", "streamed"])

#: Three rows and three columns of Y that are not zero, at the ends of large modes.
N1, N2 = (1 << 40) - 1, 1000
FIRST = {0: [1.0, -2.0], 5: [0.5, 0.0], N1 - 1: [0.0, 4.0]}
SECOND = {0: [1.0, 0.0, 2.0], 7: [0.0, -1.0, 0.5], N2 - 1: [3.0, 1.5, 0.0]}
X = np.array([[1.0, 0.5, -0.25], [0.0, 2.0, 1.0]])
Y = np.array(list(FIRST.values())) @ X @ np.array(list(SECOND.values())).T


def made(
    method: str = "sketch", mode: Mode = "query", n1: int = N1, **fields: Any
) -> tuple[Sketch, F64 | None]:
    """The tensor, and what comes with each question."""
    if method == "exact":
        n1 = 1000
    if mode == "fixed":
        fields["X"] = X.tolist()
    fields = {"samples": 8, **fields}
    spec = spec_of("tensor", n1=n1, n2=N2, d1=2, d2=3, method=method, **fields)
    first = {min(i, n1 - 1): row for i, row in FIRST.items()}
    batches = [row_batch(spec, first, "A1"), row_batch(spec, SECOND, "A2")]
    if mode == "streamed":
        batches.append(row_batch(spec, dict(enumerate(X.tolist())), "X"))
    return sketch_of(spec, batches), X[None] if mode == "query" else None


def value_of(pair: tuple[int, int], n1: int) -> float:
    """Y at a pair that is not zero."""
    rows = [min(i, n1 - 1) for i in FIRST]
    return float(Y[rows.index(pair[0]), list(SECOND).index(pair[1])])


@both
@every_mode
def test_few_pairs_are_found_with_their_values(method: str, mode: Mode) -> None:
    sketch, queries = made(method, mode, repetitions=5)
    norm = float(np.linalg.norm(Y))
    for draw in range(5):
        [sample] = sketch.sample(8, draw=draw, queries=queries)
        assert sample.status == "ok"
        assert sample.index.shape == (8, 2)
        assert sample.inclusion_probability is None
        assert sample.norm == pytest.approx(norm, rel=0.1)
        for (i1, i2), value, probability in zip(
            sample.index.tolist(), sample.value, sample.probability, strict=True
        ):
            known = value_of((i1, i2), sketch.spec.n)
            assert value == pytest.approx(known, rel=1e-9)
            assert probability == pytest.approx((known / sample.norm) ** 2, rel=1e-9)


@both
@every_mode
def test_estimates_and_norms(method: str, mode: Mode) -> None:
    sketch, queries = made(method, mode)
    n1 = sketch.spec.n
    pairs = [(min(i1, n1 - 1), i2) for i1 in FIRST for i2 in SECOND] + [(1, 1), (n1 - 1, 3)]
    [found] = sketch.estimate(np.array(pairs, dtype=np.uint64), queries=queries)
    known = np.append(Y.reshape(-1), [0.0, 0.0])
    # Nine pairs in tables of 1024: the median of five is exact but for rounding.
    np.testing.assert_allclose(found.value, known, atol=1e-9)
    assert (found.standard_error <= 0.1 * np.linalg.norm(Y)).all()
    [norm] = sketch.norm(queries=queries)
    assert norm.power == 2.0
    assert norm.norm == pytest.approx(np.linalg.norm(Y), rel=1e-9 if method == "exact" else 0.1)
    assert norm.standard_error <= 0.02 * norm.norm


@both
def test_taking_everything_back_leaves_nothing(method: str) -> None:
    """Of any one operand: Y is then zero, whatever the others hold."""
    for operand in ("A1", "A2", "X"):
        sketch, _ = made(method, "streamed")
        spec = sketch.spec
        kept = {min(i, spec.n - 1): row for i, row in FIRST.items()}
        rows = {"A1": kept, "A2": SECOND, "X": dict(enumerate(X.tolist()))}[operand]
        for sign in (-0.25, -0.75):
            back = {i: [sign * one for one in row] for i, row in rows.items()}
            sketch.apply([row_batch(spec, back, operand)])
        [sample] = sketch.sample(4)
        assert sample.status == "empty"
        assert sample.index.shape == (0, 2)
        assert sample.norm == 0.0
        assert sketch.norm()[0].norm == 0.0
        [found] = sketch.estimate(np.array([[0, 0]], dtype=np.uint64))
        assert found.value.tolist() == [0.0]


@both
def test_orthogonal_operands_are_zero_in_floats_too(method: str) -> None:
    """A1 X = 0 and X A2ᵀ = 0 in numbers that floats do not have."""
    spec = spec_of("tensor", n1=500, n2=400, d1=3, d2=3, method=method, samples=4)
    rng = np.random.default_rng(2)
    along = np.array([1.0, 1.0, 1.0])
    for left, right in ((along, None), (None, along)):
        first = {i: (along if left is not None else rng.standard_normal(3)).tolist()
                 for i in range(50)}  # fmt: skip
        second = {i: (along if right is not None else rng.standard_normal(3)).tolist()
                  for i in range(50)}  # fmt: skip
        sketch = sketch_of(spec, [row_batch(spec, first, "A1"), row_batch(spec, second, "A2")])
        x = np.outer([0.1, 0.2, -0.3], rng.standard_normal(3))
        x = x if left is not None else x.T
        x -= np.outer(x.sum(axis=1), along) / 3 if right is not None else 0.0
        x -= np.outer(along, x.sum(axis=0)) / 3 if left is not None else 0.0
        [sample] = sketch.sample(4, queries=x[None])
        assert sample.status == "empty", sample.value


@both
@pytest.mark.parametrize("scale", [1e-300, 1e-150, 2.0**58])
def test_the_unit_of_x_does_not_matter(method: str, scale: float) -> None:
    """Answers scale with X, to the ends of what may come with a query."""
    sketch, _ = made(method)
    [one] = sketch.sample(6, queries=X[None])
    [other] = sketch.sample(6, queries=scale * X[None])
    assert one.index.tolist() == other.index.tolist()
    np.testing.assert_allclose(other.value, scale * one.value, rtol=1e-9)
    np.testing.assert_allclose(other.probability, one.probability, rtol=1e-9)


@both
def test_condition_numbers_of_x(method: str) -> None:
    """Singular values from 1 to 10^-8, and rank 1: the rows found are Y's."""
    rng = np.random.default_rng(3)
    d1, d2 = 5, 4
    left, right = (np.linalg.qr(rng.standard_normal((d, d)))[0] for d in (d1, d2))
    first, second = rng.standard_normal((300, d1)), rng.standard_normal((200, d2))
    spec = spec_of("tensor", n1=300, n2=200, d1=d1, d2=d2, method=method, samples=8)
    sketch = sketch_of(
        spec,
        [row_batch(spec, dict(enumerate(first.tolist())), "A1"),
         row_batch(spec, dict(enumerate(second.tolist())), "A2")],
    )  # fmt: skip
    for singular in ([1, 1e-3, 1e-5, 1e-8], [1, 0, 0, 0]):
        x = left[:, :d2] * np.array(singular) @ right
        y = first @ x @ second.T
        [sample] = sketch.sample(8, queries=x[None])
        assert sample.status == "ok"
        known = y[tuple(sample.index.astype(np.int64).T)]
        error = np.abs(sample.value - known)
        # A recovered row is off by some 0.2 of its length at worst; its entries by less.
        assert (error <= 0.25 * np.abs(y).max()).all()
        assert np.median(error / np.abs(known)) <= 0.1


@both
def test_fewer_draws_are_the_first_of_more(method: str) -> None:
    sketch, queries = made(method)
    [many] = sketch.sample(8, queries=queries)
    for count in (1, 3):
        [few] = sketch.sample(count, queries=queries)
        assert few.index.tolist() == many.index[:count].tolist()


def test_a_sketch_serves_as_many_pairs_as_it_has_lists() -> None:
    sketch, queries = made(samples=3)
    [sample] = sketch.sample(5, queries=queries)
    assert sample.status == "partial"
    assert sample.index.shape == (3, 2)
    exact, queries = made("exact", samples=3)
    [sample] = exact.sample(5, queries=queries)
    assert sample.status == "ok"
    assert sample.index.shape == (5, 2)


def test_queries_are_answered_one_by_one() -> None:
    sketch, _ = made()
    xs = np.stack([X, -2.0 * X, np.zeros_like(X)])
    samples = sketch.sample(4, queries=xs)
    assert [one.status for one in samples] == ["ok", "ok", "empty"]
    for x, sample in zip(xs, samples, strict=True):
        assert sample.index.tolist() == sketch.sample(4, queries=x[None])[0].index.tolist()


REFUSED: list[tuple[dict[str, Any], Mode, str]] = [
    ({}, "query", "/X"),
    ({"queries": X}, "query", "/X"),
    ({"queries": X.T[None]}, "query", "/X"),
    ({"queries": np.full((1, 2, 3), np.nan)}, "query", "/X"),
    ({"queries": np.full((1, 2, 3), 1e19)}, "query", "/X"),
    ({"queries": X[None]}, "fixed", "/X"),
    ({"queries": X[None]}, "streamed", "/X"),
    ({"replacement": False}, "fixed", "/replacement"),
    ({"count": 0}, "fixed", "/count"),
    ({"draw": -1}, "fixed", "/draw"),
]


@both
@pytest.mark.parametrize(("asked", "mode", "pointer"), REFUSED)
def test_refused_with_its_pointer(
    method: str, asked: dict[str, Any], mode: Mode, pointer: str
) -> None:
    sketch, _ = made(method, mode)
    with pytest.raises(InvalidQuery) as caught:
        sketch.sample(**{"count": 2, **asked})
    assert caught.value.pointer == pointer


@both
def test_indices_are_pairs_within_the_shape(method: str) -> None:
    sketch, queries = made(method)
    n1 = sketch.spec.n
    for index, pointer in (
        ([1, 2], "/index"),
        ([[1, 2, 3]], "/index"),
        ([[0, 0], [n1, 0]], "/index/1/0"),
        ([[0, N2], [0, 0]], "/index/0/1"),
    ):
        with pytest.raises(InvalidQuery) as caught:
            sketch.estimate(np.array(index, dtype=np.uint64), queries=queries)
        assert caught.value.pointer == pointer


def test_draws_run_out_on_a_sketch_alone() -> None:
    sketch, queries = made(repetitions=2)
    with pytest.raises(DrawsExhausted):
        sketch.sample(1, draw=2, queries=queries)
    exact, queries = made("exact")
    assert exact.sample(1, draw=10**6, queries=queries)[0].status == "ok"


def test_norms_of_other_powers() -> None:
    sketch, queries = made()
    with pytest.raises(InvalidQuery) as caught:
        sketch.norm(1.0, queries=queries)
    assert caught.value.pointer == "/power"
    exact, queries = made("exact")
    for power in (0.5, 1.0, 3.0):
        known = float((np.abs(Y) ** power).sum()) ** (1.0 / power)
        assert exact.norm(power, queries=queries)[0].norm == pytest.approx(known, rel=1e-9)


@both
def test_a_snapshot_answers_alike(method: str) -> None:
    sketch, _ = made(method, "streamed")
    again = from_snapshot(to_snapshot(sketch), sketch.spec)
    assert again.sample(8)[0].index.tolist() == sketch.sample(8)[0].index.tolist()


def test_changes_are_seen_by_the_next_question() -> None:
    """Nothing kept from before an update is used after it."""
    for method in ("sketch", "exact"):
        sketch, _ = made(method, "streamed")
        spec = sketch.spec
        before = sketch.norm()[0].norm
        sketch.sample(2)
        sketch.apply([entries(spec, "A2", [(7, 1, 100 << spec.quantum_bits)])])
        pair = np.array([[0, 7]], dtype=np.uint64)
        second = np.array(SECOND[7]) + [0.0, 100.0, 0.0]
        known = float(np.array(FIRST[0]) @ X @ second)
        assert sketch.estimate(pair)[0].value[0] == pytest.approx(known, rel=1e-6)
        assert sketch.norm()[0].norm > 10 * before


def test_inner_products_of_two_sketches() -> None:
    one, _ = made(seed=4)
    other, _ = made(seed=4)
    assert isinstance(one, TensorSketch)
    assert isinstance(other, TensorSketch)
    found = one.inner_product(other, X, 2.0 * X)
    assert found == pytest.approx(2.0 * float((Y * Y).sum()), rel=0.2)


@both
def test_small_directions_live_beside_large_ones(method: str) -> None:
    """Columns of A1 and A2 of any scale: only what X makes of them counts."""
    rng = np.random.default_rng(6)
    a1, a2 = rng.standard_normal((40, 2)), rng.standard_normal((30, 2))
    cases = [
        # X touches the small column of A2 alone.
        (a1, a2 * [2.0**30, 2.0**-20], np.array([[0.0, 1.0], [0.0, -0.5]])),
        # The large row of X meets a column of A1 that is zero, or tiny.
        (a1 * [0.0, 1.0], a2, np.diag([1.0, 1e-16])),
        (a1 * [2.0**-20, 2.0**30], a2, np.array([[1.0, 0.0], [0.0, 2.0**-50]])),
    ]
    # Cells hold no numbers so far apart: there a sketch would say that it is not exact.
    for first, second, x in cases if method == "exact" else cases[1:2]:
        request = {"n1": 40, "n2": 30, "d1": 2, "d2": 2, "method": method, "samples": 8}
        spec = spec_of("tensor", **request, quantum_bits=24)
        first, second = (np.ldexp(np.rint(np.ldexp(one, 24)), -24) for one in (first, second))
        sketch = sketch_of(
            spec,
            [row_batch(spec, dict(enumerate(first.tolist())), "A1"),
             row_batch(spec, dict(enumerate(second.tolist())), "A2")],
        )  # fmt: skip
        y = first @ x @ second.T
        [sample] = sketch.sample(8, queries=x[None])
        assert sample.status == "ok"
        known = y[tuple(sample.index.astype(np.int64).T)]
        assert (np.abs(sample.value - known) <= 0.25 * np.abs(y).max()).all()
        assert np.median(np.abs(sample.value - known) / np.abs(known)) <= 0.05
        assert sketch.norm(queries=x[None])[0].norm == pytest.approx(np.linalg.norm(y), rel=0.15)


def test_what_is_rounding_to_one_stage_is_no_error_of_the_other() -> None:
    """Rows whose energy is no rounding, each of whose numbers is: answered, not failed on."""
    for gap in range(4, 800, 4):
        spec = spec_of("tensor", n1=1, n2=1, d1=1, d2=2, method="exact", quantum_bits=24)
        second = [[2.0**30, 2.0**30 + gap * 2.0**-24]]
        batches = [row_batch(spec, {0: [1.0]}, "A1"), row_batch(spec, {0: second[0]}, "A2")]
        sketch = sketch_of(spec, batches)
        [sample] = sketch.sample(2, queries=np.array([[[1.0, -1.0]]]))
        assert sample.status in ("ok", "empty")
        if sample.status == "ok":
            assert sample.value.tolist() == [-gap * 2.0**-24] * 2
    rng = np.random.default_rng(0)
    for _ in range(100):
        spec = spec_of("tensor", n1=4, n2=3, d1=3, d2=3, method="exact", samples=4)
        rows = {i: [v] * 3 for i, v in enumerate(rng.standard_normal(3).tolist())}
        x = rng.standard_normal((3, 3))
        x -= x.mean(axis=1, keepdims=True)
        sketch = sketch_of(spec, [row_batch(spec, rows, "A1"), row_batch(spec, rows, "A2")])
        assert sketch.sample(4, queries=x[None])[0].status in ("empty", "partial", "ok")


def test_what_is_empty_has_no_norm_and_no_estimates() -> None:
    spec = spec_of("tensor", n1=500, n2=400, d1=3, d2=3, method="sketch", samples=4)
    rng = np.random.default_rng(2)
    along = {i: [1.0, 1.0, 1.0] for i in range(50)}
    rows = {i: rng.standard_normal(3).tolist() for i in range(50)}
    sketch = sketch_of(spec, [row_batch(spec, along, "A1"), row_batch(spec, rows, "A2")])
    x = np.outer([0.1, 0.2, -0.3], rng.standard_normal(3))
    x -= x.mean(axis=0)
    assert sketch.sample(4, queries=x[None])[0].status == "empty"
    assert sketch.norm(queries=x[None])[0].norm == 0.0
    pairs = np.array([[i, j] for i in range(20) for j in range(20)], dtype=np.uint64)
    [found] = sketch.estimate(pairs, queries=x[None])
    assert not found.value.any()


@pytest.mark.statistical
def test_standard_errors_of_sparse_products_are_no_rounding_noise() -> None:
    """Four rows by four, tables of 512: errors within three standard errors as a group.

    Errors come from the few tables in which pairs meet; over 200 seeds their sum of squares is at
    most nine times what the standard errors say, and not zero.
    """
    rng = np.random.default_rng(8)
    squared = promised = 0.0
    for seed in range(200):
        spec = spec_of(
            "tensor", n1=1000, n2=1000, d1=2, d2=2, method="sketch", samples=1,
            estimate_width=512, seed=seed,
        )  # fmt: skip
        first, second = ({int(i): rng.standard_normal(2).tolist() for i in rng.choice(1000, 4)}
                         for _ in range(2))  # fmt: skip
        sketch = sketch_of(spec, [row_batch(spec, first, "A1"), row_batch(spec, second, "A2")])
        x = rng.standard_normal((2, 2))
        pairs = rng.integers(0, 1000, (2000, 2)).astype(np.uint64)
        [found] = sketch.estimate(pairs, queries=x[None])
        known = np.array([
            np.array(first.get(i, [0.0, 0.0])) @ x @ np.array(second.get(j, [0.0, 0.0]))
            for i, j in pairs.tolist()
        ])  # fmt: skip
        squared += float(((found.value - known) ** 2).sum())
        promised += float((found.standard_error**2).sum())
    assert 0.0 < squared <= 9.0 * promised
