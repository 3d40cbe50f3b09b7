"""HTTP and gRPC are one service: the same requests get the same answers, refusals and bytes.

TEST_EQUALITY_SEEDS=0:200 compares that many streams of requests instead of a few.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from service.settings import Settings
from service.store_memory import MemoryStore
from tests.service.grpc_equals import Asked, over_grpc, over_http, over_stream
from tests.service.grpc_rig import serving
from tests.service.grpc_traffic import NAMES, Traffic
from tests.service.rig import SetClock

REQUESTS = 250
_FIRST, _, _LAST = os.environ.get("TEST_EQUALITY_SEEDS", "0:3").partition(":")
SETTINGS = Settings(store="memory://")


@pytest.mark.parametrize("number", range(int(_FIRST), int(_LAST)))
def test_the_same_requests_get_the_same_answers(number: int) -> None:
    """Every operation, one request after another, to two services with one clock."""
    rng = np.random.default_rng([number, 77])
    clock = SetClock()
    traffic = Traffic(rng)
    with (
        serving(SETTINGS, clock=clock, store=MemoryStore(clock)) as one,
        serving(SETTINGS, clock=clock, store=MemoryStore(clock)) as other,
    ):
        seen: set[tuple[str, bool]] = set()
        for asked in traffic.requests(REQUESTS):
            clock.time += float(rng.choice([0.0, 1.0]))
            http = over_http(one, asked)
            grpc = over_grpc(other, asked, stream=bool(rng.random() < 0.3))
            assert grpc == http, asked
            ok = isinstance(http, dict | bytes | tuple)
            seen.add((asked.op, ok))
            if ok and asked.op == "get_snapshot":
                traffic.snapshots.append(http[0])
        for name in NAMES:
            asked = Asked("get_snapshot", name)
            assert over_grpc(other, asked) == over_http(one, asked)
    assert {op for op, ok in seen if ok} >= {"update", "sample", "estimate", "norm"}
    assert {op for op, ok in seen if not ok} >= {"create", "update", "sample", "merge"}


def test_a_stream_is_its_messages_one_by_one(rng: np.random.Generator) -> None:
    """Updates and samples in streams of many messages, against HTTP one after another."""
    clock = SetClock()
    asked = [one for one in Traffic(rng).requests(900) if one.op in ("create", "update", "sample")]
    with (
        serving(SETTINGS, clock=clock, store=MemoryStore(clock)) as one,
        serving(SETTINGS, clock=clock, store=MemoryStore(clock)) as other,
    ):
        for service in (one, other):
            for made in (found for found in asked if found.op == "create"):
                over_http(service, made)
        for op in ("update", "sample"):
            of_op = [found for found in asked if found.op == op]
            assert len(of_op) > 100
            assert over_stream(other, of_op) == [over_http(one, found) for found in of_op]


def _update(key: str) -> Asked:
    return Asked("update", "v", {"index": [1, 5], "delta": [2.0, -1.5]}, key)


def _spec(magnitude: Any) -> Asked:
    return Asked("create", "v", {"kind": "vector", "shape": {"n": 100}, "magnitude": magnitude})


def test_one_key_over_both_is_one_change() -> None:
    """Also where the spec was sent by the other transport, which writes numbers its own way."""
    with serving(SETTINGS) as both:
        assert over_http(both, _spec(1024))["created"]
        assert not over_grpc(both, _spec(1024))["created"]
        first = over_http(both, _update("k"))
        assert over_grpc(both, _update("k")) == first
        assert over_grpc(both, _update("k"), stream=True) == first
        second = over_grpc(both, _update("l"))
        assert over_http(both, _update("l")) == second != first
        assert over_http(both, Asked("get", "v"))["updates"] == 4
        doubled = Asked("merge", "v", {"source": "v"}, "o")
        assert over_grpc(both, doubled) == over_http(both, doubled)
        snapshot = over_grpc(both, Asked("get_snapshot", "v"))[0]
        added = Asked("add_snapshot", "v", snapshot, "m", {"piece": 17})
        assert over_grpc(both, added) == over_http(both, added)
        sealed = Asked("seal", "v", {"operand": "y"}, "n")
        assert over_http(both, sealed) == over_grpc(both, sealed)
        assert over_grpc(both, Asked("update", "v", {"index": [1], "delta": [1.0]}, "k")).code == (
            "idempotency_key_reused"
        )
