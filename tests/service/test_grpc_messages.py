"""The one message of a unary RPC: read once its caller is let in, and not waited for for ever.

A client that opens the RPC as one of a stream of requests, which is the same on the wire, can
leave the message out.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.settings import Settings
from tests.service.grpc_rig import Both, bearer, failure_of, serving

KEY = "the-first-admin-key-of-a-service-in-a-test"
METHODS = ["CreateSketch", "GetSketch", "Update", "Sample", "GetSnapshot"]


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    """With a message's patience of a second and a half."""
    settings = Settings(
        store="memory://",
        bootstrap_admin_key=KEY,
        body_seconds=0.375,
        grpc_max_message_bytes=1 << 20,
    )
    with serving(settings) as found:
        yield found


class Holding:
    """An RPC whose message is held back until `message` is set or `none` is asked for."""

    def __init__(self, both: Both, method: str, key: str | None) -> None:
        self.let = threading.Event()
        self.message: bytes | None = None
        path = f"/sketchd.v1.SketchService/{method}"
        open_call: Any = both.channel.stream_stream(path)
        metadata = bearer(key) if key is not None else None
        self.answers: Any = open_call(self._messages(), metadata=metadata, timeout=20)

    def _messages(self) -> Iterator[bytes]:
        self.let.wait(20)
        if self.message is not None:
            yield self.message

    def failure(self) -> Any:
        """How it fails."""
        try:
            answer = next(self.answers)
        except grpc.RpcError as error:
            return failure_of(error)
        finally:
            self.let.set()
        raise AssertionError(f"was answered: {answer!r}")


@pytest.mark.parametrize("method", METHODS)
def test_who_is_not_let_in_is_told_before_the_message_is_there(both: Both, method: str) -> None:
    for key in (None, "skd_0000000000000000_nobody"):
        failure = Holding(both, method, key).failure()
        assert (failure.status, failure.code) == (
            grpc.StatusCode.UNAUTHENTICATED,
            "unauthorized",
        )


@pytest.mark.parametrize("method", METHODS)
def test_a_message_that_does_not_come_is_not_waited_for(both: Both, method: str) -> None:
    failure = Holding(both, method, KEY).failure()
    assert (failure.code, failure.http_status) == ("body_too_slow", 408)
    assert "1.5 seconds" in failure.detail


@pytest.mark.parametrize("method", METHODS)
def test_no_message_is_said_to_be_none(both: Both, method: str) -> None:
    held = Holding(both, method, KEY)
    held.let.set()
    failure = held.failure()
    assert (failure.status, failure.code) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "malformed_protobuf",
    )


def test_a_message_that_comes_late_is_served(both: Both) -> None:
    held = Holding(both, "Plan", KEY)
    held.message = pb.PlanRequest(
        spec=pb.Spec(kind="vector", shape=pb.Shape(n=1000))
    ).SerializeToString()
    held.let.wait(0.3)
    held.let.set()
    assert pb.PlanResponse.FromString(next(held.answers)).spec.shape.n == 1000
    assert both.on_loop(lambda: both.runtime.bodies.held) == 0
