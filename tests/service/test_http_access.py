"""Keys and roles over HTTP: who may do what, and that nobody learns of another's sketches."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.routing import Route

from service import http_access, http_dashboard
from service.access_ports import ROLES
from service.errors import StoreUnavailable
from service.settings import Settings
from tests.service.http_rig import JSON, VECTOR, Service, assert_problem, running

FIRST = "the-first-admin-key-of-a-service-in-a-test"
#: Every route, with something to put for its parameters.
PARAMETERS = {
    "name": "theirs", "tenant": "acme", "id": "0" * 16, "file": "start.js",
    "digest": http_dashboard.dashboard().digest, "path": "app.js",
}  # fmt: skip


def bearer(key: str) -> dict[str, str]:
    """The header that sends a key."""
    return {"authorization": f"Bearer {key}"}


class Tenants:
    """A service with two tenants, and a key of every role for each."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.keys: dict[tuple[str, str], str] = {}
        self.admin = bearer(FIRST)
        for tenant in ("acme", "rival"):
            self.send("PUT", f"/v1/admin/tenants/{tenant}", self.admin, json={})
            for role in ROLES:
                made = self.send(
                    "POST", "/v1/admin/keys", self.admin, json={"tenant": tenant, "role": role}
                )
                assert made.status_code == 201, made.text
                assert made.headers["cache-control"] == "no-store"
                self.keys[tenant, role] = made.json()["key"]

    def send(
        self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        """A request with exactly these headers."""
        return self.service.client.request(method, path, headers=headers, **more)

    def of(self, tenant: str, role: str = "write") -> dict[str, str]:
        """The header of a tenant's key."""
        return bearer(self.keys[tenant, role])


@pytest.fixture(scope="module")
def tenants() -> Iterator[Tenants]:
    settings = Settings(store="memory://", bootstrap_admin_key=FIRST)
    with running(settings) as service:
        yield Tenants(service)


def routes(service: Service) -> Iterator[tuple[str, str]]:
    """(method, path with parameters filled in) of the whole route table."""
    for route in cast(list[Route], service.app.routes):
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield method, route.path


def filled(path: str, **parameters: str) -> str:
    """A path of the table with values for its parameters."""
    return path.replace(":path}", "}").format(**{**PARAMETERS, **parameters})


def test_the_table_names_every_route_and_no_other(tenants: Tenants) -> None:
    assert set(routes(tenants.service)) == set(http_access.ROLES)


def test_a_route_without_a_role_is_an_error_at_start() -> None:
    route = Route("/v1/new", lambda _: None, methods=["POST"])
    with pytest.raises(LookupError, match="may POST /v1/new"):
        http_access.guarded([route], http_access.ROLES)


def test_every_route_lets_in_whom_the_table_lets_in(tenants: Tenants) -> None:
    for method, path in routes(tenants.service):
        needed = http_access.ROLES[method, path]
        where = f"{method} {path}"
        url = filled(path, tenant="nobody")
        answer = tenants.send(method, url)
        if needed is None:
            assert answer.status_code in (200, 307), where
            continue
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
        for role in ROLES:
            answer = tenants.send(method, url, tenants.of("acme", role))
            if ROLES.index(role) < ROLES.index(needed):
                assert_problem(answer, 403, "role_too_low")
            else:
                assert answer.status_code not in (401, 403), f"{where} {role}: {answer.text}"


def test_no_key_no_word_about_paths_and_methods(tenants: Tenants) -> None:
    for method, path in (("GET", "/v1/nothing"), ("PUT", "/v1/plan"), ("GET", "/docs/nothing")):
        assert_problem(tenants.send(method, path), 401, "unauthorized")
    key = tenants.of("acme", "read")
    assert_problem(tenants.send("GET", "/v1/nothing", key), 404, "route_not_found")
    assert_problem(tenants.send("PUT", "/v1/plan", key), 405, "method_not_allowed")


def test_wrong_keys_are_told_the_same(tenants: Tenants) -> None:
    good, other = tenants.keys["acme", "read"], tenants.keys["rival", "read"]
    refused = {"authorization": "Basic " + good}
    headers = [
        None, refused, bearer(good[:-1]), bearer(good[:21] + other[21:]), bearer(FIRST[:-1]),
        bearer("skd_0000000000000000_" + good[21:]), bearer("é" * 40),
    ]  # fmt: skip
    said = set()
    for header in headers:
        sent = {name: value.encode("latin-1") for name, value in (header or {}).items()}
        answer = tenants.service.client.get("/v1/sketches", headers=cast(Any, sent))
        assert answer.status_code == 401
        said.add(answer.content)
    assert len(said) == 1
    twice = httpx.Headers([("authorization", f"Bearer {good}")] * 2)
    assert tenants.service.client.get("/v1/sketches", headers=twice).status_code == 401


def test_the_key_is_looked_at_before_the_body(tenants: Tenants) -> None:
    # The body is announced and never sent: who waits for it does not answer.
    head = "POST /v1/sketches/x/updates HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n"
    for header, status in (("", 401), (tenants.of("acme", "read")["authorization"], 403)):
        with socket.create_connection(("127.0.0.1", tenants.service.port), timeout=10) as raw:
            line = f"Authorization: {header}\r\n" if header else ""
            raw.sendall(f"{head}{line}\r\n".encode())
            assert raw.recv(4096).startswith(f"HTTP/1.1 {status} ".encode())


#: What each route of one sketch is sent: a body that is good for a vector.
BODIES: dict[str, Any] = {
    "updates": {"index": [1], "delta": [1]},
    "samples": {"count": 1},
    "estimates": {"index": [1]},
    "norm": {},
    "seal": {"operand": "y"},
    "merge": {"source": "theirs"},
}


def bodies(method: str, path: str) -> dict[str, Any]:
    """Keywords of a request that would succeed for an own sketch."""
    last = path.rsplit("/", 1)[1]
    if method == "PATCH":
        return {"json": {"ttl_seconds": None}}
    if method == "POST" and last == "snapshot":
        return {"content": b"x", "headers": {"content-type": "application/octet-stream"}}
    return {"json": BODIES[last]} if method == "POST" else {}


def seen(answer: httpx.Response, *hidden: str) -> tuple[int, bytes, list[tuple[str, str]]]:
    """All of an answer but its id, its time, and the name that was asked for."""
    content = answer.content
    for name in hidden:
        content = content.replace(name.encode(), b"NAME")
    headers = sorted(
        item for item in answer.headers.multi_items() if item[0] not in ("x-request-id", "date")
    )
    return answer.status_code, content, headers


def test_anothers_sketch_answers_as_one_that_does_not_exist(tenants: Tenants) -> None:
    owner, stranger = tenants.of("rival", "admin"), tenants.of("acme", "admin")
    made = tenants.send("PUT", "/v1/sketches/theirs", owner, json=VECTOR)
    assert made.status_code == 201
    before = tenants.send("GET", "/v1/sketches/theirs", owner).content
    checked = 0
    for method, path in routes(tenants.service):
        if "{name}" not in path or method == "PUT":
            continue
        more = bodies(method, path)
        headers = {**stranger, **more.pop("headers", {})}
        there, gone = (
            tenants.send(method, filled(path, name=name), headers, **more)
            for name in ("theirs", "absent")
        )
        assert seen(there, "theirs", "absent") == seen(gone, "theirs", "absent"), (method, path)
        assert there.status_code == 404, (method, path, there.text)
        checked += 1
    assert checked >= 10
    # Beside the path: the source of a merge, the parts of a batch, lists and their cursors.
    tenants.send("PUT", "/v1/sketches/mine", stranger, json=VECTOR)
    for send in (
        lambda name: ("POST", "/v1/sketches/mine/merge", {"source": name}),
        lambda name: ("POST", "/v1/updates", {"updates": [{"sketch": name, **BODIES["updates"]}]}),
        lambda name: ("POST", "/v1/samples", {"requests": [{"sketch": name}]}),
    ):
        answers = []
        for name in ("theirs", "absent"):
            method, path, sent = send(name)
            answers.append(tenants.send(method, path, stranger, json=sent))
        assert seen(answers[0], "theirs") == seen(answers[1], "absent"), answers[0].text
        assert b"sketch_not_found" in answers[0].content
    assert tenants.send("GET", "/v1/sketches/theirs", owner).content == before


def test_lists_and_cursors_stay_within_the_tenant(tenants: Tenants) -> None:
    owner, stranger = tenants.of("rival"), tenants.of("acme")
    for name in ("list-a", "list-b", "list-c"):
        tenants.send("PUT", f"/v1/sketches/{name}", owner, json=VECTOR)
    tenants.send("PUT", "/v1/sketches/list-bb", stranger, json=VECTOR)

    def names(query: str, who: dict[str, str]) -> list[str]:
        page = tenants.send("GET", f"/v1/sketches?prefix=list&{query}", who).json()
        return [one["name"] for one in page["sketches"]]

    page = tenants.send("GET", "/v1/sketches?prefix=list&limit=2", owner).json()
    assert names("", stranger) == ["list-bb"]
    assert names(f"cursor={page['next_cursor']}", stranger) == ["list-bb"]
    beyond = base64.urlsafe_b64encode(b"list-c").decode().rstrip("=")
    assert names(f"cursor={beyond}", stranger) == []
    assert names("", owner) == ["list-a", "list-b", "list-c"]


def test_the_same_name_is_two_sketches(tenants: Tenants) -> None:
    for tenant, delta in (("acme", 1), ("rival", 5)):
        who = tenants.of(tenant)
        made = tenants.send("PUT", "/v1/sketches/shared", who, json={**VECTOR, "seed": delta})
        assert made.status_code == 201
        update = {"index": [3], "delta": [delta]}
        tenants.send("POST", "/v1/sketches/shared/updates", who, json=update)
    for tenant, delta in (("acme", 1), ("rival", 5)):
        who = tenants.of(tenant, "read")
        found = tenants.send("POST", "/v1/sketches/shared/norm", who, json={}).json()
        assert found["norm"] == pytest.approx(delta)


def test_idempotency_keys_of_tenants_do_not_meet(tenants: Tenants) -> None:
    for tenant in ("acme", "rival"):
        who = {**tenants.of(tenant), "idempotency-key": "one"}
        tenants.send("PUT", "/v1/sketches/once", who, json=VECTOR)
        answer = tenants.send(
            "POST", "/v1/sketches/once/updates", who, json={"index": [3], "delta": [len(tenant)]}
        )
        assert answer.status_code == 200


def test_metrics_need_a_key_where_they_are_told_to() -> None:
    settings = Settings(store="memory://", bootstrap_admin_key=FIRST, metrics_access="key")
    with running(settings) as service:
        assert_problem(service.client.get("/metrics"), 401, "unauthorized")
        assert service.client.get("/metrics", headers=bearer(FIRST)).status_code == 200
        assert service.client.get("/healthz").status_code == 200


def test_the_document_says_who_may(tenants: Tenants) -> None:
    def security(service: Service, path: str, method: str) -> object:
        return service.client.get("/openapi.json").json()["paths"][path][method]["security"]

    one = "/v1/sketches/{name}"
    assert security(tenants.service, one, "put") == [{"bearer": ["write"]}]
    assert security(tenants.service, "/healthz", "get") == []
    with running(Settings(store="memory://")) as service:
        assert security(service, one, "put") == [{"bearer": ["write"]}, {}]


def test_another_address_than_loopback_demands_keys() -> None:
    with running(Settings(store="memory://", host="0.0.0.0")) as service:
        assert_problem(service.client.get("/v1/sketches"), 401, "unauthorized")
        assert service.client.get("/readyz").status_code == 200


def test_the_first_key_closes_the_door_while_running() -> None:
    with running(Settings(store="memory://")) as service:
        page = {"host": "rebound.example:80", "origin": "http://rebound.example:80"}
        assert service.client.get("/v1/sketches").status_code == 200
        assert_problem(service.client.get("/v1/sketches", headers=page), 403, "cross_origin")
        made = service.post("/v1/admin/keys", {"tenant": "default", "role": "admin"})
        key = made.json()["key"]
        assert made.status_code == 201
        assert_problem(service.client.get("/v1/sketches"), 401, "unauthorized")
        assert service.client.get("/v1/sketches", headers=bearer(key)).status_code == 200
        # Who has a key may come by any name: no page can know it.
        assert service.client.get("/v1/sketches", headers={**page, **bearer(key)}).is_success


def until(seen: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return when `seen()`; fail in the end."""
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_keys_rotate_over_two_replicas_without_a_refusal(tmp_path: Path) -> None:
    @contextmanager
    def replica() -> Iterator[Service]:
        url = f"sqlite:///{tmp_path / 'shared.db'}"
        settings = Settings(store=url, bootstrap_admin_key=FIRST, access_refresh_seconds=0.05)
        with running(settings) as found:
            yield found

    def status(service: Service, key: str) -> int:
        return service.client.get("/v1/sketches", headers=bearer(key)).status_code

    with replica() as one, replica() as two:
        assert [status(each, FIRST) for each in (one, two)] == [200, 200]
        made = one.post(
            "/v1/admin/keys", {"tenant": "default", "role": "admin"}, **bearer(FIRST)
        ).json()
        assert status(one, made["key"]) == 200  # at once, where it was made

        def accepted() -> bool:
            assert status(two, FIRST) == 200  # the old one goes on
            return status(two, made["key"]) == 200

        until(accepted)
        old = one.client.get("/v1/admin/keys", headers=bearer(FIRST)).json()["keys"][0]["id"]
        gone = two.client.delete(f"/v1/admin/keys/{old}", headers=bearer(made["key"]))
        assert gone.status_code == 204
        assert status(two, FIRST) == 401

        def refused() -> bool:
            assert status(one, made["key"]) == 200
            return status(one, FIRST) == 401

        until(refused)


def test_no_key_is_in_the_log(
    tenants: Tenants, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    made = tenants.send(
        "POST", "/v1/admin/keys", tenants.admin, json={"tenant": "acme", "role": "read"}
    ).json()
    tenants.send("GET", "/v1/sketches", bearer(made["key"]))
    tenants.send("GET", "/v1/sketches", bearer(made["key"] + "x"))
    tenants.send("DELETE", f"/v1/admin/keys/{made['id']}", tenants.admin)
    written = caplog.text + "".join(capfd.readouterr())
    assert f"key added: tenant=acme key={made['id']} role=read by=" in written
    assert made["key"][21:] not in written
    assert FIRST not in written


def test_keys_are_forbidden_in_addresses(tenants: Tenants) -> None:
    # Addresses end up in the logs of proxies.
    key = tenants.keys["acme", "read"]
    assert_problem(tenants.send("GET", f"/v1/sketches?access_token={key}"), 401, "unauthorized")


class TestAdministration:
    def test_tenants_are_made_changed_listed_and_removed(self, tenants: Tenants) -> None:
        admin, path = tenants.admin, "/v1/admin/tenants/shop"
        quota = {"sketches": 5, "updates_per_second": 2.5}
        made = tenants.send("PUT", path, admin, json=quota)
        assert made.status_code == 201
        nothing = dict.fromkeys(["state_bytes", "requests_per_second", "batch_updates"])
        assert made.json()["quota"] == {**quota, **nothing}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", made.json()["created_at"])
        changed = tenants.send("PATCH", path, admin, json={"sketches": None, "batch_updates": 7})
        assert changed.json()["quota"]["sketches"] is None
        assert changed.json()["quota"]["batch_updates"] == 7
        assert changed.json()["quota"]["updates_per_second"] == 2.5
        again = tenants.send("PUT", path, admin, json={"sketches": 6})
        assert again.status_code == 200
        assert again.json()["quota"]["updates_per_second"] is None
        assert again.json()["created_at"] == made.json()["created_at"]
        listed = tenants.send("GET", "/v1/admin/tenants", admin).json()["tenants"]
        assert again.json() in listed
        assert [one["name"] for one in listed] == sorted(one["name"] for one in listed)
        assert tenants.send("DELETE", path, admin).status_code == 204
        assert_problem(tenants.send("DELETE", path, admin), 404, "tenant_not_found")
        assert_problem(tenants.send("PATCH", path, admin, json={}), 404, "tenant_not_found")

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("sketches", -1), ("sketches", 1.5), ("sketches", 1 << 60), ("state_bytes", "many"),
            ("updates_per_second", 0), ("requests_per_second", -1), ("batch_updates", True),
            ("sketchs", 1),
        ],
    )  # fmt: skip
    def test_a_quota_is_checked_by_field(self, tenants: Tenants, field: str, value: object) -> None:
        before = tenants.send("GET", "/v1/admin/tenants", tenants.admin).json()
        for method in ("PUT", "PATCH"):
            answer = tenants.send(
                method,
                "/v1/admin/tenants/acme",
                tenants.admin,
                json={"state_bytes": 1, field: value},
            )
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["pointer"] == f"/{field}"
        assert tenants.send("GET", "/v1/admin/tenants", tenants.admin).json() == before

    def test_names_are_those_of_sketches(self, tenants: Tenants) -> None:
        for name in ("a%20b", "-a", "x" * 129, "%C3%BC"):
            answer = tenants.send("PUT", f"/v1/admin/tenants/{name}", tenants.admin, json={})
            assert_problem(answer, 422, "invalid_name")
            assert answer.json()["errors"][0]["pointer"] == "/tenant"

    def test_a_tenant_with_sketches_goes_only_by_force(self, tenants: Tenants) -> None:
        admin, path = tenants.admin, "/v1/admin/tenants/full"
        tenants.send("PUT", path, admin, json={})
        key = tenants.send(
            "POST", "/v1/admin/keys", admin, json={"tenant": "full", "role": "write"}
        ).json()["key"]
        for at in range(3):
            tenants.send("PUT", f"/v1/sketches/s{at}", bearer(key), json=VECTOR)
        assert_problem(tenants.send("DELETE", path, admin), 409, "tenant_has_sketches")
        assert tenants.send("GET", "/v1/sketches/s0", bearer(key)).status_code == 200
        assert tenants.send("DELETE", f"{path}?force=true", admin).status_code == 204
        assert_problem(tenants.send("GET", "/v1/sketches/s0", bearer(key)), 401, "unauthorized")
        tenants.send("PUT", path, admin, json={})
        key = tenants.send(
            "POST", "/v1/admin/keys", admin, json={"tenant": "full", "role": "read"}
        ).json()["key"]
        assert tenants.send("GET", "/v1/sketches", bearer(key)).json()["sketches"] == []

    def test_keys_are_listed_without_secrets_and_removed(self, tenants: Tenants) -> None:
        admin = tenants.admin
        body = {"tenant": "acme", "role": "read", "label": "to go", "expires_in_seconds": 60}
        made = tenants.send("POST", "/v1/admin/keys", admin, json=body).json()
        listed = tenants.send("GET", "/v1/admin/keys?tenant=acme", admin)
        assert {one["tenant"] for one in listed.json()["keys"]} == {"acme"}
        shown = {name: value for name, value in made.items() if name != "key"}
        assert shown in listed.json()["keys"]
        assert made["key"][21:] not in listed.text
        assert tenants.send("GET", "/v1/sketches", bearer(made["key"])).status_code == 200
        assert tenants.send("DELETE", f"/v1/admin/keys/{made['id']}", admin).status_code == 204
        answer = tenants.send("GET", "/v1/sketches", bearer(made["key"]))
        assert_problem(answer, 401, "unauthorized")
        answer = tenants.send("DELETE", f"/v1/admin/keys/{made['id']}", admin)
        assert_problem(answer, 404, "key_not_found")
        answer = tenants.send("GET", "/v1/admin/keys?tenant=nobody", admin)
        assert_problem(answer, 404, "tenant_not_found")

    @pytest.mark.parametrize(
        ("change", "status", "pointer"),
        [
            ({"role": "root"}, 422, "/role"), ({"role": None}, 422, "/role"),
            ({"tenant": "a b"}, 422, "/tenant"), ({"tenant": "nobody"}, 404, "/tenant"),
            ({"label": "x" * 129}, 422, "/label"), ({"label": "a\nb"}, 422, "/label"),
            ({"expires_in_seconds": 0}, 422, "/expires_in_seconds"),
            ({"expires_in_seconds": 1e300}, 422, "/expires_in_seconds"),
            ({"secret": "mine"}, 422, "/secret"),
        ],
    )  # fmt: skip
    def test_a_key_is_checked_by_field(
        self, tenants: Tenants, change: dict[str, object], status: int, pointer: str
    ) -> None:
        body = {"tenant": "acme", "role": "read", **change}
        before = tenants.send("GET", "/v1/admin/keys", tenants.admin).json()
        answer = tenants.send("POST", "/v1/admin/keys", tenants.admin, json=body)
        assert answer.status_code == status, answer.text
        assert answer.json()["errors"][0]["pointer"] == pointer
        assert tenants.send("GET", "/v1/admin/keys", tenants.admin).json() == before

    def test_an_admin_key_of_any_tenant_administers_all(self, tenants: Tenants) -> None:
        answer = tenants.send("GET", "/v1/admin/keys?tenant=rival", tenants.of("acme", "admin"))
        assert answer.status_code == 200

    def test_the_last_admin_key_goes_only_by_force(self) -> None:
        with running(Settings(store="memory://", bootstrap_admin_key=FIRST)) as service:
            who = bearer(FIRST)
            [key] = service.client.get("/v1/admin/keys", headers=who).json()["keys"]
            path = f"/v1/admin/keys/{key['id']}"
            assert_problem(service.client.delete(path, headers=who), 409, "last_admin_key")
            assert service.client.delete(f"{path}?force=true", headers=who).status_code == 204
            # Nobody is let in by nobody having a key.
            assert_problem(service.client.get("/v1/sketches"), 401, "unauthorized")


def test_json_header_is_not_needed_for_the_refusal(tenants: Tenants) -> None:
    answer = tenants.send("POST", "/v1/updates", JSON, content=b"not json")
    assert_problem(answer, 401, "unauthorized")


@pytest.mark.parametrize("gone", ["key", "tenant"])
def test_a_body_that_outlives_its_key_is_refused(gone: str) -> None:
    settings = Settings(store="memory://", bootstrap_admin_key=FIRST)
    body = json.dumps(VECTOR).encode()
    with running(settings) as service:
        found = Tenants(service)
        key = found.keys["acme", "write"]
        raw = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        raw.putrequest("PUT", "/v1/sketches/late")
        for name, value in {**bearer(key), **JSON, "content-length": str(len(body))}.items():
            raw.putheader(name, value)
        raw.endheaders(body[:1])
        time.sleep(0.6)
        path = f"keys/{key.split('_')[1]}" if gone == "key" else "tenants/acme?force=true"
        assert found.send("DELETE", f"/v1/admin/{path}", found.admin).status_code == 204
        raw.send(body[1:])
        answer = raw.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (401, "unauthorized")
        raw.close()
        # Nothing of it waits for the next one of this name.
        found.send("PUT", "/v1/admin/tenants/acme", found.admin, json={})
        made = found.send(
            "POST", "/v1/admin/keys", found.admin, json={"tenant": "acme", "role": "read"}
        )
        listed = found.send("GET", "/v1/sketches", bearer(made.json()["key"]))
        assert listed.json()["sketches"] == []


def test_a_key_is_told_though_the_store_goes_away_after_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings(store="memory://", bootstrap_admin_key=FIRST, access_refresh_seconds=60)
    with running(settings) as service:
        directory = service.runtime.directory

        async def away() -> None:
            raise StoreUnavailable("the store does not answer")

        asked = {"tenant": "default", "role": "read"}
        with monkeypatch.context() as patch:
            patch.setattr(directory, "refresh", away)
            made = service.post("/v1/admin/keys", asked, **bearer(FIRST))
        assert made.status_code == 201
        # The next change brings this one along.
        assert service.post("/v1/admin/keys", asked, **bearer(FIRST)).status_code == 201
        key = made.json()["key"]
        assert service.client.get("/v1/sketches", headers=bearer(key)).status_code == 200


def test_metrics_behind_keys_name_no_other_tenant() -> None:
    settings = Settings(
        store="memory://", bootstrap_admin_key=FIRST, metrics_access="key",
        usage_interval_seconds=0.01,
    )  # fmt: skip
    with running(settings) as service:
        found = Tenants(service)
        for tenant in ("acme", "rival"):
            path = f"/v1/sketches/of-{tenant}"
            assert found.send("PUT", path, found.of(tenant), json=VECTOR).status_code == 201

        def shown(who: dict[str, str]) -> str:
            return found.send("GET", "/metrics", who).text

        until(lambda: all(f"of-{tenant}" in shown(found.admin) for tenant in ("acme", "rival")))
        for role in ("read", "write"):
            own = shown(found.of("acme", role))
            assert "of-acme" in own
            assert "rival" not in own
            assert "sketchd_store_up 1.0" in own
        assert "of-rival" in shown(found.of("acme", "admin"))
