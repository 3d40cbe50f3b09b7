"""TensorSparse against the explicit matrix of the paper's Definition 3.1."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketch_core.tensor_sparse import TensorSparse
from tests.sketch_core import reference

F64 = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


def explicit(seed: int, blocks: int, buckets: int, n1: int, n2: int) -> F64:
    """√s · S, float64 (s · w, n1 · n2), of hashes computed in Python integers."""
    out = np.zeros((blocks * buckets, n1 * n2))
    ends = (reference.UNSCALED, reference.SECOND + reference.UNSCALED)
    for i1 in range(n1):
        for i2 in range(n2):
            for block in range(blocks):
                bucket, sign = 0, 1
                for end, i in zip(ends, (i1, i2), strict=True):
                    bucket += reference.bucket(seed, end, 0, block, buckets, i)
                    sign *= reference.sign(seed, end, block, i)
                out[block * buckets + bucket % buckets, i1 * n2 + i2] = sign
    return out


def _tables(sketch: TensorSparse, first: Whole, second: Whole) -> tuple[F64, F64]:
    """The tables of two operands of whole numbers."""
    tables = []
    for geometry, rows in ((sketch.first, first), (sketch.second, second)):
        cells = np.zeros((geometry.cells, rows.shape[1]), dtype=np.int64)
        geometry.add(cells, np.arange(len(rows), dtype=np.uint64), None, rows)
        tables.append(cells.astype(np.float64))
    return tables[0], tables[1]


@given(
    seed=st.integers(0, (1 << 64) - 1),
    blocks=st.sampled_from([1, 3, 5]),
    buckets=st.sampled_from([1, 2, 7, 16, 33]),
    shape=st.tuples(*[st.integers(1, 6)] * 2, *[st.integers(1, 4)] * 2),
)
def test_it_is_the_product_with_the_explicit_matrix(
    seed: int, blocks: int, buckets: int, shape: tuple[int, int, int, int]
) -> None:
    n1, n2, d1, d2 = shape
    rng = np.random.default_rng(seed % 1000)
    first, second = rng.integers(-9, 10, (n1, d1)), rng.integers(-9, 10, (n2, d2))
    x = rng.standard_normal((d1, d2))
    sketch = TensorSparse(seed, blocks, buckets)
    combined = sketch.combine(*_tables(sketch, first, second), x)
    # (A1 ⊗ A2) vec(X), written out with the Kronecker product itself.
    y = np.kron(first, second) @ x.reshape(-1)
    np.testing.assert_allclose(y, (first @ x @ second.T).reshape(-1), atol=1e-9)
    known = explicit(seed, blocks, buckets, n1, n2) @ y
    np.testing.assert_allclose(combined, known, atol=1e-9 * max(1.0, np.abs(y).max()))


def test_point_estimates_are_medians_of_signed_buckets() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(-9, 10, (6, 2)), rng.integers(-9, 10, (5, 3))
    x = rng.standard_normal((2, 3))
    sketch = TensorSparse(3, 5, 16)
    combined = sketch.combine(*_tables(sketch, first, second), x)
    matrix = explicit(3, 5, 16, 6, 5)
    i1, i2 = (part.reshape(-1).astype(np.uint64) for part in np.mgrid[:6, :5])
    rows = [(column * combined)[column != 0.0] for column in matrix.T]
    np.testing.assert_allclose(sketch.point(combined, i1, i2), np.median(rows, axis=1), atol=1e-9)


def test_without_collisions_points_are_exact() -> None:
    first, second = np.array([[2, -1]]), np.array([[3], [0]])
    x = np.array([[0.5], [4.0]])
    sketch = TensorSparse(11, 5, 64)
    combined = sketch.combine(*_tables(sketch, first, second), x)
    point = sketch.point(combined, np.zeros(1, np.uint64), np.zeros(1, np.uint64))
    assert point[0] == pytest.approx((2 * 0.5 - 4.0) * 3, rel=1e-12)


@pytest.mark.statistical
def test_inner_products_are_unbiased() -> None:
    """Mean over 400 seeds within 5 standard errors: fails by chance once in 1.7 million."""
    rng = np.random.default_rng(5)
    shapes = [(40, 2), (30, 3), (40, 2), (30, 3)]
    first, second, other_first, other_second = (rng.integers(-9, 10, shape) for shape in shapes)
    x, other_x = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    y, other = first @ x @ second.T, other_first @ other_x @ other_second.T
    products, selves = [], []
    for seed in range(400):
        sketch = TensorSparse(seed, 3, 64)
        left = sketch.combine(*_tables(sketch, first, second), x)
        right = sketch.combine(*_tables(sketch, other_first, other_second), other_x)
        products.append(sketch.inner_product(left, right))
        selves.append(sketch.inner_product(left, left))
    for found, known in ((products, float((y * other).sum())), (selves, float((y * y).sum()))):
        error = np.std(found) / math.sqrt(len(found))
        assert abs(np.mean(found) - known) <= 5.0 * error
    # And as precise as the module says: a table of half the width would be noticed.
    assert np.std(selves) <= 1.1 * math.sqrt(8.0 / (3 * 64)) * np.linalg.norm(y) ** 2
