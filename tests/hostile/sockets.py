"""Bytes on a socket, for what no HTTP library would send.

Each attempt sends its pieces on a connection of its own and reads until the service
closes it or has nothing more to say.
"""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final
from urllib.parse import urlsplit

from tests.hostile.ledger import JSON, PROBLEM, Exchange, Ledger, check_problem

_PATH: Final = "/v1/sketches/vector/updates"
_BODY: Final = b'{"index": [5, 6], "delta": [1, -1]}'
#: Longer than the service waits for a body (SKETCHD_BODY_SECONDS in conftest.py).
_PATIENCE: Final = 8.0
_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Attempt:
    """pieces: what is sent, with a pause before each but the first. statuses: allowed, in order.

    None: any answer, or none. applied: how many times _BODY counts. eof: whether the
    sender closes its side, as one that has died does.
    """

    name: str
    pieces: tuple[bytes, ...]
    statuses: tuple[int, ...] | None = None
    applied: int = 0
    eof: bool = True
    pause: float = 0.02


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    content: bytes


def head(*lines: str, method: str = "POST", target: str = _PATH) -> bytes:
    """The head of a request."""
    first = f"{method} {target} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {JSON}\r\n"
    return (first + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode("latin-1")


def whole(body: bytes = _BODY, *lines: str) -> bytes:
    """A request that is right."""
    return head(f"content-length: {len(body)}", *lines) + body


def _chunked(*chunks: bytes) -> bytes:
    return head("transfer-encoding: chunked") + b"".join(chunks)


_CLOSED: Final = (400,)
#: Hung up on while it still sends, the sender may hear nothing.
_TOO_LONG: Final = None
_CHUNK: Final = b"%x\r\n%s\r\n" % (len(_BODY), _BODY)
ATTEMPTS: Final = (
    Attempt("a request that is right", (whole(),), (200,), 1),
    Attempt("in single bytes", tuple(bytes((one,)) for one in whole()), (200,), 1, pause=0.0),
    Attempt("chunked", (_chunked(_CHUNK, b"0\r\n\r\n"),), (200,), 1),
    Attempt("chunk extensions and trailers",
            (_chunked(b"%x;a=b\r\n%s\r\n" % (len(_BODY), _BODY), b"0\r\nX-T: 1\r\n\r\n"),),
            (200,), 1),
    Attempt("the body cut off", (whole()[:-5],), ()),
    Attempt("a body that never comes", (head("content-length: 40"),), (408,), eof=False),
    Attempt("a body that stops", (whole()[:-5],), (408,), eof=False),
    Attempt("a body in drips", (whole(b" " * 90)[:-90], *([b" "] * 80)), (408,), eof=False,
            pause=0.05),
    Attempt("chunks that stop", (_chunked(_CHUNK),), (408,), eof=False),
    Attempt("chunks cut off", (_chunked(_CHUNK),), ()),
    Attempt("a chunk shorter than it says", (_chunked(b"ff\r\n", _BODY, b"\r\n0\r\n\r\n"),), ()),
    Attempt("a chunk longer than it says", (_chunked(b"3\r\n", _BODY, b"\r\n0\r\n\r\n"),), _CLOSED),
    Attempt("a chunk of no size", (_chunked(b"zz\r\n", _BODY),), _CLOSED),
    Attempt("a chunk of size -1", (_chunked(b"-1\r\n", _BODY),), _CLOSED),
    Attempt("a chunk of size 2^64", (_chunked(b"10000000000000000\r\n", _BODY),), _CLOSED),
    Attempt("a chunk of size 2^63", (_chunked(b"8000000000000000\r\n", _BODY),), ()),
    Attempt("length too short", (head("content-length: 5") + _BODY,), (400, 400)),
    Attempt("length -1", (head("content-length: -1") + _BODY,), _CLOSED),
    Attempt("length +35", (head("content-length: +35") + _BODY,), _CLOSED),
    Attempt("length 1e2", (head("content-length: 1e2") + _BODY,), _CLOSED),
    Attempt("length 2^64", (head(f"content-length: {1 << 64}") + _BODY,), _CLOSED),
    Attempt("length 2^63", (head(f"content-length: {1 << 63}") + _BODY,), (413,)),
    Attempt("length with zeros", (head(f"content-length: {'0' * 30}35") + _BODY,)),
    Attempt("two lengths", (head("content-length: 35", "content-length: 5") + _BODY,), _CLOSED),
    Attempt("two equal lengths", (head("content-length: 35", "content-length: 35") + _BODY,),
            _CLOSED),
    Attempt("length and chunks",
            (head("content-length: 5", "transfer-encoding: chunked") + _CHUNK + b"0\r\n\r\n",),
            _CLOSED),
    Attempt("an unknown transfer coding", (head("transfer-encoding: gzip") + _BODY,)),
    Attempt("chunked, then identity",
            (head("transfer-encoding: chunked, identity") + _CHUNK + b"0\r\n\r\n",), _CLOSED),
    Attempt("no length at all", (head() + _BODY,), (400, 400)),
    Attempt("pipelined", (whole() + whole() + whole(),), (200, 200, 200), 3),
    Attempt("pipelined behind a refusal", (whole(b"[]") + whole(),), (422, 200), 1),
    Attempt("pipelined, the last cut off", (whole() + whole()[:-9],), (200,), 1),
    Attempt("pipelined, then not HTTP", (whole() + b"\x16\x03\x01\x02\x00" * 9,), (200, 400), 1),
    Attempt("pipelined, then a bad chunk", (whole() + whole() + _chunked(b"zz\r\n"),),
            (200, 200, 400), 2),
    Attempt("behind a body nobody reads",
            (head("content-length: 4", target="/v1/nothing") + b"1234" + whole(),), (404, 200), 1),
    Attempt("a header of 60 KB", (whole(_BODY, "x-long: " + "a" * 60_000),)),
    Attempt("a header of 1 MB", (whole(_BODY, "x-long: " + "a" * (1 << 20)),), _TOO_LONG),
    Attempt("ten thousand headers", (whole(_BODY, *(f"x-{at}: {at}" for at in range(10_000))),),
            _TOO_LONG),
    Attempt("a header with a bare LF", (whole().replace(b"\r\n", b"\n"),)),
    Attempt("a header without a colon", (whole(_BODY, "nonsense"),), _CLOSED),
    Attempt("a header of no name", (whole(_BODY, ": 1"),), _CLOSED),
    Attempt("a header with NUL", (whole(_BODY, "x-nul: a\x00b"),), _CLOSED),
    Attempt("a header that goes on", (whole(_BODY, "x-a: 1\r\n  2"),)),
    Attempt("a header not ASCII", (whole(_BODY, "x-a: \xff\xfe", "x-request-id: \xe9"),), (200,),
            1),
    Attempt("no host", (whole().replace(b"host: 127.0.0.1\r\n", b""),), (200,), 1),
    Attempt("two hosts", (whole(_BODY, "host: evil.example"),), (200,), 1),
    Attempt("HTTP/1.0", (whole().replace(b"HTTP/1.1", b"HTTP/1.0"),), (200,), 1),
    Attempt("HTTP/0.9", (b"GET /healthz\r\n\r\n",)),
    Attempt("HTTP/2", (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",), _CLOSED),
    Attempt("HTTP/9.9", (whole().replace(b"HTTP/1.1", b"HTTP/9.9"),), _CLOSED),
    Attempt("TLS", (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),), _CLOSED),
    Attempt("nothing", (b"",), ()),
    Attempt("empty lines", (b"\r\n\r\n\r\n" + whole(),), (200,), 1),
    Attempt("NUL bytes", (bytes(1000),), _CLOSED),
    Attempt("an unknown method", (whole().replace(b"POST", b"BREW"),), _CLOSED),
    Attempt("a method in lower case", (whole().replace(b"POST", b"post"),), _CLOSED),
    Attempt("CONNECT", (head(method="CONNECT", target="127.0.0.1:1"),)),
    Attempt("TRACE", (head(method="TRACE"),), (405,)),
    Attempt("OPTIONS *", (head(method="OPTIONS", target="*"),)),
    Attempt("the absolute form", (head(method="GET", target="http://evil.example/healthz"),)),
    Attempt("an absolute form without a path", (head(method="GET", target="http://evil.example"),)),
    Attempt("a target of nothing", (b"GET  HTTP/1.1\r\nhost: a\r\n\r\n",), _CLOSED),
    Attempt("a target without a slash", (head(method="GET", target="healthz"),)),
    Attempt("a target not ASCII", (head(method="GET", target="/v1/sketches/\xe9"),), _CLOSED),
    Attempt("a target with a space", (head(method="GET", target="/v1/ sketches"),), _CLOSED),
    Attempt("a target with dots", (head(method="GET", target="/v1/sketches/../../etc/passwd"),)),
    Attempt("a target of 60 KB", (head(method="GET", target="/" + "a" * 60_000),)),
    Attempt("a target with a fragment", (head(method="GET", target="/healthz#a"),)),
    Attempt("half an escape", (head(method="GET", target="/v1/sketches/%"),), (422,)),
    Attempt("an escape of half a character", (head(method="GET", target="/v1/sketches/%C3"),),
            (422,)),
    Attempt("a body with GET", (whole().replace(b"POST", b"GET"),), (405,)),
    Attempt("an upgrade to h2c",
            (whole(_BODY, "connection: upgrade, http2-settings", "upgrade: h2c"),), _CLOSED),
    Attempt("an upgrade to websocket",
            (head("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13",
                  "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", method="GET"),)),
    Attempt("expecting 100", (head("expect: 100-continue", "content-length: 35"), _BODY),
            (100, 200), 1),
    Attempt("expecting nonsense", (whole(_BODY, "expect: nonsense"),)),
    Attempt("a body over the limit", (whole(b" " * ((1 << 20) + 1)),), (413,)),
    Attempt("chunks over the limit", (_chunked(*[b"10000\r\n" + b" " * 65536 + b"\r\n"] * 17),),
            (413,)),
    Attempt("an announced gigabyte", (head(f"content-length: {1 << 30}"),), (413,), eof=False),
)  # fmt: skip


def talk(url: str, attempt: Attempt) -> list[Answer]:
    """Send an attempt's pieces and return what was answered."""
    address = urlsplit(url)
    received = bytearray()
    expected = None if attempt.statuses is None else len(attempt.statuses)
    with socket.create_connection((address.hostname or "", address.port or 0), 5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for at, piece in enumerate(attempt.pieces):
                if at:
                    time.sleep(attempt.pause)
                connection.sendall(piece)
        except OSError:
            pass  # it has hung up; what it said may still be there
        deadline = time.monotonic() + _PATIENCE
        ended = False
        while time.monotonic() < deadline:
            connection.settimeout(0.05 if ended or not attempt.eof else 0.2)
            try:
                data = connection.recv(1 << 16)
            except TimeoutError:
                if ended or (expected is not None and len(_answers(received)) >= expected > 0):
                    break
                if attempt.eof:  # nothing more comes: die, and see whether that is noticed
                    _close_side(connection)
                    ended = True
                continue
            except OSError:
                break
            if not data:
                break
            received += data
    return _answers(received)


def _close_side(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _answers(received: bytes | bytearray) -> list[Answer]:
    """What has come, answer by answer; one that was cut off counts as far as it came."""
    found = []
    rest = bytes(received)
    while rest:
        top, _, rest = rest.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1.1 "), first
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", "0"))
        content, rest = rest[:length], rest[length:]
        found.append(Answer(int(first.split(" ")[1]), headers, content))
    return found


def _judge(attempt: Attempt, answers: list[Answer]) -> None:
    """Check what an attempt was answered."""
    statuses = tuple(answer.status for answer in answers)
    if attempt.statuses is not None:
        assert statuses == attempt.statuses, f"{attempt.name}: {statuses} {answers}"
        assert statuses.count(200) == attempt.applied
    for answer in answers:
        assert answer.status < 500, f"{attempt.name}: {answer}"
        if answer.status >= 400:
            assert answer.headers["content-type"] == PROBLEM, attempt.name
            check_problem(json.loads(answer.content), answer.status)
        if answer.status == 408:
            assert answer.headers["connection"] == "close"


def sockets(ledger: Ledger, requests: int, seed: int) -> None:
    """All attempts of the table, then requests with bytes changed or cut, up to so many."""
    changed = _changed(random.Random(seed), max(0, requests - len(ATTEMPTS)))
    with ThreadPoolExecutor(_AT_ONCE) as threads:  # most of their time they wait
        _meet(ledger, threads, ATTEMPTS)
        while group := tuple(islice(changed, 4 * _AT_ONCE)):
            _meet(ledger, threads, group)


def _meet(ledger: Ledger, threads: ThreadPoolExecutor, attempts: Sequence[Attempt]) -> None:
    """Make attempts side by side, then hold the service to what it has acknowledged."""
    acknowledged = []
    for attempt, answers in zip(
        attempts, threads.map(lambda one: talk(ledger.url, one), attempts), strict=True
    ):
        _judge(attempt, answers)
        ledger.requests += 1
        ledger.answers.update(answer.status for answer in answers)
        acknowledged += [one for one in answers if one.content.startswith(b'{"accepted"')]
    # Each is one of _BODY: heads are changed, bodies only cut.
    for answer in sorted(acknowledged, key=_position):
        sent = {"content-type": JSON}
        ledger.settle(Exchange("POST", _PATH, _BODY, sent, 200, answer.headers, answer.content))
    ledger.check("vector")


def _position(answer: Answer) -> int:
    return int(json.loads(answer.content)["version"].rpartition("-")[2])


def _changed(draw: random.Random, count: int) -> Iterator[Attempt]:
    """A request with up to four bytes of its head changed, put in or left out, or cut anywhere."""
    for number in range(count):
        changed = bytearray(whole()[: -len(_BODY)])
        for _ in range(draw.randrange(1, 5)):
            at = draw.randrange(len(changed))
            way = draw.randrange(3)
            if way == 0:
                changed[at] = draw.randrange(256)
            elif way == 1:
                changed.insert(at, draw.choice(b"\r\n :%/?#\x00\xff0,;"))
            else:
                del changed[at]
        sent = bytes(changed) + _BODY
        if draw.random() < 0.2:
            sent = whole()[: draw.randrange(len(whole()))]
        yield Attempt(f"changed {number}: {sent!r}", (sent,))
