"""Every method, with every kind of client: the same script, the same answers."""

from __future__ import annotations

import dataclasses
from typing import Any

import httpx
import numpy as np
import pytest

from service.client import (
    Acknowledgement,
    Client,
    Conflict,
    Info,
    InvalidRequest,
    MemoryBytes,
    NotFound,
    Sample,
    SampleOf,
    SketchdError,
    Update,
)
from tests.client import rig


def same(one: Any, other: Any, where: str = "answer") -> None:
    """Check that two answers are equal: types, arrays bit by bit, fields."""
    assert type(one) is type(other), where
    if isinstance(one, SketchdError):
        for field in ("code", "detail", "status", "fields", "retry_after"):
            same(getattr(one, field), getattr(other, field), f"{where}.{field}")
    elif dataclasses.is_dataclass(one):
        for each in dataclasses.fields(one):
            same(getattr(one, each.name), getattr(other, each.name), f"{where}.{each.name}")
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, where
        assert one.shape == other.shape, where
        assert one.tobytes() == other.tobytes(), where
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for at, (left, right) in enumerate(zip(one, other, strict=True)):
            same(left, right, f"{where}[{at}]")
    else:
        assert one == other, where


#: Differ between sketches made alike.
_OWN = {"name", "version", "created_at", "expires_at"}


def plain(answer: Any) -> Any:
    """An answer without what differs between two sketches that were treated alike."""
    if isinstance(answer, list):
        return [plain(one) for one in answer]
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        if isinstance(answer, Info):  # when a log is folded is nobody's promise
            memory = MemoryBytes(answer.memory_bytes.state, 0)
            answer = dataclasses.replace(answer, memory_bytes=memory)
        own = {field.name for field in dataclasses.fields(answer)} & _OWN
        return dataclasses.replace(answer, **dict.fromkeys(own, ""))
    return answer


def outcome(call: Any) -> Any:
    """What a call returns, or the error it raises."""
    try:
        return call()
    except SketchdError as error:
        return error


def script(client: Any, name: str) -> list[Any]:
    """Everything a client can do, on sketches under a name; answers and errors in order."""
    rng = np.random.default_rng(5)
    vector = client.create(f"{name}.v", {**rig.VECTOR, "ttl_seconds": 3600})
    matrix = client.create(f"{name}.m", rig.MATRIX)
    tensor = client.create(f"{name}.t", rig.TENSOR)
    soft = client.create(
        f"{name}.s", {**rig.SMALL, "distribution": {"softmax": {"temperature": 2}}}
    )
    fixed = client.create(f"{name}.f", {**rig.MATRIX, "x": [1, 0, -1, 0.5]})
    rows = rng.standard_normal((60, 4)).astype(np.float16)
    found: list[Any] = [
        vector.update(rng.integers(0, 1000, 300).astype(np.uint32), rng.standard_normal(300)),
        vector.update([5, 9], np.array([1.5, -2], np.float32)),
        vector.update([], []),
        matrix.update_rows(np.arange(60), rows),
        matrix.update_entries([1, 2], [0, 3], [0.5, 0.25]),
        fixed.update_rows(np.arange(60, dtype=np.uint8), rows.astype(np.float64)),
        tensor.update_rows([1, 2, 3], rows[:3, :2], operand="A1"),
        tensor.update_rows([7, 8], rows[:2, :3], operand="A2"),
        tensor.update_entries([9], [2], [3.0], operand="A2"),
        soft.update([3, 4], [1.0, 2.0]),
    ]
    x, big_x = rows[0], rng.standard_normal((2, 3))
    found += [
        vector.sample(), vector.sample(4, replacement=True), vector.sample(200), soft.sample(3),
        soft.norm(), fixed.sample(5), fixed.norm(), fixed.estimate([1, 2]),
        matrix.sample(5, x=x), matrix.sample(5, x=x, draw=1), matrix.sample(99, x=x),
        matrix.sample_each(np.eye(4, dtype=np.float32), 5),
        matrix.sample_each(rows[:30], 20, replacement=True), matrix.sample_each(rows[:30], 20),
        vector.sample(600), vector.sample(600, replacement=True), fixed.sample(600),
        tensor.sample(4, X=big_x), tensor.norm(X=big_x),
        tensor.estimate([[1, 7], [2, 8], [0, 0]], X=big_x),
        vector.estimate(np.arange(30)), matrix.estimate([1, 2, 3], x=x),
        matrix.estimate_each([1, 2], rows[:3]), vector.norm(), vector.norm(2), matrix.norm(x=x),
        matrix.norm_each(rows[:3]), client.create(f"{name}.e", rig.SMALL).sample(3),
    ]  # fmt: skip
    other = client.create(f"{name}.w", rig.VECTOR)
    snapshot = vector.snapshot()
    found += [
        snapshot.data, other.add_snapshot(snapshot), other.merge(vector), other.merge(f"{name}.v"),
        tensor.merge(tensor, "A1"), tensor.add_snapshot(tensor.snapshot().data, ["A2"]),
        other.snapshot().data, other.seal("y"), other.set_ttl(50), other.set_ttl(None),
        vector.info(), matrix.info(), tensor.info(), soft.info(), fixed.info(),
        client.plan(rig.VECTOR), client.plan(rig.TENSOR), client.plan({**rig.MATRIX, "seed": None}),
        client.plan({"kind": "vector", "shape": {"n": 9.0}, "seed": 7.0, "samples": np.float32(5)}),
        [info.name.removeprefix(name) for info in client.list(f"{name}.", page=2)],
        [info.name.removeprefix(name) for info in client.list(f"{name}.", contains=".V", page=1)],
        *failures(client, name), *many(client, name),
    ]  # fmt: skip
    found.append(matrix.delete())
    found.append(outcome(matrix.delete))
    return [plain(one) for one in found]


