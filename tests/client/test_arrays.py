"""What callers hold becomes columns, without copies where none is needed."""

from __future__ import annotations

import array as plain
from typing import Any

import numpy as np
import pytest

from service.client.arrays import indices, numbers


class Dlpack:
    """Speaks DLPack and nothing else."""

    def __init__(self, held: Any) -> None:
        self._held = held

    def __dlpack__(self, **asked: Any) -> Any:
        return self._held.__dlpack__(**asked)

    def __dlpack_device__(self) -> Any:
        return self._held.__dlpack_device__()


class Device(Dlpack):
    """Refuses implicit copies, as arrays of a GPU do, and copies when DLPack asks for it."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("implicit conversion to a NumPy array is not allowed")


class Arrayed:
    """Speaks __array__ and nothing else."""

    def __init__(self, held: Any) -> None:
        self._held = held

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self._held, dtype)


@pytest.mark.parametrize("name", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_integers_keep_their_type_and_their_memory(name: str) -> None:
    held = np.arange(5).astype(name)
    column = indices(held, "index")
    assert column.dtype == held.dtype
    assert np.shares_memory(column, held)


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_floats_keep_their_type_and_their_memory(name: str) -> None:
    held = np.linspace(-1, 1, 12, dtype=name).reshape(3, 4)
    for given in (held, held.T, held[:, ::2]):
        column = numbers(given, "values", 2)
        assert column.dtype == held.dtype
        assert np.shares_memory(column, held)
        np.testing.assert_array_equal(column, given)


@pytest.mark.parametrize("name", ["int8", "int32", "uint16", "uint64", "longdouble"])
def test_other_numbers_become_float64(name: str) -> None:
    column = numbers(np.arange(3).astype(name), "delta", 1)
    assert column.dtype == np.float64
    np.testing.assert_array_equal(column, [0, 1, 2])


def test_lists_and_tuples_are_read() -> None:
    np.testing.assert_array_equal(indices([5, 9], "index"), [5, 9])
    np.testing.assert_array_equal(indices(((1, 2), (3, 4)), "index"), [[1, 2], [3, 4]])
    assert numbers([1.5, -2], "delta", 1).dtype == np.float64
    assert numbers([1, 2], "delta", 1).dtype == np.float64
    np.testing.assert_array_equal(
        numbers([np.ones(2, np.float32), np.zeros(2, np.float32)], "values", 2), [[1, 1], [0, 0]]
    )


def test_empty_lists_are_no_error() -> None:
    assert indices([], "index").shape == (0,)
    assert indices([], "index").dtype.kind == "u"
    assert numbers([], "delta", 1).shape == (0,)
    assert indices(np.empty((0, 2), np.int64), "index").shape == (0, 2)


@pytest.mark.parametrize("given", [[1, 2**63], [2**63, 1], [2**64 - 1], [[1, 2**64 - 1]]])
def test_coordinates_beyond_half_of_the_integers_stay_exact(given: list[Any]) -> None:
    column = indices(given, "index")
    assert column.dtype == np.uint64
    assert column.tolist() == given


def test_whatever_speaks_array_or_dlpack_is_read() -> None:
    held = np.arange(4, dtype=np.float32)
    for given in (Arrayed(held), Dlpack(held), Device(held), held.data):
        column = numbers(given, "delta", 1)
        assert column.dtype == np.float32
        np.testing.assert_array_equal(column, held)
    assert np.shares_memory(numbers(Dlpack(held), "delta", 1), held)
    assert indices(plain.array("Q", [3, 2**64 - 1]), "index").tolist() == [3, 2**64 - 1]


def test_another_byte_order_becomes_this_machines() -> None:
    assert numbers(np.array([1.5], ">f4"), "delta", 1).dtype == np.dtype("f4").newbyteorder("=")
    column = indices(np.array([7], ">u8"), "index")
    assert column.dtype.isnative
    assert column.tolist() == [7]


def test_numbers_that_are_not_finite_are_left_to_the_service() -> None:
    assert np.isnan(numbers([float("nan")], "delta", 1)[0])


@pytest.mark.parametrize(
    "given, says",
    [
        ([-1], r"index: must not be negative, index\[0\] is -1"),
        ([[1, 2], [3, -4]], r"index\[1\] is \[ 3 -4\]"),
        (np.array([1, -2], np.int8), r"index\[1\] is -2"),
        ([-1, 2**63], r"index: must lie between 0 and 2\^64 - 1"),
        ([2**64], r"index: must lie between 0 and 2\^64 - 1"),
        ([1.0], "index: must be integers, is float64"),
        (np.ones(1, np.float32), "index: must be integers, is float32"),
        (np.empty(0), "index: must be integers, is float64"),
        ([True], "index: must be integers, is bool"),
        ([1j], "index: must be integers, is complex128"),
        (["1"], "index: must be integers"),
        ([None], "index: must be integers, is object"),
        ([np.datetime64("2020")], "index: must be integers"),
        (5, "index: cannot be read as an array: is int"),
        (np.array(5), r"index: must be a list of coordinates.*has shape \(\)"),
        ([[1, 2, 3]], r"has shape \(1, 3\)"),
        ([[[1]]], r"has shape \(1, 1, 1\)"),
        ([[1, 2], [3]], "index: cannot be read as an array: row 1 has 1 numbers, row 0 has 2"),
        ([[1, 2], 3], "row 1 is one number, row 0 has 2 numbers"),
        ("12", "index: must be an array or a list, is str"),
        ({1: 2}, "index: must be an array or a list, is dict"),
        (None, "index: cannot be read as an array: is NoneType"),
        ((i for i in range(3)), "index: cannot be read as an array: is generator"),
        (np.ma.masked_array([1], [True]), "index: is a masked array"),
    ],
)  # fmt: skip
def test_what_are_no_coordinates_is_refused_by_name(given: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        indices(given, "index")


@pytest.mark.parametrize(
    "given, dimensions, says",
    [
        ([1.0], 2, r"delta: must have 2 dimensions, has shape \(1,\)"),
        ([[1.0]], 1, r"delta: must have one dimension, has shape \(1, 1\)"),
        ([[1.0], [1.0, 2.0]], 2, "delta: .*row 1 has 2 numbers, row 0 has 1"),
        ([[[1.0], [1.0]], [[1.0], [2.0, 1.0]]], 3, "delta: .*its rows have unlike shapes"),
        ([True], 1, "delta: must be real numbers, is bool"),
        ([1j], 1, "delta: must be real numbers, is complex128"),
        (["a"], 1, "delta: must be real numbers"),
        ([None], 1, "delta: must be real numbers, is object"),
        (b"ab", 1, "delta: must be an array or a list, is bytes"),
        (1.5, 1, "delta: cannot be read as an array: is float"),
        (np.zeros(1, "datetime64[s]"), 1, "delta: must be real numbers"),
    ],
)  # fmt: skip
def test_what_are_no_numbers_is_refused_by_name(given: Any, dimensions: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        numbers(given, "delta", dimensions)


def test_short_floats_of_numpy_become_float32() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for short in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float4_e2m1fn):
        column = numbers(np.array([1.5, -2.0], short), "delta", 1)
        assert column.dtype == np.float32
        assert column.tolist() == [1.5, -2.0]
        with pytest.raises(ValueError, match="index: must be integers"):
            indices(np.array([1.0], short), "index")
    with pytest.raises(ValueError, match="index: must be integers"):
        indices(np.array([1], ml_dtypes.int4), "index")


def test_tensors_of_torch_are_read() -> None:
    torch = pytest.importorskip("torch")
    for name in ("float16", "float32", "float64"):
        held = torch.arange(6, dtype=getattr(torch, name)).reshape(2, 3)
        for given in (held, held.T, held[:, ::2]):
            column = numbers(given, "values", 2)
            assert column.dtype.name == name
            assert column.tolist() == given.tolist()
        assert numbers(held, "values", 2).ctypes.data == held.data_ptr(), "no copy"
    for name in ("uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"):
        held = torch.tensor([1, 2]).to(getattr(torch, name))
        assert indices(held, "index").dtype.name == name
        assert numbers(held, "delta", 1).dtype == np.float64


def test_tensors_that_numpy_cannot_share_are_converted() -> None:
    torch = pytest.importorskip("torch")
    short = torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16)
    assert numbers(short, "values", 2).dtype == np.float32
    assert numbers(short, "values", 2).tolist() == [[1.5, -2.0]]
    assert numbers(short.to(torch.float8_e4m3fn), "values", 2).tolist() == [[1.5, -2.0]]
    grows = torch.nn.Parameter(torch.ones(3))
    assert numbers(grows * 2, "delta", 1).tolist() == [2, 2, 2]
    assert numbers(grows, "delta", 1).tolist() == [1, 1, 1]
    negated = torch.view_as_complex(torch.ones(2, 2)).conj().imag
    assert negated.is_neg()
    assert numbers(negated, "delta", 1).tolist() == [-1, -1]
    rows = [torch.ones(2, dtype=torch.bfloat16, requires_grad=True), torch.zeros(2)]
    assert numbers(rows, "values", 2).tolist() == [[1, 1], [0, 0]]


def test_tensors_that_are_no_columns_are_refused_by_name() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="index: must be integers, is bool"):
        indices(torch.tensor([True]), "index")
    with pytest.raises(ValueError, match="index: must be integers, is float32"):
        indices(torch.ones(1, dtype=torch.bfloat16), "index")
    with pytest.raises(ValueError, match="delta: must be real numbers, is complex64"):
        numbers(torch.ones(1, dtype=torch.complex64), "delta", 1)
    with pytest.raises(ValueError, match="values: cannot be read as an array"):
        numbers(torch.ones(2, 2).to_sparse(), "values", 2)
    with pytest.raises(ValueError, match="values: cannot be read as an array"):
        numbers(torch.ones(2, 2, device="meta"), "values", 2)
