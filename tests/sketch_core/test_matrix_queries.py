"""A query x of a matrix answers as the vector A x would."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.sketch_core.answers import (
    ROWS,
    both,
    every_power,
    matrix_of,
    same_answers,
    vector_of,
    x_of,
)
from tests.sketch_core.streams import row_batch, x_batch


@both
@every_power
@pytest.mark.parametrize("replacement", [False, True])
def test_a_matrix_of_one_column_is_a_vector(method: str, power: float, replacement: bool) -> None:
    values = {i * 13: float(1 + i) for i in range(20)}
    fields: dict[str, Any] = {"method": method, "power": power, "quantum_bits": 10}
    vector = vector_of(values, **fields)
    matrix = matrix_of(rows={i: (v,) for i, v in values.items()}, d=1, **fields)
    for count in (1, 4, 19, 20, 25):
        [known] = vector.sample(count, replacement=replacement)
        [ours] = matrix.sample(count, replacement=replacement, queries=x_of(1.0))
        same_answers(ours, known, 1e-12)
    index = np.arange(0, 300, 7, dtype=np.uint64)
    assert (
        matrix.estimate(index, queries=x_of(1.0))[0].value.tolist()
        == vector.estimate(index)[0].value.tolist()
    )
    assert matrix.norm(queries=x_of(1.0))[0].norm == pytest.approx(vector.norm()[0].norm, rel=1e-12)


@both
@every_power
@pytest.mark.parametrize("replacement", [False, True])
def test_three_ways_of_giving_x_agree(method: str, power: float, replacement: bool) -> None:
    """With the query, streamed, and fixed at creation."""
    x = (1.5, -0.25, 3.0)
    fields: dict[str, Any] = {"method": method, "power": power, "quantum_bits": 10}
    given_ = matrix_of(rows=ROWS, d=3, **fields)
    streamed = matrix_of(rows=ROWS, d=3, **fields)
    streamed.apply([x_batch(streamed.spec, x)])
    fixed = matrix_of(rows=ROWS, d=3, x=x, **fields)
    for count in (1, 3, 6, 9):
        [one] = given_.sample(count, replacement=replacement, queries=x_of(*x))
        [two] = streamed.sample(count, replacement=replacement)
        [three] = fixed.sample(count, replacement=replacement)
        same_answers(one, two, 1e-12)
        same_answers(one, three, 1e-9)
    index = np.arange(1000, dtype=np.uint64)
    assert given_.estimate(index, queries=x_of(*x))[0].value == pytest.approx(
        fixed.estimate(index)[0].value, abs=1e-9
    )


@both
@every_power
def test_many_queries_are_answered_like_each_alone(method: str, power: float) -> None:
    matrix = matrix_of(method, ROWS, 3, power=power)
    queries = np.array(
        [(1, 0, 0), (0, 0, 0), (0.1, 0.2, -0.3), (-2, 1, 5), (1, 1, -1), (1e-3, 1e3, 0)], float
    )
    index = np.arange(1000, dtype=np.uint64)
    for replacement in (False, True):
        together = matrix.sample(4, replacement=replacement, queries=queries)
        assert len(together) == len(queries)
        for at, ours in enumerate(together):
            [alone] = matrix.sample(4, replacement=replacement, queries=queries[at : at + 1])
            same_answers(ours, alone, 1e-9)
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
    matrix = matrix_of(method, rows, 3, power=power)
    for replacement in (False, True):
        [sample] = matrix.sample(8, replacement=replacement, queries=x_of(*x))
        assert sample.status == "empty"
        assert sample.index.size == 0
        assert sample.norm == 0.0
    [norm] = matrix.norm(queries=x_of(*x))
    assert norm.norm == 0.0


@both
def test_a_matrix_answers_for_the_state_it_has(method: str) -> None:
    """What is remembered between queries is forgotten at every change: apply, merge, copy."""
    matrix = matrix_of(method, {1: (1e-3, 0.0)}, 2)
    assert matrix.sample(1, queries=x_of(1, 0))[0].index.tolist() == [1]
    assert matrix.norm(queries=x_of(1, 0))[0].norm == pytest.approx(1e-3, rel=1e-3)
    matrix.apply([row_batch(matrix.spec, {7: (1e6, 0.0)})])
    fresh = matrix_of(method, {1: (1e-3, 0.0), 7: (1e6, 0.0)}, 2)
    same_answers(
        matrix.sample(3, queries=x_of(1, 0))[0], fresh.sample(3, queries=x_of(1, 0))[0], 0.0
    )
    matrix.apply([row_batch(matrix.spec, {7: (-1e6, 0.0)})])
    twin = matrix.copy()
    assert matrix.sample(3, queries=x_of(1, 0))[0].index.tolist() == [1]
    twin.merge(matrix_of(method, {9: (1e6, 0.0)}, 2))
    assert twin.sample(1, queries=x_of(1, 0))[0].index.tolist() == [9]
    merged = matrix_of(method, {1: (1e-3, 0.0), 9: (1e6, 0.0)}, 2)
    same_answers(
        twin.sample(3, queries=x_of(1, 0))[0], merged.sample(3, queries=x_of(1, 0))[0], 0.0
    )
    assert matrix.sample(3, queries=x_of(1, 0))[0].index.tolist() == [1]


@both
def test_rounding_errors_are_judged_by_the_cells_there_are(method: str) -> None:
    """What a query takes for zero grows and shrinks with the cells, by apply and by merge."""
    x = x_of(0.1, 0.2, -0.3)
    fields: dict[str, Any] = {"d": 3, "quantum_bits": 0, "method": method}
    large = {i: (float(i) * 2.0**20,) * 3 for i in range(1, 300, 3)}
    grown = matrix_of(rows={0: (1.0, 1.0, 1.0)}, **fields)
    assert grown.sample(1, queries=x)[0].status == "empty"
    twin = grown.copy()
    grown.apply([row_batch(grown.spec, large)])
    twin.merge(matrix_of(rows=large, **fields))
    for matrix in (grown, twin):
        assert matrix.sample(1, queries=x)[0].status == "empty"
        assert matrix.norm(queries=x)[0].norm == 0.0
        matrix.apply([row_batch(matrix.spec, {i: [-v for v in row] for i, row in large.items()})])
        matrix.apply([row_batch(matrix.spec, {7: (1.0, 0.0, 0.0)})])
        # 2^-50 of the rows that are gone, but all there is.
        tiny = x_of(2.0**-40, 0.0, 0.0)
        assert matrix.sample(1, queries=tiny)[0].status == "ok"
        near = x_of(1.0, -1.0 + 2.0**-45, 0.0)
        [sample] = matrix.sample(2, queries=near)
        assert set(sample.index.tolist()) == {0, 7}


@both
@every_power
@pytest.mark.parametrize("exponent", [60 - 3, -60, -520, -900])
def test_the_size_of_a_query_does_not_matter(method: str, power: float, exponent: int) -> None:
    """x and 2^k · x draw alike; values, norms and thresholds scale, however small they become."""
    matrix = matrix_of(method, ROWS, 3, power=power, n=1 << 17)
    x = x_of(1.5, -0.25, 3.0)
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
