"""Every row of the table of errors, over real HTTP, each with its problem and nothing applied."""

from __future__ import annotations

import ast
import asyncio
import http.client
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import errors, http_codes, http_problems
from service.clock import SystemClock
from service.ports import SketchKey
from service.settings import Settings
from service.store_memory import MemoryStore
from tests.service.http_rig import (
    MATRIX,
    PROBLEM,
    TENSORS,
    Service,
    Unreliable,
    assert_problem,
    running,
    tensors,
)

ROOT = Path(__file__).resolve().parents[2]
JSON = {"content-type": "application/json"}
LIMIT = 64 * 1024


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    settings = Settings(
        store="memory://",
        max_body_bytes=LIMIT,
        max_snapshot_bytes=2 * LIMIT,
        max_request_sketches=8,
    )
    with running(settings) as found:
        found.make("v")
        found.make("m", MATRIX)
        yield found


@pytest.fixture(autouse=True)
def nothing_applied(service: Service) -> Iterator[None]:
    """Every test here is of refusals: versions and counters stay."""
    before = [service.info(name) for name in "vm"]
    yield
    assert [service.info(name) for name in "vm"] == before


MALFORMED = [
    b"",
    b"[",
    b'{"index": [1], "delta": [1.0]',
    b'{"index": [1], "delta": [1.0]} x',
    b'{"index": [01], "delta": [1.0]}',
    b'{"index": [1], "delta": [1.0], "operand": "\xff"}',
    b"\xef\xbb\xbf{}",
    b"[" * 30_000,
    b'{"a":' * 10_000,
    b"[" + b"9" * 20_000 + b"]",
]


@pytest.mark.parametrize("body", MALFORMED, ids=range(len(MALFORMED)))
@pytest.mark.parametrize(
    "path", ["/v1/sketches/v/updates", "/v1/updates", "/v1/sketches/v/samples", "/v1/samples",
             "/v1/sketches/v/estimates", "/v1/sketches/v/norm", "/v1/sketches/v/seal",
             "/v1/sketches/v/merge", "/v1/plan"],
)  # fmt: skip
def test_what_is_not_json_is_400(service: Service, path: str, body: bytes) -> None:
    if body == b"" and path.endswith(("/v/samples", "/v/norm")):
        return  # all of their fields may be left out
    assert_problem(service.client.post(path, content=body, headers=JSON), 400, "malformed_json")


def test_truncated_safetensors_are_400(service: Service) -> None:
    whole = tensors({"index": [1, 2], "delta": [1.0, 2.0]})
    for end in range(len(whole)):
        answer = service.client.post(
            "/v1/sketches/v/updates", content=whole[:end], headers={"content-type": TENSORS}
        )
        assert_problem(answer, 400, "malformed_safetensors")
    longer = service.client.post(
        "/v1/sketches/v/updates", content=whole + b"\0", headers={"content-type": TENSORS}
    )
    assert_problem(longer, 400, "malformed_safetensors")


