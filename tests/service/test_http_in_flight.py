"""Bodies under way: bounded over all requests, given back on every path, and not read in vain."""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from collections.abc import Iterator

import pytest

from service.clock import SystemClock
from service.in_flight import BodiesInFlight
from service.settings import Settings
from service.store_memory import MemoryStore
from tests.service.http_rig import JSON, Service, Unreliable, assert_problem, running

LIMIT = 128 * 1024
#: A batch of no updates, padded to half of what all bodies together may hold.
HALF = b'{"index": [], "delta": []}'.ljust(LIMIT // 2)
UPDATES = "/v1/sketches/v/updates"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    store = Unreliable(MemoryStore(SystemClock()))
    settings = Settings(store="memory://", max_body_bytes=LIMIT * 2, max_bodies_bytes=LIMIT)
    with running(settings, store) as found:
        found.make("v")
        yield found


@pytest.fixture(autouse=True)
def given_back(service: Service) -> Iterator[None]:
    """Whatever a test does with its bodies, nothing is held in the end."""
    yield
    holding(service, 0)


def holding(service: Service, size: int) -> None:
    """Wait until so many bytes are held."""
    bodies: BodiesInFlight = service.app.state.bodies
    deadline = time.monotonic() + 10
    while bodies.held != size:
        assert time.monotonic() < deadline, f"{bodies.held} bytes are held, not {size}"
        time.sleep(0.002)


class Slow:
    """A POST whose body is sent as a test pleases. length: None for a chunked body."""

    def __init__(self, service: Service, length: int | None, path: str = UPDATES) -> None:
        self.raw = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        self.raw.putrequest("POST", path)
        kind = "application/octet-stream" if path.endswith("/snapshot") else "application/json"
        self.raw.putheader("Content-Type", kind)
        if length is None:
            self.raw.putheader("Transfer-Encoding", "chunked")
        else:
            self.raw.putheader("Content-Length", str(length))
        self.raw.endheaders()
        self.chunked = length is None

    def send(self, piece: bytes) -> None:
        self.raw.send(b"%x\r\n%s\r\n" % (len(piece), piece) if self.chunked else piece)

    def end(self) -> None:
        self.raw.send(b"0\r\n\r\n")

    def answer(self) -> tuple[int, http.client.HTTPResponse, bytes]:
        found = self.raw.getresponse()
        body = found.read()
        self.raw.close()
        return found.status, found, body


def refused(slow: Slow) -> None:
    status, answer, body = slow.answer()
    assert status == 503
    assert b'"code":"overloaded"' in body
    assert int(answer.headers["retry-after"]) >= 1


def test_announced_bodies_are_bounded_together(service: Service) -> None:
    slow = [Slow(service, len(HALF)) for _ in range(2)]
    holding(service, LIMIT)  # although not a byte of them has come
    refused(Slow(service, 1))
    assert_problem(service.post("/v1/plan", {}), 503, "overloaded")
    assert service.client.get("/v1/sketches/v").status_code == 200
    slow[0].send(HALF)
    assert slow[0].answer()[0] == 200
    holding(service, len(HALF))
    assert service.client.post(UPDATES, content=HALF, headers=JSON).status_code == 200
    slow[1].send(HALF[:1000])
    slow[1].send(HALF[1000:])
    assert slow[1].answer()[0] == 200


def test_chunked_bodies_count_as_they_arrive(service: Service) -> None:
    slow = [Slow(service, None) for _ in range(3)]
    for one in slow:
        one.send(HALF[:1000])
    holding(service, 3000)
    slow[0].send(HALF[1000:])
    holding(service, len(HALF) + 2000)
    slow[1].send(b" " * (LIMIT // 2))
    refused(slow[1])
    holding(service, len(HALF) + 1000)
    slow[2].send(HALF[1000:-2000])
    for one in (slow[0], slow[2]):
        one.end()
        assert one.answer()[0] == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_comes_alone_is_taken(service: Service, chunked: bool) -> None:
    large = HALF.ljust(LIMIT + 50_000)
    alone = Slow(service, None if chunked else len(large))
    alone.send(large[:-1])
    holding(service, len(large) - chunked)
    refused(Slow(service, 10))
    alone.send(large[-1:])
    if chunked:
        alone.end()
    assert alone.answer()[0] == 200


def test_bytes_are_given_back_when_the_client_goes(service: Service) -> None:
    for length in (len(HALF), None):
        gone = Slow(service, length)
        gone.send(HALF[:5000])
        holding(service, 5000 if length is None else length)
        gone.raw.close()
        holding(service, 0)


def test_bytes_are_given_back_when_the_request_fails(service: Service) -> None:
    store = service.runtime.store._inner  # type: ignore[attr-defined]
    assert isinstance(store, Unreliable)
    malformed = service.client.post(UPDATES, content=HALF[:-40] + b"!" * 40, headers=JSON)
    assert_problem(malformed, 400, "malformed_json")
    holding(service, 0)
    over = Slow(service, None)
    for _ in range(3):
        over.send(b" " * LIMIT)
    assert over.answer()[0] == 413
    holding(service, 0)
    store.fails = RuntimeError("a bug")
    try:
        failed = service.client.post(UPDATES, content=HALF, headers=JSON)
    finally:
        store.fails = None
    assert_problem(failed, 500, "internal")


@pytest.fixture(scope="module")
def impatient() -> Iterator[Service]:
    """A service that waits half a second for the next block of a body."""
    settings = Settings(store="memory://", max_bodies_bytes=LIMIT, body_seconds=0.5)
    with running(settings) as found:
        found.make("v")
        yield found


@pytest.mark.parametrize("length", [len(HALF), None])
@pytest.mark.parametrize("pieces", [0, 1, 1000])
def test_a_body_that_stalls_or_drips_is_given_up(
    impatient: Service, length: int | None, pieces: int
) -> None:
    before = impatient.info("v")
    slow = Slow(impatient, length)
    dripping = threading.Thread(target=drip, args=(slow, pieces))
    started = time.monotonic()
    dripping.start()
    status, answer, body = slow.answer()  # which closes the connection and so ends the drip
    assert 0.4 < time.monotonic() - started < 5
    dripping.join(10)
    assert (status, answer.headers["connection"]) == (408, "close")
    assert answer.headers["content-type"] == "application/problem+json"
    assert b'"code":"body_too_slow"' in body
    holding(impatient, 0)
    whole = impatient.client.post(UPDATES, content=HALF, headers=JSON)
    assert whole.status_code == 200
    assert impatient.info("v")["updates"] == before["updates"]


def test_a_stalled_body_shuts_others_out_for_a_while_only(impatient: Service) -> None:
    stalled = [Slow(impatient, len(HALF)) for _ in range(2)]
    holding(impatient, LIMIT)
    refused(Slow(impatient, len(HALF)))
    assert [one.answer()[0] for one in stalled] == [408, 408]
    assert impatient.client.post(UPDATES, content=HALF, headers=JSON).status_code == 200


def drip(slow: Slow, pieces: int) -> None:
    """Send a byte now and then, until nobody listens."""
    slow.raw.auto_open = 0
    for _ in range(pieces):
        try:
            slow.send(b" ")
        except (OSError, http.client.NotConnected):
            return
        time.sleep(0.02)


def test_a_long_body_may_take_its_time_as_long_as_it_comes(impatient: Service) -> None:
    block = b" " * (300 << 10)
    slow = Slow(impatient, None)
    started = time.monotonic()
    for _ in range(4):
        slow.send(block)
        time.sleep(0.3)
    slow.send(b'{"index": [], "delta": []}')
    slow.end()
    assert slow.answer()[0] == 200
    assert time.monotonic() - started > 1


MISSING = ("updates", "samples", "estimates", "norm", "seal", "merge", "snapshot")


@pytest.mark.parametrize("path", MISSING)
def test_a_long_body_is_not_awaited_for_a_sketch_that_is_not_there(
    service: Service, path: str
) -> None:
    announced = Slow(service, LIMIT + 1, f"/v1/sketches/gone/{path}")
    status, _, body = announced.answer()  # not a byte was sent
    assert (status, b"sketch_not_found" in body) == (404, True)
    chunked = Slow(service, None, f"/v1/sketches/gone/{path}")
    chunked.send(b" " * (LIMIT - 1))
    status, _, body = chunked.answer()
    assert (status, b"sketch_not_found" in body) == (404, True)


def test_what_the_head_says_is_judged_before_the_sketch_is_looked_for(service: Service) -> None:
    gone = "/v1/sketches/gone/updates"
    over = Slow(service, 2 * LIMIT + 1, gone)
    assert over.answer()[0] == 413
    # A short body costs nothing to read, and what is wrong with it is said first.
    assert_problem(service.client.post(gone, content=b"[", headers=JSON), 400, "malformed_json")


def test_the_body_of_a_missing_sketch_may_still_come(service: Service) -> None:
    """What was answered early leaves the connection fit for the next request."""
    early = Slow(service, LIMIT, "/v1/sketches/gone/updates")
    found = early.raw.getresponse()
    assert (found.status, b"sketch_not_found" in found.read()) == (404, True)
    early.send(b" " * LIMIT)
    early.raw.request("GET", "/healthz")
    assert early.answer()[0] == 200


@pytest.mark.parametrize("piece", [1 << 12, 1 << 19])
def test_a_body_of_several_blocks_arrives_whole(service: Service, piece: int) -> None:
    name = f"dense-{piece}"
    spec = {"kind": "vector", "shape": {"n": 200_000}, "method": "exact", "seed": 7}
    service.make(name, spec)
    service.post(f"/v1/sketches/{name}/updates", {"index": [0, 199_999], "delta": [3, 4]})
    path = f"/v1/sketches/{name}/snapshot"
    snapshot = service.client.get(path).content
    assert len(snapshot) > 1 << 20
    slow = Slow(service, None, path)
    for at in range(0, len(snapshot), piece):
        slow.send(snapshot[at : at + piece])
    slow.end()
    assert slow.answer()[0] == 200
    found = service.post(f"/v1/sketches/{name}/estimates", {"index": [0, 1, 199_999]}).json()
    assert found["value"] == [6.0, 0.0, 8.0]


@pytest.mark.parametrize("most", [1, 3])
def test_so_many_parts_are_served_at_a_time(most: int) -> None:
    class Counting(Unreliable):
        under_way = 0
        highest = 0

        async def append(self, *args: object, **kwargs: object) -> object:
            self.under_way += 1
            self.highest = max(self.highest, self.under_way)
            await asyncio.sleep(0.01)
            self.under_way -= 1
            return await self._inner.append(*args, **kwargs)  # type: ignore[arg-type]

    store = Counting(MemoryStore(SystemClock()))
    with running(Settings(store="memory://", request_parts_at_once=most), store) as service:  # type: ignore[arg-type]
        names = [f"s{at}" for at in range(8)]
        for name in names:
            service.make(name)
        parts = [{"sketch": name, "index": [1], "delta": [1]} for name in names]
        answer = service.post("/v1/updates", {"updates": parts})
        assert [one["status"] for one in answer.json()["results"]] == [200] * 8
        assert store.highest == most
