"""Plans of tensors, and the limits of the service on them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from service import http_answer_schemas, sketch_plans
from service.errors import InvalidRequest
from service.settings import Settings
from sketch_core import resolve
from tests.service.http_rig import MATRIX, TENSORS, Service, assert_problem, running, tensors
from tests.service.tensor_rig import EXACT, SHAPE, SKETCH, X, ok


def test_a_plan_shows_the_sizes_of_both_operands() -> None:
    plan = sketch_plans.plan_json(SKETCH, Settings())
    spec = resolve(SKETCH)
    assert spec.sizes is not None
    assert spec.second_sizes is not None
    assert (plan["kind"], plan["shape"]) == ("tensor", SHAPE)
    assert (plan["width"], plan["second_width"]) == (spec.sizes.width, spec.second_sizes.width)
    assert plan["second_upper_width"] == spec.second_sizes.upper_width
    assert (plan["levels"], plan["second_levels"]) == (
        spec.sizes.levels, spec.second_sizes.levels,
    )  # fmt: skip
    dense = 8 * (3000 * 4 + 5000 * 3 + 4 * 3)
    assert (plan["memory_bytes"], plan["exact_memory_bytes"]) == (spec.memory_bytes, dense)
    assert set(plan) <= set(http_answer_schemas.Plan.model_fields)
    cells = spec.sizes.unscaled_cells
    assert plan["expected_errors"]["norm"] == pytest.approx(math.sqrt(4.0 / cells) / 2.0)
    assert 0 < plan["expected_errors"]["estimate"] < 0.1
    assert resolve(plan["spec"]) == spec
    exact = sketch_plans.plan_json(EXACT, Settings())
    assert exact["memory_bytes"] == dense
    assert exact["expected_errors"] == {}
    assert "second_width" not in exact


@pytest.mark.parametrize(
    ("changes", "method", "words"),
    [
        ({}, "exact", "answer exactly"),
        ({"shape": {**SHAPE, "n1": 10**7}}, "sketch", "where the dense operands"),
        ({"distribution": {"power": 1.5}}, "exact", "tensors serve power 2, not 1.5"),
        ({"distribution": {"softmax": {}}}, "exact", "softmax"),
    ],
)
def test_advice_says_what_auto_takes(changes: dict[str, Any], method: str, words: str) -> None:
    plan = sketch_plans.plan_json({**SKETCH, "method": "auto", **changes}, Settings())
    assert plan["advice"]["method"] == plan["method"] == method
    assert words in plan["advice"]["reason"]


def test_the_largest_value_fits_the_cells_of_either_operand() -> None:
    """Of two shapes that differ in which operand is long, one number must hold for both."""
    shapes = [{**SHAPE, "n1": 1 << 20}, {**SHAPE, "n2": 1 << 20}]
    found = {
        sketch_plans.largest_value(resolve({**SKETCH, "shape": shape, "quantum_bits": 10}))
        for shape in shapes
    }
    assert len(found) == 1
    short = sketch_plans.largest_value(resolve({**SKETCH, "quantum_bits": 10}))
    assert found.pop() < short


#: (changes of the sketch spec, the field to reduce), the limit being 2 MB
TOO_LARGE: list[tuple[dict[str, Any], str]] = [
    ({"repetitions": 100}, "/repetitions"),
    ({"samples": 500}, "/samples"),
    ({"shape": {**SHAPE, "d1": 64}}, "/shape/d1"),
    ({"shape": {**SHAPE, "d2": 64}, "samples": 1, "repetitions": 1}, "/shape/d2"),
    ({"width": 1 << 20, "repetitions": 1}, "/width"),
    ({"shape": {**SHAPE, "n1": 1 << 40}, "upper_width": 1 << 20, "repetitions": 1}, "/upper_width"),
    ({"second_width": 1 << 20, "samples": 1, "repetitions": 1}, "/second_width"),
    ({"second_upper_width": 1 << 20, "shape": {**SHAPE, "n2": 1 << 40}, "samples": 1},
     "/second_upper_width"),
    ({"estimate_width": 1 << 20}, "/estimate_width"),
    ({"method": "exact", "shape": {**SHAPE, "n1": 1 << 20}}, "/shape/n1"),
    ({"method": "exact", "shape": {**SHAPE, "n2": 1 << 20}}, "/shape/n2"),
    ({"method": "exact", "shape": {"n1": 2, "n2": 2, "d1": 4096, "d2": 4096}}, "/shape/d1"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "pointer"), TOO_LARGE, ids=range(len(TOO_LARGE)))
def test_what_is_too_large_names_the_field_to_reduce(changes: dict[str, Any], pointer: str) -> None:
    limit = 2 << 20
    limits = Settings(max_sketch_bytes=limit, max_dense_bytes=limit)
    request = {**SKETCH, **changes}
    with pytest.raises(InvalidRequest) as refused:
        sketch_plans.read_request(request, limits)
    assert refused.value.pointer == pointer
    exact = request["method"] == "exact"
    assert refused.value.code == ("dense_too_large" if exact else "sketch_too_large")
    plan = sketch_plans.plan_json(request, limits)
    assert plan["fits"] is False
    smaller = {**request, "shape": dict(request["shape"])}
    inside = smaller["shape"] if pointer.startswith("/shape") else smaller
    inside[pointer.rpartition("/")[2]] = 1
    assert sketch_plans.read_request(smaller, limits).spec.memory_bytes <= limit


@pytest.fixture(scope="module")
def limited() -> Iterator[Service]:
    """A service with small limits. X of SHAPE has 12 numbers."""
    limits = Settings(
        store="memory://", max_query_numbers=12, max_fixed_numbers=12, max_estimate_indices=3,
        max_exact_candidates=20_000, max_sample_count=50, max_request_draws=12,
    )  # fmt: skip
    with running(limits) as found:
        found.make("t", SKETCH)
        found.make("e", EXACT)
        found.make("wide", {**SKETCH, "shape": {**SHAPE, "d2": 4}})
        yield found


def test_x_has_a_limit_with_a_question_and_none_streamed(limited: Service) -> None:
    wide = np.ones((4, 4))
    for path, body in (("samples", {}), ("norm", {}), ("estimates", {"index": [[1, 2]]})):
        ok(limited.post(f"/v1/sketches/t/{path}", {**body, "X": X}))
        answer = limited.post(f"/v1/sketches/wide/{path}", {**body, "X": wide.tolist()})
        problem = assert_problem(answer, 422, "query_too_large")
        assert problem["errors"][0]["pointer"] == "/X"
    sent = limited.client.post(
        "/v1/sketches/wide/samples", content=tensors({"X": wide}), headers={"content-type": TENSORS}
    )
    assert_problem(sent, 422, "query_too_large")
    rows = {"operand": "X", "row": [0, 1, 2, 3], "values": wide.tolist()}
    ok(limited.post("/v1/sketches/wide/updates", rows))
    assert ok(limited.post("/v1/sketches/wide/samples", {}))["status"] == "empty"


def test_a_fixed_x_has_a_limit(limited: Service) -> None:
    limited.make("fixed", {**SKETCH, "X": X})
    spec = {**SKETCH, "shape": {**SHAPE, "d2": 4}, "X": [[1] * 4] * 4}
    matrix = {**MATRIX, "shape": {"n": 9, "d": 13}, "x": [1] * 13}
    for request, pointer in ((spec, "/X"), (matrix, "/x")):
        for answer in (
            limited.client.put("/v1/sketches/new", json=request),
            limited.post("/v1/plan", request),
        ):
            problem = assert_problem(answer, 422, "query_too_large")
            assert problem["errors"][0]["pointer"] == pointer


def test_draws_and_pairs_have_limits(limited: Service) -> None:
    path = "/v1/sketches/{}/{}".format
    over = limited.post(path("t", "samples"), {"X": X, "count": 51})
    assert assert_problem(over, 422, "invalid")["errors"][0]["pointer"] == "/count"
    ok(limited.post(path("t", "samples"), {"X": X, "count": 50}))
    # A draw of the exact method reads a row of Y: n2 = 5000 numbers, so four do.
    ok(limited.post(path("e", "samples"), {"X": X, "count": 4}))
    over = limited.post(path("e", "samples"), {"X": X, "count": 5})
    problem = assert_problem(over, 422, "invalid")
    assert problem["errors"] == [{"pointer": "/count", "detail": "must be from 1 to 4, not 5"}]
    ok(limited.post(path("t", "estimates"), {"X": X, "index": [[1, 2]] * 3}))
    over = limited.post(path("t", "estimates"), {"X": X, "index": [[1, 2]] * 4})
    assert_problem(over, 422, "too_many_indices")


def test_a_pair_is_one_draw_of_all_parts(limited: Service) -> None:
    limited.make("parts", SKETCH)
    for operand, width in (("A1", 4), ("A2", 3)):
        rows = {"operand": operand, "row": [*range(5)], "values": [[1] * width] * 5}
        ok(limited.post("/v1/sketches/parts/updates", rows))
    part = {"sketch": "parts", "X": X}
    # Lists of 8 where no count is named: twelve are left, then four, then none.
    results = ok(limited.post("/v1/samples", {"requests": [part, part, part]}))["results"]
    assert [one["status"] for one in results] == [200, 200, 422]
    assert [len(one["answer"]["index"]) for one in results[:2]] == [8, 8]
    assert results[2]["problem"]["code"] == "too_many_draws"
