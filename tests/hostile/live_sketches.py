"""The sketches that hostile requests meet: one table, from which every strategy takes its shape.

A new kind needs entries here and nothing else: its spec, updates it takes, and what
its questions must name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Live:
    """spec: as sent. updates: good ones of every layout. query: fields every question needs.

    Updates are JSON; their columns also go out as safetensors. sealed: operands sealed
    as soon as the sketch is made.
    """

    spec: Json
    updates: tuple[Json, ...]
    query: Json = field(default_factory=dict)
    several: Json = field(default_factory=dict)
    #: What point estimates are asked at.
    index: tuple[Any, ...] = (3, 9)
    sealed: tuple[str, ...] = ()


_PAIRS: Final[Json] = {"index": [3, 250, 3], "delta": [1.5, -2, 4]}
_ENTRIES: Final[Json] = {"operand": "A", "row": [7, 8], "column": [2, 0], "delta": [1, -0.5]}
_ROWS: Final[Json] = {"operand": "A", "row": [7, 9], "values": [[1, 0, 0.5], [0, 2, 0.25]]}
_STREAMED: Final[Json] = {"operand": "x", "index": [0, 2], "delta": [1, -1]}
_QUERY: Final[Json] = {"x": [1, -0.5, 2]}
_QUERIES: Final[Json] = {"queries": [[1, 0, 0], [0.5, 1, -1]]}


_FIRST: Final[Json] = {"operand": "A1", "row": [7, 9], "values": [[1, 0.5], [0, 2]]}
_SECOND: Final[Json] = {"operand": "A2", "row": [7, 8], "column": [2, 0], "delta": [1, -0.5]}
_MIDDLE: Final[Json] = {"operand": "X", "row": [0, 1], "values": [[1, 0, 2], [0, 1, -1]]}
_X: Final[Json] = {"X": [[1, 0, 2], [0.5, 1, -1]]}
_PLACES: Final = ([7, 7], [9, 8])


def _tensor(n: int, **more: Any) -> Json:
    return {"kind": "tensor", "shape": {"n1": n, "n2": n, "d1": 2, "d2": 3}, "seed": 11,
            "samples": 2, **more}  # fmt: skip


def _vector(n: int, **more: Any) -> Json:
    return {"kind": "vector", "shape": {"n": n}, "seed": 11, **more}


def _matrix(n: int, **more: Any) -> Json:
    return {"kind": "matrix", "shape": {"n": n, "d": 3}, "seed": 11, **more}


LIVE: Final[dict[str, Live]] = {
    "vector": Live(_vector(1 << 40, method="sketch", width=64), (_PAIRS,)),
    "vector.p1": Live(
        _vector(1000, method="sketch", width=64, distribution={"power": 1}), (_PAIRS,)
    ),
    "vector.exact": Live(_vector(500, method="exact"), (_PAIRS,)),
    "vector.softmax": Live(
        _vector(300, method="exact", distribution={"softmax": {"temperature": 2}}), (_PAIRS,)
    ),
    "vector.sealed": Live(_vector(500, method="exact"), (_PAIRS,), sealed=("y",)),
    "matrix": Live(
        _matrix(100_000, method="sketch", width=64), (_ENTRIES, _ROWS), _QUERY, _QUERIES
    ),
    "matrix.exact": Live(_matrix(50, method="exact"), (_ENTRIES, _ROWS), _QUERY, _QUERIES),
    "matrix.streamed": Live(_matrix(60, method="exact"), (_ENTRIES, _ROWS, _STREAMED)),
    "matrix.fixed": Live(
        _matrix(1000, method="sketch", width=64, x=[1, -0.5, 2]), (_ENTRIES, _ROWS)
    ),
    "tensor": Live(
        _tensor(1 << 40, method="sketch", width=64, second_width=64, estimate_width=64),
        (_FIRST, _SECOND),
        _X,
        index=_PLACES,
    ),
    "tensor.streamed": Live(
        _tensor(5000, method="sketch", width=64, second_width=64, estimate_width=64),
        (_FIRST, _SECOND, _MIDDLE),
        index=_PLACES,
    ),
    "tensor.exact": Live(_tensor(60, method="exact"), (_FIRST, _SECOND), _X, index=_PLACES),
    "tensor.softmax": Live(
        _tensor(40, method="exact", distribution={"softmax": {"temperature": 2}}, **_X),
        (_FIRST, _SECOND),
        index=_PLACES,
    ),
}
#: Names no live sketch has: valid, odd, and tricks with paths.
STRANGE_NAMES: Final = (
    "nobody", "-", ".", "..", "%2e%2e", "a" * 128, "a" * 129, "a%2Fb", "%00", "a%0d%0aX-Y:%201",
    "%FF%FE", "%C3%A9", "vector%20", "VECTOR", "vector.", "%76ector%2Fsnapshot", "a%252Fb", "~",
)  # fmt: skip
