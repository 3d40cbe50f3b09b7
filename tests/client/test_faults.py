"""Networks and services that fail: what is applied counts once, and no call outlasts its time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.client import (
    Acknowledgement,
    NotFound,
    RateLimited,
    Retry,
    Unavailable,
    Unreachable,
    Update,
)
from tests.client import rig
from tests.client.proxy import Proxy, between


@pytest.fixture(params=rig.TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """HTTP and gRPC."""
    return str(request.param)


@pytest.fixture
def proxy(service: Any, transport: str) -> Iterator[Proxy]:
    """Between the clients of a test and the shared service."""
    with between(rig.port_of(service, transport)) as found:
        yield found


@pytest.fixture
def behind(proxy: Proxy, transport: str, face: str) -> Iterator[Any]:
    """A client that goes through the proxy."""
    with rig.connected(face, f"{transport}://127.0.0.1:{proxy.port}", timeout=20.0) as found:
        yield found


@pytest.fixture
def direct(service: Any) -> Iterator[Any]:
    """A client that sees what really happened."""
    with rig.connected("sync", rig.url_of(service, "http")) as found:
        yield found


def _updates(direct: Any, name: str) -> int:
    return int(direct.sketch(name).info().updates)


def test_an_update_whose_answer_was_lost_counts_once(
    proxy: Proxy, behind: Any, direct: Any, name: str
) -> None:
    direct.create(name, rig.SMALL)
    proxy.lose_answer(name.encode(), lambda: _updates(direct, name) == 1)
    assert behind.sketch(name).update([5], [2.0]).accepted == 1
    assert proxy.struck == 1
    assert _updates(direct, name) == 1
    assert direct.sketch(name).estimate([5]).value.tolist() == [2.0]


def test_an_update_that_never_arrived_is_sent_again(
    proxy: Proxy, behind: Any, direct: Any, name: str
) -> None:
    direct.create(name, rig.SMALL)
    proxy.cut_before(name.encode(), times=3)
    assert behind.sketch(name).update([5], [2.0]).accepted == 1
    assert proxy.struck == 3
    assert _updates(direct, name) == 1


def test_cuts_at_any_byte_count_nothing_twice(
    proxy: Proxy, transport: str, face: str, direct: Any, name: str, rng: np.random.Generator
) -> None:
    direct.create(name, rig.SMALL)
    proxy.cut_anywhere(rng, 1500, 25)
    url = f"{transport}://127.0.0.1:{proxy.port}"
    often = Retry(attempts=100, first_pause=0.001, longest_pause=0.01)
    done = np.zeros(40)
    with rig.connected(face, url, retry=often, timeout=60.0) as client:
        for at in range(40):
            if at % 4:
                client.sketch(name).update([at], [1.0 + at])
            else:
                parts = [Update(name, [at], [0.5 + at]), Update(name, [at], [0.5])]
                results = client.update_many(parts)
                assert [getattr(one, "accepted", one) for one in results] == [1, 1]
            done[at] = 1.0 + at
    assert proxy.struck > 10
    np.testing.assert_array_equal(direct.sketch(name).estimate(np.arange(40)).value, done)


def test_merges_snapshots_and_seals_count_once_too(
    proxy: Proxy, behind: Any, direct: Any, name: str
) -> None:
    sketch = direct.create(name, rig.SMALL)
    sketch.update([5], [2.0])
    data = sketch.snapshot().data
    same = behind.sketch(name)
    for change, given, expected in ((same.merge, name, 4.0), (same.add_snapshot, data, 6.0)):
        before = sketch.info().version
        proxy.lose_answer(name.encode(), lambda: sketch.info().version != before)  # noqa: B023
        change(given)
        assert sketch.estimate([5]).value.tolist() == [expected]
    proxy.lose_answer(name.encode(), lambda: sketch.info().sealed == ("y",))
    assert same.seal("y").sealed == ("y",)
    assert proxy.struck == 3


def test_a_batch_whose_answer_was_lost_counts_once(
    proxy: Proxy, behind: Any, direct: Any, name: str
) -> None:
    direct.create(name, rig.SMALL)
    parts = [Update(name, [at], [1.0]) for at in range(20)] + [Update("nobody", [1], [1.0])]
    proxy.lose_answer(b"nobody", lambda: _updates(direct, name) >= 20)
    results = behind.update_many(parts)
    assert proxy.struck == 1
    assert [type(one) for one in results[-1:]] == [NotFound]
    assert all(one.accepted == 1 for one in results[:-1])
    assert _updates(direct, name) == 20


def test_a_delete_whose_answer_was_lost_is_done(
    proxy: Proxy, behind: Any, direct: Any, name: str
) -> None:
    direct.create(name, rig.SMALL)

    def gone() -> bool:
        return name not in {info.name for info in direct.list(name)}

    proxy.lose_answer(b"DELETE" if behind.url.startswith("http") else name.encode(), gone)
    behind.sketch(name).delete()
    assert proxy.struck == 1
    with pytest.raises(NotFound):
        behind.sketch(name).delete()


def test_a_connection_the_service_closed_is_replaced_silently(
    proxy: Proxy, transport: str, face: str, direct: Any, name: str
) -> None:
    direct.create(name, rig.SMALL)
    url = f"{transport}://127.0.0.1:{proxy.port}"
    attempts = 1 if transport == "http" else 2
    with rig.connected(face, url, retry=Retry(attempts=attempts)) as client:
        for _ in range(5):
            client.sketch(name).update([1], [1.0])
            proxy.drop()
    assert _updates(direct, name) == 5


def test_nobody_listens(transport: str, face: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"{transport}://127.0.0.1:{port}"
    with rig.connected(face, url, retry=Retry(attempts=3), timeout=5.0) as client:
        with pytest.raises(Unreachable) as caught:
            client.sketch("a").info()
    assert caught.value.code == "unreachable"
    assert caught.value.status == 0
    assert type(caught.value) is Unreachable


def test_a_silent_service_costs_no_more_than_the_timeout(
    proxy: Proxy, behind: Any, direct: Any, name: str
) -> None:
    direct.create(name, rig.SMALL)
    sketch = behind.sketch(name)
    sketch.info()
    proxy.stall()
    for call in (sketch.info, sketch.snapshot, lambda **more: sketch.update([1], [1.0], **more)):
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"no answer came within 0\.[23]"):
            call(timeout=0.3)
        # The bound says that the deadline holds, not how quick the machine is.
        assert 0.25 < time.monotonic() - began < 10
    results = behind.update_many([Update(name, [1], [1.0])] * 3, timeout=0.3)
    assert [type(one) for one in results] == [Unreachable] * 3


@pytest.mark.parametrize("slow", ["head", "body", "upload"])
def test_a_slow_service_costs_no_more_than_the_timeout(face: str, slow: str) -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    started = head + (b"content-length: 999\r\n\r\n" if slow == "body" else b"x: ")

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            if slow != "upload":
                connection.sendall(started)
            for _ in range(40):
                time.sleep(0.05)
                if slow == "upload":
                    connection.recv(1 << 18)
                else:
                    connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        served = pool.submit(lambda: serve(listening.accept()[0]))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with rig.connected(face, url, timeout=0.5, retry=Retry(attempts=1)) as client:
            sketch = client.sketch("a")
            width = 4_000_000 if slow == "upload" else 1
            began = time.monotonic()
            with pytest.raises(Unreachable, match=r"no answer came within 0\.5 s"):
                sketch.update_rows([1], np.ones((1, width)))
            assert time.monotonic() - began < 1.5
        served.result()


def test_pauses_end_with_the_timeout(transport: str, face: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    patient = Retry(attempts=1000, first_pause=0.05, longest_pause=0.1)
    with rig.connected(face, f"{transport}://127.0.0.1:{port}", retry=patient) as client:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            client.sketch("a").info(timeout=0.5)
        assert time.monotonic() - began < 10


def test_a_service_that_is_restarted_meanwhile(
    transport: str, face: str, tmp_path: Path, name: str
) -> None:
    store = f"sqlite:///{tmp_path}/restart.db"
    with rig.served(store) as first, between(rig.port_of(first, transport)) as proxy:
        url = f"{transport}://127.0.0.1:{proxy.port}"
        with rig.connected(face, url, timeout=60.0, retry=Retry(attempts=100)) as client:
            sketch = client.create(name, rig.SMALL)
            sketch.update([1], [1.0])
            first.http.close()
            stop = threading.Event()
            with ThreadPoolExecutor(1) as thread:
                writing = thread.submit(_write_until, sketch, stop)
                _restart(proxy, store, transport, sketch, stop, writing)


def _write_until(sketch: Any, stop: threading.Event) -> int:
    """Updates acknowledged until told to stop."""
    done = 0
    while not stop.is_set():
        done += sketch.update([2], [1.0]).accepted
    return done


def _restart(
    proxy: Proxy, store: str, transport: str, sketch: Any, stop: threading.Event, writing: Any
) -> None:
    """Serve the same store anew, cut everything over, and compare the count at the end."""
    with rig.served(store) as second:
        proxy.target = 1  # nobody is there: the old one has gone
        proxy.drop()
        refused = proxy.connections
        while proxy.connections == refused:
            assert not writing.done(), writing.exception()
            time.sleep(0.005)
        proxy.target = rig.port_of(second, transport)
        while sketch.info().updates < 20:
            time.sleep(0.005)
        stop.set()
        acknowledged = writing.result(60)
        assert sketch.estimate([2]).value.tolist() == [float(acknowledged)]


def test_rates_are_waited_for(transport: str, face: str) -> None:
    with rig.served(bootstrap_admin_key="k" * 40) as service:
        service.http.headers["authorization"] = f"Bearer {'k' * 40}"
        quota = {"requests_per_second": 2}
        service.http.put("/v1/admin/tenants/slow", json=quota).raise_for_status()
        made = service.http.post("/v1/admin/keys", json={"tenant": "slow", "role": "write"})
        url = rig.url_of(service, transport)
        with rig.connected(face, url, key=made.json()["key"], timeout=30.0) as client:
            sketch = client.create("a", rig.SMALL)
            for _ in range(6):
                sketch.update([1], [1.0])
            assert sketch.info().updates == 6
        with rig.connected(face, url, key=made.json()["key"], retry=Retry(attempts=1)) as impatient:
            with pytest.raises(RateLimited) as caught:
                _ask(impatient, 50)
            assert caught.value.retry_after == 1
            assert caught.value.status == 429


def test_rates_are_waited_for_by_the_parts_that_are_left(transport: str, face: str) -> None:
    with rig.served(bootstrap_admin_key="k" * 40) as service:
        service.http.headers["authorization"] = f"Bearer {'k' * 40}"
        quota = {"updates_per_second": 100}
        service.http.put("/v1/admin/tenants/slow", json=quota).raise_for_status()
        made = service.http.post("/v1/admin/keys", json={"tenant": "slow", "role": "write"})
        url = rig.url_of(service, transport)
        updates = [Update(f"s{at}", np.arange(50), np.ones(50)) for at in range(6)]
        updates[3:3] = [Update("nobody", [1], [1.0])]
        with rig.connected(face, url, key=made.json()["key"], timeout=30.0) as client:
            for at in range(6):
                client.create(f"s{at}", rig.SMALL)
            kinds = [type(one) for one in client.update_many(updates)]
            assert kinds == [Acknowledgement] * 3 + [NotFound] + [Acknowledgement] * 3
            for at in range(6):
                assert client.sketch(f"s{at}").estimate([1]).value.tolist() == [1.0]


def _ask(client: Any, times: int) -> None:
    for _ in range(times):
        client.sketch("a").info()


def test_threads_share_a_client(service: Any, transport: str, name: str) -> None:
    with rig.connected("sync", rig.url_of(service, transport)) as client:
        sketch = client.create(name, rig.SMALL)

        def work(at: int) -> int:
            done = 0
            for _ in range(10):
                done += sketch.update([at, 999], [1.0, 1.0]).accepted
                assert client.sketch(name).sample(2).status == "ok"
            return done

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(work, range(8))) == 160
        found = sketch.estimate([0, 7, 999]).value
        np.testing.assert_array_equal(found, [10.0, 10.0, 80.0])
