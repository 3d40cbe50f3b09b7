"""The balancer's own configuration, run by a real HAProxy before real replicas and a real Redis."""

from __future__ import annotations

import itertools
import json
import re
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from service.client import Client
from service.error_codes import CODES
from tests.deploy.balanced import (
    BEARER,
    CONFIGURATION,
    KEY,
    Balanced,
    Replica,
    balanced,
    batches,
)
from tests.deploy.senders import (
    Sender,
    counted,
    create,
    keyed_updates,
    questions,
    rpc_updates,
    sending,
    updates,
)
from tests.end_to_end.workers import until
from tests.programs import needed
from tests.redis_process import ServerProcess
from tests.redis_servers import closing, standalone


def test_haproxy_reads_it_and_warns_of_nothing() -> None:
    command = [needed("haproxy"), "-c", "-dW", "-f", str(CONFIGURATION)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.fixture(scope="module")
def redis() -> Iterator[ServerProcess]:
    """Every write on disk before it is answered, as compose has it."""
    with closing(standalone(durable=True)) as server:
        yield server


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, redis: ServerProcess) -> Iterator[Balanced]:
    """Two replicas; a test that ends one starts it again."""
    needed("haproxy")
    with balanced(tmp_path_factory.mktemp("two"), redis.url, 2) as made:
        yield made


def test_a_sketch_has_its_replica_and_sketches_are_spread(two: Balanced) -> None:
    names = [f"model.layer.{number}" for number in range(24)]
    create(two.url, *names)
    shares: Counter[str] = Counter()
    with (
        httpx.Client(base_url=two.url, headers=BEARER) as http,
        Client(f"grpc://127.0.0.1:{two.rpc_port}", key=KEY) as client,
    ):
        for name in names:
            before = [batches(one) for one in two.replicas]
            # However a name is written, over a connection that other names have used.
            for path in (name, name.replace(".", "%2E"), name):
                body = {"index": [0], "delta": [1]}
                http.post(f"/v1/sketches/{path}/updates", json=body).raise_for_status()
            over_http = _took(two, before)
            assert over_http.total() == 3
            assert len(over_http) == 1
            shares += over_http
            before = [batches(one) for one in two.replicas]
            for _ in range(3):
                client.sketch(name).update(index=[0], delta=[1.0])
            over_grpc = _took(two, before)
            assert over_grpc.total() == 3
            assert len(over_grpc) == 1
    assert len(shares) == 2
    assert min(shares.values()) >= 3 * len(names) // 4


def _took(those: Balanced, before: list[float]) -> Counter[str]:
    """Who has had how many updates since."""
    after = {one.address: batches(one) for one in those.replicas}
    then = dict(zip(after, before, strict=True))
    return +Counter({address: int(now - then[address]) for address, now in after.items()})


def test_lists_go_where_there_is_room(two: Balanced) -> None:
    before = [one.scrape()("sketchd_http_requests_total") for one in two.replicas]
    for _ in range(20):
        httpx.get(f"{two.url}/v1/sketches", headers=BEARER).raise_for_status()
    after = [one.scrape()("sketchd_http_requests_total") for one in two.replicas]
    assert all(now - then > 5 for then, now in zip(before, after, strict=True))


def test_a_page_and_its_files_come_from_one_replica(two: Balanced) -> None:
    # While two versions serve, the other one has none of the page's files.
    before = [_pages(one) for one in two.replicas]
    for _ in range(3):
        page = httpx.get(f"{two.url}/dashboard").raise_for_status().text
        files = re.findall(r'"(/dashboard/assets/[^"]+)"', page)
        assert len(files) > 3
        for file in files:
            httpx.get(two.url + file).raise_for_status()
    after = [_pages(one) for one in two.replicas]
    took = [now - then for then, now in zip(before, after, strict=True)]
    assert sorted(took)[:-1] == [0]


def _pages(replica: Replica) -> float:
    """Requests for the dashboard and its files that a replica has had."""
    found = replica.scrape()
    assets = "/dashboard/assets/{digest}/{path:path}"
    return sum(
        found("sketchd_http_requests_total", route=route) for route in ("/dashboard", assets)
    )


def test_a_body_that_does_not_come_is_refused_with_a_problem_document(two: Balanced) -> None:
    at = urlsplit(two.url)
    connection = HTTPConnection(at.hostname or "", at.port, timeout=30)
    connection.request("POST", "/v1/updates", b"{", {**BEARER, "Content-Length": "10"})
    answer = connection.getresponse()
    problem = json.loads(answer.read())
    connection.close()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status == problem["status"] == 408
    assert problem["code"] == "body_too_slow"
    assert problem["title"] == CODES["body_too_slow"].title


def test_a_replica_killed_under_load_loses_nothing_and_clients_go_on(two: Balanced) -> None:
    names = [f"counter-{number}" for number in range(6)]
    create(two.url, *names)
    with sending(*(keyed_updates(two.url, name) for name in names)) as senders:
        until(lambda: all(one.done > 20 for one in senders), "load")
        two.replicas[0].kill()
        two.know(two.replicas[1])
        then = [one.done for one in senders]
        until(
            lambda: all(one.done > at + 20 for one, at in zip(senders, then, strict=True)),
            "clients go on",
        )
    for name, one in zip(names, senders, strict=True):
        assert one.failures == []
        assert counted(two.url, name) == one.done
    two.replicas[0].start()
    two.know(*two.replicas)
    two.until_all_serve()


