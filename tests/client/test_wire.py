"""Bytes that the client writes and reads by hand, against the libraries that define them."""

from __future__ import annotations

import json
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from service.client import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServiceFailed,
    SketchdError,
    Unauthorized,
    Unavailable,
    Unreachable,
    Update,
    grpc_answers,
    grpc_wire,
    http_answers,
    http_wire,
    inputs,
    tensor_bytes,
)
from service.client import operations as ops
from service.protos.sketchd.v1 import sketchd_pb2 as pb

TYPES = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">i4", ">f8"]


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=5).filter(
            lambda name: name != "__metadata__"
        ),
        st.tuples(st.sampled_from(TYPES), st.lists(st.integers(0, 4), max_size=3)),
        max_size=4,
    ),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
def test_safetensors_are_what_the_library_reads_and_writes(
    shapes: dict[str, tuple[str, list[int]]], metadata: dict[str, str]
) -> None:
    arrays = {
        name: np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)
        for name, (dtype, shape) in shapes.items()
    }
    written = tensor_bytes.write(arrays, metadata)
    by_library = load(written)
    assert by_library.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(by_library[name], array)
    little = {name: one.astype(one.dtype.newbyteorder("<")) for name, one in arrays.items()}
    read, found = tensor_bytes.read(save(little, metadata or None))
    assert found == metadata
    for name, array in little.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


def test_columns_out_of_order_in_memory_are_written_in_order() -> None:
    square = np.arange(12.0).reshape(3, 4)
    written = tensor_bytes.write({"a": square.T, "b": square[::2, ::-1]}, {})
    np.testing.assert_array_equal(load(written)["a"], square.T)
    np.testing.assert_array_equal(load(written)["b"], square[::2, ::-1])


def _add(**columns: Any) -> ops.Add:
    return inputs.add(Update("name", **columns))


def test_packed_columns_are_the_message_that_protobuf_would_write() -> None:
    index = np.array([0, 5, (1 << 63) - 1], np.uint64)
    request = grpc_wire.request_of(_add(index=index, delta=[1.5, -2.0, 1e300]), tensors=True)
    [data] = request.requests()
    message = pb.UpdateRequest.FromString(data)
    assert list(message.index) == index.tolist()
    assert list(message.delta) == [1.5, -2.0, 1e300]
    assert (message.sketch, message.operand) == ("name", "y")
    assert message.idempotency_key
    assert not message.safetensors


def test_narrow_columns_stay_narrow() -> None:
    asked = _add(row=np.arange(9, dtype=np.uint8), values=np.ones((9, 4), np.float16), operand="A")
    [data] = grpc_wire.request_of(asked, tensors=True).requests()
    arrays = load(pb.UpdateRequest.FromString(data).safetensors)
    assert arrays["values"].dtype == np.float16
    assert arrays["row"].dtype == np.uint8
    by_http = http_wire.request_of(asked, tensors=True)
    assert by_http.content is not None
    assert load(by_http.content)["values"].dtype == np.float16
    [wide] = grpc_wire.request_of(asked, tensors=False).requests()
    message = pb.UpdateRequest.FromString(wide)
    assert list(message.row) == list(range(9))
    assert list(message.values) == [1.0] * 36


def test_queries_are_matrices() -> None:
    queries = np.arange(300.0).reshape(100, 3)
    asked = inputs.with_queries(ops.Draw("name", 5, True, 1, None), queries)
    [data] = grpc_wire.request_of(asked, tensors=True).requests()
    message = pb.SampleRequest.FromString(data)
    assert (message.queries.rows, message.queries.columns) == (100, 3)
    assert list(message.queries.values) == queries.ravel().tolist()
    assert (message.count, message.replacement, message.draw) == (5, True, 1)


