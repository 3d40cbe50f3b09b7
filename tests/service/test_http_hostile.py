"""Bad input, drawn at random: never a 5xx, always a problem, and nothing half applied.

The service keeps a sketch of each kind. After every request that was not
answered 200 their version and counters must be what they were before; after
one that was, the counters must have grown by what was accepted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.settings import Settings
from tests.service.http_rig import MATRIX, PROBLEM, TENSORS, Service, running, tensors

QUICK = settings(
    max_examples=120,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PATHS = (
    "/v1/sketches/v/updates", "/v1/sketches/m/updates", "/v1/updates", "/v1/sketches/v/samples",
    "/v1/sketches/m/samples", "/v1/samples", "/v1/sketches/v/estimates", "/v1/sketches/m/norm",
    "/v1/sketches/s/seal", "/v1/sketches/v/merge", "/v1/sketches/m/snapshot", "/v1/plan",
)  # fmt: skip


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(Settings(store="memory://", max_body_bytes=1 << 20)) as found:
        found.make("v")
        found.make("s")  # to be sealed: a sealed v would refuse every later update
        found.make("m", MATRIX)
        yield found


def counters(service: Service) -> dict[str, tuple[str, int]]:
    """(version, updates) of each sketch."""
    return {one: (service.info(one)["version"], service.info(one)["updates"]) for one in "vm"}


def check(service: Service, path: str, body: bytes, kind: str) -> None:
    """Send a body and check what every answer must satisfy."""
    before = counters(service)
    answer = service.client.post(path, content=body, headers={"content-type": kind})
    assert answer.status_code < 500, answer.text
    assert answer.headers["x-request-id"]
    if answer.status_code != 200:
        assert answer.headers["content-type"] == PROBLEM
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["code"]
        assert counters(service) == before
    elif "results" not in answer.text and "accepted" in answer.text:
        name = path.split("/")[3]
        assert service.info(name)["updates"] == before[name][1] + answer.json()["accepted"]
    elif path == "/v1/updates":
        accepted = sum(one.get("accepted", 0) for one in answer.json()["results"])
        after = counters(service)
        assert sum(after[one][1] - before[one][1] for one in "vm") == accepted
    elif not path.endswith("/seal"):
        assert counters(service) == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(path=st.sampled_from(PATHS), body=st.binary(max_size=200))
@QUICK
def test_bytes(service: Service, path: str, body: bytes) -> None:
    for kind in ("application/json", TENSORS, "application/octet-stream"):
        check(service, path, body, kind)


@given(path=st.sampled_from(PATHS), value=json_values)
@QUICK
def test_any_json(service: Service, path: str, value: object) -> None:
    check(service, path, json.dumps(value).encode(), "application/json")


numbers = st.one_of(
    st.integers(0, 1_000_000),
    st.sampled_from([-1, 3, 1 << 53, (1 << 63) - 1, 1 << 63, 1 << 64, 10**30, True, None, "7", ""]),
    st.floats(),
)
columns = st.lists(numbers, max_size=4) | json_values
almost = st.fixed_dictionaries(
    {},
    optional={
        "operand": st.sampled_from(["y", "A", "x", "", "B", 3, None]),
        "index": columns,
        "row": columns,
        "column": columns,
        "delta": columns,
        "values": st.lists(st.lists(numbers, min_size=3, max_size=5), max_size=3) | json_values,
        "count": numbers,
        "replacement": st.booleans() | numbers,
        "draw": numbers,
        "x": columns,
        "queries": st.lists(columns, max_size=2),
        "power": numbers,
        "source": st.sampled_from(["v", "m", "gone", "-", 1]),
        "operands": columns,
        "sketch": st.sampled_from(["v", "m", "gone", "-", 1]),
    },
)


@given(path=st.sampled_from(PATHS[:10]), body=almost)
@settings(QUICK, max_examples=300)
def test_almost_right_objects(service: Service, path: str, body: dict[str, Any]) -> None:
    check(service, path, json.dumps(body).encode(), "application/json")


@given(field=st.sampled_from(["updates", "requests"]), parts=st.lists(almost, max_size=4))
@QUICK
def test_almost_right_parts(service: Service, field: str, parts: list[dict[str, Any]]) -> None:
    path = "/v1/updates" if field == "updates" else "/v1/samples"
    before = counters(service)
    body = json.dumps({field: parts}).encode()
    answer = service.client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert len(results) == len(parts)
    assert all(one["status"] < 500 for one in results), results
    for at, one in enumerate(results):
        assert (one["status"] == 200) != ("problem" in one)
        for error in one.get("problem", {}).get("errors", []):
            assert error["pointer"].startswith(f"/{field}/{at}")
    accepted = sum(one.get("accepted", 0) for one in results)
    after = counters(service)
    assert sum(after[one][1] - before[one][1] for one in "vm") == accepted


@given(data=st.data())
@QUICK
def test_harmed_safetensors(service: Service, data: st.DataObject) -> None:
    body = bytearray(
        tensors({"index": np.array([1, 2]), "delta": np.array([1.0, -1.0])}, operand="y")
    )
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at] ^= 1 << data.draw(st.integers(0, 7))
    end = data.draw(st.integers(0, len(body)))
    whole = bytes(body) if data.draw(st.booleans()) else bytes(body[:end])
    for path in ("/v1/sketches/v/updates", "/v1/sketches/m/updates", "/v1/sketches/m/samples"):
        check(service, path, whole, TENSORS)


@given(spec=almost | json_values, extra=st.dictionaries(st.sampled_from(
    ["kind", "shape", "method", "distribution", "samples", "seed", "x", "width", "depth",
     "ttl_seconds", "magnitude", "quantum_bits", "repetitions"]), numbers | json_values,
    max_size=4))  # fmt: skip
@QUICK
def test_specs(service: Service, spec: object, extra: dict[str, Any]) -> None:
    wanted = {"kind": "vector", "shape": {"n": 1000}, **extra}
    for body in (wanted, spec):
        content = json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        made = service.client.put("/v1/sketches/fresh", content=content, headers=headers)
        assert made.status_code in (201, 422), made.text
        planned = service.client.post("/v1/plan", content=content, headers=headers)
        assert planned.status_code in (200, 422), planned.text
        if made.status_code == 201:
            assert service.client.delete("/v1/sketches/fresh").status_code == 204


#: Any but those of the sketches that the other tests need: these are deleted.
strange_names = st.text(max_size=12).filter(lambda name: name not in ("v", "m", "s"))


@given(name=strange_names, query=st.text(max_size=12))
@QUICK
def test_names_and_queries(service: Service, name: str, query: str) -> None:
    path = "/v1/sketches/" + quote(name.encode("utf-8", "surrogatepass"), safe="")
    for answer in (
        service.client.get(path),
        service.client.put(path, json={"kind": "vector", "shape": {"n": 5}}),
        service.client.delete(path),
        service.client.get("/v1/sketches", params={"prefix": query, "cursor": query}),
        service.client.get("/v1/sketches", params={"limit": query}),
    ):
        assert answer.status_code < 500, answer.text


header_names = st.sampled_from(
    ["idempotency-key", "x-request-id", "accept", "content-type", "content-encoding",
     "authorization"]
)  # fmt: skip
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(headers=st.dictionaries(header_names, header_values.map(str.strip)))
@QUICK
def test_headers(service: Service, headers: dict[str, str]) -> None:
    body = b'{"index": [1], "delta": [1]}'
    before = counters(service)
    answer = service.client.post("/v1/sketches/v/updates", content=body, headers=headers)
    assert answer.status_code in (200, 400, 415, 422), answer.text
    if answer.status_code != 200:
        assert counters(service) == before
