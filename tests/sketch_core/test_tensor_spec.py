"""Specs of tensors: what is refused, what is derived, what may be added to what."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from sketch_core.errors import InvalidBatch, InvalidSpec
from sketch_core.operand_state import empty_arrays
from sketch_core.parameters import EXACT_PAIRS
from sketch_core.resolve import resolve
from sketch_core.spec import Spec

SHAPE = {"n1": 1 << 20, "n2": 1 << 19, "d1": 2, "d2": 3}
TENSOR: dict[str, Any] = {"kind": "tensor", "shape": SHAPE, "seed": 7, "method": "sketch"}
X = [[1.0, 0.0, -0.5], [0.25, 3.0, 0.0]]


def _resolved(**changes: Any) -> Spec:
    return resolve({**TENSOR, **changes})


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"shape": {"n1": 1, "n2": 1, "d1": 1}}, "/shape/d2"),
    ({"shape": {**SHAPE, "n": 5}}, "/shape/n"),
    ({"shape": {**SHAPE, "n1": 0}}, "/shape/n1"),
    ({"shape": {**SHAPE, "n2": (1 << 40) + 1}}, "/shape/n2"),
    ({"shape": {**SHAPE, "d1": 1.5}}, "/shape/d1"),
    ({"shape": {**SHAPE, "d2": (1 << 12) + 1}}, "/shape/d2"),
    ({"distribution": {"power": 1.5}}, "/distribution/power"),
    ({"distribution": {"power": 2.5}}, "/distribution/power"),
    ({"distribution": {"softmax": {}}}, "/distribution/softmax"),
    ({"x": [1.0]}, "/x"),
    ({"X": 1.0}, "/X"),
    ({"X": "ab"}, "/X"),
    ({"X": []}, "/X"),
    ({"X": [[1, 2, 3]]}, "/X"),
    ({"X": [[1, 2, 3], [1, 2]]}, "/X/1"),
    ({"X": [[1, 2, 3], 4]}, "/X/1"),
    ({"X": [[1, 2, 3], [1, None, 2]]}, "/X/1/1"),
    ({"X": [[1, 2, 3], [1, math.nan, 2]]}, "/X/1/1"),
    ({"X": [[1, 2, 3], [1, 2, 1e300]]}, "/X/1/2"),
    ({"X": [[1e-30, 0, 0], [0, 0, 0]]}, "/X"),
    ({"second_width": 0}, "/second_width"),
    ({"shape": {**SHAPE, "d1": 40, "d2": 50}, "estimate_width": 7}, "/estimate_width"),
    ({"second_upper_width": (1 << 22) + 1}, "/second_upper_width"),
    ({"kind": "vector", "shape": {"n": 5}, "second_width": 5}, "/second_width"),
    ({"kind": "matrix", "shape": {"n": 5, "d": 2}, "X": [[1, 2]]}, "/X"),
    ({"method": "exact", "distribution": {"power": 1.5}}, "/shape/n1"),
    ({"method": "auto", "distribution": {"softmax": {}}}, "/shape/n1"),
]


@pytest.mark.parametrize(
    ("changes", "pointer"), REFUSED, ids=[f"{at}-{item[1]}" for at, item in enumerate(REFUSED)]
)
def test_refused_with_its_pointer(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        _resolved(**changes)
    assert caught.value.pointer == pointer
    assert caught.value.detail


def test_other_laws_are_exact_while_y_can_be_formed() -> None:
    for n2, allowed in ((EXACT_PAIRS // 4, True), (EXACT_PAIRS // 4 + 1, False)):
        request = {"shape": {"n1": 4, "n2": n2, "d1": 1, "d2": 1}, "method": "auto",
                   "distribution": {"power": 1.0}}  # fmt: skip
        if allowed:
            assert _resolved(**request).method == "exact"
        else:
            with pytest.raises(InvalidSpec):
                _resolved(**request)


def test_what_may_be_streamed() -> None:
    free, fixed = _resolved(samples=3, repetitions=2), _resolved(X=X)
    assert [(kept.name, kept.rows, kept.columns) for kept in free.operands] == [
        ("A1", 1 << 20, 2), ("A2", 1 << 19, 3), ("X", 2, 3)
    ]  # fmt: skip
    assert [kept.lists for kept in free.operands[:2]] == [2, 6], "A2: a list for each pair"
    assert [kept.name for kept in fixed.operands] == ["A1", "A2"]
    assert fixed.fixed_operand == "X"
    with pytest.raises(InvalidBatch, match="fixed") as caught:
        fixed.operand("X")
    assert caught.value.pointer == "/operand"
    with pytest.raises(InvalidBatch, match="A1, A2, X"):
        free.operand("y")


def test_unscaled_tables_convolve() -> None:
    """TensorSparse needs both of one depth and width, whatever is asked for."""
    for changes in ({}, {"depth": 7}, {"estimate_width": 50}, {"width": 9, "second_width": 11}):
        spec = _resolved(**changes)
        assert spec.sizes is not None
        assert spec.second_sizes is not None
        assert spec.sizes.unscaled_cells == spec.second_sizes.unscaled_cells
        assert spec.sizes.depth == spec.second_sizes.depth
    assert _resolved(width=9, second_width=11).second_sizes.width == 11  # type: ignore[union-attr]


def test_unscaled_tables_tell_all_directions_apart() -> None:
    wide = _resolved(shape={**SHAPE, "d1": 1000, "d2": 3})
    assert wide.sizes is not None
    assert wide.sizes.estimate_width >= 2000
    narrow = _resolved(shape={**SHAPE, "d1": 40, "d2": 50}, estimate_width=8)
    assert narrow.sizes is not None
    assert narrow.sizes.unscaled_cells == 40


def test_memory_counts_every_cell() -> None:
    small = {"n1": 1000, "n2": 300, "d1": 2, "d2": 3}
    for changes in ({}, {"X": X}, {"samples": 3, "repetitions": 2}, {"method": "exact"}):
        spec = _resolved(shape=small, **changes)
        held = sum(a.nbytes for named in empty_arrays(spec).values() for a in named.values())
        assert spec.memory_bytes == held + (0 if spec.x is not None else 8 * 6)
        assert spec.exact_memory_bytes == 8 * (2000 + 900 + (0 if spec.x is not None else 6))


def test_targets_of_memory() -> None:
    """10^6 by 10^6, d = 64: one pair a draw under 16 MB, sixteen under 96 MB."""
    shape = {"n1": 10**6, "n2": 10**6, "d1": 64, "d2": 64}
    assert _resolved(shape=shape, samples=1).memory_bytes < 16e6
    assert _resolved(shape=shape, samples=16).memory_bytes < 96e6


def test_auto_takes_the_smaller() -> None:
    large = _resolved(method="auto")
    assert large.method == "sketch"
    assert large.memory_bytes < large.exact_memory_bytes
    assert _resolved(method="auto", shape={**SHAPE, "n1": 50, "n2": 50}).method == "exact"


def test_specs_come_back_from_json_and_bytes() -> None:
    for changes in ({}, {"X": X}, {"method": "exact"}, {"second_width": 77, "samples": 2}):
        spec = _resolved(**changes)
        assert resolve(spec.to_json()) == spec
        assert Spec.from_bytes(spec.to_bytes()) == spec
        assert Spec.from_bytes(spec.to_bytes()).fingerprint() == spec.fingerprint()


def test_a_fixed_matrix_is_rounded_finely() -> None:
    given = np.array([[1.0, -1 / 3, 0.1], [1e-9, 7.0, -2.0]])
    kept = _resolved(X=given.tolist()).fixed_matrix()
    assert kept is not None
    assert np.abs(kept - given).max() <= 7.0 * 2.0**-39


def test_fingerprints_differ_with_every_field_that_matters() -> None:
    base: dict[str, Any] = {"samples": 4, "repetitions": 2, "quantum_bits": 20, "width": 100,
                            "second_width": 60}  # fmt: skip
    changes: list[dict[str, Any]] = [
        {}, {"samples": 5}, {"repetitions": 3}, {"seed": 8}, {"quantum_bits": 19}, {"width": 101},
        {"second_width": 61}, {"second_upper_width": 9}, {"estimate_width": 99}, {"X": X},
        {"X": [[2.0 * one for one in row] for row in X]}, {"method": "exact"}, {"depth": 7},
        *({"shape": {**SHAPE, name: size + 1}} for name, size in SHAPE.items()),
    ]  # fmt: skip
    prints = [_resolved(**base | change).fingerprint() for change in changes]
    for (one, left), (other, right) in itertools.combinations(enumerate(prints), 2):
        assert left != right, (changes[one], changes[other])
    assert _resolved(**base, magnitude=1.0).fingerprint() == prints[0]
