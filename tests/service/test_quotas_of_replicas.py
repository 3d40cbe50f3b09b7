"""Two replicas over one SQLite file, tenants and keys as operators make them: limits are shared."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.settings import Settings
from tests.service.http_rig import assert_problem, running

ADMIN = {"Authorization": "Bearer " + "a" * 40}
SPEC = {"kind": "vector", "shape": {"n": 100}, "seed": 7}


@dataclass
class Replicas:
    """Clients of two replicas."""

    clients: tuple[httpx.Client, httpx.Client]

    def key_of(self, tenant: str, **quota: float) -> dict[str, str]:
        """A new tenant's key, as a header; both replicas know it."""
        first, second = self.clients
        made = first.put(f"/v1/admin/tenants/{tenant}", json=quota, headers=ADMIN)
        assert made.status_code == 201, made.text
        asked = {"tenant": tenant, "role": "write"}
        issued = first.post("/v1/admin/keys", json=asked, headers=ADMIN)
        header = {"Authorization": f"Bearer {issued.json()['key']}"}
        deadline = time.monotonic() + 10
        while second.get("/v1/sketches", headers=header).status_code == 401:
            assert time.monotonic() < deadline, "the other replica never learnt of the key"
            time.sleep(0.01)
        return header


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    file: Path = tmp_path_factory.mktemp("quotas") / "shared.db"
    settings = Settings(
        store=f"sqlite:///{file}", bootstrap_admin_key="a" * 40, access_refresh_seconds=0.02
    )
    with running(settings) as first, running(settings) as second:
        yield Replicas((first.client, second.client))


def let_in(replicas: Replicas, ask: Any, times: int) -> tuple[int, float]:
    """(how many of so many requests, sent to both in turn, were let in; seconds it took)."""
    started, count = time.monotonic(), 0
    for at in range(times):
        answer = ask(replicas.clients[at % 2])
        if answer.status_code == 200:
            count += 1
        else:
            assert_problem(answer, 429, "rate_limited")
    return count, time.monotonic() - started


def test_two_replicas_let_a_tenant_in_at_its_rate(replicas: Replicas) -> None:
    header = replicas.key_of("asks", requests_per_second=20)
    count, seconds = let_in(
        replicas, lambda client: client.get("/v1/sketches", headers=header), 200
    )
    assert 10 <= count <= 20 + 20 * seconds + 2 * 2
    assert count < 200 or seconds > 8
    other = replicas.key_of("quiet")
    for client in replicas.clients:
        assert client.get("/v1/sketches", headers=other).status_code == 200


def test_two_replicas_let_updates_in_at_the_rate(replicas: Replicas) -> None:
    header = replicas.key_of("writes", updates_per_second=300)
    replicas.clients[0].put("/v1/sketches/v", json=SPEC, headers=header).raise_for_status()
    batch = {"index": list(range(20)), "delta": [1] * 20}

    def ask(client: httpx.Client) -> httpx.Response:
        return client.post("/v1/sketches/v/updates", json=batch, headers=header)

    count, seconds = let_in(replicas, ask, 200)
    assert 300 <= 20 * count <= 300 + 300 * seconds + 2 * 30
    found = replicas.clients[1].get("/v1/sketches/v", headers=header)
    if found.status_code == 200:
        assert found.json()["updates"] == 20 * count


def test_a_changed_quota_counts_at_both_replicas(replicas: Replicas) -> None:
    header = replicas.key_of("grows", sketches=0)
    for client in replicas.clients:
        answer = client.put("/v1/sketches/v", json=SPEC, headers=header)
        assert_problem(answer, 403, "quota_exceeded")
    changed = replicas.clients[0].patch(
        "/v1/admin/tenants/grows", json={"sketches": 1}, headers=ADMIN
    )
    assert changed.status_code == 200, changed.text
    deadline = time.monotonic() + 10
    while True:
        answer = replicas.clients[1].put("/v1/sketches/v", json=SPEC, headers=header)
        if answer.status_code == 201:
            break
        assert time.monotonic() < deadline, "the other replica never learnt of the quota"
        time.sleep(0.01)
    answer = replicas.clients[0].put("/v1/sketches/w", json=SPEC, headers=header)
    assert_problem(answer, 403, "quota_exceeded")


def test_administration_is_free(replicas: Replicas) -> None:
    first, _ = replicas.clients
    limit = {"requests_per_second": 1}
    first.patch("/v1/admin/tenants/default", json=limit, headers=ADMIN).raise_for_status()
    for _ in range(5):
        assert first.get("/v1/admin/tenants", headers=ADMIN).status_code == 200
    statuses = {first.get("/v1/sketches", headers=ADMIN).status_code for _ in range(3)}
    assert statuses == {200, 429}
    lifted = {"requests_per_second": None}
    first.patch("/v1/admin/tenants/default", json=lifted, headers=ADMIN).raise_for_status()
