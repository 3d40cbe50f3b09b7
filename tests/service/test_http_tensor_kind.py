"""A tensor sketch over real HTTP, on both stores: its life, and the core's own answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.settings import Settings
from sketch_core import Sketch, to_snapshot
from tests.service.http_rig import (
    TENSORS,
    Service,
    assert_problem,
    read_tensors,
    running,
    tensors,
)
from tests.service.tensor_rig import (
    EXACT,
    SHAPE,
    SKETCH,
    SPECS,
    Operands,
    X,
    as_json,
    fill,
    filled,
    ok,
)

OCTETS = {"content-type": "application/octet-stream"}
STREAMED_X = {
    "operand": "X", "row": np.arange(4), "values": np.array(X),
}  # fmt: skip


@pytest.fixture(params=["memory", "sqlite"], scope="module")
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    file = Path(tmp_path_factory.mktemp("store")) / "sketches.db"
    url = "memory://" if request.param == "memory" else f"sqlite:///{file}"
    with running(Settings(store=url)) as found:
        yield found


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A sketch name of the test's own."""
    return re.sub(r"[^A-Za-z0-9]", "-", request.node.name)


@pytest.fixture
def operands(rng: np.random.Generator) -> Operands:
    return Operands(rng)


def assert_core_agrees(
    drawn: dict[str, Any], sketch: Sketch, x: Any, count: int, **how: Any
) -> None:
    """Check that an answer is, to the last bit, that of the core in this process."""
    queries = None if x is None else np.array(x, dtype=np.float64)[np.newaxis]
    [own] = sketch.sample(count, queries=queries, **how)
    assert drawn["status"] == own.status
    assert drawn["index"] == own.index.tolist()
    assert drawn["value"] == own.value.tolist()
    assert drawn["probability"] == own.probability.tolist()
    assert (drawn["norm"], drawn["threshold"]) == (own.norm, own.threshold)
    assert drawn["draw"] == own.draw


@pytest.mark.parametrize("method", SPECS)
def test_answers_are_those_of_the_core(
    service: Service, name: str, operands: Operands, method: str
) -> None:
    made = service.make(name, SPECS[method])
    assert (made["kind"], made["shape"], made["method"]) == ("tensor", SHAPE, method)
    path = f"/v1/sketches/{name}"
    empty = ok(service.post(f"{path}/samples", {"X": X}))
    assert (empty["status"], empty["index"]) == ("empty", [])
    fill(service, name, operands.both())
    sketch = filled(SPECS[method], operands.both())
    for draw in (0, 1):
        drawn = ok(service.post(f"{path}/samples", {"count": 5, "X": X, "draw": draw}))
        assert drawn["status"] == "ok"
        assert_core_agrees(drawn, sketch, X, 5, draw=draw)
    assert set(drawn) == {
        "status", "index", "value", "probability", "norm", "threshold", "draw", "draws", "version",
        "exact",
    }  # fmt: skip
    assert drawn["draws"] == (2 if method == "sketch" else None)
    told = ok(service.post(f"{path}/samples", {"X": X, "replacement": True}))
    assert told == ok(service.post(f"{path}/samples", {"X": X}))
    assert len(told["index"]) == 8
    y = operands.product(X)
    found = np.array([y[i1, i2] for i1, i2 in told["index"]])
    assert (found != 0).all()
    # The recovered row, from which a value is read, is off by a few per cent of its length.
    np.testing.assert_allclose(told["value"], found, atol=0.1 * np.abs(found).max())


@pytest.mark.parametrize("method", SPECS)
def test_estimates_and_norms_are_near_the_truth(
    service: Service, name: str, operands: Operands, method: str
) -> None:
    service.make(name, SPECS[method])
    fill(service, name, operands.both())
    path = f"/v1/sketches/{name}"
    y = operands.product(X)
    largest = np.argsort(-np.abs(y), axis=None)[:20]
    pairs = [[int(i1), int(i2)] for i1, i2 in zip(*np.unravel_index(largest, y.shape), strict=True)]
    pairs.append(["17", 4999])  # type: ignore[list-item]
    found = ok(service.post(f"{path}/estimates", {"index": pairs, "X": X}))
    assert found["index"] == [[int(i1), int(i2)] for i1, i2 in pairs]
    own = filled(SPECS[method], operands.both())
    index = np.array(found["index"], np.uint64)
    [core] = own.estimate(index, queries=np.array([X]))
    assert found["value"] == core.value.tolist()
    assert found["standard_error"] == core.standard_error.tolist()
    truth = y[tuple(index.astype(int).T)]
    errors = np.array(found["standard_error"])
    assert (errors == 0).all() == (method == "exact")
    assert (np.abs(np.array(found["value"]) - truth) <= 6 * errors + 1e-9).all()
    nothing = ok(service.post(f"{path}/estimates", {"index": [], "X": X}))
    assert (nothing["index"], nothing["value"]) == ([], [])
    norm = ok(service.post(f"{path}/norm", {"X": X, "power": 2}))
    assert norm == ok(service.post(f"{path}/norm", {"X": X}))
    slack = 6 * norm["standard_error"] if method == "sketch" else 1e-9 * norm["norm"]
    assert abs(norm["norm"] - np.linalg.norm(y)) <= slack


