"""What the tests of queries ask of: small sketches, and checks of whole answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sketch_core.results import Estimates, Norm, Sample
from sketch_core.sketch import Sketch
from tests.sketch_core.streams import row_batch, sketch_of, spec_of, vector_batch

F64 = npt.NDArray[np.float64]
POWERS = [1.0, 1.5, 2.0]
both = pytest.mark.parametrize("method", ["sketch", "exact"])
every_power = pytest.mark.parametrize("power", POWERS)


def vector_of(values: dict[int, float], **fields: Any) -> Sketch:
    """A vector of 1000 coordinates, most of them 0, by a request's other fields."""
    spec = spec_of(**{"n": 1000, "samples": 8, **fields})
    return sketch_of(spec, [vector_batch(spec, values)])


def x_of(*values: float) -> F64:
    """One query, as `queries` takes it."""
    return np.array([values], dtype=np.float64)


def floats_of(answer: Sample | Estimates | Norm) -> list[float]:
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


def check_complete(sample: Sample, values: dict[int, float], power: float) -> None:
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


def matrix_of(method: str, rows: Mapping[int, Sequence[float]], d: int, **fields: Any) -> Sketch:
    """A matrix of 1000 rows of d numbers, most of them 0, by a request's other fields."""
    spec = spec_of("matrix", **{"n": 1000, "d": d, "method": method, "samples": 8, **fields})
    return sketch_of(spec, [row_batch(spec, rows)])


def same_answers(left: Sample, right: Sample, rel: float) -> None:
    """That two samples are the same list, with the same numbers up to rel."""
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
