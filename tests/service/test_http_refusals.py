"""What can be read and is wrong: 422 with a pointer to the value at fault, nothing applied."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from service.settings import Settings
from service.sketch_requests import NAME_RULE
from tests.service.http_rig import (
    JSON,
    MATRIX,
    Service,
    assert_problem,
    running,
    unchanged,
)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(Settings(store="memory://")) as found:
        found.make("v")
        found.make("m", MATRIX)
        yield found


@pytest.fixture(autouse=True)
def nothing_applied(service: Service) -> Iterator[None]:
    """Every test here is of refusals: versions and counters stay."""
    with unchanged(service, "v", "m"):
        yield


REFUSED = [
    ("v", {"index": [1], "delta": [1], "more": 1}, "/more", "unknown_field"),
    ("v", {"index": [1, 1_000_000], "delta": [1, 1]}, "/index/1", "invalid"),
    ("v", {"index": [-1], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": [0, 1 << 63], "delta": [1, 1]}, "/index/1", "invalid"),
    ("v", {"index": ["9223372036854775808"], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": [1.0], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": [1, True], "delta": [1, 1]}, "/index/1", "invalid"),
    ("v", {"index": ["1.5"], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": ["-1"], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": ["\u0661"], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": [None], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": [[1]], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": {"0": 1}, "delta": [1]}, "/index", "invalid"),
    ("v", {"index": [1, 2], "delta": [1]}, "/delta", "invalid"),
    ("v", {"index": [1]}, "/delta", "invalid"),
    ("v", {"delta": [1]}, "/index", "invalid"),
    ("v", {}, "/index", "invalid"),
    ("v", {"index": [1], "delta": ["1"]}, "/delta/0", "invalid"),
    ("v", {"index": [1], "delta": [False]}, "/delta/0", "invalid"),
    ("v", {"index": [1, 2], "delta": [1, 10**400]}, "/delta/1", "invalid"),
    ("v", {"index": [1, 2], "delta": [0, 1e300]}, "/delta/1", "invalid"),
    ("v", {"operand": "A", "index": [1], "delta": [1]}, "/operand", "invalid"),
    ("v", {"operand": 5, "index": [1], "delta": [1]}, "/operand", "invalid"),
    ("m", {"operand": "A", "row": [100_000], "values": [[1] * 4]}, "/row/0", "invalid"),
    ("m", {"operand": "A", "row": [1], "values": [[1] * 3]}, "/values", "invalid"),
    ("m", {"operand": "A", "row": [1, 2], "values": [[1] * 4, [1]]}, "/values/1", "invalid"),
    ("m", {"operand": "A", "row": [1], "values": [[1, 2, "3", 4]]}, "/values/0/2", "invalid"),
    ("m", {"operand": "A", "row": [1], "values": [3]}, "/values/0", "invalid"),
    ("m", {"operand": "A", "row": [1, 2], "values": [[1] * 4]}, "/values", "invalid"),
    ("m", {"operand": "A", "row": [1], "column": [4], "delta": [1]}, "/column/0", "invalid"),
    ("m", {"operand": "x", "index": [4], "delta": [1]}, "/index/0", "invalid"),
    ("m", {"index": [4], "delta": [1]}, "/operand", "invalid"),
]


@pytest.mark.parametrize(("sketch", "body", "pointer", "code"), REFUSED, ids=range(len(REFUSED)))
def test_a_value_at_fault_is_422_with_its_pointer(
    service: Service, sketch: str, body: dict[str, object], pointer: str, code: str
) -> None:
    problem = assert_problem(service.post(f"/v1/sketches/{sketch}/updates", body), 422, code)
    assert problem["errors"][0]["pointer"] == pointer
    many = service.post("/v1/updates", {"updates": [{"sketch": sketch, **body}]})
    [result] = many.json()["results"]
    assert (result["sketch"], result["status"]) == (sketch, 422)
    assert result["problem"]["code"] == code
    assert result["problem"]["errors"][0]["pointer"] == f"/updates/0{pointer}"


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_not_finite_are_422(service: Service, word: str) -> None:
    def pointer(path: str, body: str) -> str:
        answer = service.client.post(path, content=body.encode(), headers=JSON)
        found: str = assert_problem(answer, 422, "invalid")["errors"][0]["pointer"]
        return found

    deltas = f'{{"index": [1, 2, 3, 4], "delta": [1, 2, 3, {word}]}}'
    assert pointer("/v1/sketches/v/updates", deltas) == "/delta/3"
    rows = f'{{"operand": "A", "row": [1, 2], "values": [[1, 2, 3, 4], [1, {word}, 3, 4]]}}'
    assert pointer("/v1/sketches/m/updates", rows) == "/values/1/1"
    assert pointer("/v1/sketches/m/samples", f'{{"x": [1, 2, {word}, 4]}}') == "/x/2"
    queries = f'{{"queries": [[1, 2, 3, 4], [{word}, 1, 1, 1]]}}'
    assert pointer("/v1/sketches/m/samples", queries) == "/queries/1/0"
    assert pointer("/v1/sketches/v/norm", f'{{"power": {word}}}') == "/power"


def test_questions_at_fault_are_422(service: Service) -> None:
    path = "/v1/sketches/v"
    for body, pointer in [
        ({"count": 0}, "/count"),
        ({"count": -1}, "/count"),
        ({"count": 1.5}, "/count"),
        ({"count": True}, "/count"),
        ({"count": 1 << 70}, "/count"),
        ({"replacement": 1}, "/replacement"),
        ({"draw": -1}, "/draw"),
        ({"counts": 1}, "/counts"),
    ]:
        problem = service.post(f"{path}/samples", body)
        assert problem.status_code == 422, body
        assert problem.json()["errors"][0]["pointer"] == pointer
    exhausted = assert_problem(service.post(f"{path}/samples", {"draw": 1}), 422, "draws_exhausted")
    assert exhausted["errors"][0]["pointer"] == "/draw"
    assert_problem(service.post(f"{path}/estimates", {}), 422, "invalid")
    assert_problem(service.post(f"{path}/estimates", {"index": [1_000_000]}), 422, "invalid")
    assert_problem(service.post("/v1/sketches/m/samples", {"x": [1, 2]}), 422, "invalid")
    assert_problem(service.post("/v1/sketches/m/samples", {"queries": []}), 422, "invalid")


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({}, "/kind"),
        ({"kind": "ring", "shape": {"n": 5}}, "/kind"),
        ({"kind": "vector"}, "/shape"),
        ({"kind": "vector", "shape": {"n": 0}}, "/shape/n"),
        ({"kind": "vector", "shape": {"n": 5, "d": 5}}, "/shape/d"),
        ({"kind": "vector", "shape": {"n": 5}, "colour": "red"}, "/colour"),
        ({"kind": "vector", "shape": {"n": 5}, "samples": "8"}, "/samples"),
        ({"kind": "vector", "shape": {"n": 5}, "ttl_seconds": -1}, "/ttl_seconds"),
    ],
)
def test_a_spec_at_fault_is_422(service: Service, spec: dict[str, object], pointer: str) -> None:
    for answer in (
        service.client.put("/v1/sketches/new", json=spec),
        service.post("/v1/plan", spec),
    ):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == pointer
    assert_problem(service.client.get("/v1/sketches/new"), 404, "sketch_not_found")


@pytest.mark.parametrize(
    "name", ["-a", ".a", "a b", "a%2Fb", "ä", "a" * 129, "a%0A", "%00", "_other"]
)
def test_names_are_checked(service: Service, name: str) -> None:
    body = {"kind": "vector", "shape": {"n": 5}}
    answer = service.client.put(f"/v1/sketches/{name}", json=body)
    if name == "a%2Fb":
        assert_problem(answer, 404, "route_not_found")
        return
    problem = assert_problem(answer, 422, "invalid_name")
    assert problem["errors"][0]["pointer"] == "/name"
    updated = service.post(f"/v1/sketches/{name}/updates", {"index": [], "delta": []})
    assert_problem(updated, 422, "invalid_name")


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("limit=0", "/limit"), ("limit=x", "/limit"), ("limit=100000000", "/limit"),
     ("cursor=!", "/cursor")],
)  # fmt: skip
def test_query_parameters_are_checked(service: Service, query: str, pointer: str) -> None:
    problem = assert_problem(service.client.get(f"/v1/sketches?{query}"), 422, "invalid")
    assert problem["errors"][0]["pointer"] == pointer


def test_idempotency_keys_are_checked(service: Service) -> None:
    body = {"index": [1], "delta": [1]}
    for key in ("", "a" * 256, "tab\there"):
        answer = service.post("/v1/sketches/v/updates", body, idempotency_key=key)
        assert_problem(answer, 422, "invalid_idempotency_key")
        many = service.post("/v1/updates", {"updates": []}, idempotency_key=key)
        assert_problem(many, 422, "invalid_idempotency_key")


@pytest.mark.parametrize(
    ("path", "body", "pointer", "detail"),
    [
        ("samples", {"count": "1"}, "/count", "must be a whole number"),
        ("samples", {"count": 1.5}, "/count", "must be a whole number"),
        ("samples", {"count": -1}, "/count", "must be at least 0"),
        ("samples", {"replacement": 1}, "/replacement", "must be true or false"),
        ("samples", {"colour": 1}, "/colour", "unknown field"),
        ("estimates", {}, "/index", "is required"),
        ("norm", {"power": "2"}, "/power", "must be a number"),
        ("norm", {"power": 1e999}, "/power", "must be finite"),
        ("seal", {"operand": 1}, "/operand", "must be a string"),
        ("merge", {"source": "-"}, "/source", NAME_RULE),
        ("merge", {"source": "v", "operands": "y"}, "/operands", "must be a list"),
        ("merge", {"source": "v", "operands": ["y"] * 9}, "/operands", "must have at most 8 items"),
        ("updates", {"index": [1.5], "delta": [1]}, "/index/0", "must be a whole number"),
    ],
)
def test_every_field_is_refused_in_the_same_words(
    service: Service, path: str, body: object, pointer: str, detail: str
) -> None:
    answer = service.client.post(
        f"/v1/sketches/v/{path}", content=json.dumps(body).encode(), headers=JSON
    )
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": pointer, "detail": detail}]


def test_a_name_is_refused_in_the_same_words_everywhere(service: Service) -> None:
    update: dict[str, object] = {"index": [], "delta": []}
    answers = [
        service.client.put("/v1/sketches/-", json={"kind": "vector", "shape": {"n": 5}}),
        service.client.get("/v1/sketches/-"),
        service.post("/v1/sketches/-/updates", update),
        service.post("/v1/sketches/-/samples", {}),
    ]
    details = {answer.json()["errors"][0]["detail"] for answer in answers}
    assert details == {NAME_RULE}
    [part] = service.post("/v1/updates", {"updates": [{"sketch": "-", **update}]}).json()["results"]
    assert part["problem"]["errors"] == [{"pointer": "/updates/0/sketch", "detail": NAME_RULE}]


def test_of_many_unknown_fields_the_first_are_named(service: Service) -> None:
    body = {"count": "x", **{f"a{at}": at for at in range(5000)}}
    problem = assert_problem(service.post("/v1/sketches/v/samples", body), 422, "invalid")
    pointers = [one["pointer"] for one in problem["errors"]]
    assert pointers == ["/count", *(f"/a{at}" for at in range(16))]
