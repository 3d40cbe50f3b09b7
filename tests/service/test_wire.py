"""JSON and safetensors to columns and back, without a service."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from service import wire, wire_long, wire_tensors
from service.errors import InvalidRequest


def refused(call: object, *args: object) -> InvalidRequest:
    """The refusal of a call that must be refused."""
    with pytest.raises(InvalidRequest) as caught:
        call(*args)  # type: ignore[operator]
    return caught.value


@given(st.lists(st.integers(0, wire.MAX_INDEX)))
def test_integers_survive(items: list[int]) -> None:
    column = wire.integers(json.loads(json.dumps(items)), "/index")
    assert column.dtype == np.int64
    assert column.tolist() == items
    assert wire.integers([str(item) for item in items], "/index").tolist() == items


@given(st.lists(st.integers(0, wire.MAX_INDEX)))
def test_indices_come_back_as_they_can_be_sent(items: list[int]) -> None:
    sent = wire.index_json(np.array(items, dtype=np.uint64))
    assert [int(item) for item in sent] == items
    assert all(isinstance(item, str) == (int(item) > 1 << 53) for item in sent)
    assert wire.integers(sent, "/index").tolist() == items


@given(
    st.lists(st.integers(0, 9), min_size=1),
    st.sampled_from([-1, 1 << 63, 10**40, 1.0, True, None, [], {}, "x", "1 ", "+1", "1_0", "-0"]),
    st.data(),
)
def test_the_first_bad_integer_is_named(good: list[int], bad: object, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(good)))
    items = [*good[:at], bad, *good[at:], bad]
    assert refused(wire.integers, items, "/row").pointer == f"/row/{at}"


@given(st.lists(st.tuples(st.integers(0, wire.MAX_INDEX), st.integers(0, wire.MAX_INDEX))))
def test_pairs_come_back_as_they_can_be_sent(items: list[tuple[int, int]]) -> None:
    pairs = np.array(items, dtype=np.uint64).reshape(-1, 2)
    sent = wire.coordinates_json(pairs)
    assert [(int(one), int(other)) for one, other in sent] == items
    found = wire.coordinates(json.loads(json.dumps(sent)), "/index")
    assert found.tolist() == [list(pair) for pair in items]
    assert found.ndim == (2 if items else 1)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1),
    st.sampled_from([-1, 1 << 63, 1.0, True, None, [], "x"]),
    st.integers(0, 1),
    st.data(),
)
def test_the_first_bad_half_of_a_pair_is_named(
    good: list[tuple[int, int]], bad: object, half: int, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(good)))
    culprit = [bad, 5] if half == 0 else [5, bad]
    items = [*map(list, good[:at]), culprit, *map(list, good[at:]), culprit]
    assert refused(wire.coordinates, items, "/index").pointer == f"/index/{at}/{half}"


def test_pairs_and_single_coordinates_do_not_mix() -> None:
    assert wire.coordinates([5, "7"], "/index").tolist() == [5, 7]
    assert refused(wire.coordinates, [5, [5, 7]], "/index").pointer == "/index/1"
    assert refused(wire.coordinates, [[5, 7], 5], "/index").pointer == "/index/1"
    assert refused(wire.coordinates, [[5, 7], [5]], "/index").pointer == "/index/1"
    assert refused(wire.coordinates, [[5], [5, 7]], "/index").pointer == "/index/0"
    assert refused(wire.coordinates, {"0": 5}, "/index").pointer == "/index"


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(1 << 70), 1 << 70))
)
def test_numbers_survive(items: list[float]) -> None:
    assert wire.numbers(items, "/delta").tolist() == [float(item) for item in items]


@given(
    st.lists(st.floats(-9, 9), min_size=1),
    st.sampled_from([math.nan, math.inf, -math.inf, 10**400, True, None, "1", [1]]),
    st.data(),
)
def test_the_first_bad_number_is_named(good: list[float], bad: object, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(good)))
    items = [*good[:at], bad, *good[at:], bad]
    assert refused(wire.numbers, items, "/delta").pointer == f"/delta/{at}"
    table = [[0.0] * len(items), items]
    assert refused(wire.rows, table, "/values").pointer == f"/values/1/{at}"


def test_rows() -> None:
    assert wire.rows([[1, 2], [3, 4.5]], "/values").tolist() == [[1, 2], [3, 4.5]]
    assert wire.rows([], "/values").shape == (0, 0)
    assert wire.rows([[], []], "/values").shape == (2, 0)
    assert refused(wire.rows, [[1], [1, 2]], "/values").pointer == "/values/1"
    assert refused(wire.rows, [[1], 2], "/values").pointer == "/values/1"


def test_what_is_not_finite_is_null_in_json() -> None:
    assert (
        wire.dump_json({"a": [math.nan, math.inf, -math.inf, 1.5]}) == b'{"a":[null,null,null,1.5]}'
    )


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=20))
def test_json_is_read_as_the_standard_library_reads_it(value: object) -> None:
    assert wire.parse_json(json.dumps(value).encode()) == value


json_text = st.text(st.sampled_from('[]{},:" 1234.-e"ab\n'), max_size=80).map(str.encode)
long_column = st.lists(st.integers(-99, 1 << 64) | st.floats(), max_size=40)
long_object = st.dictionaries(
    st.text(st.sampled_from("ab[]"), max_size=3), long_column | st.text("[]12,", max_size=9)
)
rows = st.lists(st.lists(st.integers(-9, 99), max_size=9), max_size=20)
part = st.dictionaries(
    st.text("a}],", max_size=2), rows | long_column | st.text('"{}[],\\', max_size=5), max_size=3
)
batch = st.dictionaries(
    st.text("ab", max_size=2),
    rows | st.lists(part, max_size=9) | st.lists(st.text("1,]", max_size=4)),
)


@given(
    body=json_text
    | long_object.map(lambda one: json.dumps(one).encode())
    | long_object.map(lambda one: json.dumps(one).replace(" 1", ",1").encode())
    | st.lists(long_object).map(lambda one: json.dumps(one).encode())
    | batch.map(lambda one: json.dumps(one).encode())
    | batch.map(lambda one: json.dumps(one, separators=(",", " :")).replace(",", " ,").encode()),
    piece_bytes=st.integers(1, 24),
)
def test_parsing_in_pieces_is_parsing_whole(body: bytes, piece_bytes: int) -> None:
    try:
        whole = repr(from_json(body))  # NaN equals nothing, its text does
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            wire_long.parse(body, piece_bytes)
    else:
        assert repr(wire_long.parse(body, piece_bytes)) == whole


@pytest.mark.parametrize(
    "body",
    ['{"a":[1,2,]}', '{"a":[,1,2]}', '{"a":[1,,2]}', '{"a":[1,2, ,3]}', '{"a":[[1,2,3],[4,5]]}',
     '[[1,2,3,4]]', '{"a":{"b":[1,2,3,4]}}', '{"a":[1,2,3],"a":[4,5,6]}', '{"a":"[1,2,3,4]"}',
     '{"a[1,2,3,4]":[1,2,3]}', '{"a":[1,2,3]],"b":[4,5,6]}', '{"a":[1,2,3] [4,5,6]}', '[1,2,3,4]'],
)  # fmt: skip
def test_odd_bodies_are_what_the_parser_says_of_the_whole(body: str) -> None:
    for piece_bytes in (1, 2, 3):
        try:
            whole = from_json(body)
        except ValueError:
            with pytest.raises(ValueError, match="line 1"):
                wire_long.parse(body.encode(), piece_bytes)
        else:
            assert wire_long.parse(body.encode(), piece_bytes) == whole


@pytest.mark.parametrize("at", [0, 8191, 8192, 20_000, 29_999])
def test_a_bad_item_of_a_long_column_is_named(at: int) -> None:
    for bad, read in ((True, wire.integers), (-1, wire.integers), (True, wire.numbers)):
        items: list[object] = [1] * 30_000
        items[at] = bad
        assert refused(read, items, "/c").pointer == f"/c/{at}"


def test_long_columns_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counting(text: bytes) -> object:
        sizes.append(len(text))
        return from_json(text)

    monkeypatch.setattr(wire_long, "from_json", counting)
    columns = {"index": list(range(100_000)), "delta": [0.5] * 100_000}
    row = list(range(30))
    for body in (
        columns,
        {"index": [str(at) for at in range(100_000)], "delta": [1] * 100_000},
        {"operand": "A", "row": row * 300, "values": [row] * 9000},
        {"queries": [row * 3000] * 9},
        {"updates": [{"sketch": "a", "index": row, "delta": row}] * 3000},
        {
            "updates": [
                {"sketch": "a"},
                {"sketch": "b"},
                {"sketch": "c", **columns},
                {"sketch": "d"},
            ]
        },
    ):
        for indent in (None, 1):
            sizes.clear()
            assert wire.parse_json(json.dumps(body, indent=indent).encode()) == body
            assert len(sizes) > 10
            assert max(sizes) <= 2 * wire_long.PIECE_BYTES + 2


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_deep_nesting_is_malformed_and_no_crash(opening: str) -> None:
    assert refused(wire.parse_json, (opening * 200_000).encode()).malformed


def test_tensor_names_are_escaped_in_pointers() -> None:
    body = wire_tensors.dump({"a/b~c": np.zeros(1)}, {})
    error = refused(wire_tensors.refuse_unknown, wire_tensors.parse(body), frozenset(), frozenset())
    assert error.pointer == "/a~1b~0c"


def test_tensors_round_trip() -> None:
    body = wire_tensors.dump({"a": np.arange(6.0).reshape(2, 3)[:, ::-1]}, {"k": "v"})
    read = wire_tensors.parse(body)
    assert read.tensors["a"].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert read.metadata == {"k": "v"}