def failures(client: Any, name: str) -> list[SketchdError]:
    """Requests that are refused, and how."""
    vector, matrix = client.sketch(f"{name}.v"), client.sketch(f"{name}.m")
    keyed = {"idempotency_key": "twice"}
    vector.update([1], [1.0], **keyed)
    calls = [
        lambda: client.sketch(f"{name}.nobody").info(),
        lambda: client.sketch(f"{name}.nobody").update([1], [1.0]),
        lambda: client.sketch(f"{name}.nobody").snapshot(),
        lambda: client.create(f"{name}.v", rig.SMALL),
        lambda: client.create(f"{name}.x", {"kind": "vector", "shape": {"n": 0}}),
        lambda: client.create(f"{name}.x", {**rig.VECTOR, "bogus": 1}),
        lambda: client.create(f"{name}.x", {**rig.VECTOR, "samples": -1}),
        lambda: client.create(f"{name}.x", {**rig.VECTOR, "seed": -1}),
        lambda: client.create(f"{name}.x", {**rig.VECTOR, "quantum_bits": 1 << 70}),
        lambda: client.create(f"{name}.x", {**rig.VECTOR, "magnitude": "large"}),
        lambda: client.create(f"{name}.x", {**rig.VECTOR, "depth": 2.5}),
        lambda: client.create(f"{name}.x", {**rig.VECTOR, "samples": "16"}),
        lambda: client.create(f"{name}.x", {**rig.VECTOR, "samples": [1, 2]}),
        lambda: client.create(f"{name}.x", {**rig.VECTOR, "shape": {"n": 10.5}}),
        lambda: client.create(f"{name}.x", {**rig.VECTOR, "shape": {"n": None}}),
        lambda: client.create(f"{name}.x", {**rig.VECTOR, "distribution": {"power": None}}),
        lambda: client.create(f"{name}.x", {**rig.SMALL, "distribution": {"softmax": None}}),
        lambda: list(client.list(name, page=1001)),
        lambda: list(client.list(name, page=1 << 40)),
        lambda: client.create(f"{name}.x", {**rig.VECTOR, "shape": {"n": 5, "m": 5}}),
        lambda: client.create(f"{name}.x", {"kind": "cube", "shape": {"n": 5}}),
        lambda: client.create(f"{name}.x", {"kind": "vector"}),
        lambda: client.create(f"{name}.x", {**rig.MATRIX, "x": [1.0, 2.0]}),
        lambda: client.create(f"{name}.x", {**rig.VECTOR, "distribution": {"power": -9}}),
        lambda: client.create(f"{name}.x", {**rig.SMALL, "distribution": {"softmax": {"t": 1}}}),
        lambda: client.plan({**rig.VECTOR, "samples": -1}),
        lambda: vector.update([1_000_000], [1.0]),
        lambda: vector.update([1, 2], [1.0, np.nan]),
        lambda: vector.update([1], [1.0], operand="A"),
        lambda: vector.update([1], [2.0], **keyed),
        lambda: matrix.update_rows([1], [[1.0, 2.0]]),
        lambda: matrix.sample(3),
        lambda: matrix.sample(3, x=[1.0, 2.0]),
        lambda: matrix.sample_each([[1.0, 2.0]]),
        lambda: matrix.sample(3, x=[1.0, 2.0, 3.0, 4.0], draw=2),
        lambda: vector.sample(3, X=[[1.0]]),
        lambda: vector.estimate([2_000_000]),
        lambda: vector.norm(3),
        lambda: vector.norm(1.5),
        lambda: vector.merge(f"{name}.m"),
        lambda: vector.seal("A"),
        lambda: client.sketch(f"{name}.w").update([1], [1.0]),
        lambda: vector.add_snapshot(b"no snapshot"),
        lambda: vector.set_ttl(-1),
        lambda: client.sketch(f"{name}.t").merge(f"{name}.t"),
    ]
    found = [outcome(call) for call in calls]
    kinds = [isinstance(one, SketchdError) for one in found]
    assert all(kinds), kinds.index(False)
    return found


