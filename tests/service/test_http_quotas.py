"""What a client sees of its tenant's limits, and that what is refused was not applied."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from service.access_ports import DEFAULT_TENANT, Quota
from service.clock import SystemClock
from service.errors import Overloaded
from service.in_flight import BodiesInFlight, BodyInFlight
from service.settings import Settings
from service.store_memory import MemoryStore
from tests.service.http_rig import Service, assert_problem, running, unchanged
from tests.service.meters import MemoryMeters, Tenants, Ticks

UPDATES = "/v1/sketches/v/updates"
THREE = {"index": [1, 2, 3], "delta": [1, 1, 1]}


@dataclass
class Limited:
    """A service whose one tenant can be limited, with buckets on a clock that stands still.

    The replica's own clock goes: what it knows of a bucket is forgotten with each other rate.
    """

    service: Service
    tenants: Tenants
    meters: MemoryMeters

    @contextmanager
    def to(self, **quota: float) -> Iterator[None]:
        """Under these limits, with a bucket that is full."""
        self.tenants.quotas[DEFAULT_TENANT] = Quota(**quota)  # type: ignore[arg-type]
        self.meters.levels.clear()
        yield
        self.tenants.quotas.clear()


@pytest.fixture(scope="module")
def limited() -> Iterator[Limited]:
    tenants, meters = Tenants(), MemoryMeters(Ticks())
    settings = Settings(store="memory://")
    with running(settings, MemoryStore(SystemClock()), tenants=tenants, meters=meters) as service:
        service.make("v")
        service.make("w")
        yield Limited(service, tenants, meters)


def rate_limited(answer: Any) -> dict[str, Any]:
    problem = assert_problem(answer, 429, "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1
    return problem


def rejected(service: Service) -> float:
    name = "sketchd_rejected_total"
    return service.runtime.registry.get_sample_value(name, {"reason": "rate_limited"}) or 0.0


def test_requests_over_the_rate_are_refused_and_counted(limited: Limited) -> None:
    service = limited.service
    before = rejected(service)
    with limited.to(requests_per_second=3):
        for _ in range(3):
            assert service.client.get("/v1/sketches/v").status_code == 200
        problem = rate_limited(service.client.get("/v1/sketches/v"))
        assert problem["detail"] == "the tenant's requests are over 3 a second"
        rate_limited(service.client.get("/v1/sketches"))
        rate_limited(service.client.get("/v1/no/such/route"))
        assert rejected(service) == before + 3
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
            assert service.client.get(path).status_code == 200


def test_a_refused_request_is_counted_as_what_it_was(limited: Limited) -> None:
    service = limited.service

    def counted(name: str, **labels: str) -> float:
        return service.runtime.registry.get_sample_value(name, labels) or 0.0

    def of_updates() -> list[float]:
        route = "/v1/sketches/{name}/updates"
        return [
            counted("sketchd_http_requests_total", route=route, method="POST", status="4xx"),
            counted("sketchd_update_batches_total", kind="unknown", outcome="refused"),
        ]

    def nowhere() -> float:
        labels = {"route": "unmatched", "method": "POST", "status": "4xx"}
        return counted("sketchd_http_requests_total", **labels)

    before, strays = of_updates(), nowhere()
    with limited.to(requests_per_second=1):
        assert service.post(UPDATES, THREE).status_code == 200
        rate_limited(service.post(UPDATES, THREE))
        rate_limited(service.post("/v1/no/such/route", THREE))
    service.client.get("/healthz")  # a request is counted just after its answer
    assert of_updates() == [count + 1 for count in before]
    assert nowhere() == strays + 1


def test_a_request_over_the_rate_is_refused_before_its_body_comes(limited: Limited) -> None:
    with limited.to(requests_per_second=1):
        limited.service.client.get("/v1/sketches/v")
        raw = http.client.HTTPConnection("127.0.0.1", limited.service.port, timeout=10)
        raw.putrequest("POST", UPDATES)
        raw.putheader("Content-Length", "1000000")
        raw.endheaders()
        assert raw.getresponse().status == 429
        raw.close()


def test_many_sketches_in_one_request_are_one_request(limited: Limited) -> None:
    parts = [{"sketch": name, **THREE} for name in ("v", "w", "v")]
    with limited.to(requests_per_second=2):
        answer = limited.service.post("/v1/updates", {"updates": parts})
        assert [one["status"] for one in answer.json()["results"]] == [200] * 3
        asks = {"requests": [{"sketch": "v"}] * 3}
        answer = limited.service.post("/v1/samples", asks)
        assert [one["status"] for one in answer.json()["results"]] == [200] * 3
        rate_limited(limited.service.post("/v1/samples", asks))


def test_updates_over_the_rate_are_refused_whole(limited: Limited) -> None:
    service = limited.service
    with limited.to(updates_per_second=4):
        assert service.post(UPDATES, THREE).status_code == 200
        with unchanged(service, "v"):
            problem = rate_limited(service.post(UPDATES, THREE))
            assert problem["detail"] == "the tenant's updates are over 4 a second"
        assert service.post("/v1/sketches/v/samples", {}).status_code == 200


def test_an_invalid_batch_costs_nothing(limited: Limited) -> None:
    wrong = {"index": [1, 2, 1 << 40], "delta": [1, 1, 1]}
    with limited.to(updates_per_second=5):
        for _ in range(5):
            assert_problem(limited.service.post(UPDATES, wrong), 422, "invalid")
        gone = limited.service.post("/v1/sketches/gone/updates", THREE)
        assert_problem(gone, 404, "sketch_not_found")
        assert limited.service.post(UPDATES, THREE).status_code == 200


def test_a_replay_costs_no_more_than_a_lot(limited: Limited) -> None:
    service = limited.service
    with limited.to(updates_per_second=60):  # lots of 6
        for _ in range(60):
            answer = service.post(UPDATES, THREE, idempotency_key="once")
            assert answer.status_code == 200
        assert limited.meters.levels[DEFAULT_TENANT, "updates"][0] >= 50


def test_a_tenant_in_debt_is_refused_before_its_body_is_parsed(limited: Limited) -> None:
    service = limited.service
    many = {"index": list(range(100)), "delta": [1] * 100}
    with limited.to(updates_per_second=1):
        assert service.post(UPDATES, many).status_code == 200  # over the burst: once, and owed
        rate_limited(service.post(UPDATES, THREE))
        for path in (UPDATES, "/v1/updates"):
            rate_limited(service.client.post(path, content=b"nonsense"))
    assert_problem(service.client.post(UPDATES, content=b"nonsense"), 400, "malformed_json")


def test_parts_over_the_rate_are_refused_in_their_place(limited: Limited) -> None:
    service = limited.service
    parts: list[dict[str, Any]] = [{"sketch": "v", **THREE} for _ in range(4)]
    parts.append({"sketch": "v", "index": [1], "delta": [None]})
    with limited.to(updates_per_second=7):
        version = service.info("v")["updates"]
        answer = service.post("/v1/updates", {"updates": parts})
        assert answer.status_code == 200
        results = answer.json()["results"]
        assert [one["status"] for one in results] == [200, 200, 429, 429, 422]
        assert results[2]["problem"]["code"] == "rate_limited"
        assert service.info("v")["updates"] == version + 6


def test_a_batch_over_the_quota_names_the_quota(limited: Limited) -> None:
    with limited.to(batch_updates=2), unchanged(limited.service, "v"):
        problem = assert_problem(limited.service.post(UPDATES, THREE), 422, "batch_too_large")
        assert "at most 2 numbers in one batch: the tenant's quota batch_updates" in str(problem)


def test_sketches_over_the_quota_are_forbidden(limited: Limited) -> None:
    service = limited.service
    spec = {"kind": "vector", "shape": {"n": 100}, "seed": 7}
    with limited.to(sketches=3):
        assert service.client.put("/v1/sketches/x", json=spec).status_code == 201
        assert service.client.put("/v1/sketches/x", json=spec).status_code == 200
        refused = service.client.put("/v1/sketches/y", json=spec)
        problem = assert_problem(refused, 403, "quota_exceeded")
        assert problem["detail"] == "the tenant has 3 of 3 sketches"
        assert service.client.delete("/v1/sketches/x").status_code == 204
        assert service.client.put("/v1/sketches/y", json=spec).status_code == 201
    held = service.info("y")["memory_bytes"]["state"]
    service.client.delete("/v1/sketches/y")
    with limited.to(state_bytes=held):
        refused = service.client.put("/v1/sketches/y", json=spec)
        assert_problem(refused, 403, "quota_exceeded")


def test_a_store_that_keeps_no_meters_now_is_unavailable(limited: Limited) -> None:
    limited.meters.down = True
    with limited.to(requests_per_second=1):
        assert_problem(limited.service.client.get("/v1/sketches/v"), 503, "store_unavailable")
    limited.meters.down = False


def body(bodies: BodiesInFlight, tenant: str) -> BodyInFlight:
    made = bodies.begin({})
    made.belongs_to(tenant)
    return made


def test_a_tenant_holds_at_most_its_share_of_bodies_once_there_are_others() -> None:
    bodies = BodiesInFlight(100, 0.5)
    alone = [body(bodies, "a") for _ in range(3)]
    for one in alone[:2]:
        one.reaches(45)  # all the room there is: nobody else has been seen
    b = body(bodies, "b")
    b.reaches(10)
    with pytest.raises(Overloaded, match="for all of them"):
        b.reaches(11)
    b.release()
    with pytest.raises(Overloaded, match="hold 90 of the 50 bytes there are for one tenant"):
        alone[2].reaches(1)
    for one in (*alone, b):
        one.release()
    assert bodies.held == 0
    first, second = body(bodies, "a"), body(bodies, "a")
    first.reaches(30)
    second.reaches(20)
    with pytest.raises(Overloaded, match="for one tenant"):
        second.reaches(21)
    b.reaches(50)
    with pytest.raises(Overloaded, match="for all of them"):
        b.reaches(51)
    for one in (first, second, b):
        one.release()
    large = body(bodies, "a")
    large.reaches(80)  # a tenant's only body
    b.reaches(20)
    large.release()
    b.release()
    assert bodies.held == 0