def test_a_key_is_made_once_for_an_operation_and_differs_between_two() -> None:
    one, other = _add(index=[1], delta=[1.0]), _add(index=[1], delta=[1.0])
    assert one.key != other.key
    first, again = (http_wire.request_of(one, True).headers["idempotency-key"] for _ in range(2))
    assert first == again == one.key


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ({"index": [1, 2], "delta": [1.0]}, "delta"),
        ({"index": [[1, 2]], "delta": [1.0]}, "index"),
        ({"index": [1.5], "delta": [1.0]}, "index"),
        ({"index": [1], "delta": ["one"]}, "delta"),
        ({"row": [1], "values": [1.0]}, "values"),
        ({"row": [1, 2], "values": [[1.0]]}, "values"),
        ({"index": [1], "delta": [1.0], "idempotency_key": ""}, "idempotency_key"),
        ({"index": [1], "delta": [1.0], "idempotency_key": "a\nb"}, "idempotency_key"),
        ({"index": [1], "delta": [1.0], "idempotency_key": " a"}, "idempotency_key"),
    ],
)
def test_columns_that_cannot_be_sent_are_named(columns: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        _add(**columns)


def test_names_are_judged_before_anything_is_sent() -> None:
    for name in ("", "..", "a/b", "ä", "a" * 129, "-a"):
        with pytest.raises(InvalidRequest) as caught:
            inputs.checked_name(name)
        assert caught.value.code == "invalid_name"
        assert caught.value.fields[0].pointer == "/name"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest), (408, InvalidRequest), (413, InvalidRequest), (422, InvalidRequest),
        (431, InvalidRequest), (401, Unauthorized), (403, Forbidden), (404, NotFound),
        (409, Conflict), (429, RateLimited), (503, Unavailable), (500, ServiceFailed),
    ],
)  # fmt: skip
def test_problems_become_errors(status: int, kind: type[SketchdError]) -> None:
    problem = {"code": "c", "detail": "d", "errors": [{"pointer": "/p", "detail": "q"}]}
    headers = {"retry-after": "7", "x-request-id": "r"}
    response = http_answers.Response(status, headers, json.dumps(problem).encode())
    with pytest.raises(SketchdError) as caught:
        http_answers.answer_of(ops.Look("a"), response)
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.detail, error.status) == ("c", "d", status)
    assert error.fields == (FieldError("/p", "q"),)
    assert (error.retry_after, error.request_id) == (7.0, "r")


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (502, b"<html>", Unavailable),
        (504, b"", Unavailable),
        (302, b"", ServiceFailed),
        (200, b"", ServiceFailed),
        (200, b"[]", ServiceFailed),
        (200, b'{"name": "a"}', ServiceFailed),
        (404, b"<html>", NotFound),
        (418, b'{"code": 5}', InvalidRequest),
    ],
)
def test_what_is_not_the_services_is_told_as_that(
    status: int, content: bytes, kind: type[SketchdError]
) -> None:
    with pytest.raises(SketchdError) as caught:
        http_answers.answer_of(ops.Look("a"), http_answers.Response(status, {}, content))
    assert type(caught.value) is kind
    assert caught.value.code == "unintelligible"
    assert caught.value.status == status


def test_lying_tensors_are_told() -> None:
    good = save({"index": np.zeros(3, np.int64)}, {"status": "ok"})
    headers = {"content-type": http_wire.TENSORS}
    for content in (good, good[:-1], good[:9], b"", b"\xff" * 20):
        with pytest.raises(ServiceFailed):
            http_answers.answer_of(
                ops.Draw("a", 3, None, 0, None), http_answers.Response(200, headers, content)
            )


def test_ends_of_calls_without_details() -> None:
    def end(code: grpc.StatusCode) -> SketchdError:
        return grpc_answers.error_of_end(code, "said", ())

    assert type(end(grpc.StatusCode.UNAVAILABLE)) is Unreachable
    assert type(end(grpc.StatusCode.DEADLINE_EXCEEDED)) is Unreachable
    assert end(grpc.StatusCode.RESOURCE_EXHAUSTED).code == "body_too_large"
    assert type(end(grpc.StatusCode.UNIMPLEMENTED)) is ServiceFailed
    assert type(end(grpc.StatusCode.INTERNAL)) is ServiceFailed
    assert type(end(grpc.StatusCode.UNAUTHENTICATED)) is Unauthorized
    for code, said in (
        (grpc.StatusCode.UNKNOWN, "Stream removed"),
        (grpc.StatusCode.INTERNAL, "Internal error from Core"),  # asyncio's word for a cut stream
    ):
        assert type(grpc_answers.error_of_end(code, said, ())) is Unreachable


def test_a_stream_that_ended_early_leaves_the_rest_to_another_attempt() -> None:
    adds = tuple(_add(index=[at], delta=[1.0]) for at in range(3))
    asked = ops.AddMany(adds, "key", {})
    done = pb.UpdateResult(response=pb.UpdateResponse(accepted=1, version="v"))
    end = Unreachable("unreachable", "gone")
    results = grpc_answers.results_of(asked, [done.SerializeToString()], end)
    assert results[1:] == [end, end]
    assert asked.unsettled(results) is end
    rest = asked.narrowed(results)
    assert isinstance(rest, ops.AddMany)
    assert rest.pending() == [1, 2]
    sent = [pb.UpdateRequest.FromString(one) for one in grpc_wire.request_of(rest, True).requests()]
    assert [one.idempotency_key for one in sent] == [adds[1].key, adds[2].key]
    whole = grpc_answers.results_of(rest, [done.SerializeToString()] * 2, None)
    assert [one.version for one in whole] == ["v"] * 3


def test_metadata_names_the_one_sketch_of_an_operation_where_it_is_a_name() -> None:
    def place(operation: ops.Operation[Any]) -> list[str]:
        return [value for _, value in grpc_wire.place_of(operation)]

    assert place(ops.Look("head.0")) == place(ops.Create("head.0", {})) == ["head.0"]
    assert place(ops.TakeSnapshot("a:b")) == ["a:b"]
    for several in (ops.ListPage("head", 10, None), ops.PlanOf({}), ops.AddMany((), "", {})):
        assert place(several) == []
    # gRPC itself would refuse these in metadata; the service says what is wrong with them.
    for name in ("", "naïve", "a\nb", "a b", "a" * 129):
        assert place(ops.Look(name)) == []
