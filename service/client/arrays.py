"""What a caller holds, as numpy columns: numpy, lists, torch, and what speaks __array__ or DLPack.

Nothing is imported for it and nothing copied that already is a column: the answer may share the
caller's memory, and need not be contiguous. Whether numbers are finite and indices in range is
for the service to say; it knows the sketch.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

#: As sent; every other real type becomes one of them.
_FLOATS: Final = ("float16", "float32", "float64")
#: Floats of fewer than 16 bits, and bfloat16: torch's and ml_dtypes' names for them.
_SHORT_FLOATS: Final = ("bfloat16", "float8_", "float6_", "float4_")


def indices(value: object, field: str) -> npt.NDArray[np.integer[Any]]:
    """Coordinates, (b,) or (b, 2), of whatever integer type the caller holds.

    Raises ValueError, which names the field, for anything but integers from 0 to 2^64 - 1:
    also for floats that happen to be whole, since above 2^53 they name another coordinate.
    """
    array = _array(value, field)
    if array.size == 0 and isinstance(value, list | tuple):
        array = array.astype(np.uint64)  # numpy calls an empty list floats
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 2):
        raise ValueError(
            f"{field}: must be a list of coordinates, (b,) or (b, 2), has shape {array.shape}"
        )
    if array.dtype.kind not in "iu" or array.dtype.name.startswith(("int4", "uint4")):
        array = _big_integers(value, array, field)
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        first = int(np.flatnonzero(array.ravel() < 0)[0]) // array.shape[-1] ** (array.ndim - 1)
        raise ValueError(f"{field}: must not be negative, {field}[{first}] is {array[first]}")
    return _native(array)


def numbers(value: object, field: str, dimensions: int) -> npt.NDArray[np.floating[Any]]:
    """Real numbers with that many dimensions; float16, float32 and float64 as they are.

    bfloat16 and shorter floats become float32, which holds them; integers, lists and longer
    floats become float64. Raises ValueError, which names the field.
    """
    array = _array(value, field)
    if array.ndim != dimensions:
        raise ValueError(f"{field}: must have {_dimensions(dimensions)}, has shape {array.shape}")
    if array.dtype.name in _FLOATS:
        return _native(array)
    if array.dtype.name.startswith(_SHORT_FLOATS):
        return array.astype(np.float32)
    if array.dtype.kind in "iuf":
        return array.astype(np.float64)
    raise ValueError(f"{field}: must be real numbers, is {array.dtype.name}")


def _array(value: object, field: str) -> npt.NDArray[Any]:
    """Any array or nested list as numpy's, with the caller's type where numpy has it."""
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{field}: is a masked array; fill or compress it first")
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if isinstance(value, str | bytes | dict | set | frozenset):
        raise ValueError(f"{field}: must be an array or a list, is {type(value).__name__}")
    try:
        if _is_tensor(value):
            return _of_tensor(value)
        if isinstance(value, list | tuple):
            return _of_list(value)
        return _of_protocols(value)
    except (TypeError, ValueError, RuntimeError, BufferError, NotImplementedError) as error:
        raise ValueError(f"{field}: cannot be read as an array: {_sentence(error)}") from error


def _is_tensor(value: object) -> bool:
    """Whether it is a torch tensor, without asking torch."""
    return all(hasattr(value, name) for name in ("detach", "cpu", "numpy", "float"))


def _of_tensor(value: Any) -> npt.NDArray[Any]:
    tensor = value.detach().cpu()
    if str(tensor.dtype).removeprefix("torch.").startswith(_SHORT_FLOATS):
        tensor = tensor.float()
    if hasattr(tensor, "resolve_neg"):  # a view that says "minus this" has no bytes to share
        tensor = tensor.resolve_neg()
    return np.asarray(tensor.numpy())


def _of_list(value: list[Any] | tuple[Any, ...]) -> npt.NDArray[Any]:
    if any(_is_tensor(item) for item in value[:1]):
        return np.stack([_of_tensor(item) for item in value])
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(_ragged(value)) from None


def _ragged(value: list[Any] | tuple[Any, ...]) -> str:
    """Which row first differs from the row before all."""
    lengths = [len(row) if hasattr(row, "__len__") else None for row in value]
    first = next((i for i, length in enumerate(lengths) if length != lengths[0]), None)
    if first is None:
        return "its rows have unlike shapes"
    return f"row {first} {_length(lengths[first])}, row 0 {_length(lengths[0])}"


def _length(length: int | None) -> str:
    return "is one number" if length is None else f"has {length} numbers"


def _of_protocols(value: Any) -> npt.NDArray[Any]:
    """Whatever has __array__, and where that fails or is missing, DLPack (copied off a device)."""
    if hasattr(value, "__array__"):
        try:
            return np.asarray(value)
        except TypeError:  # what lives on another device refuses implicit copies
            if not hasattr(value, "__dlpack__"):
                raise
    if hasattr(value, "__dlpack__"):
        return _of_dlpack(value)
    try:
        return np.asarray(memoryview(value))  # array.array and the like
    except TypeError:
        raise TypeError(f"is {type(value).__name__}") from None


def _of_dlpack(value: Any) -> npt.NDArray[Any]:
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError):  # not in the main memory
        return np.from_dlpack(value, device="cpu")


def _big_integers(value: object, array: npt.NDArray[Any], field: str) -> npt.NDArray[Any]:
    """A list that mixes integers below and above 2^63 as uint64: numpy makes floats of it."""
    if isinstance(value, list | tuple) and array.dtype.kind in "fO" and _all_integers(value):
        try:
            return np.asarray(value, np.uint64)
        except OverflowError:
            raise ValueError(f"{field}: must lie between 0 and 2^64 - 1") from None
    raise ValueError(f"{field}: must be integers, is {array.dtype.name}")


def _all_integers(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_all_integers(item) for item in value)
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _native(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """In this machine's byte order."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _dimensions(count: int) -> str:
    return "one dimension" if count == 1 else f"{count} dimensions"


def _sentence(error: BaseException) -> str:
    """The first line of what a library says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
