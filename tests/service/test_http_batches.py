"""Many sketches in one request: each part on its own, in order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.settings import Settings
from tests.service.http_rig import MATRIX, Service, assert_problem, running


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(Settings(store="memory://", max_request_sketches=300)) as found:
        yield found


def test_parts_are_answered_in_order_each_with_its_status(service: Service) -> None:
    service.make("a")
    service.make("b", MATRIX)
    parts = [
        {"sketch": "a", "index": [1, 2, 3], "delta": [1, 1, 1]},
        {"sketch": "gone", "index": [1], "delta": [1]},
        {"sketch": "a", "index": [1, 2, 3, 4], "delta": [1, 1, 1, "x"]},
        {"sketch": "b", "operand": "A", "row": [1], "values": [[1, 0, 0, 0]]},
        {"sketch": "-", "index": [1], "delta": [1]},
        {"index": [1], "delta": [1]},
        "no object",
        {"sketch": "a", "index": [9], "delta": [1]},
    ]
    answer = service.post("/v1/updates", {"updates": parts})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [one["status"] for one in results] == [200, 404, 422, 200, 422, 422, 422, 200]
    assert [one["sketch"] for one in results[:5]] == ["a", "gone", "a", "b", "-"]
    assert results[0]["accepted"] == 3
    assert set(results[0]) == {"sketch", "status", "accepted", "version"}
    assert set(results[1]) == {"sketch", "status", "problem"}
    assert results[1]["problem"]["code"] == "sketch_not_found"
    assert results[2]["problem"]["errors"][0]["pointer"] == "/updates/2/delta/3"
    assert results[4]["problem"]["errors"][0]["pointer"] == "/updates/4/sketch"
    assert results[5]["problem"]["errors"][0]["pointer"] == "/updates/5/sketch"
    assert results[6]["sketch"] is None
    assert service.info("a")["updates"] == 4
    assert service.info("a")["version"] == results[7]["version"]


def test_parts_of_one_sketch_take_effect_in_order(service: Service) -> None:
    service.make("ordered")
    # Every other part is long enough to be checked in a thread: started together, the short ones
    # would overtake.
    parts = [
        {"sketch": "ordered", "index": [7] * size, "delta": [1] * size} for size in [2000, 1] * 50
    ]
    results = service.post("/v1/updates", {"updates": parts}).json()["results"]
    positions = [int(one["version"].rsplit("-")[-1]) for one in results]
    assert positions == list(range(1, 101))


def test_a_thousand_heads_in_a_few_requests(service: Service) -> None:
    names = [f"head-{at}" for at in range(200)]
    for name in names:
        service.make(name)
    updates = [{"sketch": name, "index": [at], "delta": [1]} for at, name in enumerate(names)]
    done = service.post("/v1/updates", {"updates": updates}).json()["results"]
    assert {one["status"] for one in done} == {200}
    asked = [{"sketch": name, "count": 1} for name in names]
    drawn = service.post("/v1/samples", {"requests": asked}).json()["results"]
    assert [one["sketch"] for one in drawn] == names
    assert [one["answer"]["index"] for one in drawn] == [[at] for at in range(200)]


def test_samples_answer_each_part_as_its_own_route_would(service: Service) -> None:
    service.make("s")
    service.make("m", MATRIX)
    service.post("/v1/sketches/s/updates", {"index": [5], "delta": [2]})
    asked = [
        {"sketch": "s", "count": 1},
        {"sketch": "gone"},
        {"sketch": "s", "draw": 99},
        {"sketch": "m", "queries": [[1, 0, 0, 0], [1, 1, "x", 0]]},
        {"sketch": "m", "count": 1, "queries": [[1, 0, 0, 0], [0, 1, 0, 0]]},
    ]
    results = service.post("/v1/samples", {"requests": asked}).json()["results"]
    assert [one["status"] for one in results] == [200, 404, 422, 422, 200]
    assert results[0]["answer"] == service.post("/v1/sketches/s/samples", {"count": 1}).json()
    assert results[2]["problem"]["code"] == "draws_exhausted"
    assert results[2]["problem"]["errors"][0]["pointer"] == "/requests/2/draw"
    assert results[3]["problem"]["errors"][0]["pointer"] == "/requests/3/queries/1/2"
    assert len(results[4]["answer"]["results"]) == 2


def test_a_retry_counts_each_part_once_even_after_a_partial_failure(service: Service) -> None:
    service.make("once")
    parts = [
        {"sketch": "once", "index": [1], "delta": [1]},
        {"sketch": "later", "index": [1], "delta": [1]},
        {"sketch": "once", "index": [1], "delta": [1]},
    ]
    first = service.post("/v1/updates", {"updates": parts}, idempotency_key="many").json()
    assert [one["status"] for one in first["results"]] == [200, 404, 200]
    service.make("later")
    second = service.post("/v1/updates", {"updates": parts}, idempotency_key="many").json()
    assert [one["status"] for one in second["results"]] == [200, 200, 200]
    assert second["results"][0] == first["results"][0]
    assert second["results"][2] == first["results"][2]
    assert service.info("once")["updates"] == 2
    assert service.info("later")["updates"] == 1


def test_the_envelope_is_refused_as_a_whole(service: Service) -> None:
    for path, field in (("/v1/updates", "updates"), ("/v1/samples", "requests")):
        for body, pointer in [
            ({}, f"/{field}"),
            ({field: {}}, f"/{field}"),
            ({field: [], "more": 1}, "/more"),
            ({field: [{}] * 301}, f"/{field}"),
        ]:
            answer = service.post(path, body)
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["pointer"] == pointer
        assert_problem(service.post(path, []), 422, "invalid")
        assert service.post(path, {field: []}).json() == {"results": []}
