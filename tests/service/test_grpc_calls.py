"""What is around every RPC: its id, its errors, its limits, its place in metrics and logs."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from service import app as composition
from service import grpc_access, grpc_service
from service.clock import SystemClock
from service.error_codes import CODES
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.settings import Settings
from service.store_memory import MemoryStore
from tests.service.grpc_rig import Both, refused, serving, vector
from tests.service.http_rig import Unreliable

LIMIT = 1 << 16


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    store = Unreliable(MemoryStore(SystemClock()))
    settings = Settings(
        store="memory://", max_body_bytes=LIMIT, max_bodies_bytes=2 * LIMIT, access_log="on",
        max_snapshot_bytes=1 << 20, body_seconds=0.5,
    )  # fmt: skip
    with serving(settings, store=store) as found:
        found.make("v")
        yield found


@pytest.fixture(autouse=True)
def given_back(both: Both) -> Iterator[None]:
    """Whatever a test does with its messages, nothing is held in the end."""
    yield
    assert both.runtime.bodies.held == 0


def test_a_request_id_is_kept_or_made(both: Both) -> None:
    for given, kept in (("mine-1", True), ("two words", False), (None, False)):
        metadata = () if given is None else (("x-request-id", given),)
        _, call = both.stub.GetSketch.with_call(pb.GetSketchRequest(name="v"), metadata=metadata)
        sent = dict(call.initial_metadata())["x-request-id"]
        assert (sent == given) == kept
        assert len(sent) >= 6
    failure = refused(
        lambda: both.stub.GetSketch(
            pb.GetSketchRequest(name="gone"), metadata=(("x-request-id", "mine-2"),)
        )
    )
    assert failure.request_id == "mine-2"


def test_an_error_names_its_code_and_fields(both: Both) -> None:
    failure = refused(lambda: both.stub.Update(vector("v", [5, 2000], [1.0, 1.0])))
    assert failure.status is grpc.StatusCode.INVALID_ARGUMENT
    assert (failure.code, failure.http_status, failure.retry) == ("invalid", 422, None)
    assert [pointer for pointer, _ in failure.fields] == ["/index/1"]
    spec = pb.Spec(kind="vector", shape=pb.Shape(n=5), seed=1)
    failure = refused(lambda: both.stub.CreateSketch(pb.CreateSketchRequest(name="v", spec=spec)))
    assert failure.status is grpc.StatusCode.ALREADY_EXISTS
    failure = refused(lambda: both.stub.Sample(pb.SampleRequest(sketch="v", draw=7)))
    assert (failure.status, failure.code) == (grpc.StatusCode.OUT_OF_RANGE, "draws_exhausted")


def test_long_texts_of_callers_fit_into_the_trailers(both: Both) -> None:
    """A client's own words come back cut, not as an error of the transport."""
    header = json.dumps({"n" * 60_000: {"dtype": "F64", "shape": [0], "data_offsets": [0, 0]}})
    body = len(header).to_bytes(8, "little") + header.encode()
    failure = refused(lambda: both.stub.Update(pb.UpdateRequest(sketch="v", safetensors=body)))
    assert failure.code == "unknown_field"
    assert len(failure.fields[0][0]) < 200


def test_a_store_that_does_not_answer_is_unavailable(both: Both) -> None:
    store: Any = both.runtime.store._inner  # type: ignore[attr-defined]
    store.down = True
    try:
        failure = refused(lambda: both.stub.Update(vector("v", [1], [1.0])))
        [result] = both.stub.UpdateStream(iter([vector("v", [1], [1.0])]))
    finally:
        store.down = False
    assert (failure.status, failure.retry) == (grpc.StatusCode.UNAVAILABLE, 3.0)
    assert result.problem.code == "store_unavailable"
    assert result.problem.retry_after_seconds == 3.0


