"""What is refused of tensors over HTTP, with the pointer of the field at fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from service.settings import Settings
from sketch_core import to_snapshot
from tests.service.http_rig import (
    MATRIX,
    TENSORS,
    Service,
    assert_problem,
    running,
    tensors,
    unchanged,
)
from tests.service.tensor_rig import EXACT, SHAPE, SKETCH, X, as_json, filled

OCTETS = {"content-type": "application/octet-stream"}
STREAMED = {"operand": "X", "row": np.array([0]), "column": np.array([1]), "delta": np.array([1.0])}
NAMES = ("t", "e", "fixed", "streamed", "m", "v")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(Settings(store="memory://")) as found:
        found.make("t", SKETCH)
        found.make("e", EXACT)
        found.make("fixed", {**SKETCH, "X": X})
        found.make("streamed", SKETCH)
        found.post("/v1/sketches/streamed/updates", as_json(STREAMED))
        found.make("other-seed", {**SKETCH, "seed": 8})
        found.make("m", MATRIX)
        found.make("v")
        yield found


@pytest.fixture(autouse=True)
def nothing_applied(service: Service) -> Iterator[None]:
    """Every test here is of refusals: versions and counters stay."""
    with unchanged(service, *NAMES):
        yield


#: (sketch, the query sent, where its problem points)
QUERIES: list[tuple[str, dict[str, Any], str]] = [
    ("t", {}, "/X"),
    ("e", {}, "/X"),
    ("t", {"x": [1, 2, 3, 4]}, "/x"),
    ("e", {"x": [1]}, "/x"),
    ("t", {"queries": [[1, 2, 3, 4]]}, "/queries"),
    ("t", {"queries": [[1, 2, 3], [3, 4, 5]]}, "/queries"),
    ("fixed", {"x": [1, 2, 3, 4]}, "/x"),
    ("t", {"X": X, "x": [1, 2, 3, 4]}, "/X"),
    ("m", {"X": X, "queries": [[1, 2, 3, 4]]}, "/X"),
    ("t", {"X": X[:3]}, "/X"),
    ("e", {"X": [row[:2] for row in X]}, "/X"),
    ("t", {"X": [list(row) for row in zip(*X, strict=True)]}, "/X"),
    ("t", {"X": [[1e30, 0, 0], *X[1:]]}, "/X"),
    ("fixed", {"X": X}, "/X"),
    ("streamed", {"X": X}, "/X"),
    ("m", {"X": X}, "/X"),
    ("v", {"X": X}, "/X"),
    ("v", {"X": [[1]]}, "/X"),
]


@pytest.mark.parametrize(("sketch", "query", "pointer"), QUERIES, ids=range(len(QUERIES)))
def test_a_query_at_fault_is_called_what_was_sent(
    service: Service, sketch: str, query: dict[str, Any], pointer: str
) -> None:
    path = f"/v1/sketches/{sketch}"
    index = [1] if sketch in "mv" else [[1, 2]]
    answers = [
        service.post(f"{path}/samples", query),
        service.post(f"{path}/norm", query),
        service.post(f"{path}/estimates", {"index": index, **query}),
        service.client.post(
            f"{path}/samples",
            content=tensors({name: np.array(one, float) for name, one in query.items()}),
            headers={"content-type": TENSORS},
        ),
    ]
    for answer in answers:
        problem = assert_problem(answer, 422, "invalid")
        assert problem["errors"][0]["pointer"] == pointer
    many = service.post("/v1/samples", {"requests": [{"sketch": sketch, **query}]})
    [result] = many.json()["results"]
    assert result["problem"]["errors"][0]["pointer"] == f"/requests/0{pointer}"


#: (X as sent, where its problem points)
MALFORMED: list[tuple[Any, str]] = [
    ([[1, 2, 3], [1, 2], [1, 2, 3], [1, 2, 3]], "/X/1"),
    ([[1, 2, 3], 5, [1, 2, 3], [1, 2, 3]], "/X/1"),
    ([[1, 2, 3], [1, "2", 3], [1, 2, 3], [1, 2, 3]], "/X/1/1"),
    ([1, 2, 3], "/X/0"),
    ([], "/X"),
    ([[], [], [], []], "/X"),
    ("X", "/X"),
    (7, "/X"),
]


@pytest.mark.parametrize(("x", "pointer"), MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_no_matrix_is_refused(service: Service, x: Any, pointer: str) -> None:
    for path, body in (("samples", {}), ("norm", {}), ("estimates", {"index": [[1, 2]]})):
        answer = service.post(f"/v1/sketches/t/{path}", {**body, "X": x})
        assert assert_problem(answer, 422, "invalid")["errors"][0]["pointer"] == pointer
    answers = [
        service.client.put("/v1/sketches/new", json={**SKETCH, "X": x}),
        service.post("/v1/plan", {**SKETCH, "X": x}),
    ]
    for answer in answers:
        problem = assert_problem(answer, 422, "invalid_spec")
        assert problem["errors"][0]["pointer"].startswith("/X")


@pytest.mark.parametrize(
    ("x", "pointer"),
    [(np.array([[1, 2, 3]] * 3 + [[1, np.nan, 3]]), "/X/3/1"), (np.ones(12), "/X"),
     (np.ones((1, 4, 3)), "/X"), (np.ones((4, 3), bool), "/X")],
)  # fmt: skip
def test_a_tensor_at_fault_is_x(service: Service, x: Any, pointer: str) -> None:
    answer = service.client.post(
        "/v1/sketches/t/samples", content=tensors({"X": x}), headers={"content-type": TENSORS}
    )
    assert assert_problem(answer, 422, "invalid")["errors"][0]["pointer"] == pointer


def test_there_is_no_drawing_without_replacement(service: Service) -> None:
    for sketch in ("t", "e"):
        path = f"/v1/sketches/{sketch}/samples"
        body = tensors({"X": np.array(X)}, replacement="false")
        for answer in (
            service.post(path, {"X": X, "replacement": False}),
            service.client.post(path, content=body, headers={"content-type": TENSORS}),
        ):
            problem = assert_problem(answer, 422, "invalid")
            assert problem["errors"][0]["pointer"] == "/replacement"


#: (sketch, index, where its problem points)
INDICES: list[tuple[str, Any, str]] = [
    ("t", [1, 2], "/index"),
    ("e", [1], "/index"),
    ("t", [[1, 2], 3], "/index/1"),
    ("t", [[1, 2], [1, 2, 3]], "/index/1"),
    ("t", [[1, 2], [1]], "/index/1"),
    ("t", [[1, 2], [1, -1]], "/index/1/1"),
    ("t", [[1, 2], [1.5, 1]], "/index/1/0"),
    ("t", [[1, 2], [True, 1]], "/index/1/0"),
    ("t", [[SHAPE["n1"], 0]], "/index/0/0"),
    ("e", [[0, 0], [0, SHAPE["n2"]]], "/index/1/1"),
    ("t", [[0, str((1 << 53) + 1)]], "/index/0/1"),
]


@pytest.mark.parametrize(("sketch", "index", "pointer"), INDICES, ids=range(len(INDICES)))
def test_pairs_at_fault_are_named(service: Service, sketch: str, index: Any, pointer: str) -> None:
    answer = service.post(f"/v1/sketches/{sketch}/estimates", {"index": index, "X": X})
    assert assert_problem(answer, 422, "invalid")["errors"][0]["pointer"] == pointer


def test_pairs_are_for_tensors(service: Service) -> None:
    for sketch, query in (("v", {}), ("m", {"x": [1, 0, 0, 0]})):
        answer = service.post(f"/v1/sketches/{sketch}/estimates", {"index": [[1, 2]], **query})
        assert assert_problem(answer, 422, "invalid")["errors"][0]["pointer"] == "/index"


#: (sketch, update, where its problem points)
UPDATES: list[tuple[str, dict[str, Any], str]] = [
    ("t", {"row": [1], "values": [[1, 2, 3, 4]]}, "/operand"),
    ("t", {"operand": "A", "row": [1], "values": [[1, 2, 3, 4]]}, "/operand"),
    ("t", {"operand": "x", "index": [1], "delta": [1]}, "/operand"),
    ("m", {"operand": "A1", "row": [1], "values": [[1, 2, 3, 4]]}, "/operand"),
    ("t", {"operand": "A1", "row": [SHAPE["n1"]], "values": [[1, 2, 3, 4]]}, "/row/0"),
    ("t", {"operand": "A2", "row": [0, SHAPE["n2"]], "values": [[1, 2, 3]] * 2}, "/row/1"),
    ("t", {"operand": "A1", "row": [1], "values": [[1, 2, 3]]}, "/values"),
    ("t", {"operand": "A2", "row": [1], "values": [[1, 2, 3, 4]]}, "/values"),
    ("t", {"operand": "A2", "row": [1], "column": [3], "delta": [1]}, "/column/0"),
    ("t", {"operand": "X", "row": [4], "column": [0], "delta": [1]}, "/row/0"),
    ("t", {"operand": "X", "row": [0], "column": [3], "delta": [1]}, "/column/0"),
    ("t", {"operand": "X", "index": [0], "delta": [1]}, "/row"),
    ("t", {"operand": "A1", "row": [1, 2], "column": [0, 1], "delta": [1]}, "/delta"),
    ("fixed", {"operand": "X", "row": [0], "column": [0], "delta": [1]}, "/operand"),
]


@pytest.mark.parametrize(("sketch", "body", "pointer"), UPDATES, ids=range(len(UPDATES)))
def test_an_update_at_fault_is_refused_whole(
    service: Service, sketch: str, body: dict[str, Any], pointer: str
) -> None:
    answer = service.post(f"/v1/sketches/{sketch}/updates", body)
    assert assert_problem(answer, 422, "invalid")["errors"][0]["pointer"] == pointer


#: (target, operands of a merge or snapshot or None, where its problem points)
OPERANDS: list[tuple[str, list[str] | None, str]] = [
    ("t", None, "/operands"),
    ("t", [], "/operands"),
    ("t", ["A1", "A2"], "/operands"),
    ("t", ["A1", "A2", "X"], "/operands"),
    ("t", ["A"], "/operands/0"),
    ("t", ["A1", "y"], "/operands/1"),
    ("fixed", ["X"], "/operands/0"),
]


@pytest.mark.parametrize(("target", "operands", "pointer"), OPERANDS, ids=range(len(OPERANDS)))
def test_exactly_one_operand_is_added(
    service: Service, target: str, operands: list[str] | None, pointer: str
) -> None:
    merge = {"source": target, "operands": operands}
    if operands is None:
        del merge["operands"]
    problem = assert_problem(service.post(f"/v1/sketches/{target}/merge", merge), 422, "invalid")
    assert problem["errors"][0]["pointer"] == pointer
    snapshot = service.client.get(f"/v1/sketches/{target}/snapshot").content
    answer = service.client.post(
        f"/v1/sketches/{target}/snapshot",
        params={"operand": operands or []},
        content=snapshot,
        headers=OCTETS,
    )
    assert assert_problem(answer, 422, "invalid")["errors"][0]["pointer"] == "/operand"


def test_what_does_not_fit_is_not_added(service: Service) -> None:
    sources = {"other-seed": {**SKETCH, "seed": 8}, "e": EXACT, "fixed": {**SKETCH, "X": X}}
    for source, spec in sources.items():
        merge = {"source": source, "operands": ["A1"]}
        answer = service.post("/v1/sketches/t/merge", merge)
        assert_problem(answer, 409, "incompatible_sketches")
        added = service.client.post(
            "/v1/sketches/t/snapshot?operand=A1",
            content=to_snapshot(filled(spec, [])),
            headers=OCTETS,
        )
        assert_problem(added, 409, "incompatible_sketches")
    harmed = to_snapshot(filled(SKETCH, []))[:-1]
    answer = service.client.post(
        "/v1/sketches/t/snapshot?operand=A1", content=harmed, headers=OCTETS
    )
    assert_problem(answer, 422, "invalid_snapshot")


def test_what_else_is_asked_is_checked_like_that_of_others(service: Service) -> None:
    path = "/v1/sketches/t"
    for body, pointer in [
        ({"count": 0}, "/count"), ({"count": 10_001}, "/count"), ({"draws": 1}, "/draws"),
    ]:  # fmt: skip
        answer = service.post(f"{path}/samples", {"X": X, **body})
        assert answer.json()["errors"][0]["pointer"] == pointer
    exhausted = service.post(f"{path}/samples", {"X": X, "draw": 2})
    problem = assert_problem(exhausted, 422, "draws_exhausted")
    assert problem["errors"][0]["pointer"] == "/draw"
    power = assert_problem(service.post(f"{path}/norm", {"X": X, "power": 1}), 422, "invalid")
    assert power["errors"][0]["pointer"] == "/power"
    seal = assert_problem(service.post(f"{path}/seal", {"operand": "A"}), 422, "invalid")
    assert seal["errors"][0]["pointer"] == "/operand"


#: (what differs from a good spec, where its problem points)
SPECS: list[tuple[dict[str, Any], str]] = [
    ({"shape": {"n": 5, "d": 4}}, "/shape/n"),
    ({"shape": {"n1": 5, "n2": 5, "d1": 4}}, "/shape/d2"),
    ({"shape": {**SHAPE, "n1": 0}}, "/shape/n1"),
    ({"shape": {**SHAPE, "d2": 1 << 13}}, "/shape/d2"),
    ({"x": [1, 2, 3, 4]}, "/x"),
    ({"X": X[:3]}, "/X"),
    ({"X": [*X[:3], [1, 2]]}, "/X/3"),
    ({"X": [*X[:3], [1, None, 2]]}, "/X/3/1"),
    ({"distribution": {"power": 1}}, "/distribution/power"),
    ({"distribution": {"softmax": {}}}, "/distribution/softmax"),
    ({"second_width": 0}, "/second_width"),
    ({"kind": "matrix", "shape": {"n": 9, "d": 2}, "second_width": 32}, "/second_width"),
    ({"kind": "matrix", "shape": {"n": 9, "d": 2}, "X": X}, "/X"),
    ({"method": "exact", "distribution": {"power": 1},
      "shape": {"n1": 1 << 13, "n2": 1 << 13, "d1": 1, "d2": 1}}, "/shape/n1"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "pointer"), SPECS, ids=range(len(SPECS)))
def test_a_spec_at_fault_is_422(service: Service, changes: dict[str, Any], pointer: str) -> None:
    for answer in (
        service.client.put("/v1/sketches/new", json={**SKETCH, **changes}),
        service.post("/v1/plan", {**SKETCH, **changes}),
    ):
        problem = assert_problem(answer, 422, "invalid_spec")
        assert problem["errors"][0]["pointer"] == pointer
    assert_problem(service.client.get("/v1/sketches/new"), 404, "sketch_not_found")
