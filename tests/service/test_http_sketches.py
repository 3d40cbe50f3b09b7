"""Every route of /v1 over real HTTP, on both stores."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.settings import Settings
from tests.service.http_rig import MATRIX, VECTOR, Service, assert_problem, running


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


def test_create_is_201_then_200_then_409(service: Service, name: str) -> None:
    path = f"/v1/sketches/{name}"
    made = service.client.put(path, json=VECTOR)
    again = service.client.put(path, json=VECTOR)
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json() == again.json()
    assert_problem(service.client.put(path, json=MATRIX), 409, "spec_differs")


def test_without_a_seed_the_same_request_finds_the_sketch(service: Service, name: str) -> None:
    spec = {"kind": "vector", "shape": {"n": 5000}}
    made = service.client.put(f"/v1/sketches/{name}", json=spec)
    again = service.client.put(f"/v1/sketches/{name}", json=spec)
    assert again.status_code == 200
    assert made.json()["seed"] == again.json()["seed"]


def test_info_is_flat_and_complete(service: Service, name: str) -> None:
    service.make(name, {**VECTOR, "method": "sketch", "ttl_seconds": 3600})
    service.post(f"/v1/sketches/{name}/updates", {"index": [1, 2], "delta": [1.5, 1e-30]})
    info = service.info(name)
    assert set(info) == {
        "name", "kind", "shape", "method", "distribution", "samples", "repetitions", "seed",
        "magnitude", "quantum_bits", "width", "upper_width", "estimate_width", "depth", "levels",
        "ttl_seconds", "memory_bytes", "updates", "underflowed", "version", "exact", "sealed",
        "created_at", "expires_at",
    }  # fmt: skip
    assert (info["name"], info["kind"], info["shape"]) == (name, "vector", {"n": 1_000_000})
    assert set(info["memory_bytes"]) == {"state", "log"}
    assert info["memory_bytes"]["state"] > 0
    assert info["memory_bytes"]["log"] > 0
    assert (info["updates"], info["underflowed"]) == (2, 1)
    assert info["levels"] >= 1
    assert info["sealed"] == []
    assert info["exact"] is True
    for time in (info["created_at"], info["expires_at"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert info["expires_at"] > info["created_at"]


def test_an_exact_sketch_has_no_levels(service: Service, name: str) -> None:
    info = service.make(name, {"kind": "vector", "shape": {"n": 100}, "method": "exact"})
    assert info["method"] == "exact"
    assert info["levels"] is None
    assert "width" not in info


def test_plan_answers_without_making_anything(service: Service) -> None:
    small = service.post("/v1/plan", {"kind": "vector", "shape": {"n": 1000}}).json()
    large = service.post("/v1/plan", {"kind": "vector", "shape": {"n": 1 << 40}}).json()
    assert small["advice"]["method"] == "exact"
    assert large["advice"]["method"] == "sketch"
    for plan in (small, large):
        assert plan["memory_bytes"] <= plan["exact_memory_bytes"]


def test_list_pages_by_name(service: Service, name: str) -> None:
    for end in "bac":
        service.make(f"{name}.{end}")
    page = service.client.get("/v1/sketches", params={"prefix": f"{name}.", "limit": 2}).json()
    assert [one["name"] for one in page["sketches"]] == [f"{name}.a", f"{name}.b"]
    following = service.client.get(
        "/v1/sketches",
        params={"prefix": f"{name}.", "limit": 2, "cursor": page["next_cursor"]},
    ).json()
    assert [one["name"] for one in following["sketches"]] == [f"{name}.c"]
    assert following["next_cursor"] is None
    assert following["sketches"][0] == service.info(f"{name}.c")


def test_list_finds_what_names_contain(service: Service, name: str) -> None:
    for end in ("Alpha", "beta-alpha", "beta", "gamma.ALPHA"):
        service.make(f"{name}.{end}")

    def found(**params: str | int | None) -> tuple[list[str], str | None]:
        page = service.client.get("/v1/sketches", params={"prefix": f"{name}.", **params})
        assert page.status_code == 200, page.text
        ends = [one["name"].removeprefix(f"{name}.") for one in page.json()["sketches"]]
        return ends, page.json()["next_cursor"]

    whole, following = found(contains="aLPha", limit=2)
    assert whole == ["Alpha", "beta-alpha"]
    assert found(contains="alpha", limit=2, cursor=following) == (["gamma.ALPHA"], None)
    assert found(contains="alpha", limit=3) == (["Alpha", "beta-alpha", "gamma.ALPHA"], None)
    assert len(found(contains="")[0]) == 4
    for text in ("%", "_", "%a%", "*", "' OR '1'='1", "\0", "\u212a", "é", "a b", "a" * 128):
        assert found(contains=text) == ([], None), text


def test_a_text_longer_than_a_name_names_its_field(service: Service) -> None:
    answer = service.client.get("/v1/sketches", params={"contains": "a" * 129})
    problem = assert_problem(answer, 422, "invalid")
    assert problem["errors"][0]["pointer"] == "/contains"


def test_delete(service: Service, name: str) -> None:
    service.make(name)
    answer = service.client.delete(f"/v1/sketches/{name}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert_problem(service.client.get(f"/v1/sketches/{name}"), 404, "sketch_not_found")
    assert_problem(service.client.delete(f"/v1/sketches/{name}"), 404, "sketch_not_found")


def test_patch_sets_and_clears_the_time_to_live(service: Service, name: str) -> None:
    service.make(name)
    path = f"/v1/sketches/{name}"
    assert service.client.patch(path, json={"ttl_seconds": 60}).json()["ttl_seconds"] == 60
    cleared = service.client.patch(path, json={"ttl_seconds": None}).json()
    assert cleared["ttl_seconds"] is None
    assert cleared["expires_at"] is None
    assert_problem(service.client.patch(path, json={}), 422, "invalid")


def test_updates_are_seen_by_the_next_sample(service: Service, name: str) -> None:
    service.make(name)
    path = f"/v1/sketches/{name}"
    done = service.post(f"{path}/updates", {"index": [5, 9], "delta": [1.5, -2]})
    assert done.status_code == 200
    assert done.json() == {"accepted": 2, "version": service.info(name)["version"]}
    drawn = service.post(f"{path}/samples", {"count": 2}).json()
    assert drawn["status"] == "ok"
    assert dict(zip(drawn["index"], drawn["value"], strict=True)) == pytest.approx(
        {5: 1.5, 9: -2.0}
    )
    assert drawn["norm"] == pytest.approx(2.5)
    assert (drawn["draw"], drawn["draws"]) == (0, 1)
    assert drawn["version"] == done.json()["version"]
    assert set(drawn) == {
        "status", "index", "value", "probability", "inclusion_probability", "norm", "threshold",
        "draw", "draws", "version", "exact",
    }  # fmt: skip
    replaced = service.post(f"{path}/samples", {"count": 3, "replacement": True}).json()
    assert len(replaced["index"]) == 3
    assert "inclusion_probability" not in replaced
    service.post(f"{path}/updates", {"index": [5, 9], "delta": [-1.5, 2]})
    empty = service.post(f"{path}/samples", {}).json()
    assert (empty["status"], empty["index"]) == ("empty", [])


def test_estimates_and_norm(service: Service, name: str) -> None:
    service.make(name)
    path = f"/v1/sketches/{name}"
    service.post(f"{path}/updates", {"index": [3, 4], "delta": [3, 4]})
    found = service.post(f"{path}/estimates", {"index": [4, 3, 8]}).json()
    assert found["index"] == [4, 3, 8]
    assert found["value"] == pytest.approx([4, 3, 0])
    assert len(found["standard_error"]) == 3
    norm = service.post(f"{path}/norm", {}).json()
    assert norm["power"] == 2
    assert norm["norm"] == pytest.approx(5)
    assert set(norm) == {"power", "norm", "standard_error", "version", "exact"}


def test_a_matrix_answers_queries(service: Service, name: str) -> None:
    service.make(name, MATRIX)
    path = f"/v1/sketches/{name}"
    rows = {"operand": "A", "row": [7, 8], "values": [[1, 0, 0, 0], [0, 2, 0, 0]]}
    assert service.post(f"{path}/updates", rows).json()["accepted"] == 2
    entries = {"operand": "A", "row": [7], "column": [3], "delta": [5]}
    assert service.post(f"{path}/updates", entries).json()["accepted"] == 1
    one = service.post(f"{path}/samples", {"count": 1, "x": [1, 0, 0, 0]}).json()
    assert (one["index"], one["value"]) == ([7], [1.0])
    two = service.post(f"{path}/samples", {"count": 1, "queries": [[0, 1, 0, 0], [0, 0, 0, 1]]})
    results = two.json()["results"]
    assert [result["index"] for result in results] == [[8], [7]]
    assert [result["value"] for result in results] == [[2.0], [5.0]]
    estimated = service.post(f"{path}/estimates", {"index": [8], "x": [0, 1, 0, 0]}).json()
    assert estimated["value"] == pytest.approx([2])
    norms = service.post(f"{path}/norm", {"queries": [[0, 1, 0, 0], [0, 0, 0, 1]]}).json()
    assert [result["norm"] for result in norms["results"]] == pytest.approx([2, 5])
    problem = assert_problem(service.post(f"{path}/samples", {}), 422, "invalid")
    assert problem["errors"][0]["pointer"] == "/x"
    both = service.post(f"{path}/samples", {"x": [1, 0, 0, 0], "queries": [[1, 0, 0, 0]]})
    assert_problem(both, 422, "invalid")


def test_a_vector_takes_no_query(service: Service, name: str) -> None:
    service.make(name)
    assert_problem(service.post(f"/v1/sketches/{name}/samples", {"x": [1.0]}), 422, "invalid")


def test_seal_forbids_later_updates(service: Service, name: str) -> None:
    service.make(name, MATRIX)
    path = f"/v1/sketches/{name}"
    sealed = service.post(f"{path}/seal", {"operand": "A"})
    assert sealed.status_code == 200
    assert sealed.json()["sealed"] == ["A"]
    refused = service.post(f"{path}/updates", {"operand": "A", "row": [0], "values": [[1] * 4]})
    assert_problem(refused, 409, "operand_sealed")
    unknown = assert_problem(service.post(f"{path}/seal", {"operand": "B"}), 422, "invalid")
    assert unknown["errors"][0]["pointer"] == "/operand"


def test_merge_adds_and_with_itself_doubles(service: Service, name: str) -> None:
    service.make(name)
    service.make(f"{name}.other")
    path = f"/v1/sketches/{name}"
    service.post(f"{path}.other/updates", {"index": [11], "delta": [4]})
    merged = service.post(f"{path}/merge", {"source": f"{name}.other"})
    assert merged.status_code == 200
    assert merged.json()["accepted"] == 0
    service.post(f"{path}/merge", {"source": name, "operands": ["y"]})
    assert service.post(f"{path}/estimates", {"index": [11]}).json()["value"] == [8.0]
    service.make(f"{name}.seed", {**VECTOR, "seed": 8})
    refused = service.post(f"{path}/merge", {"source": f"{name}.seed"})
    assert_problem(refused, 409, "incompatible_sketches")
    gone = assert_problem(
        service.post(f"{path}/merge", {"source": "gone"}), 404, "sketch_not_found"
    )
    assert gone["errors"][0]["pointer"] == "/source"


def test_snapshots_go_out_and_come_in(service: Service, name: str) -> None:
    service.make(name)
    service.make(f"{name}.copy")
    path = f"/v1/sketches/{name}"
    service.post(f"{path}/updates", {"index": [2], "delta": [3]})
    taken = service.client.get(f"{path}/snapshot")
    assert taken.headers["content-type"] == "application/octet-stream"
    assert taken.headers["x-sketch-version"] == service.info(name)["version"]
    octets = {"content-type": "application/octet-stream"}
    added = service.client.post(f"{path}.copy/snapshot", content=taken.content, headers=octets)
    assert added.status_code == 200, added.text
    assert service.client.get(f"{path}.copy/snapshot").content == taken.content
    harmed = service.client.post(
        f"{path}.copy/snapshot", content=taken.content[:-1], headers=octets
    )
    assert_problem(harmed, 422, "invalid_snapshot")
    as_json = service.post(f"{path}.copy/snapshot", {})
    assert_problem(as_json, 415, "unsupported_media_type")


def test_named_operands_alone_are_added(service: Service, name: str) -> None:
    path = f"/v1/sketches/{name}"
    for end in ("", ".merged", ".sent"):
        service.make(f"{name}{end}", MATRIX)
    service.post(f"{path}/updates", {"operand": "x", "index": [0], "delta": [1]})
    service.post(f"{path}/updates", {"operand": "A", "row": [1], "values": [[5, 0, 0, 0]]})
    service.post(f"{path}.merged/merge", {"source": name, "operands": ["x"]})
    snapshot = service.client.get(f"{path}/snapshot").content
    service.client.post(f"{path}.sent/snapshot?operand=x", content=snapshot)
    for end in (".merged", ".sent"):
        row = {"operand": "A", "row": [2], "values": [[3, 0, 0, 0]]}
        service.post(f"{path}{end}/updates", row)
        drawn = service.post(f"{path}{end}/samples", {"count": 2}).json()
        assert (drawn["index"], drawn["value"]) == ([2], [3.0])


@pytest.mark.parametrize("end", ["updates", "seal", "merge", "snapshot"])
def test_a_retry_with_the_key_counts_once(service: Service, name: str, end: str) -> None:
    service.make(name)
    service.make(f"{name}.source")
    path = f"/v1/sketches/{name}"
    service.post(f"{path}.source/updates", {"index": [1], "delta": [1]})
    snapshot = service.client.get(f"{path}.source/snapshot").content
    bodies = {
        "updates": (b'{"index": [1], "delta": [1]}', b'{"index": [1], "delta": [2]}'),
        "seal": (b'{"operand": "y"}', None),
        "merge": (f'{{"source": "{name}.source"}}'.encode(), f'{{"source": "{name}"}}'.encode()),
        "snapshot": (snapshot, None),
    }
    body, other = bodies[end]
    kind = "application/octet-stream" if end == "snapshot" else "application/json"
    headers = {"idempotency-key": "retry 1", "content-type": kind}
    first = service.client.post(f"{path}/{end}", content=body, headers=headers)
    version = service.info(name)["version"]
    second = service.client.post(f"{path}/{end}", content=body, headers=headers)
    assert first.status_code == second.status_code == 200, second.text
    assert first.json() == second.json()
    assert service.info(name)["version"] == version
    if other is not None:
        reused = service.client.post(f"{path}/{end}", content=other, headers=headers)
        assert_problem(reused, 422, "idempotency_key_reused")


def test_an_error_is_not_remembered_under_the_key(service: Service, name: str) -> None:
    path = f"/v1/sketches/{name}"
    body = {"index": [1], "delta": [1]}
    assert_problem(
        service.post(f"{path}/updates", body, idempotency_key="k"), 404, "sketch_not_found"
    )
    service.make(name)
    assert service.post(f"{path}/updates", body, idempotency_key="k").status_code == 200


def test_indices_over_two_to_the_53_travel_as_strings(service: Service, name: str) -> None:
    service.make(name, {"kind": "vector", "shape": {"n": 1 << 63}, "seed": 3})
    path = f"/v1/sketches/{name}"
    large = str((1 << 63) - 1)
    body = {"index": [large, 1 << 53, str((1 << 53) + 1)], "delta": [4, 2, 1]}
    assert service.post(f"{path}/updates", body).status_code == 200
    drawn = service.post(f"{path}/samples", {"count": 3}).json()
    assert set(drawn["index"]) == {large, 1 << 53, str((1 << 53) + 1)}
    estimated = service.post(f"{path}/estimates", {"index": [large, 7]}).json()
    assert estimated["index"] == [large, 7]
    assert estimated["value"][0] == 4.0


def test_an_unknown_field_is_refused_even_without_a_value(service: Service) -> None:
    """It was dropped with the nulls, and the plan's advice then failed on it."""
    spec = {"kind": "vector", "shape": {"n": 5}, "row": None}
    for method, path in (("PUT", "/v1/sketches/odd"), ("POST", "/v1/plan")):
        answer = service.client.request(method, path, json=spec)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["pointer"] == "/row"
    known = {"kind": "vector", "shape": {"n": 5}, "samples": None, "ttl_seconds": None, "x": None}
    assert service.client.post("/v1/plan", json=known).status_code == 200
