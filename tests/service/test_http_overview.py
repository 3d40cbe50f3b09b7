"""Whom a request speaks for, and what a sketch has been asked lately, over both transports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.settings import Settings
from tests.service.grpc_rig import Both, serving, vector
from tests.service.http_rig import VECTOR, Service, assert_problem, running

ADMIN = "the-first-admin-key-of-a-service-in-a-test"
NO_LIMITS = dict.fromkeys(
    ("sketches", "state_bytes", "updates_per_second", "requests_per_second", "batch_updates")
)


def bearer(key: str) -> dict[str, str]:
    """The header that sends a key."""
    return {"authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with serving(Settings(store="memory://")) as found:
        yield found


@pytest.fixture(scope="module")
def keyed() -> Iterator[Service]:
    settings = Settings(store="memory://", bootstrap_admin_key=ADMIN)
    with running(settings) as found:
        yield found


def tenant_with_key(service: Service, tenant: str, role: str, **quota: Any) -> dict[str, str]:
    """The header of a new key. The service's client sends no key by itself."""
    service.client.put(
        f"/v1/admin/tenants/{tenant}", headers=bearer(ADMIN), json=quota
    ).raise_for_status()
    made = service.client.post(
        "/v1/admin/keys", headers=bearer(ADMIN), json={"tenant": tenant, "role": role}
    )
    return {"authorization": f"Bearer {made.json()['key']}", "x-key-id": made.json()["id"]}


def activity(both: Both, name: str) -> dict[str, Any]:
    """What the service says of a sketch's last requests."""
    answer = both.http.get(f"/v1/sketches/{name}/activity")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


class TestWhoAmI:
    def test_without_keys_everybody_is_the_admin_of_default(self, both: Both) -> None:
        answer = both.http.get("/v1/whoami")
        assert answer.status_code == 200
        told = answer.json()
        assert told.pop("version")
        assert told == {"tenant": "default", "role": "admin", "key": None, "quota": NO_LIMITS}

    @pytest.mark.parametrize("role", ["read", "write", "admin"])
    def test_with_keys_it_is_the_key(self, keyed: Service, role: str) -> None:
        mine = tenant_with_key(keyed, f"acme-{role}", role, sketches=3, requests_per_second=50.5)
        told = keyed.client.get("/v1/whoami", headers=mine).json()
        assert (told["tenant"], told["role"]) == (f"acme-{role}", role)
        assert told["key"] == mine["x-key-id"]
        assert told["quota"] == {**NO_LIMITS, "sketches": 3, "requests_per_second": 50.5}
        assert mine["authorization"][-20:] not in str(told)

    def test_nobody_is_told_nothing(self, keyed: Service) -> None:
        for headers in ({}, bearer("x" * 40)):
            assert_problem(keyed.client.get("/v1/whoami", headers=headers), 401, "unauthorized")


class TestActivity:
    def test_of_a_sketch_that_nobody_has_asked(self, both: Both) -> None:
        both.make("idle")
        found = activity(both, "idle")
        assert 0 <= found.pop("watched_seconds") <= 300
        assert found == {
            "window_seconds": 300.0,
            "processes": 1,
            "update": {"requests": 0, "failed": 0, "coordinates": 0, "seconds": None},
            "sample": {"requests": 0, "failed": 0, "seconds": None},
        }

    def test_every_way_in_counts(self, both: Both) -> None:
        both.make("busy")
        update = {"index": [1, 2, 3], "delta": [1, 1, 1]}
        http = both.http
        http.post("/v1/sketches/busy/updates", json=update).raise_for_status()
        parts = [{"sketch": "busy", **update}, {"sketch": "gone", **update}]
        http.post("/v1/updates", json={"updates": parts}).raise_for_status()
        both.stub.Update(vector("busy", [4], [1.0]), timeout=20)
        several = [vector("busy", [at], [1.0]) for at in range(5)]
        assert len(list(both.stub.UpdateStream(iter(several), timeout=20))) == 5
        http.post("/v1/sketches/busy/samples", json={}).raise_for_status()
        http.post("/v1/samples", json={"requests": [{"sketch": "busy"}]}).raise_for_status()
        http.post("/v1/sketches/busy/estimates", json={"index": [1]}).raise_for_status()
        http.post("/v1/sketches/busy/norm", json={}).raise_for_status()
        both.stub.Sample(pb.SampleRequest(sketch="busy"), timeout=20)
        asked = pb.SampleRequest(sketch="busy")
        assert len(list(both.stub.SampleStream(iter([asked] * 3), timeout=20))) == 3
        found = activity(both, "busy")
        assert {name: found["update"][name] for name in ("requests", "failed", "coordinates")} == {
            "requests": 8, "failed": 0, "coordinates": 12,
        }  # fmt: skip
        assert (found["sample"]["requests"], found["sample"]["failed"]) == (8, 0)
        for kind in ("update", "sample"):
            told = found[kind]["seconds"]
            assert 0 < told["p50"] <= told["p90"] <= told["p99"] <= told["max"] < 20

    def test_failures_count_and_retries_add_nothing(self, both: Both) -> None:
        both.make("strict")
        path, key = "/v1/sketches/strict/updates", {"idempotency-key": "once"}
        for _ in range(3):
            both.http.post(path, json={"index": [1], "delta": [1]}, headers=key)
        assert both.http.post(path, json={"index": [1000], "delta": [1]}).status_code == 422
        asked = both.http.post("/v1/sketches/strict/samples", json={"draw": 99})
        assert asked.status_code == 422
        found = activity(both, "strict")
        assert (found["update"]["requests"], found["update"]["failed"]) == (4, 1)
        assert found["update"]["coordinates"] == 1
        assert (found["sample"]["requests"], found["sample"]["failed"]) == (1, 1)

    def test_a_name_made_anew_starts_from_nothing(self, both: Both) -> None:
        both.make("again")
        both.stub.Update(vector("again", [4], [1.0]), timeout=20)
        assert activity(both, "again")["update"]["requests"] == 1
        remembered = len(both.runtime.metrics.activity._sketches)
        both.http.delete("/v1/sketches/again").raise_for_status()
        assert len(both.runtime.metrics.activity._sketches) == remembered - 1
        answer = both.http.get("/v1/sketches/again/activity")
        assert_problem(answer, 404, "sketch_not_found")
        both.make("again")
        assert activity(both, "again")["update"]["requests"] == 0

    def test_it_is_the_tenants_own(self, keyed: Service) -> None:
        mine = tenant_with_key(keyed, "mine", "write")
        rival = tenant_with_key(keyed, "rival", "write")
        client = keyed.client
        client.put("/v1/sketches/secret", json=VECTOR, headers=mine).raise_for_status()
        update = {"index": [1], "delta": [1]}
        client.post("/v1/sketches/secret/updates", json=update, headers=mine).raise_for_status()
        hidden = client.get("/v1/sketches/secret/activity", headers=rival)
        assert_problem(hidden, 404, "sketch_not_found")
        missing = client.get("/v1/sketches/missing/activity", headers=rival)
        assert hidden.json() | {"instance": ""} == missing.json() | {"instance": ""}
        client.put("/v1/sketches/secret", json=VECTOR, headers=rival).raise_for_status()
        seen = client.get("/v1/sketches/secret/activity", headers=rival).json()
        assert seen["update"]["requests"] == 0
        assert client.get("/v1/sketches/secret/activity").status_code == 401
