"""Bytes that nobody should send: every RPC refuses them as the caller's fault, or serves them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from service import grpc_service
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.settings import Settings
from tests.service.grpc_equals import message_of, sample_message, update_message
from tests.service.grpc_rig import Both, serving
from tests.service.grpc_traffic import SPECS, Traffic

#: What a caller may be told of what it sent.
FAULTS = {
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.OUT_OF_RANGE,
}  # fmt: skip
COUNT = 1500


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with serving(Settings(store="memory://", max_sketch_bytes=1 << 22)) as found:
        for name, spec in SPECS.items():
            request = pb.CreateSketchRequest(name=name, spec=message_of(pb.Spec, spec))
            found.stub.CreateSketch(request)
        yield found


def messages(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """(method, bytes) of requests like those that are meant, before they are damaged."""
    for asked in Traffic(rng).requests(COUNT):
        if asked.op == "update":
            yield "Update", update_message(asked).SerializeToString()
        elif asked.op == "sample":
            yield "Sample", sample_message(asked).SerializeToString()
        elif asked.op in ("create", "plan"):
            spec = message_of(pb.Spec, asked.body)
            request: Any = pb.PlanRequest(spec=spec)
            if asked.op == "create":
                request = pb.CreateSketchRequest(name=asked.name, spec=spec)
            yield ("CreateSketch" if asked.op == "create" else "Plan"), request.SerializeToString()
        elif asked.op == "merge":
            merge = message_of(pb.MergeRequest, {"sketch": asked.name, **asked.body})
            yield "Merge", merge.SerializeToString()


def damaged(raw: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, cut off, or put in twice."""
    found = bytearray(raw)
    for _ in range(int(rng.integers(0, 4))):
        if found:
            found[int(rng.integers(len(found)))] = int(rng.integers(256))
    if rng.random() < 0.2:
        found = found[: int(rng.integers(len(found) + 1))]
    if rng.random() < 0.2:
        at = int(rng.integers(len(found) + 1))
        found = found[:at] + found[at : at + 20] + found[at:]
    return bytes(found)


def test_damaged_messages_are_the_callers_fault(both: Both, rng: np.random.Generator) -> None:
    service = grpc_service.SERVICE.full_name
    calls: dict[str, Any] = {
        method.name: both.channel.unary_unary(f"/{service}/{method.name}")
        for method in grpc_service.SERVICE.methods
    }
    served = refused = 0
    for method, raw in messages(rng):
        body = damaged(raw, rng)
        call: Any = calls[method]
        try:
            call(body, timeout=30)
            served += 1
        except grpc.RpcError as error:
            failure: Any = error
            assert failure.code() in FAULTS, (method, body, failure.details())
            refused += 1
    assert served > 30
    assert refused > 100
    for name in SPECS:  # all of them still answer
        both.stub.GetSketch(pb.GetSketchRequest(name=name))
        both.snapshot(name)
    assert both.runtime.bodies.held == 0
