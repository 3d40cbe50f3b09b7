"""Browsers: pages of other sites change nothing here. And HEAD, which browsers and probes send."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest
from starlette.datastructures import Headers

from service import http_origins
from service.settings import Settings
from tests.service.http_rig import Service, assert_problem, running

UPDATE = {"index": [1], "delta": [1]}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(Settings(store="memory://")) as found:
        found.make("v")
        yield found


def own(service: Service, scheme: str = "http", host: str = "127.0.0.1") -> str:
    return f"{scheme}://{host}:{service.port}"


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": ""},
        {"sec-fetch-site": "cross-site", "origin": "own"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://evil.example"},
        {"origin": "http://[bad"},
        {"origin": "own", "host": "evil.example"},
        {"origin": "http://evil.example", "host": "evil.example"},
        {"sec-fetch-site": "same-origin", "host": "evil.example:8080"},
        {"sec-fetch-site": "none", "host": "127.0.0.1.evil.example"},
    ],
)
def test_pages_of_other_sites_change_nothing(service: Service, headers: dict[str, str]) -> None:
    headers = {name: own(service) if one == "own" else one for name, one in headers.items()}
    before = service.info("v")["version"]
    path = "/v1/sketches/v"
    for method, where in [("POST", f"{path}/updates"), ("PATCH", path), ("DELETE", path),
                          ("PUT", "/v1/sketches/w")]:  # fmt: skip
        answer = service.client.request(method, where, json=UPDATE, headers=headers)
        assert_problem(answer, 403, "cross_origin")
        assert not {name for name in answer.headers if name.startswith("access-control")}
    assert service.info("v")["version"] == before
    # What a page sends without asking first: a body of text, without a content type.
    simple = service.client.post(f"{path}/seal", content=b'{"operand": "y"}', headers=headers)
    assert_problem(simple, 403, "cross_origin")
    assert service.info("v")["sealed"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "sketchd.internal:8080"},
        {"sec-fetch-site": "same-origin", "origin": "own"},
        {"sec-fetch-site": "none"},
        {"origin": "own"},
        {"origin": "http://localhost:8080", "host": "LocalHost:8080"},
        {"origin": "http://[::1]:8080", "host": "[::1]:8080"},
    ],
)
def test_our_own_pages_and_other_clients_may(service: Service, headers: dict[str, str]) -> None:
    headers = {name: own(service) if one == "own" else one for name, one in headers.items()}
    answer = service.client.post("/v1/sketches/v/updates", json=UPDATE, headers=headers)
    assert answer.status_code == 200, answer.text


def test_reading_needs_a_loopback_name_of_browsers_alone(service: Service) -> None:
    path = "/v1/sketches"
    linked = service.client.get(path, headers={"sec-fetch-site": "cross-site"})
    assert linked.status_code == 200
    rebound = {"sec-fetch-site": "same-origin", "host": "evil.example"}
    assert_problem(service.client.get(path, headers=rebound), 403, "cross_origin")
    assert service.client.get(path, headers={"host": "sketchd.internal"}).status_code == 200


def test_with_keys_any_host_may_be_asked() -> None:
    headers = Headers({"sec-fetch-site": "same-origin", "host": "sketches.example"})
    assert http_origins.refusal("POST", headers, keyless=False) is None
    assert http_origins.refusal("POST", headers, keyless=True)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("localhost.:80", True), ("a.localhost", True), ("127.9.9.9:1", True),
     ("[::1]", True), ("", False), ("localhost.evil.example", False), ("0.0.0.0", False),
     ("127.0.0.1@evil.example", False), ("[::1", False), ("[::1].evil:80", False), ("::1", False),
     ("192.168.0.1", False), ("evil.example:80", False), ("notlocalhost", False)],
)  # fmt: skip
def test_names_of_this_machine(host: str, loopback: bool) -> None:
    assert http_origins.is_loopback(host) is loopback


@pytest.mark.parametrize(
    "path",
    ["/healthz", "/readyz", "/metrics", "/docs", "/docs/errors", "/docs/assets/swagger-ui.css",
     "/dashboard",
     "/openapi.json", "/v1/sketches", "/v1/sketches/v", "/v1/sketches/v/snapshot", "/nowhere",
     "/v1/sketches/gone"],
)  # fmt: skip
def test_head_is_get_without_the_body(service: Service, path: str) -> None:
    got = service.client.get(path)
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    for _ in range(2):  # a body would be taken for the beginning of the second answer
        connection.request("HEAD", path)
        answer = connection.getresponse()
        assert answer.status == got.status_code
        assert answer.headers["content-type"] == got.headers["content-type"]
        if path != "/metrics":  # which counts the requests for it
            assert answer.headers["content-length"] == got.headers["content-length"]
        assert answer.read() == b""
    connection.close()


def test_head_is_named_where_it_is_allowed(service: Service) -> None:
    assert service.client.delete("/healthz").headers["allow"] == "GET, HEAD"
    refused = service.client.head("/v1/sketches/v/updates")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


def test_the_front_page_leads_to_the_dashboard(service: Service) -> None:
    answer = service.client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/dashboard")
