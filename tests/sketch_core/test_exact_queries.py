"""The exact method against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketch_core.sketch import new_sketch
from tests.sketch_core.answers import (
    floats_of,
)
from tests.sketch_core.streams import sketch_of, spec_of, vector_batch


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
        assert all(math.isfinite(number) for number in floats_of(answer))


def test_softmax_of_nothing_is_uniform() -> None:
    spec = spec_of(n=5, distribution={"softmax": {}})
    [sample] = new_sketch(spec).sample(5)
    assert sample.status == "ok"
    assert sample.probability.tolist() == pytest.approx([0.2] * 5)
    assert new_sketch(spec).norm()[0].norm == pytest.approx(math.log(5))
