"""Notice before the end: not ready, and still serving, so that balancers can look elsewhere."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.workers import serving as serving_with_workers
from tests.end_to_end.workers import until
from tests.service.test_cli import serving

SPEC = {"kind": "vector", "shape": {"n": 1000}}


def test_one_that_leaves_serves_until_a_second_signal_cuts_notice_short(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--store", "memory://")
    with serving(tmp_path, *arguments, SKETCHD_NOTICE_SECONDS="60") as (process, url, _):
        with httpx.Client(base_url=url) as kept:
            assert "connection" not in kept.put("/v1/sketches/a", json=SPEC).headers
            process.send_signal(signal.SIGTERM)
            until(lambda: kept.get("/readyz").status_code == 503, "not ready")
            # A connection of before, and a new one, which follows.
            for _ in range(2):
                answer = kept.post("/v1/sketches/a/norm", json={})
                assert answer.status_code == 200
                assert answer.headers.get("connection") == "close"
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM


def test_after_notice_it_ends_by_itself(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--store", "memory://")
    with serving(tmp_path, *arguments, SKETCHD_NOTICE_SECONDS="0.5") as (process, _, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_workers_give_notice_and_their_supervisor_waits(tmp_path: Path) -> None:
    # More than a drain of no time and the supervisor's margin take together.
    with serving_with_workers(tmp_path, 2, notice_seconds=8, drain_seconds=0.1) as service:
        service.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{service.url}/readyz").status_code == 503, "not ready")
        assert httpx.get(f"{service.url}/healthz").status_code == 200
        assert service.process.wait(30) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{service.url}/healthz")
