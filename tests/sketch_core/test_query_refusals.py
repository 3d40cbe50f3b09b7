"""Queries that cannot be answered as put, and the field they blame."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import pytest

from sketch_core.errors import DrawsExhausted, InvalidQuery
from tests.sketch_core.answers import (
    both,
    matrix_of,
    same_answers,
    vector_of,
    x_of,
)
from tests.sketch_core.streams import x_batch


@both
def test_mixing_up_where_x_comes_from_is_refused(method: str) -> None:
    x = x_of(1.0, 2.0)
    vector = vector_of({1: 1.0}, method=method)
    fixed = matrix_of(method, {1: (1.0, 1.0)}, 2, x=[1.0, 2.0])
    streamed = matrix_of(method, {1: (1.0, 1.0)}, 2)
    streamed.apply([x_batch(streamed.spec, [1.0, 2.0])])
    given_ = matrix_of(method, {1: (1.0, 1.0)}, 2)
    index = np.array([1], np.uint64)
    for sketch, queries in (
        (vector, x), (fixed, x), (streamed, x), (given_, None), (given_, x_of(1.0)),
        (given_, x_of(1, 2, 3)), (given_, np.array([1.0, 2.0])), (given_, x_of(1.0, np.nan)),
        (given_, x_of(np.inf, 1.0)), (given_, x_of(1.0, 1e300)),
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
    sketch = vector_of(dict.fromkeys(range(50), 1.0), method="sketch", repetitions=3)
    lists = [sketch.sample(8, draw=draw)[0] for draw in range(3)]
    assert [one.draw for one in lists] == [0, 1, 2]
    assert len({tuple(one.index.tolist()) for one in lists}) == 3
    same_answers(sketch.sample(8, draw=1)[0], lists[1], 0.0)
    for draw in (3, 4, 1 << 40):
        with pytest.raises(DrawsExhausted, match="3 independent lists") as caught:
            sketch.sample(1, draw=draw)
        assert caught.value.pointer == "/draw"


def test_the_exact_method_serves_any_draw() -> None:
    exact = vector_of(dict.fromkeys(range(50), 1.0), method="exact", repetitions=1)
    lists = {tuple(exact.sample(8, draw=d)[0].index.tolist()) for d in (0, 1, 7, 1 << 20, 1 << 40)}
    assert len(lists) == 5


@both
def test_impossible_requests_are_refused(method: str) -> None:
    sketch = vector_of({1: 1.0}, method=method)
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