@pytest.mark.parametrize("method", SPECS)
def test_x_comes_with_the_question_or_at_creation_or_streamed(
    service: Service, name: str, operands: Operands, method: str
) -> None:
    spec = SPECS[method]
    service.make(name, spec)
    fixed = service.make(f"{name}.fixed", {**spec, "X": X})
    service.make(f"{name}.streamed", spec)
    assert (fixed["X"], fixed["sealed"]) == (X, ["X"])
    for end in ("", ".fixed", ".streamed"):
        fill(service, f"{name}{end}", operands.both())
    fill(service, f"{name}.streamed", [STREAMED_X])
    asked = {
        "": {"X": X},
        ".fixed": {},
        ".streamed": {},
    }
    for end, query in asked.items():
        path = f"/v1/sketches/{name}{end}"
        sketch = filled(spec, operands.both())
        drawn = ok(service.post(f"{path}/samples", {"count": 4, **query}))
        assert_core_agrees(drawn, sketch, X, 4)
        norm = ok(service.post(f"{path}/norm", query))
        assert norm["norm"] == sketch.norm(queries=np.array([X]))[0].norm
        [pair] = drawn["index"][:1]
        estimated = ok(service.post(f"{path}/estimates", {"index": [pair], **query}))
        [own] = sketch.estimate(np.array([pair], np.uint64), queries=np.array([X]))
        assert estimated["value"] == own.value.tolist()
    taken_back = {"operand": "X", "row": [0, 0], "column": [0, 2], "delta": [-1, 1]}
    ok(service.post(f"/v1/sketches/{name}.streamed/updates", taken_back))
    changed = [[0.0, 0.0, 0.0], *X[1:]]
    drawn = ok(service.post(f"/v1/sketches/{name}.streamed/samples", {"count": 4}))
    assert_core_agrees(drawn, filled(spec, operands.both()), changed, 4)


@pytest.mark.parametrize("layout", ["rows", "entries"])
def test_both_formats_and_layouts_make_the_same_state(
    service: Service, name: str, operands: Operands, layout: str
) -> None:
    updates = [getattr(operands, layout)(operand) for operand in ("A1", "A2")] + [STREAMED_X]
    for end in ("", ".tensors"):
        service.make(f"{name}{end}", SKETCH)
    fill(service, name, updates)
    for update in updates:
        columns = {key: value for key, value in update.items() if key != "operand"}
        done = service.client.post(
            f"/v1/sketches/{name}.tensors/updates",
            content=tensors(columns, operand=update["operand"]),
            headers={"content-type": TENSORS},
        )
        assert ok(done)["accepted"] == len(update["row"])
    states = [service.client.get(f"/v1/sketches/{name}{end}/snapshot") for end in ("", ".tensors")]
    assert states[0].content == states[1].content == to_snapshot(filled(SKETCH, updates))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1"])
def test_a_sample_in_safetensors_is_that_in_json(
    service: Service, name: str, operands: Operands, dtype: str
) -> None:
    service.make(name, SKETCH)
    fill(service, name, operands.both())
    path = f"/v1/sketches/{name}/samples"
    x = np.array(X).astype(dtype)
    plain = ok(service.post(path, {"count": 6, "draw": 1, "X": x.astype(float).tolist()}))
    body = tensors({"X": x}, count="6", draw="1")
    kind = {"content-type": TENSORS}
    assert ok(service.client.post(path, content=body, headers=kind)) == plain
    answer = service.client.post(path, content=body, headers={**kind, "accept": TENSORS})
    found = read_tensors(answer.content)
    assert set(found) == {"index", "value", "probability"}
    assert found["index"].shape == (6, 2)
    assert found["index"].dtype == np.int64
    for column, values in found.items():
        assert values.tolist() == plain[column], column