def many(client: Any, name: str) -> list[Any]:
    """Batches of updates and questions, small and large, good and bad."""
    rows = np.ones((600, 4), np.float32)
    updates = [
        Update(f"{name}.v", [1, 2], [1.0, 2.0]),
        Update(f"{name}.nobody", [1], [1.0]),
        Update(f"{name}.m", row=np.arange(600), values=rows, operand="A"),
        Update(f"{name}.v", [1, 1_000_000], [1.0, 2.0]),
        Update(f"{name}.v", [3], [4.0], idempotency_key="own"),
        Update(f"{name}.v", [3], [4.0], idempotency_key="own"),
    ]
    questions = [
        SampleOf(f"{name}.v", 3),
        SampleOf(f"{name}.nobody"),
        SampleOf(f"{name}.m", 3, x=np.ones(4)),
        SampleOf(f"{name}.m", 1500, x=np.ones(4)),
        SampleOf(f"{name}.t", 3, X=np.ones((2, 3))),
        SampleOf(f"{name}.v", 3, draw=7),
    ]
    added, drawn = client.update_many(updates), client.sample_many(questions)
    kinds = [type(one) for one in added]
    good = Acknowledgement
    assert kinds == [good, NotFound, good, InvalidRequest, good, good]
    assert [type(one) for one in drawn] == [
        Sample, NotFound, Sample, Sample, Sample, InvalidRequest,
    ]  # fmt: skip
    assert client.sketch(f"{name}.v").estimate([3]).value[0] != 0
    return [*added, *drawn, client.update_many([]), client.sample_many([])]


@pytest.fixture(scope="package")
def expected(service: Any) -> list[Any]:
    """What the plainest of all clients hears."""
    with Client(rig.url_of(service, "http"), tensors=False) as client:
        return script(client, "expected")


def _renamed(answers: list[Any], name: str) -> list[Any]:
    return [
        type(one)(
            one.code,
            one.detail.replace(name, "NAME"),
            status=one.status,
            fields=tuple(
                dataclasses.replace(field, detail=field.detail.replace(name, "NAME"))
                for field in one.fields
            ),
            retry_after=one.retry_after,
        )
        if isinstance(one, SketchdError)
        else one
        for one in answers
    ]


def test_every_client_hears_the_same(client: Any, name: str, expected: list[Any]) -> None:
    found = script(client, name)
    for at, (one, other) in enumerate(
        zip(_renamed(found, name), _renamed(expected, "expected"), strict=True)
    ):
        same(one, other, f"answer {at}")


def test_answers_are_those_of_the_service(service: Any, client: Any, name: str) -> None:
    sketch = client.create(name, rig.SMALL)
    assert sketch.update([1, 5], [3.0, 4.0]).accepted == 2
    raw = httpx.post(
        f"{rig.url_of(service, 'http')}/v1/sketches/{name}/samples", json={"count": 2}
    ).json()
    drawn = sketch.sample(2)
    assert drawn.index.tolist() == raw["index"]
    assert drawn.value.tolist() == raw["value"]
    assert drawn.norm == raw["norm"] == 5.0
    assert drawn.version == raw["version"]
    assert drawn.index.dtype == np.uint64
    assert sketch.info().updates == 2
    assert client.sketch(name).estimate([1, 2, 5]).value.tolist() == [3.0, 0.0, 4.0]


