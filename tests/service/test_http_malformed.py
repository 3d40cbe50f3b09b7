"""Bodies and heads that cannot be read: 400, 413 and 415, with nothing applied."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

from service.settings import Settings
from tests.service.http_rig import (
    JSON,
    MATRIX,
    PROBLEM,
    TENSORS,
    Service,
    assert_problem,
    running,
    tensors,
    unchanged,
)

LIMIT = 64 * 1024


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(
        Settings(store="memory://", max_body_bytes=LIMIT, max_snapshot_bytes=2 * LIMIT)
    ) as found:
        found.make("v")
        found.make("m", MATRIX)
        yield found


@pytest.fixture(autouse=True)
def nothing_applied(service: Service) -> Iterator[None]:
    """Every test here is of refusals: versions and counters stay."""
    with unchanged(service, "v", "m"):
        yield


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


def test_what_is_not_http_gets_a_problem(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as raw:
        raw.sendall(b"NONSENSE\r\n\r\n")
        answer = raw.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert PROBLEM.encode() in answer
    assert b"x-request-id: " in answer
    assert b'"code":"malformed_http"' in answer
