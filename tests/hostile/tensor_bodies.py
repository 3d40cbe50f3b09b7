"""Strategies of safetensors bodies that lie: about lengths, offsets, types, shapes and numbers."""

from __future__ import annotations

import json
import struct
from typing import Any, Final

import numpy as np
from hypothesis import strategies as st

from tests.hostile.live_sketches import LIVE, Json

_INTEGERS: Final = ("I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64")
_CODES: Final = {
    "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "<u1", "U16": "<u2", "U32": "<u4",
    "U64": "<u8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
_INDEX_NAMES: Final = ("index", "row", "column")
_WRONG_DTYPES: Final = ("BOOL", "F8_E4M3", "F8_E5M2", "C64", "F128", "", "f32", "I4", None, 3)
_LIES: Final = (0, 1, 7, 8, -1, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64)
_WORDS: Final[tuple[Any, ...]] = (
    "",
    "NaN",
    "-1",
    "1e3",
    "9" * 30,
    "true",
    "y",
    "A",
    "x",
    "\x00",
    None,
    3,
    [],
    {},
)
#: Bits of NaN, infinities and the smallest, by width.
_ODD_BITS: Final = {
    2: (0x7C00, 0xFC00, 0x7E00, 0x0001, 0x7F80, 0xFF80, 0x7FC0, 0x7BFF, 0x8000),
    4: (0x7F800000, 0xFF800000, 0x7FC00000, 0x00000001, 0x7F7FFFFF, 0x80000000),
    8: (0x7FF << 52, 0xFFF << 52, 0x7FF8 << 48, 1, (0x7FF << 52) - 1, 1 << 63, (1 << 63) - 1),
    1: (0xFF, 0x80, 0x7F),
}  # fmt: skip


def _packed(values: list[Any], dtype: str) -> tuple[list[int], bytes]:
    array = np.array(values, dtype=np.float64)
    if dtype == "BF16":
        return list(array.shape), (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return list(array.shape), array.astype(_CODES[dtype]).tobytes()


def good_requests() -> list[tuple[str, Json, dict[str, str]]]:
    """(path, columns, metadata) of everything that may be sent as tensors."""
    found: list[tuple[str, Json, dict[str, str]]] = []
    for name, live in LIVE.items():
        for update in live.updates:
            columns = {key: value for key, value in update.items() if isinstance(value, list)}
            if max(update.get("index", [0])) < 128:
                found.append((f"/v1/sketches/{name}/updates", columns, {}))
            named = {"operand": update["operand"]} if "operand" in update else {}
            found += [(f"/v1/sketches/{name}/updates", columns, named)] * 3
        for query in (live.query, live.several):
            if query:
                asked = {"count": "2", "replacement": "true", "draw": "0"}
                found.append((f"/v1/sketches/{name}/samples", query, asked))
    return found


@st.composite
def bodies(draw: st.DrawFn, columns: Json, metadata: dict[str, str]) -> bytes:
    """Columns as safetensors in any widths, with up to three lies in header, data or length."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    data = bytearray()
    for name, values in columns.items():
        types = ("I16", "I64", "U16", "U32", "U64") if name in _INDEX_NAMES else (
            "F16", "BF16", "F32", "F64", "I8", "I64"
        )  # fmt: skip
        dtype = draw(st.sampled_from(types))
        shape, packed = _packed(values, dtype)
        offsets = [len(data), len(data) + len(packed)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += packed
    for _ in range(draw(st.integers(0, 2))):
        _lie(draw, header)
    if draw(st.booleans()):
        _odd_number(draw, header, data)
    text = json.dumps(header)
    if draw(st.integers(0, 9)) == 0:  # a name twice, which no dict can hold
        first = next(iter(columns))
        text = text[:-1] + f', "{first}": {json.dumps(header.get(first, {}))}' + "}"
    return _framed(draw, text.encode() + b" " * (-len(text) % 8), bytes(data))


def _lie(draw: st.DrawFn, header: dict[str, Any]) -> None:
    name = draw(st.sampled_from(sorted(header)))
    entry = header[name]
    lie = st.sampled_from(_LIES)
    if name == "__metadata__" or not isinstance(entry, dict):
        words = st.sampled_from(_WORDS)
        keys = st.sampled_from(("operand", "count", "replacement", "draw", "format", "y", ""))
        header["__metadata__"] = draw(st.dictionaries(keys, words, max_size=3) | words)
        return
    way = draw(st.sampled_from(("dtype", "shape", "offsets", "drop", "rename", "shapes", "extra")))
    if way == "dtype":
        entry["dtype"] = draw(st.sampled_from(_WRONG_DTYPES + _INTEGERS + ("F16", "BF16", "F64")))
    elif way == "shape":
        entry["shape"] = draw(st.lists(lie | st.integers(0, 4), max_size=4))
    elif way == "shapes":
        entry["shape"] = draw(st.sampled_from(([0, 1 << 63], [1 << 62, 0], [2.0], "2", None, [[]])))
    elif way == "offsets":
        entry["data_offsets"] = draw(st.lists(lie | st.integers(0, 64), max_size=3))
    elif way == "drop":
        del entry[draw(st.sampled_from(sorted(entry)))]
    elif way == "rename":
        names = ("index", "row", "column", "delta", "values", "x", "queries", "", "a/b", "\x00")
        header[draw(st.sampled_from(names))] = header.pop(name)
    else:
        header[draw(st.sampled_from(("index", "zzz", "__metadata__")))] = dict(entry)


def _odd_number(draw: st.DrawFn, header: dict[str, Any], data: bytearray) -> None:
    """NaN, an infinity, -1 or 2^63 somewhere in the data."""
    width = draw(st.sampled_from((1, 2, 4, 8)))
    if len(data) < width:
        return
    at = draw(st.integers(0, len(data) // width - 1)) * width
    data[at : at + width] = draw(st.sampled_from(_ODD_BITS[width])).to_bytes(width, "little")


def _framed(draw: st.DrawFn, header: bytes, data: bytes) -> bytes:
    way = draw(st.sampled_from(("true",) * 8 + ("length", "cut", "longer", "flip", "nested")))
    if way == "length":
        lie = draw(st.sampled_from([*_LIES[:4], *_LIES[5:10], len(header) - 1, len(header) + 1]))
        return struct.pack("<Q", lie) + header + data
    if way == "nested":
        header = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    body = struct.pack("<Q", len(header)) + header + data
    if way == "cut":
        return body[: draw(st.integers(0, len(body) - 1))]
    if way == "longer":
        return body + draw(st.binary(min_size=1, max_size=9))
    if way == "flip":
        changed = bytearray(body)
        changed[draw(st.integers(0, len(body) - 1))] ^= 1 << draw(st.integers(0, 7))
        return bytes(changed)
    return body