def test_more_draws_than_the_spec_holds_are_partial(
    service: Service, name: str, operands: Operands
) -> None:
    service.make(name, SKETCH)
    fill(service, name, operands.both())
    drawn = ok(service.post(f"/v1/sketches/{name}/samples", {"count": 9, "X": X}))
    assert drawn["status"] == "partial"
    assert len(drawn["index"]) == len(drawn["value"]) == 8


def test_merges_and_snapshots_add_the_one_operand_named(
    service: Service, name: str, operands: Operands
) -> None:
    for end in ("", ".merged", ".sent"):
        service.make(f"{name}{end}", SKETCH)
    fill(service, name, operands.both())
    made_here = to_snapshot(filled(SKETCH, operands.both()))
    paths = {end: f"/v1/sketches/{name}{end}" for end in ("", ".merged", ".sent")}
    assert service.client.get(f"{paths['']}/snapshot").content == made_here
    for operand in ("A1", "A2"):
        body = {"source": name, "operands": [operand]}
        assert ok(service.post(f"{paths['.merged']}/merge", body))["accepted"] == 0
        added = service.client.post(
            f"{paths['.sent']}/snapshot?operand={operand}", content=made_here, headers=OCTETS
        )
        assert ok(added)["accepted"] == 0
    for end in (".merged", ".sent"):
        assert service.client.get(f"{paths[end]}/snapshot").content == made_here
    # Twice A1 is twice Y, and the pairs that are drawn stay.
    before = ok(service.post(f"{paths['']}/samples", {"X": X}))
    ok(service.post(f"{paths['']}/merge", {"source": name, "operands": ["A1"]}))
    after = ok(service.post(f"{paths['']}/samples", {"X": X}))
    assert after["index"] == before["index"]
    assert after["value"] == pytest.approx([2 * one for one in before["value"]])
    # X is an operand like the others.
    fill(service, f"{name}.merged", [STREAMED_X])
    body = {"source": f"{name}.merged", "operands": ["X"]}
    ok(service.post(f"{paths['.sent']}/merge", body))
    assert_core_agrees(
        ok(service.post(f"{paths['.sent']}/samples", {})), filled(SKETCH, operands.both()), X, 8
    )


def test_a_sealed_operand_stays_and_the_others_do_not(
    service: Service, name: str, operands: Operands
) -> None:
    for end in ("", ".other"):
        service.make(f"{name}{end}", EXACT)
        fill(service, f"{name}{end}", operands.both())
    path = f"/v1/sketches/{name}"
    for operand in ("A1", "X"):
        sealed = ok(service.post(f"{path}/seal", {"operand": operand}))
    assert sealed["sealed"] == ["A1", "X"]
    snapshot = service.client.get(f"{path}.other/snapshot").content
    for operand in ("A1", "X"):
        row = {"operand": operand, "row": [1], "column": [1], "delta": [1]}
        assert_problem(service.post(f"{path}/updates", row), 409, "operand_sealed")
        body = {"source": f"{name}.other", "operands": [operand]}
        assert_problem(service.post(f"{path}/merge", body), 409, "operand_sealed")
        added = service.client.post(
            f"{path}/snapshot?operand={operand}", content=snapshot, headers=OCTETS
        )
        assert_problem(added, 409, "operand_sealed")
    ok(service.post(f"{path}/merge", {"source": f"{name}.other", "operands": ["A2"]}))
    assert service.client.delete(path).status_code == 204
    assert_problem(service.post(f"{path}/samples", {"X": X}), 404, "sketch_not_found")


@pytest.mark.parametrize("end", ["merge", "snapshot"])
def test_a_key_stands_for_one_operand(
    service: Service, name: str, operands: Operands, end: str
) -> None:
    service.make(name, SKETCH)
    fill(service, name, operands.both())
    path = f"/v1/sketches/{name}"
    snapshot = service.client.get(f"{path}/snapshot").content

    def send(operand: str) -> Any:
        if end == "merge":
            body = {"source": name, "operands": [operand]}
            return service.post(f"{path}/merge", body, idempotency_key="k")
        return service.client.post(
            f"{path}/snapshot?operand={operand}",
            content=snapshot,
            headers={**OCTETS, "idempotency-key": "k"},
        )

    first = ok(send("A1"))
    assert ok(send("A1")) == first
    assert_problem(send("A2"), 422, "idempotency_key_reused")
    assert service.info(name)["version"] == first["version"]


