"""Floats stay finite, whatever the quanta, queries and laws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sketch_core.spec import Spec
from tests.sketch_core.answers import (
    floats_of,
    x_of,
)
from tests.sketch_core.streams import row_batch, sketch_of, spec_of, vector_batch, x_batch


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
            queries = x_of(*x)
    sketch = sketch_of(spec, batches)
    index = np.arange(min(spec.n, 20), dtype=np.uint64)
    for replacement in (False, True):
        for draw in (0, 1):
            [sample] = sketch.sample(count, replacement=replacement, draw=draw, queries=queries)
            numbers = floats_of(sample)
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
    assert all(math.isfinite(number) for number in floats_of(estimates))
    for power in {None, 2.0}:
        [norm] = sketch.norm(power, queries=queries)
        assert all(math.isfinite(number) for number in floats_of(norm))
        assert norm.standard_error >= 0.0