def test_a_bug_is_told_as_one_and_nothing_else(
    both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    store: Any = both.runtime.store._inner  # type: ignore[attr-defined]
    store.fails = RuntimeError("a secret of ours")
    try:
        failure = refused(lambda: both.stub.Update(vector("v", [1], [1.0])))
        [result] = both.stub.UpdateStream(iter([vector("v", [1], [1.0])]))
    finally:
        store.fails = None
    assert (failure.status, failure.code) == (grpc.StatusCode.INTERNAL, "internal")
    assert result.problem.code == "internal"
    assert "secret" not in failure.detail + result.problem.detail
    assert [one.name for one in caplog.records if one.levelno >= logging.ERROR] == (
        ["sketchd.grpc"] * 2
    )
    assert "a secret of ours" in caplog.text


def test_bytes_that_are_no_message_are_refused(both: Both) -> None:
    service = grpc_service.SERVICE.full_name
    for method in ("Update", "Sample", "CreateSketch", "ListSketches"):
        call: Any = both.channel.unary_unary(f"/{service}/{method}")
        failure = refused(lambda call=call: call(b"\x0a\xff\xff"))  # type: ignore[misc]
        assert failure.code == "malformed_protobuf"
        assert failure.http_status == 400
    stream: Any = both.channel.stream_stream(f"/{service}/UpdateStream")
    good = vector("v", [1], [1.0]).SerializeToString()
    kinds = [
        pb.UpdateResult.FromString(one).WhichOneof("result")
        for one in stream(iter([good, b"\x0a\xff\xff", good]))
    ]
    assert kinds == ["response", "problem", "response"]


def test_messages_have_the_limits_of_bodies(both: Both) -> None:
    large = vector("v", [1] * 4050, [1.0] * 4050)
    assert LIMIT - 1000 < large.ByteSize() < LIMIT
    both.stub.Update(large)
    larger = vector("v", [1] * 4100, [1.0] * 4100)
    failure = refused(lambda: both.stub.Update(larger))
    assert (failure.status, failure.code) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "body_too_large")
    results = list(both.stub.UpdateStream(iter([larger, large])))
    assert results[0].problem.code == "body_too_large"
    assert results[1].response.accepted == 4050


def test_all_messages_together_have_a_limit(both: Both) -> None:
    other = both.on_loop(both.runtime.bodies.begin)
    both.on_loop(lambda: other.reaches(2 * LIMIT - 10))
    try:
        failure = refused(lambda: both.stub.Update(vector("v", [1, 2], [1.0, 2.0])))
        [result] = both.stub.UpdateStream(iter([vector("v", [1, 2], [1.0, 2.0])]))
    finally:
        both.on_loop(other.release)
    assert (failure.status, failure.code) == (grpc.StatusCode.UNAVAILABLE, "overloaded")
    assert result.problem.code == "overloaded"


def test_rpcs_are_counted_timed_and_logged(both: Both, caplog: pytest.LogCaptureFixture) -> None:
    def value(name: str, **labels: str) -> float:
        return both.runtime.registry.get_sample_value(name, labels) or 0.0

    def counts() -> list[float]:
        return [
            value("sketchd_grpc_requests_total", method="Update", code="OK"),
            value("sketchd_grpc_requests_total", method="Update", code="INVALID_ARGUMENT"),
            value("sketchd_grpc_messages_total", method="UpdateStream", code="OK"),
            value("sketchd_grpc_messages_total", method="UpdateStream", code="NOT_FOUND"),
            value("sketchd_update_duration_seconds_count",
                  transport="grpc", kind="vector", outcome="ok"),
            value("sketchd_update_duration_seconds_count",
                  transport="grpc", kind="unknown", outcome="invalid"),
            value("sketchd_rejected_total", reason="invalid_name"),
        ]  # fmt: skip

    caplog.set_level(logging.INFO, logger="sketchd.access")
    before = counts()
    both.stub.Update(vector("v", [1], [1.0]))
    refused(lambda: both.stub.Update(vector("!", [1], [1.0])))
    list(both.stub.UpdateStream(iter([vector("v", [1], [1.0]), vector("gone", [1], [1.0])])))
    both.on_loop(lambda: None)  # what ends an RPC may come after its answer
    assert [after - one for one, after in zip(before, counts(), strict=True)] == [
        1, 1, 1, 1, 2, 1, 1,
    ]  # fmt: skip
    lines = [one.fields for one in caplog.records if one.name == "sketchd.access"]  # type: ignore[attr-defined]
    assert [(one["route"], one["status"]) for one in lines] == [
        ("Update", "OK"), ("Update", "INVALID_ARGUMENT"), ("UpdateStream", "OK"),
    ]  # fmt: skip
    assert {one["client"] for one in lines} == {"127.0.0.1"}