def test_the_key_of_an_update_stands_for_its_operand(service: Service, name: str) -> None:
    service.make(name, {**SKETCH, "shape": {**SHAPE, "d2": 4}})
    path = f"/v1/sketches/{name}/updates"
    row = {"row": [1], "values": [[1, 2, 3, 4]]}
    first = ok(service.post(path, {"operand": "A1", **row}, idempotency_key="k"))
    assert ok(service.post(path, {"operand": "A1", **row}, idempotency_key="k")) == first
    other = service.post(path, {"operand": "A2", **row}, idempotency_key="k")
    assert_problem(other, 422, "idempotency_key_reused")


def test_parts_of_many_sketches_may_be_tensors(
    service: Service, name: str, operands: Operands
) -> None:
    service.make(name, SKETCH)
    service.make(f"{name}.v")
    parts = [{"sketch": name, **as_json(update)} for update in operands.both()]
    parts.append({"sketch": f"{name}.v", "index": [3], "delta": [1]})
    results = ok(service.post("/v1/updates", {"updates": parts}))["results"]
    assert [one["status"] for one in results] == [200, 200, 200]
    asked = [
        {"sketch": name, "count": 3, "X": X},
        {"sketch": f"{name}.v", "count": 1},
        {"sketch": name},
    ]
    drawn = ok(service.post("/v1/samples", {"requests": asked}))["results"]
    assert [one["status"] for one in drawn] == [200, 200, 422]
    assert_core_agrees(drawn[0]["answer"], filled(SKETCH, operands.both()), X, 3)
    assert drawn[1]["answer"]["index"] == [3]
    assert drawn[2]["problem"]["errors"][0]["pointer"] == "/requests/2/X"


def test_metrics_name_the_kind(service: Service, name: str, operands: Operands) -> None:
    service.make(name, SKETCH)
    fill(service, name, [operands.rows("A1")])
    ok(service.post(f"/v1/sketches/{name}/norm", {"X": X}))
    text = service.client.get("/metrics").text
    labels = 'kind="tensor",outcome="ok",transport="http"'
    for metric in ("update", "sample"):
        assert f"sketchd_{metric}_duration_seconds_count{{{labels}}}" in text
    [line] = re.findall(r'sketchd_updates_total{kind="tensor"} ([\d.e+]+)', text)
    assert float(line) >= 200 * 4


def test_many_pairs_are_estimated_at_once(
    service: Service, name: str, rng: np.random.Generator
) -> None:
    """So many that neither the body nor the answer is handled in one piece."""
    shape = {"n1": 300, "n2": 400, "d1": 64, "d2": 60}
    service.make(name, {"kind": "tensor", "shape": shape, "method": "exact", "quantum_bits": 8})
    dense = [rng.integers(-512, 512, (n, d)) / 256 for n, d in ((300, 64), (400, 60))]
    for operand, rows in zip(("A1", "A2"), dense, strict=True):
        update = {"operand": operand, "row": np.arange(len(rows)), "values": rows}
        fill(service, name, [update])
    x = rng.integers(-8, 8, (64, 60)) / 4
    index = np.stack([rng.integers(0, 300, 20_000), rng.integers(0, 400, 20_000)], axis=1)
    body = {"index": index.tolist(), "X": x.tolist()}
    found = ok(service.post(f"/v1/sketches/{name}/estimates", body))
    assert found["index"] == body["index"]
    truth = (dense[0] @ x @ dense[1].T)[index[:, 0], index[:, 1]]
    np.testing.assert_allclose(found["value"], truth, rtol=1e-12, atol=1e-12)


def test_the_same_x_finds_the_sketch_and_another_does_not(service: Service, name: str) -> None:
    path = f"/v1/sketches/{name}"
    made = service.make(name, {**SKETCH, "X": X})
    again = service.client.put(path, json={**SKETCH, "X": X})
    assert (again.status_code, again.json()) == (200, made)
    # What the service shows is a spec that finds the sketch, too: nothing is rounded twice.
    shown = {key: made[key] for key in (*SKETCH, "X", "second_width", "second_upper_width")}
    assert service.client.put(path, json=shown).status_code == 200
    other = [[2.0, 0.0, -1.0], *X[1:]]
    for spec in (SKETCH, {**SKETCH, "X": other}, {**SKETCH, "X": X, "second_width": 32}):
        assert_problem(service.client.put(path, json=spec), 409, "spec_differs")
    listed = ok(service.client.get("/v1/sketches", params={"prefix": name}))
    assert listed["sketches"] == [made]
