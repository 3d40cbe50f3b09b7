"""Questions over real HTTP: what may be left out, and pointers that name what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from service.settings import Settings
from tests.service.http_rig import MATRIX, TENSORS, Service, assert_problem, running, tensors

OCTETS = {"content-type": "application/octet-stream"}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(Settings(store="memory://")) as found:
        found.make("v")
        found.make("m", MATRIX)
        found.make("fixed", {**MATRIX, "x": [1, 0, 0, 0]})
        yield found


#: (sketch, the query sent, where its problem points)
MISFITS: list[tuple[str, dict[str, Any], str]] = [
    ("m", {"queries": [[1, 2]]}, "/queries"),
    ("m", {"queries": [[1, 2], [3, 4]]}, "/queries"),
    ("m", {"queries": [[1, 2, 3, 1e30]]}, "/queries"),
    ("m", {"x": [1, 2]}, "/x"),
    ("m", {}, "/x"),
    ("v", {"queries": [[1, 2]]}, "/queries"),
    ("v", {"x": [1, 2]}, "/x"),
    ("fixed", {"queries": [[1, 2, 3, 4]]}, "/queries"),
    ("fixed", {"x": [1, 2, 3, 4]}, "/x"),
]


@pytest.mark.parametrize(("sketch", "query", "pointer"), MISFITS, ids=range(len(MISFITS)))
def test_a_query_at_fault_is_called_what_was_sent(
    service: Service, sketch: str, query: dict[str, Any], pointer: str
) -> None:
    path = f"/v1/sketches/{sketch}"
    answers = [
        service.post(f"{path}/samples", query),
        service.post(f"{path}/norm", query),
        service.post(f"{path}/estimates", {"index": [1], **query}),
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


@pytest.mark.parametrize("operands", ["operand=B", "operand=A&operand=B"])
def test_an_unknown_operand_of_a_snapshot_is_the_parameter(service: Service, operands: str) -> None:
    snapshot = service.client.get("/v1/sketches/m/snapshot").content
    answer = service.client.post(
        f"/v1/sketches/m/snapshot?{operands}", content=snapshot, headers=OCTETS
    )
    problem = assert_problem(answer, 422, "invalid")
    assert problem["errors"][0]["pointer"] == "/operand"


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_tensors_of_integers_are_numbers(service: Service, dtype: str) -> None:
    def send(path: str, columns: dict[str, Any], **metadata: str) -> httpx.Response:
        body = tensors(columns, **metadata)
        answer = service.client.post(
            f"/v1/sketches/{path}", content=body, headers={"content-type": TENSORS}
        )
        assert answer.status_code == 200, answer.text
        return answer

    for name in (f"v.{dtype}", f"w.{dtype}"):
        service.make(name)
    index = np.array([3, 5])
    send(f"v.{dtype}/updates", {"index": index, "delta": np.array([2, 7], dtype)})
    send(f"w.{dtype}/updates", {"index": index, "delta": np.array([2.0, 7.0])})
    both = [service.client.get(f"/v1/sketches/{one}.{dtype}/snapshot").content for one in "vw"]
    assert both[0] == both[1]
    service.make(f"m.{dtype}", MATRIX)
    rows = {"row": np.array([1]), "values": np.array([[1, 2, 3, 4]], dtype)}
    send(f"m.{dtype}/updates", rows, operand="A")
    one = send(f"m.{dtype}/samples", {"x": np.array([1, 0, 0, 2], dtype)}, count="1").json()
    assert (one["index"], one["value"]) == ([1], [9.0])
    several = send(f"m.{dtype}/samples", {"queries": np.array([[1, 0, 0, 2]], dtype)}, count="1")
    assert several.json()["results"][0]["value"] == [9.0]


def test_an_empty_body_is_that_of_no_fields(service: Service) -> None:
    for headers in ({}, {"content-type": "application/json"}):
        for path in ("samples", "norm"):
            empty = service.client.post(f"/v1/sketches/v/{path}", headers=headers)
            assert empty.status_code == 200, empty.text
            assert empty.json() == service.post(f"/v1/sketches/v/{path}", {}).json()
    assert_problem(service.client.post("/v1/sketches/v/estimates"), 400, "malformed_json")


def test_the_draws_of_all_parts_are_limited_together() -> None:
    def part(**asked: Any) -> dict[str, Any]:
        return {"sketch": "v", **asked}

    def statuses(*parts: dict[str, Any]) -> list[int]:
        answer = limited.post("/v1/samples", {"requests": parts})
        assert answer.status_code == 200, answer.text
        return [one["status"] for one in answer.json()["results"]]

    limits = Settings(store="memory://", max_request_draws=20, max_sample_count=16)
    with running(limits) as limited:
        limited.make("v")
        limited.make("m", MATRIX)
        limited.post("/v1/sketches/v/updates", {"index": [*range(30)], "delta": [1] * 30})
        assert statuses(part(count=10), part(count=10)) == [200, 200]
        over = limited.post("/v1/samples", {"requests": [part(count=10), part(count=11)]})
        problem = assert_problem(over, 422, "too_many_draws")
        assert problem["errors"][0]["pointer"] == "/requests"
        queries = {"sketch": "m", "count": 5, "queries": [[1, 0, 0, 0]] * 3}
        assert statuses(queries, part(count=5)) == [200, 200]
        over = limited.post("/v1/samples", {"requests": [queries, part(count=6)]})
        assert_problem(over, 422, "too_many_draws")
        # A part that is refused on its own costs nothing.
        assert statuses(part(count=17), part(count=16), part(count=4)) == [422, 200, 200]
        # Lists of 16 where no count is named: the first is answered, and the second, begun with
        # room left; the third comes too late.
        assert statuses(part(), part(), part()) == [200, 200, 422]
        assert statuses(part(count=15), part(count=5), part()) == [200, 200, 422]