REFUSED = [
    ("v", {"index": [1], "delta": [1], "more": 1}, "/more", "unknown_field"),
    ("v", {"index": [1, 1_000_000], "delta": [1, 1]}, "/index/1", "invalid"),
    ("v", {"index": [-1], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": [0, 1 << 63], "delta": [1, 1]}, "/index/1", "invalid"),
    ("v", {"index": ["9223372036854775808"], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": [1.0], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": [1, True], "delta": [1, 1]}, "/index/1", "invalid"),
    ("v", {"index": ["1.5"], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": ["-1"], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": ["\u0661"], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": [None], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": [[1]], "delta": [1]}, "/index/0", "invalid"),
    ("v", {"index": {"0": 1}, "delta": [1]}, "/index", "invalid"),
    ("v", {"index": [1, 2], "delta": [1]}, "/delta", "invalid"),
    ("v", {"index": [1]}, "/delta", "invalid"),
    ("v", {"delta": [1]}, "/index", "invalid"),
    ("v", {}, "/index", "invalid"),
    ("v", {"index": [1], "delta": ["1"]}, "/delta/0", "invalid"),
    ("v", {"index": [1], "delta": [False]}, "/delta/0", "invalid"),
    ("v", {"index": [1, 2], "delta": [1, 10**400]}, "/delta/1", "invalid"),
    ("v", {"index": [1, 2], "delta": [0, 1e300]}, "/delta/1", "invalid"),
    ("v", {"operand": "A", "index": [1], "delta": [1]}, "/operand", "invalid"),
    ("v", {"operand": 5, "index": [1], "delta": [1]}, "/operand", "invalid"),
    ("m", {"operand": "A", "row": [100_000], "values": [[1] * 4]}, "/row/0", "invalid"),
    ("m", {"operand": "A", "row": [1], "values": [[1] * 3]}, "/values", "invalid"),
    ("m", {"operand": "A", "row": [1, 2], "values": [[1] * 4, [1]]}, "/values/1", "invalid"),
    ("m", {"operand": "A", "row": [1], "values": [[1, 2, "3", 4]]}, "/values/0/2", "invalid"),
    ("m", {"operand": "A", "row": [1], "values": [3]}, "/values/0", "invalid"),
    ("m", {"operand": "A", "row": [1, 2], "values": [[1] * 4]}, "/values", "invalid"),
    ("m", {"operand": "A", "row": [1], "column": [4], "delta": [1]}, "/column/0", "invalid"),
    ("m", {"operand": "x", "index": [4], "delta": [1]}, "/index/0", "invalid"),
    ("m", {"index": [4], "delta": [1]}, "/operand", "invalid"),
]


@pytest.mark.parametrize(("sketch", "body", "pointer", "code"), REFUSED, ids=range(len(REFUSED)))
def test_a_value_at_fault_is_422_with_its_pointer(
    service: Service, sketch: str, body: dict[str, object], pointer: str, code: str
) -> None:
    problem = assert_problem(service.post(f"/v1/sketches/{sketch}/updates", body), 422, code)
    assert problem["errors"][0]["pointer"] == pointer
    many = service.post("/v1/updates", {"updates": [{"sketch": sketch, **body}]})
    [result] = many.json()["results"]
    assert (result["sketch"], result["status"]) == (sketch, 422)
    assert result["problem"]["code"] == code
    assert result["problem"]["errors"][0]["pointer"] == f"/updates/0{pointer}"


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_not_finite_are_422(service: Service, word: str) -> None:
    def pointer(path: str, body: str) -> str:
        answer = service.client.post(path, content=body.encode(), headers=JSON)
        found: str = assert_problem(answer, 422, "invalid")["errors"][0]["pointer"]
        return found

    deltas = f'{{"index": [1, 2, 3, 4], "delta": [1, 2, 3, {word}]}}'
    assert pointer("/v1/sketches/v/updates", deltas) == "/delta/3"
    rows = f'{{"operand": "A", "row": [1, 2], "values": [[1, 2, 3, 4], [1, {word}, 3, 4]]}}'
    assert pointer("/v1/sketches/m/updates", rows) == "/values/1/1"
    assert pointer("/v1/sketches/m/samples", f'{{"x": [1, 2, {word}, 4]}}') == "/x/2"
    queries = f'{{"queries": [[1, 2, 3, 4], [{word}, 1, 1, 1]]}}'
    assert pointer("/v1/sketches/m/samples", queries) == "/queries/1/0"
    assert pointer("/v1/sketches/v/norm", f'{{"power": {word}}}') == "/power"


def test_questions_at_fault_are_422(service: Service) -> None:
    path = "/v1/sketches/v"
    for body, pointer in [
        ({"count": 0}, "/count"),
        ({"count": -1}, "/count"),
        ({"count": 1.5}, "/count"),
        ({"count": True}, "/count"),
        ({"count": 1 << 70}, "/count"),
        ({"replacement": 1}, "/replacement"),
        ({"draw": -1}, "/draw"),
        ({"counts": 1}, "/counts"),
    ]:
        problem = service.post(f"{path}/samples", body)
        assert problem.status_code == 422, body
        assert problem.json()["errors"][0]["pointer"] == pointer
    exhausted = assert_problem(service.post(f"{path}/samples", {"draw": 1}), 422, "draws_exhausted")
    assert exhausted["errors"][0]["pointer"] == "/draw"
    assert_problem(service.post(f"{path}/estimates", {}), 422, "invalid")
    assert_problem(service.post(f"{path}/estimates", {"index": [1_000_000]}), 422, "invalid")
    assert_problem(service.post("/v1/sketches/m/samples", {"x": [1, 2]}), 422, "invalid")
    assert_problem(service.post("/v1/sketches/m/samples", {"queries": []}), 422, "invalid")


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({}, "/kind"),
        ({"kind": "ring", "shape": {"n": 5}}, "/kind"),
        ({"kind": "vector"}, "/shape"),
        ({"kind": "vector", "shape": {"n": 0}}, "/shape/n"),
        ({"kind": "vector", "shape": {"n": 5, "d": 5}}, "/shape/d"),
        ({"kind": "vector", "shape": {"n": 5}, "colour": "red"}, "/colour"),
        ({"kind": "vector", "shape": {"n": 5}, "samples": "8"}, "/samples"),
        ({"kind": "vector", "shape": {"n": 5}, "ttl_seconds": -1}, "/ttl_seconds"),
    ],
)
def test_a_spec_at_fault_is_422(service: Service, spec: dict[str, object], pointer: str) -> None:
    for answer in (
        service.client.put("/v1/sketches/new", json=spec),
        service.post("/v1/plan", spec),
    ):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == pointer
    assert_problem(service.client.get("/v1/sketches/new"), 404, "sketch_not_found")


