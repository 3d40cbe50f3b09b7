"""safetensors in and out: the same answers as JSON, in every width."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from service.settings import Settings
from tests.service.http_rig import (
    MATRIX,
    TENSORS,
    VECTOR,
    Service,
    assert_problem,
    read_tensors,
    running,
    tensors,
)

KIND = {"content-type": TENSORS}
WANTS = {"accept": TENSORS}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(Settings(store="memory://")) as found:
        yield found


def metadata(body: bytes) -> dict[str, str]:
    """The metadata of a safetensors answer."""
    size = int.from_bytes(body[:8], "little")
    found: dict[str, str] = json.loads(body[8 : 8 + size])["__metadata__"]
    return found


def same_state(service: Service, *names: str) -> bool:
    """Whether the sketches hold the same bytes."""
    return len({service.client.get(f"/v1/sketches/{one}/snapshot").content for one in names}) == 1


CASES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (VECTOR, {"index": [5, 9, 900_000], "delta": [1.5, -2.0, 0.25]}, "y"),
    (MATRIX, {"row": [7, 8], "values": [[1.0, 0.5, 0, 0], [0, 2, 0, 0.25]]}, "A"),
    (MATRIX, {"row": [7, 8], "column": [3, 0], "delta": [1.0, -4.0]}, "A"),
    (MATRIX, {"index": [0, 3], "delta": [1.0, -4.0]}, "x"),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_both_formats_make_the_same_state(service: Service, case: int) -> None:
    spec, columns, operand = CASES[case]
    names = (f"json-{case}", f"tensors-{case}")
    for name in names:
        service.make(name, spec)
    service.post(f"/v1/sketches/{names[0]}/updates", {"operand": operand, **columns})
    body = tensors({name: np.array(one) for name, one in columns.items()}, operand=operand)
    done = service.client.post(f"/v1/sketches/{names[1]}/updates", content=body, headers=KIND)
    assert done.status_code == 200, done.text
    assert done.json()["accepted"] == len(next(iter(columns.values())))
    assert same_state(service, *names)


def test_both_formats_share_an_idempotency_key(service: Service) -> None:
    service.make("shared-key")
    path = "/v1/sketches/shared-key/updates"
    first = service.post(path, {"index": [1], "delta": [1]}, idempotency_key="k")
    body = tensors({"index": np.array([1], np.uint8), "delta": np.array([1], np.float32)})
    second = service.client.post(path, content=body, headers={**KIND, "idempotency-key": "k"})
    assert first.json() == second.json()


@pytest.mark.parametrize("width", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
@pytest.mark.parametrize("precision", ["f2", "f4", "f8"])
def test_every_width_is_read(service: Service, width: str, precision: str) -> None:
    name = f"width-{width}-{precision}"
    service.make(name)
    body = tensors({"index": np.array([5, 99], width), "delta": np.array([1.5, -2], precision)})
    done = service.client.post(f"/v1/sketches/{name}/updates", content=body, headers=KIND)
    assert done.status_code == 200, done.text
    found = service.post(f"/v1/sketches/{name}/estimates", {"index": [5, 99]}).json()
    assert found["value"] == pytest.approx([1.5, -2])


def raw(parts: dict[str, tuple[str, list[int], bytes]], **meta: str) -> bytes:
    """A safetensors body written by hand, for types numpy has not."""
    header: dict[str, Any] = {"__metadata__": meta}
    data = b""
    for name, (dtype, shape, content) in parts.items():
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def test_bfloat16_is_the_upper_half_of_a_float(service: Service) -> None:
    service.make("bf16")
    values = np.array([1.5, -2.0, 0.0078125], "<f4")
    halves = (values.view("<u4") >> 16).astype("<u2").tobytes()
    index = np.array([1, 2, 3], "<i8").tobytes()
    body = raw({"index": ("I64", [3], index), "delta": ("BF16", [3], halves)})
    assert service.client.post(
        "/v1/sketches/bf16/updates", content=body, headers=KIND
    ).status_code == 200  # fmt: skip
    found = service.post("/v1/sketches/bf16/estimates", {"index": [1, 2, 3]}).json()
    assert found["value"] == pytest.approx(values.tolist())


REFUSED = [
    ({"index": np.array([1.0]), "delta": np.array([1.0])}, "/index"),
    ({"index": np.array([1]), "delta": np.array([True])}, "/delta"),
    ({"index": np.array([3, -1]), "delta": np.array([1.0, 1])}, "/index/1"),
    ({"index": np.array([1 << 63], np.uint64), "delta": np.array([1.0])}, "/index/0"),
    ({"index": np.array([1_000_000]), "delta": np.array([1.0])}, "/index/0"),
    ({"index": np.array([1, 2]), "delta": np.array([1.0, np.nan])}, "/delta/1"),
    ({"index": np.array([1, 2]), "delta": np.array([1.0, np.inf], np.float16)}, "/delta/1"),
    ({"index": np.array([[1]]), "delta": np.array([1.0])}, "/index"),
    ({"index": np.array(1), "delta": np.array([1.0])}, "/index"),
    ({"index": np.array([1]), "delta": np.array([1.0, 2.0])}, "/delta"),
    ({"index": np.array([1]), "delta": np.array([1.0]), "more": np.array([1])}, "/more"),
    ({"index": np.array([1])}, "/delta"),
    ({}, "/index"),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_values_at_fault_have_the_pointers_of_json(service: Service, case: int) -> None:
    columns, pointer = REFUSED[case]
    name = f"refused-{case}"
    before = service.make(name)
    answer = service.client.post(
        f"/v1/sketches/{name}/updates", content=tensors(columns), headers=KIND
    )
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert service.info(name) == before


def test_odd_headers_are_refused(service: Service) -> None:
    service.make("odd")
    data = np.array([1], "<i8").tobytes()
    for body, status in [
        (raw({"index": ("I64", [0, 1 << 62], b""), "delta": ("F64", [0], b"")}), 400),
        (raw({"index": ("I64", [1], data), "delta": ("C64", [1], data)}), 422),
        (raw({"index": ("BOOL", [1], b"\1"), "delta": ("F64", [1], data)}), 422),
        (raw({"index": ("I64", [1], data), "delta": ("F64", [1], data)}, colour="red"), 422),
        (raw({"index": ("I64", [1], data), "delta": ("F64", [1], data)}, operand="z"), 422),
        (raw({"index": ("I64", [2], data), "delta": ("F64", [1], data)}), 400),
        ((1 << 62).to_bytes(8, "little") + b"{}", 400),
        (b"", 400),
    ]:
        answer = service.client.post("/v1/sketches/odd/updates", content=body, headers=KIND)
        assert answer.status_code == status, (body, answer.text)


def test_samples_come_back_as_tensors(service: Service) -> None:
    service.make("drawn")
    path = "/v1/sketches/drawn/samples"
    service.post("/v1/sketches/drawn/updates", {"index": [5, 9], "delta": [1.5, -2]})
    plain = service.post(path, {"count": 2}).json()
    answer = service.post(path, {"count": 2}, **WANTS)
    assert answer.headers["content-type"] == TENSORS
    found = read_tensors(answer.content)
    for name in ("index", "value", "probability", "inclusion_probability"):
        assert found[name].tolist() == plain[name], name
    assert found["index"].dtype == np.int64
    said = metadata(answer.content)
    assert said["status"] == plain["status"]
    assert float(said["norm"]) == plain["norm"]
    assert float(said["threshold"]) == plain["threshold"]
    assert (said["draw"], said["draws"], said["version"]) == ("0", "1", plain["version"])
    assert (said["exact"], plain["exact"]) == ("true", True)


def test_answers_to_queries_are_padded_rows(service: Service) -> None:
    service.make("padded", MATRIX)
    path = "/v1/sketches/padded"
    rows = {"operand": "A", "row": [1, 2, 3], "values": [[1, 0, 0, 0], [3, 0, 0, 0], [0, 2, 0, 0]]}
    service.post(f"{path}/updates", rows)
    queries = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    plain = service.post(f"{path}/samples", {"count": 2, "queries": queries}).json()["results"]
    body = tensors({"queries": np.array(queries, np.float32)}, count="2", replacement="false")
    answer = service.client.post(f"{path}/samples", content=body, headers={**KIND, **WANTS})
    assert answer.status_code == 200, answer.text
    found = read_tensors(answer.content)
    assert found["length"].tolist() == [2, 1, 0]
    assert found["index"].shape == (3, 2)
    names = metadata(answer.content)["status_names"].split(",")
    for at, one in enumerate(plain):
        length = int(found["length"][at])
        for name in ("index", "value", "probability", "inclusion_probability"):
            assert found[name][at, :length].tolist() == one[name]
        assert found["norm"][at] == one["norm"]
        assert found["threshold"][at] == one["threshold"]
        assert names[found["status"][at]] == one["status"]
    as_json = service.client.post(f"{path}/samples", content=body, headers=KIND)
    assert as_json.json()["results"] == plain


def test_one_query_as_a_tensor(service: Service) -> None:
    service.make("one-query", MATRIX)
    path = "/v1/sketches/one-query"
    service.post(f"{path}/updates", {"operand": "A", "row": [1], "values": [[1, 0, 0, 0]]})
    body = tensors({"x": np.array([1, 0, 0, 0], np.float16)}, count="1", draw="0")
    answer = service.client.post(f"{path}/samples", content=body, headers=KIND).json()
    assert answer == service.post(f"{path}/samples", {"count": 1, "x": [1, 0, 0, 0]}).json()
    for meta in ({"count": "-1"}, {"count": "1e3"}, {"replacement": "yes"}, {"other": "1"}):
        body = tensors({"x": np.array([1.0, 0, 0, 0])}, **meta)
        refused = service.client.post(f"{path}/samples", content=body, headers=KIND)
        assert refused.status_code == 422, meta
    assert_problem(service.client.post("/v1/samples", content=body, headers=KIND), 415,
                   "unsupported_media_type")  # fmt: skip


@pytest.mark.parametrize(
    ("accept", "tensors"),
    [
        (TENSORS, True),
        (f"application/json;q=0.5, {TENSORS}", True),
        (f"{TENSORS}, */*", True),
        (f"{TENSORS};q=0.4, application/json;q=0.4", True),
        (f"{TENSORS};q=0.3, application/json;q=0.4", False),
        (f"{TENSORS}; Q=0.3, */*;q=0.1", True),
        (f"{TENSORS};q=0.9, application/*", False),
        (f"{TENSORS};q=0.000", False),
        (f"{TENSORS};q=nonsense", True),
        ("*/*", False),
        ("", False),
    ],
)
def test_the_answer_comes_as_it_is_liked_best(service: Service, accept: str, tensors: bool) -> None:
    service.client.put("/v1/sketches/liked", json=VECTOR).raise_for_status()
    answer = service.client.post("/v1/sketches/liked/samples", headers={"accept": accept})
    assert answer.headers["content-type"] == (TENSORS if tensors else "application/json")
