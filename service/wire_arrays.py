"""Columns that arrive as arrays already, from safetensors or protobuf, held to the rules of JSON's.

A refused value carries the pointer it would have in JSON, /delta/3 or /index/3/1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from service.errors import InvalidRequest


def whole(column: npt.NDArray[np.integer], pointer: str) -> npt.NDArray[np.integer]:
    """The column itself if it holds indices, 0 to 2^63 - 1. Raises InvalidRequest."""
    bad = column < 0 if column.dtype.kind == "i" else column > np.uint64((1 << 63) - 1)
    if bad.any():
        at = place(bad, int(np.argmax(bad)))
        raise InvalidRequest("must be between 0 and 2^63 - 1", pointer=f"{pointer}/{at}")
    return column


def finite(numbers: npt.NDArray[np.floating], pointer: str) -> npt.NDArray[np.floating]:
    """The array itself if its numbers are finite. Raises InvalidRequest."""
    good = np.isfinite(numbers)
    if not good.all():
        at = place(good, int(np.argmin(good)))
        raise InvalidRequest("must be finite", pointer=f"{pointer}/{at}")
    return numbers


def place(array: npt.NDArray[Any], at: int) -> str:
    """The end of the pointer of an item. at: its position in the flat array."""
    return "/".join(str(int(part)) for part in np.unravel_index(at, array.shape))