@pytest.mark.parametrize(
    "name", ["-a", ".a", "a b", "a%2Fb", "ä", "a" * 129, "a%0A", "%00", "_other"]
)
def test_names_are_checked(service: Service, name: str) -> None:
    body = {"kind": "vector", "shape": {"n": 5}}
    answer = service.client.put(f"/v1/sketches/{name}", json=body)
    if name == "a%2Fb":
        assert_problem(answer, 404, "route_not_found")
        return
    problem = assert_problem(answer, 422, "invalid_name")
    assert problem["errors"][0]["pointer"] == "/name"
    updated = service.post(f"/v1/sketches/{name}/updates", {"index": [], "delta": []})
    assert_problem(updated, 422, "invalid_name")


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("limit=0", "/limit"), ("limit=x", "/limit"), ("limit=100000000", "/limit"),
     ("cursor=!", "/cursor")],
)  # fmt: skip
def test_query_parameters_are_checked(service: Service, query: str, pointer: str) -> None:
    problem = assert_problem(service.client.get(f"/v1/sketches?{query}"), 422, "invalid")
    assert problem["errors"][0]["pointer"] == pointer


def test_an_unknown_sketch_is_404_everywhere(service: Service) -> None:
    path = "/v1/sketches/gone"
    answers = [
        service.client.get(path),
        service.client.delete(path),
        service.client.patch(path, json={"ttl_seconds": 5}),
        service.client.get(f"{path}/snapshot"),
        service.post(f"{path}/updates", {"index": [1], "delta": [1]}),
        service.post(f"{path}/samples", {}),
        service.post(f"{path}/estimates", {"index": [1]}),
        service.post(f"{path}/norm", {}),
        service.post(f"{path}/seal", {"operand": "y"}),
        service.post(f"{path}/merge", {"source": "v"}),
        service.client.post(f"{path}/snapshot", content=b"x"),
    ]
    for answer in answers:
        assert_problem(answer, 404, "sketch_not_found")


def test_unknown_routes_are_404_and_wrong_methods_405(service: Service) -> None:
    assert_problem(service.client.get("/v2"), 404, "route_not_found")
    assert_problem(service.client.get("/v1/sketches/v/"), 404, "route_not_found")
    for method, path, allowed in [
        ("POST", "/v1/sketches/v", "DELETE, GET, HEAD, PATCH, PUT"),
        ("GET", "/v1/sketches/v/updates", "POST"),
        ("DELETE", "/v1/sketches/v/snapshot", "GET, HEAD, POST"),
        ("PUT", "/healthz", "GET, HEAD"),
    ]:
        answer = service.client.request(method, path)
        assert_problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed


def test_a_body_over_the_limit_is_413(service: Service) -> None:
    big = b'{"index": [' + b"1," * LIMIT + b"1]}"
    for path in ("/v1/sketches/v/updates", "/v1/updates", "/v1/sketches/v/samples", "/v1/plan"):
        assert_problem(service.client.post(path, content=big, headers=JSON), 413, "body_too_large")
    octets = {"content-type": "application/octet-stream"}
    under = service.client.post("/v1/sketches/v/snapshot", content=b"x" * 2 * LIMIT, headers=octets)
    assert_problem(under, 422, "invalid_snapshot")
    over = service.client.post(
        "/v1/sketches/v/snapshot", content=b"x" * (2 * LIMIT + 1), headers=octets
    )
    assert_problem(over, 413, "body_too_large")


