"""safetensors on the wire <-> numpy columns.

The safetensors library validates a body whole (header, offsets, nothing left
over) before anything here looks at it; the metadata, which it does not hand
out, is then read from the header it accepted. Tensors have the names JSON
columns have. Integers may have any width, floats may be F16, BF16, F32 or F64; where
numbers are wanted, integers will do.

A refused value carries the pointer it would have in JSON, /delta/3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from service import wire_arrays
from service.errors import InvalidRequest

MEDIA_TYPE: Final = "application/x-safetensors"

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Tensor = npt.NDArray[Any]

_INTEGERS: Final[dict[str, str]] = {
    "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8",
    "U8": "<u1", "U16": "<u2", "U32": "<u4", "U64": "<u8",
}  # fmt: skip
_FLOATS: Final[dict[str, str]] = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
_LENGTH_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Body:
    """A validated safetensors body: tensors by name, and its metadata."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def parse(body: bytes) -> Body:
    """Read a body. Raises InvalidRequest: malformed when the library refuses it."""
    try:
        views = deserialize(body)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise InvalidRequest(
            f"the body is not safetensors: {error}", code="malformed_safetensors", malformed=True
        ) from error
    tensors: dict[str, Tensor] = {}
    for name, view in views:
        try:
            tensors[name] = _array(name, view["dtype"], view["shape"], view["data"])
        except (ValueError, OverflowError) as error:  # empty, with dimensions numpy cannot hold
            raise InvalidRequest(
                f"has an impossible shape: {error}",
                code="malformed_safetensors",
                pointer=f"/{escape(name)}",
                malformed=True,
            ) from error
    return Body(tensors, _metadata(body))


def _metadata(body: bytes) -> dict[str, str]:
    size = int.from_bytes(body[:_LENGTH_BYTES], "little")
    header = json.loads(body[_LENGTH_BYTES : _LENGTH_BYTES + size])
    metadata: dict[str, str] = header.get("__metadata__") or {}
    return metadata


def _array(name: str, dtype: str, shape: list[int], data: bytearray) -> Tensor:
    if dtype == "BF16":
        # A bfloat16 is the upper half of a float32.
        wide = np.frombuffer(data, dtype="<u2").astype("<u4") << np.uint32(16)
        return wide.view("<f4").reshape(shape)
    code = _INTEGERS.get(dtype) or _FLOATS.get(dtype)
    if code is None:
        raise InvalidRequest(
            f"has dtype {dtype}; integers (8 to 64 bits), F16, BF16, F32 and F64 are read",
            pointer=f"/{escape(name)}",
        )
    return np.frombuffer(data, dtype=code).reshape(shape)


def escape(name: str) -> str:
    """A member name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def refuse_unknown(body: Body, tensors: frozenset[str], metadata: frozenset[str]) -> None:
    """Raise InvalidRequest for the first tensor or metadata entry that is not among those given."""
    for name in body.tensors:
        if name not in tensors:
            raise InvalidRequest("unknown tensor", code="unknown_field", pointer=f"/{escape(name)}")
    for name in body.metadata:
        # Writers of safetensors leave a "format" of their own; it says nothing about the numbers.
        if name not in metadata and name != "format":
            raise InvalidRequest(
                "unknown metadata entry", code="unknown_field", pointer=f"/{escape(name)}"
            )


def integers(body: Body, name: str) -> npt.NDArray[np.integer] | None:
    """A column of whole numbers (b,), or None when it is absent."""
    tensor = body.tensors.get(name)
    if tensor is None:
        return None
    if tensor.dtype.kind not in "iu":
        raise InvalidRequest("must be integers", pointer=f"/{name}")
    _dimensions(tensor, 1, name)
    return wire_arrays.whole(tensor, f"/{name}")


def floats(body: Body, name: str, dimensions: int) -> npt.NDArray[np.floating] | None:
    """A column (b,) or matrix (b, d) of finite numbers, or None when absent.

    Floats keep their width; integers become float64, as those of JSON do.
    """
    tensor = body.tensors.get(name)
    if tensor is None:
        return None
    _dimensions(tensor, dimensions, name)
    if tensor.dtype.kind != "f":
        return tensor.astype(np.float64)
    return wire_arrays.finite(tensor, f"/{name}")


def _dimensions(tensor: Tensor, dimensions: int, name: str) -> None:
    if tensor.ndim != dimensions:
        raise InvalidRequest(
            f"must have {dimensions} dimension{'s' if dimensions > 1 else ''}, has {tensor.ndim}",
            pointer=f"/{name}",
        )


def whole(body: Body, name: str) -> int | None:
    """A metadata entry that is a whole number, or None when it is absent."""
    text = body.metadata.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise InvalidRequest("must be a whole number", pointer=f"/{name}")
    return int(text)


def truth(body: Body, name: str) -> bool | None:
    """A metadata entry that is true or false, or None when it is absent."""
    text = body.metadata.get(name)
    if text is None:
        return None
    if text not in ("true", "false"):
        raise InvalidRequest("must be true or false", pointer=f"/{name}")
    return text == "true"


def dump(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """safetensors bytes."""
    return save(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, dict(metadata)
    )