def test_large_indices_and_bfloat_like_columns_arrive(client: Any, name: str) -> None:
    sketch = client.create(name, {"kind": "vector", "shape": {"n": (1 << 63) - 1}, "seed": 1})
    last = (1 << 63) - 2
    sketch.update(np.array([last, 5], np.uint64), np.array([2.0, 0.5], np.float16))
    drawn = sketch.sample(2)
    assert sorted(drawn.index.tolist()) == [5, last]
    assert sketch.estimate([last]).index.tolist() == [last]


def test_conflict_names_what_differs(client: Any, name: str) -> None:
    client.create(name, rig.SMALL)
    client.create(name, rig.SMALL)
    with pytest.raises(Conflict) as caught:
        client.create(name, rig.VECTOR)
    assert caught.value.code == "spec_differs"
    assert caught.value.status == 409
    assert caught.value.request_id


def test_a_batch_over_the_limit_is_refused_whole(client: Any, name: str) -> None:
    sketch = client.create(name, rig.SMALL)
    index, delta = np.zeros(1_500_000, np.int64), np.ones(1_500_000)
    with pytest.raises(InvalidRequest) as caught:
        sketch.update(index, delta)
    assert caught.value.code in ("body_too_large", "batch_too_large")
    assert caught.value.status in (413, 422)
    assert sketch.info().updates == 0


def test_an_update_over_the_limit_is_refused_alone(client: Any, name: str) -> None:
    client.create(name, rig.SMALL)
    large = Update(name, np.zeros(1_100_000, np.int64), np.ones(1_100_000))
    updates = [Update(name, [at], [1.0]) for at in range(4)]
    done = client.update_many([*updates[:2], large, *updates[2:]])
    assert isinstance(done.pop(2), InvalidRequest)
    assert all(isinstance(one, Acknowledgement) for one in done)
    assert client.sketch(name).estimate([0, 1, 2, 3]).value.tolist() == [1.0] * 4


def test_many_questions_may_leave_the_count_to_their_sketches(client: Any, name: str) -> None:
    sketch = client.create(name, {**rig.SMALL, "samples": 4096})
    sketch.update(np.arange(1000), np.ones(1000))
    found = client.sample_many([SampleOf(name)] * 60)
    assert [type(one) for one in found] == [Sample] * 60
    assert {len(one.index) for one in found} == {1000}


@pytest.mark.parametrize(
    ("field", "refused"),
    [
        ("index", lambda client, name: client.update_many([Update(name)])),
        ("index", lambda client, name: client.sketch(name).update(None, None)),
        ("operand", lambda client, name: client.sketch(name).update([1], [1.0], operand="")),
        (
            "operand",
            lambda client, name: client.update_many(
                [Update(name, [1], [1.0]), Update(name, [1], [1.0], operand=None)]  # type: ignore[arg-type]
            ),
        ),
        ("operand", lambda client, name: client.sketch(name).seal(None)),
        ("operands", lambda client, name: client.sketch(name).merge(name, [])),
        ("operands", lambda client, name: client.sketch(name).merge(name, [3])),
        (
            "replacement",
            lambda client, name: client.sample_many(
                [SampleOf(name), SampleOf(name, replacement="yes")]  # type: ignore[arg-type]
            ),
        ),
        (
            "idempotency_key",
            lambda client, name: client.sketch(name).update([1], [1.0], idempotency_key=5),
        ),
        ("page", lambda client, name: list(client.list(name, page=0))),
        ("prefix", lambda client, name: list(client.list(None))),
        ("contains", lambda client, name: list(client.list(contains=7))),
    ],
)
def test_what_no_message_tells_apart_is_refused_here_and_nothing_is_sent(
    client: Any, name: str, field: str, refused: Any
) -> None:
    sketch = client.create("refused-here", rig.SMALL)
    with pytest.raises(ValueError, match=rf"^{field}: "):
        refused(client, "refused-here")
    assert sketch.info().updates == 0