def test_a_chunked_body_is_refused_before_its_end(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    connection.putrequest("POST", "/v1/sketches/v/updates")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    piece = b" " * 8192
    for _ in range(LIMIT // len(piece) + 1):
        connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    # The last chunk is never sent: the answer comes all the same.
    answer = connection.getresponse()
    assert answer.status == 413
    assert answer.headers["content-type"] == PROBLEM
    connection.close()


def test_a_length_over_the_limit_is_refused_without_the_body(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as raw:
        raw.sendall(
            b"POST /v1/sketches/v/updates HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99999999999\r\n\r\n"
        )
        assert b" 413 " in raw.recv(4096).split(b"\r\n")[0]


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1",
     "application/octet-stream", "json", ""],
)  # fmt: skip
def test_unknown_content_types_are_415(service: Service, kind: str) -> None:
    body = b'{"index": [1], "delta": [1]}'
    headers = {"content-type": kind}
    for path in ("/v1/sketches/v/updates", "/v1/updates", "/v1/sketches/v/samples"):
        answer = service.client.post(path, content=body, headers=headers)
        assert_problem(answer, 415, "unsupported_media_type")
    made = service.client.put("/v1/sketches/new", content=b"{}", headers=headers)
    assert_problem(made, 415, "unsupported_media_type")


def test_content_types_are_read_as_the_standard_says(service: Service) -> None:
    for kind in ("application/json; charset=UTF-8", 'Application/JSON;charset="utf-8"'):
        answer = service.client.post(
            "/v1/sketches/v/estimates", content=b'{"index": [1]}', headers={"content-type": kind}
        )
        assert answer.status_code == 200
    encoded = service.client.post(
        "/v1/sketches/v/updates", content=b"{}", headers={**JSON, "content-encoding": "gzip"}
    )
    assert_problem(encoded, 415, "unsupported_media_type")


def test_idempotency_keys_are_checked(service: Service) -> None:
    body = {"index": [1], "delta": [1]}
    for key in ("", "a" * 256, "tab\there"):
        answer = service.post("/v1/sketches/v/updates", body, idempotency_key=key)
        assert_problem(answer, 422, "invalid_idempotency_key")
        many = service.post("/v1/updates", {"updates": []}, idempotency_key=key)
        assert_problem(many, 422, "invalid_idempotency_key")


def test_what_is_not_http_gets_a_problem(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as raw:
        raw.sendall(b"NONSENSE\r\n\r\n")
        answer = raw.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert PROBLEM.encode() in answer
    assert b"x-request-id: " in answer
    assert b'"code":"malformed_http"' in answer


def test_request_ids_are_taken_when_sane(service: Service) -> None:
    def sent_back(given: str | None) -> str:
        headers = {} if given is None else {"x-request-id": given}
        found: str = service.client.get("/healthz", headers=headers).headers["x-request-id"]
        return found

    assert sent_back("trace-1:a/b=") == "trace-1:a/b="
    for odd in ('"quoted"', "a b", "x" * 129, "{}", None):
        assert re.fullmatch("[0-9a-f]{32}", sent_back(odd))
    assert sent_back(None) != sent_back(None)


@pytest.fixture(scope="module")
def unreliable() -> Iterator[tuple[Service, Unreliable]]:
    store = Unreliable(MemoryStore(SystemClock()))
    settings = Settings(store="memory://", pool_threads=1, pool_queue=0, max_log_bytes=1)
    with running(settings, store) as found:
        found.make("v")
        yield found, store


def test_a_store_that_is_down_is_503(unreliable: tuple[Service, Unreliable]) -> None:
    service, store = unreliable
    store.down = True
    try:
        for answer in (
            service.client.get("/v1/sketches/v"),
            service.client.get("/v1/sketches"),
            service.post("/v1/sketches/v/updates", {"index": [1], "delta": [1]}),
            service.post("/v1/sketches/v/samples", {}),
            service.client.get("/readyz"),
        ):
            assert_problem(answer, 503, "store_unavailable")
            assert answer.headers["retry-after"] == "3"
        many = service.post("/v1/updates", {"updates": [{"sketch": "v", "index": [], "delta": []}]})
        assert many.json()["results"][0]["status"] == 503
        assert service.client.get("/healthz").status_code == 200
    finally:
        store.down = False
    assert service.client.get("/readyz").json() == {"status": "ready"}


def test_a_full_pool_is_503(unreliable: tuple[Service, Unreliable]) -> None:
    service, _ = unreliable
    release = threading.Event()
    entered = threading.Event()

    def occupy() -> None:
        entered.set()
        release.wait(10)

    busy = asyncio.run_coroutine_threadsafe(service.runtime.pool.run(occupy), service.loop)
    assert entered.wait(10)
    try:
        answer = service.post("/v1/plan", {"kind": "vector", "shape": {"n": 5}})
        assert_problem(answer, 503, "overloaded")
        assert service.client.get("/metrics").status_code == 200
    finally:
        release.set()
        busy.result(10)


def test_a_full_log_is_503(unreliable: tuple[Service, Unreliable]) -> None:
    service, _ = unreliable
    service.make("full")

    async def lease() -> bool:
        """Compact as another replica would: else this one may empty the log in between."""
        found = await service.runtime.store.get(SketchKey("default", "full"))
        assert found is not None
        return await service.runtime.store.acquire_lease(
            found.key, found.incarnation, "another", 60.0
        )

    assert asyncio.run_coroutine_threadsafe(lease(), service.loop).result(10)
    body = {"index": [1], "delta": [1]}
    answers = [service.post("/v1/sketches/full/updates", body) for _ in range(2)]
    assert_problem(answers[1], 503, "backlog_full")


def test_an_unexpected_failure_is_a_500_with_the_request_id(
    unreliable: tuple[Service, Unreliable], caplog: pytest.LogCaptureFixture
) -> None:
    service, store = unreliable
    store.fails = RuntimeError("a bug")
    try:
        answer = service.client.get("/v1/sketches/v", headers={"x-request-id": "seen"})
    finally:
        store.fails = None
    problem = assert_problem(answer, 500, "internal")
    assert problem["request_id"] == answer.headers["x-request-id"] == "seen"
    assert "a bug" not in answer.text
    [record] = [record for record in caplog.records if record.name == "sketchd.http"]
    assert "seen" in record.getMessage()
    assert record.exc_info is not None


def test_draining_is_not_ready(unreliable: tuple[Service, Unreliable]) -> None:
    service, _ = unreliable
    health = service.runtime.health
    health.drain()
    try:
        assert_problem(service.client.get("/readyz"), 503, "not_ready")
        assert service.client.get("/healthz").status_code == 200
    finally:
        health._draining = False


def test_refusals_are_counted_by_code(service: Service) -> None:
    service.client.get("/v1/sketches/gone")
    text = service.client.get("/metrics").text
    assert 'sketchd_rejected_total{reason="sketch_not_found"}' in text
    assert "/v1/" not in text


def test_every_service_error_has_a_status() -> None:
    def below(kind: type[errors.ServiceError]) -> Iterator[type[errors.ServiceError]]:
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    for kind in below(errors.ServiceError):
        if kind is http_problems.InvalidFields:
            continue
        error = kind("x")
        assert http_problems.status_of(error) != 500, kind
        assert error.code in http_codes.CODES, kind
        assert http_codes.CODES[error.code].status == http_problems.status_of(error)


def codes_in_source() -> set[str]:
    """Every literal given as `code=` or assigned to a name with "code" in it."""
    found = set()
    for path in sorted((ROOT / "service").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            values: list[ast.expr] = []
            if (isinstance(node, ast.keyword) and node.arg == "code") or (
                isinstance(node, ast.Assign)
                and any(
                    isinstance(target, ast.Name) and target.id in ("code", "default_code")
                    for target in node.targets
                )
            ):
                values = [node.value]
            for value in values:
                for part in ast.walk(value):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        found.add(part.value)
    # Words of the same expressions that are no codes of ours.
    others = {"exact", "type", "sqlite_errorcode"}
    return {code for code in found if re.fullmatch(r"[a-z][a-z_]+", code)} - others


def test_codes_documents_and_source_agree() -> None:
    used = codes_in_source()
    assert len(used) > 10
    assert used <= set(http_codes.CODES), used - set(http_codes.CODES)
    written = (ROOT / "docs" / "errors.md").read_text("utf-8")
    assert written == http_codes.markdown()