def test_replicas_are_replaced_one_by_one_and_no_request_fails(two: Balanced) -> None:
    names = [f"rolling-{number}" for number in range(6)]
    create(two.url, *names)
    loads = [
        updates(two.url, names[0]),
        updates(two.url, names[1]),
        updates(two.url, names[2], kept=False),
        updates(two.url, names[3], kept=False),
        rpc_updates(two.rpc_port, names[4]),
        rpc_updates(two.rpc_port, names[5]),
    ]
    with sending(*loads, questions(two.url, names[0])) as senders:
        for replica, other in itertools.permutations(two.replicas):
            _until_more(senders)
            assert replica.stop() == 0, replica.said()
            two.know(other)
            _until_more(senders)
            replica.start()
            two.know(*two.replicas)
            two.until_all_serve()
            _until_more(senders)
    for one in senders:
        assert one.failures == []
    # Without keys: neither lost nor sent twice.
    for name, one in zip(names, senders, strict=False):
        assert counted(two.url, name) == one.done


def _until_more(senders: list[Sender]) -> None:
    """Until each has done more, and none has failed."""
    then = [one.done for one in senders]

    def holds() -> bool:
        assert [one.failures for one in senders if one.failures] == []
        return all(one.done > at + 5 for one, at in zip(senders, then, strict=True))

    until(holds, "more load")


def test_without_the_store_replicas_speak_for_themselves(tmp_path: Path) -> None:
    with closing(standalone()) as redis, balanced(tmp_path, redis.url, 2) as two:
        assert httpx.get(two.status_url).status_code == 200
        create(two.url, "a")
        redis.kill()
        until(lambda: httpx.get(two.status_url).status_code == 503, "the balancer notices")
        # Pages are shown, and the problem is the service's.
        assert httpx.get(f"{two.url}/docs").status_code == 200
        answer = httpx.get(f"{two.url}/v1/sketches/a", headers=BEARER, timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        redis.restart()
        until(lambda: httpx.get(two.status_url).status_code == 200, "all is well again")


def test_metrics_are_not_for_everybody(two: Balanced) -> None:
    for path in ("/metrics", "/%6Detrics", "/metrics?x", "/metrics/"):
        answer = httpx.get(two.url + path)
        assert answer.status_code == 404
        assert "sketchd_" not in answer.text


def test_without_replicas_the_answer_is_a_problem_document(tmp_path: Path) -> None:
    with balanced(tmp_path, "memory://", 0) as nobody:
        answer = httpx.get(f"{nobody.url}/v1/sketches", headers=BEARER, timeout=30)
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "1"
        problem = answer.json()
        assert (problem["status"], problem["code"]) == (503, "unavailable")


class Mute:
    """Something at a replica's address that is ready, takes requests, and answers none of them.

    seen: how often each request line came.
    """

    def __init__(self, address: str, port: int) -> None:
        self.seen: Counter[str] = Counter()
        self._listening = socket.create_server((address, port))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                head = connection.recv(65536).decode("latin-1")
                line = head.partition(" HTTP/")[0]
                if line == "GET /readyz":
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                elif line:
                    self.seen[line] += 1

    def close(self) -> None:
        """Listen no more."""
        self._listening.close()


def test_what_could_count_twice_is_sent_once(tmp_path: Path) -> None:
    needed("haproxy")
    with balanced(tmp_path, "memory://", 0) as made:
        mutes = [Mute(f"127.0.0.{2 + at}", made.ports[0]) for at in range(2)]
        try:
            made.resolver.addresses = ["127.0.0.2", "127.0.0.3"]
            until(lambda: httpx.get(made.status_url).status_code == 200, "both are there")

            def tries(method: str, path: str, **headers: str) -> int:
                before = sum(mute.seen[f"{method} {path}"] for mute in mutes)
                answer = httpx.request(
                    method, made.url + path, headers=headers, content=b"{}", timeout=60
                )
                assert answer.status_code == answer.json()["status"] == 502
                assert answer.json()["code"] == "unavailable"
                return sum(mute.seen[f"{method} {path}"] for mute in mutes) - before

            path = "/v1/sketches/a"
            key = {"Idempotency-Key": "1"}
            assert tries("POST", f"{path}/updates") == 1
            assert tries("POST", f"{path}/merge") == 1
            assert tries("POST", "/v1/updates") == 1
            # A second one would not find it, and say so.
            assert tries("DELETE", path) == 1
            assert tries("PATCH", path) == 1
            # Called as what asks is, it is still a deletion.
            assert tries("DELETE", "/v1/sketches/norm") == 1
            # Heeds no key: there would be two.
            assert tries("POST", "/v1/admin/keys", **key) == 1
            assert tries("DELETE", path, **key) == 1
            assert tries("POST", f"{path}/updates", **key) == 4
            assert tries("POST", "/v1/updates", **key) == 4
            assert tries("POST", f"{path}/samples") == 4
            assert tries("POST", "/v1/plan") == 4
            assert tries("PUT", path) == 4
            assert tries("GET", path) == 4
            # At another replica, too.
            assert all(mute.seen[f"GET {path}"] for mute in mutes)
        finally:
            for mute in mutes:
                mute.close()
