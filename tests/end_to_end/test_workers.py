"""Several workers: killed ones are replaced, signals reach all, none outlives its supervisor."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.workers import Service, alive, serving, until
from tests.service.test_cli import refused

VECTOR = {"kind": "vector", "shape": {"n": 1000}, "seed": 1}


def half_a_request(service: Service) -> socket.socket:
    """A connection whose worker has the head of a request and waits for its body."""
    host, port = service.url.removeprefix("http://").split(":")
    raw = socket.create_connection((host, int(port)), timeout=20)
    raw.sendall(
        b"PUT /v1/sketches/late HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(json.dumps(VECTOR))
    )
    assert raw.recv(4096).startswith(b"HTTP/1.1 100")
    return raw


def test_a_killed_worker_is_replaced_and_its_counts_stay(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as service:
        service.call("PUT", "/v1/sketches/a", json=VECTOR).raise_for_status()
        requests, updates, restarts = 0.0, 0, 0
        for _ in range(3):
            for _ in range(5):
                service.call(
                    "POST", "/v1/sketches/a/updates", json={"index": [1], "delta": [1]}
                ).raise_for_status()
                updates += 1
            before = service.scrape()
            victim, other = service.workers()
            os.kill(victim, signal.SIGKILL)
            restarts += 1
            until(
                lambda: (
                    service.scrape()("sketchd_worker_restarts_total") == restarts  # noqa: B023
                    and service.scrape()("sketchd_workers") == 2
                ),
                "another worker",
            )
            assert other in service.workers()
            assert victim not in service.workers()
            after = service.scrape()
            assert after("sketchd_updates_total") == updates
            assert after("sketchd_update_duration_seconds_count") == updates
            for (name, labels), value in before.series.items():
                if name.endswith(("_total", "_count", "_bucket")):
                    assert after.series[name, labels] >= value, (name, labels)
            assert after("sketchd_http_requests_total") > requests
            requests = after("sketchd_http_requests_total")
        found = service.call("POST", "/v1/sketches/a/norm", json={}).json()
        assert found["norm"] == pytest.approx(updates)
        lines = [json.loads(line) for line in service.said().splitlines() if line[:1] == "{"]
        ended = [line for line in lines if "ended with status -9" in line["message"]]
        assert len(ended) == restarts
        assert all(line["logger"] == "sketchd.workers" for line in ended)


def test_a_worker_that_hangs_hides_no_metrics_of_the_others(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as service:
        service.call("PUT", "/v1/sketches/a", json=VECTOR).raise_for_status()
        hanging, _ = service.workers()
        os.kill(hanging, signal.SIGSTOP)
        try:
            found = service.scrape()
            assert found("sketchd_workers") == 1
        finally:
            os.kill(hanging, signal.SIGCONT)
        until(lambda: service.scrape()("sketchd_workers") == 2, "the answer of both")


def test_the_activity_of_a_sketch_is_that_of_all_workers(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as service:
        service.call("PUT", "/v1/sketches/a", json=VECTOR).raise_for_status()
        for _ in range(20):  # each on a connection of its own
            service.call(
                "POST", "/v1/sketches/a/updates", json={"index": [1, 2], "delta": [1, 1]}
            ).raise_for_status()
        service.call("POST", "/v1/sketches/a/norm", json={}).raise_for_status()
        for _ in range(4):
            seen = service.call("GET", "/v1/sketches/a/activity").json()
            assert seen["processes"] == 2
            assert seen["update"]["requests"] == 20
            assert seen["update"]["coordinates"] == 40
            assert seen["sample"]["requests"] == 1


@pytest.mark.parametrize("to_all", [False, True], ids=["one process", "whole group"])
def test_a_signal_lets_all_finish_what_is_under_way(tmp_path: Path, to_all: bool) -> None:
    with serving(tmp_path, 2) as service:
        workers = service.workers()
        with half_a_request(service) as raw:
            # A terminal or a service manager may send it to every process at once.
            for pid in [service.process.pid, *(workers if to_all else ())]:
                os.kill(pid, signal.SIGINT if to_all else signal.SIGTERM)
            until(lambda: not all(map(alive, workers)), "the end of the idle worker")
            assert service.process.poll() is None
            raw.sendall(json.dumps(VECTOR).encode())
            assert raw.recv(4096).startswith(b"HTTP/1.1 201 ")
        assert service.process.wait(20) == 0
        assert not any(map(alive, workers))
        with pytest.raises(httpx.ConnectError):
            service.call("GET", "/healthz")
        assert service.said().count("\n") == 1, service.said()  # that it was ready


def test_the_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, 2, drain_seconds=600) as service:
        workers = service.workers()
        with half_a_request(service):
            service.process.send_signal(signal.SIGTERM)
            until(lambda: not all(map(alive, workers)), "the end of the idle worker")
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(10) == 128 + signal.SIGTERM
        until(lambda: not any(map(alive, workers)), "the end of the workers")


def test_workers_end_with_their_supervisor(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as service:
        workers = service.workers()
        service.process.kill()
        until(lambda: not any(map(alive, workers)), "the end of the workers")
        with pytest.raises(httpx.ConnectError):
            service.call("GET", "/healthz")


def test_a_hangup_ends_nobody(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as service:
        workers = sorted(service.workers())
        service.process.send_signal(signal.SIGHUP)
        for _ in range(10):
            assert service.call("GET", "/readyz").status_code == 200
        assert sorted(service.workers()) == workers
        assert service.scrape()("sketchd_worker_restarts_total") == 0


def test_a_worker_told_to_end_hands_its_counts_over(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as service:
        for pid in service.workers():
            for _ in range(3):
                service.call("GET", "/healthz")
            os.kill(pid, signal.SIGTERM)
            until(lambda: not alive(pid), "its end")  # noqa: B023
            until(lambda: len(service.workers()) == 2, "another")
        counted = service.scrape()("sketchd_http_requests_total", route="/healthz")
        assert counted == 6  # nothing was asked for in between, and nothing is lost


def test_what_cannot_be_served_is_one_clear_line(tmp_path: Path) -> None:
    line = refused("serve", "--port", "0", "--workers", "2", "--store", "memory://")
    assert "SKETCHD_WORKERS" in line
    assert "memory://" in line
    assert "SKETCHD_WORKERS" in refused("serve", "--workers", "0")
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database" * 1000)
    line = refused("serve", "--port", "0", "--workers", "3", "--store", f"sqlite:///{broken}")
    assert "cannot open" in line
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in refused("serve", "--port", port, "--workers", "2")
