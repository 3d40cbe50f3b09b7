"""Questions over real HTTP: what may be left out, and pointers that name what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