# Snapshots


def _pieces(data: bytes, step: int = 1000, **head: Any) -> Iterator[pb.AddSnapshotRequest]:
    yield pb.AddSnapshotRequest(sketch=head.pop("sketch", "v"), **head)
    for at in range(0, len(data), step):
        yield pb.AddSnapshotRequest(data=data[at : at + step])


def test_a_snapshot_over_its_limit_is_refused_early(both: Both) -> None:
    sent = 0

    def endless() -> Iterator[pb.AddSnapshotRequest]:
        nonlocal sent
        yield pb.AddSnapshotRequest(sketch="v")
        while True:
            sent += 1
            yield pb.AddSnapshotRequest(data=bytes(1 << 16))

    failure = refused(lambda: both.stub.AddSnapshot(endless()))
    assert (failure.status, failure.code) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "body_too_large")
    assert sent < 1000


def test_a_snapshot_that_does_not_come_is_given_up(both: Both) -> None:
    """The client sends the head and waits; the service ends the call."""
    done = threading.Event()

    def stalled() -> Iterator[pb.AddSnapshotRequest]:
        yield pb.AddSnapshotRequest(sketch="v", data=b"abc")
        done.wait(20)

    failure = refused(lambda: both.stub.AddSnapshot(stalled()))
    done.set()
    assert failure.code == "body_too_slow"


def test_only_the_first_message_of_a_snapshot_names_it(both: Both) -> None:
    failure = refused(lambda: both.stub.AddSnapshot(iter([])))
    assert failure.fields[0][0] == "/sketch"
    failure = refused(lambda: both.stub.AddSnapshot(_pieces(b"", sketch="gone")))
    assert failure.code == "sketch_not_found"
    head = pb.AddSnapshotRequest(sketch="v")
    failure = refused(lambda: both.stub.AddSnapshot(iter([head, head])))
    assert (failure.code, failure.fields[0][0]) == ("invalid", "/sketch")


def test_a_snapshot_goes_out_in_pieces(both: Both) -> None:
    both.make("wide", shape=pb.Shape(n=1 << 20), width=20_000)
    both.stub.Update(vector("wide", list(range(500)), [1.0] * 500))
    pieces = list(both.stub.GetSnapshot(pb.GetSnapshotRequest(sketch="wide")))
    assert len(pieces) > 2
    assert max(len(one.data) for one in pieces) == 1 << 18
    assert pieces[0].size == sum(len(one.data) for one in pieces)
    assert pieces[0].version
    assert not any(one.version or one.size for one in pieces[1:])


def test_an_rpc_without_a_role_keeps_the_service_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = composition.build(Settings(store="memory://"))
    composition.grpc_handlers(runtime)
    fewer = {name: role for name, role in grpc_access.ROLES.items() if name != "Seal"}
    monkeypatch.setattr(grpc_service, "ROLES", fewer)
    with pytest.raises(LookupError, match="who may call Seal"):
        composition.grpc_handlers(runtime)
    runtime.pool.close()


def test_every_code_has_one_of_grpc() -> None:
    for name, code in CODES.items():
        assert hasattr(grpc.StatusCode, code.rpc), name


def test_requests_of_names_are_short() -> None:
    with serving(Settings(store="memory://")) as both:
        many = pb.MergeRequest(sketch="v", source="v", operands=["y"] * 30_000)
        failure = refused(lambda: both.stub.Merge(many))
        assert (failure.status, failure.code) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "body_too_large",
        )
        found = both.stub.GetSnapshot(pb.GetSnapshotRequest(sketch="v" * 70_000))
        assert refused(lambda: list(found)).code == "body_too_large"
