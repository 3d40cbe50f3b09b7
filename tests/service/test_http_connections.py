"""What is not HTTP, or too much of it, on a connection that may owe other answers."""

from __future__ import annotations

import http.client
import re
import socket
import time
from collections.abc import Iterator

import pytest

from service.cli_protocol import ProblemProtocol
from service.settings import Settings
from tests.service.http_rig import Service, running

BODY = b'{"index": [5], "delta": [1]}'
UPDATE = (
    b"POST /v1/sketches/v/updates HTTP/1.1\r\nhost: localhost\r\n"
    b"content-type: application/json\r\n%s\r\n"
)
WHOLE = UPDATE % b"content-length: 28\r\n" + BODY
CHUNKED = UPDATE % b"transfer-encoding: chunked\r\n"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(Settings(store="memory://", body_seconds=5)) as found:
        found.make("v")
        yield found


def said(service: Service, *pieces: bytes) -> tuple[list[int], bytes, bool]:
    """(statuses, all that was answered, whether the service hung up by itself)."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=1) as connection:
        received, closed = b"", False
        try:
            for piece in pieces:
                connection.sendall(piece)
            while data := connection.recv(1 << 16):
                received += data
            closed = True
        except ConnectionError:
            closed = True
        except TimeoutError:
            pass
    statuses = [int(one) for one in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]
    return statuses, received, closed


@pytest.mark.parametrize(
    "broken", [b"\x16\x03\x01nonsense\r\n\r\n", CHUNKED + b"zz\r\n", UPDATE % b"no colon\r\n"]
)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_what_was_applied_is_acknowledged_before_what_follows_is_refused(
    service: Service, broken: bytes, before: int
) -> None:
    updates = service.info("v")["updates"]
    statuses, received, closed = said(service, WHOLE * before + broken)
    assert statuses == [200] * before + [400]
    assert received.count(b'"code":"malformed_http"') == 1
    assert closed
    assert service.info("v")["updates"] == updates + before


def test_a_body_broken_on_its_way_is_not_applied(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    updates = service.info("v")["updates"]
    statuses, _, closed = said(service, CHUNKED + b"1c\r\n" + BODY, b"\r\nzz\r\n")
    assert (statuses, closed) == ([400], True)
    assert service.info("v")["updates"] == updates
    assert not [one for one in caplog.records if one.exc_info]


@pytest.mark.parametrize(
    "endless",
    [
        b"GET /healthz HTTP/1.1\r\nx-long: " + b"a" * (1 << 20),
        b"GET /" + b"a" * (1 << 20),
        b"GET /healthz HTTP/1.1\r\n" + b"x-more: 1\r\n" * 100_000,
        CHUNKED + b"1c;extension=" + b"a" * (1 << 20),
        CHUNKED + b"1c\r\n" + BODY + b"\r\n0\r\n" + b"x-trailer: 1\r\n" * 100_000,
    ],
)
def test_a_head_without_an_end_is_refused(service: Service, endless: bytes) -> None:
    updates = service.info("v")["updates"]
    pieces = [endless[at : at + 10_000] for at in range(0, len(endless), 10_000)]
    statuses, _, closed = said(service, *pieces)
    assert statuses in ([431], [])  # hung up on while it still sends, it may not hear why
    assert closed
    assert service.info("v")["updates"] == updates


def test_the_limit_of_a_head_does_not_depend_on_how_it_arrives(service: Service) -> None:
    start, end = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-long: ", b"\r\n\r\n"
    for spare, status in ((100, 200), (-100, 431)):
        whole = start + b"a" * (ProblemProtocol.most_head_bytes - len(start) - spare) + end
        for pieces in ((whole,), (whole[:50_000], whole[50_000:])):
            statuses, received, closed = said(service, *pieces)
            assert statuses == [status]
            assert closed == (status == 431)
            assert (b'"code":"head_too_large"' in received) == closed


def test_trailers_are_not_headers(service: Service) -> None:
    chunks = b"1c\r\n" + BODY + b"\r\n0\r\n"
    trailed = CHUNKED + chunks + b"idempotency-key: t\r\ncontent-encoding: gzip\r\n\r\n"
    assert said(service, trailed + WHOLE)[0] == [200, 200]


@pytest.mark.parametrize("length", [b"content-length: 11\r\n", b"transfer-encoding: chunked\r\n"])
def test_a_body_that_asks_for_an_upgrade_is_not_taken_for_an_empty_one(
    service: Service, length: bytes
) -> None:
    head = (
        b"POST /v1/sketches/v/samples HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n"
        b"upgrade: h2c\r\n" + length
    )
    statuses, received, closed = said(service, head + b'\r\n{"count":1}')
    assert (statuses, closed) == ([400], True)
    assert b"a body cannot come" in received


def test_an_upgrade_without_a_body_is_ignored(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    connection.request("GET", "/healthz", headers={"Connection": "Upgrade", "Upgrade": "h2c"})
    assert connection.getresponse().read() == b'{"status":"ok"}'
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HTT", b"GET /healthz HTTP/1.1\r\nhost: x\r\n"]
)
def test_a_head_that_does_not_come_ends_the_connection(
    service: Service, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(ProblemProtocol, "head_seconds", 0.2)
    assert said(service, sent) == ([], b"", True)
    whole = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    statuses, _, closed = said(service, whole, sent)
    assert (statuses, closed) == ([200], bool(sent))


def test_a_slow_body_is_not_a_slow_head(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProblemProtocol, "head_seconds", 0.2)
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        connection.sendall(WHOLE[:-1])
        time.sleep(0.5)
        connection.sendall(WHOLE[-1:])
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
