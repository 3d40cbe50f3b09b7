"""What a request that was acknowledged means, read from its bytes by other code than the service's.

Python's json and safetensors' own loader, not the parsers under test: where the
service takes what these refuse, or reads other numbers, the states differ.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from safetensors import deserialize

from sketch_core.batch import Columns

_CODES = {
    "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "<u1", "U16": "<u2", "U32": "<u4",
    "U64": "<u8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip


def json_object(body: bytes) -> dict[str, Any]:
    """A JSON body; an empty one is {}."""
    found = json.loads(body.decode("utf-8")) if body else {}
    assert isinstance(found, dict)
    return found


def _integers(items: list[Any]) -> Any:
    assert all(type(item) is int or (type(item) is str and item.isdigit()) for item in items)
    return np.array([int(item) for item in items], dtype=np.int64)


def _numbers(items: list[Any]) -> Any:
    column = np.array(items, dtype=np.float64)
    assert not any(isinstance(item, str | bool | None) for item in items)
    return column


def columns_of_json(update: dict[str, Any]) -> Columns | None:
    """The columns of an update, None when it changes nothing."""
    given = {name: value for name, value in update.items() if value is not None}
    operand = given.pop("operand", "y")
    given.pop("sketch", None)
    if not given.get("index", given.get("row")):
        return None
    read = {
        name: _integers(value) if name in ("index", "row", "column") else _numbers(value)
        for name, value in given.items()
    }
    return Columns(operand, **read)


def _tensor(view: dict[str, Any]) -> Any:
    if view["dtype"] == "BF16":
        wide = np.frombuffer(view["data"], "<u2").astype("<u4") << np.uint32(16)
        return wide.view("<f4").reshape(view["shape"])
    return np.frombuffer(view["data"], _CODES[view["dtype"]]).reshape(view["shape"])


def columns_of_tensors(body: bytes) -> Columns | None:
    """The same of a safetensors body."""
    length = int.from_bytes(body[:8], "little")
    metadata = json.loads(body[8 : 8 + length]).get("__metadata__") or {}
    read = {name: _tensor(view) for name, view in deserialize(body)}  # type: ignore[no-untyped-call]
    for name in ("delta", "values"):
        if name in read:
            read[name] = read[name].astype(np.float64)
    if not len(read.get("index", read.get("row", ()))):
        return None
    return Columns(metadata.get("operand", "y"), **read)
