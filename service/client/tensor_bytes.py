"""safetensors bytes <-> numpy arrays: header, offsets, and the bytes as they lie in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_NAMES: Final = {
    "i1": "I8", "i2": "I16", "i4": "I32", "i8": "I64", "u1": "U8", "u2": "U16", "u4": "U32",
    "u8": "U64", "f2": "F16", "f4": "F32", "f8": "F64",
}  # fmt: skip
_TYPES: Final = {name: np.dtype(f"<{code}") for code, name in _NAMES.items()}
_ALIGNMENT: Final = 8
_LENGTH_BYTES: Final = 8


def write(arrays: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """The bytes of arrays of integers and of floats of 16 to 64 bits."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    pieces = [b"", b""]
    at = 0
    # The widest first: then all of them lie aligned.
    for name, array in sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize):
        little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        header[name] = {
            "dtype": _NAMES[f"{array.dtype.kind}{array.dtype.itemsize}"],
            "shape": array.shape,
            "data_offsets": (at, at + array.nbytes),
        }
        pieces.append(little.tobytes())
        at += array.nbytes
    written = json.dumps(header, separators=(",", ":")).encode()
    written += b" " * (-len(written) % _ALIGNMENT)
    pieces[:2] = len(written).to_bytes(_LENGTH_BYTES, "little"), written
    return b"".join(pieces)


def read(data: bytes) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Arrays, read-only views of the bytes, and metadata. Raises ValueError for what is none."""
    size = int.from_bytes(data[:_LENGTH_BYTES], "little")
    start = _LENGTH_BYTES + size
    if len(data) < start:
        raise ValueError("the header is cut short")
    header = json.loads(data[_LENGTH_BYTES:start])
    metadata = header.pop("__metadata__", {})
    arrays = {}
    for name, entry in header.items():
        dtype, shape = _TYPES[entry["dtype"]], entry["shape"]
        begin, end = entry["data_offsets"]
        count = math.prod(shape)
        if end - begin != count * dtype.itemsize or begin < 0:
            raise ValueError(f"{name} has offsets that its shape does not fit")
        array = np.frombuffer(data, dtype, count, start + begin)
        arrays[name] = array if len(shape) == 1 else array.reshape(shape)
    return arrays, metadata
