"""Random requests of every operation, valid and not, as `grpc_equals` can send them both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.service.grpc_equals import Asked
from tests.service.http_rig import tensors

N, D = 40, 3
#: Specs by name. Every name is made, used, deleted and made again.
SPECS: dict[str, dict[str, Any]] = {
    "vector": {"kind": "vector", "shape": {"n": N}, "method": "sketch", "seed": 5,
               "repetitions": 2, "samples": 4},
    "twin": {"kind": "vector", "shape": {"n": N}, "method": "sketch", "seed": 5,
             "repetitions": 2, "samples": 4},
    "one": {"kind": "vector", "shape": {"n": N}, "method": "sketch", "seed": 1,
            "distribution": {"power": 1}, "magnitude": 512, "ttl_seconds": 50},
    "soft": {"kind": "vector", "shape": {"n": N}, "seed": 2,
             "distribution": {"softmax": {"temperature": 2}}},
    "huge": {"kind": "vector", "shape": {"n": 1 << 60}, "seed": 8, "width": 64},
    "matrix": {"kind": "matrix", "shape": {"n": N, "d": D}, "method": "sketch", "seed": 3},
    "fixed": {"kind": "matrix", "shape": {"n": N, "d": D}, "seed": 4, "x": [0.5, -1, 2]},
    "dense": {"kind": "matrix", "shape": {"n": N, "d": D}, "method": "exact", "seed": 4},
    "tensor": {"kind": "tensor", "shape": {"n1": 30, "n2": 20, "d1": 2, "d2": D}, "seed": 6,
               "method": "sketch", "samples": 2, "width": 16, "second_width": 16},
    "exact-tensor": {"kind": "tensor", "shape": {"n1": 30, "n2": 20, "d1": 2, "d2": D}, "seed": 6,
                     "method": "exact", "X": [[1, 0, 2], [0, -1, 0.25]]},
}  # fmt: skip
NAMES = [*SPECS, "never made", "nobody"]
#: Changes of a spec that no sketch survives, or that make it another.
_SPEC_FAULTS: list[dict[str, Any]] = [
    {"kind": "scalar"}, {"kind": None}, {"shape": {}}, {"shape": {"n": 0}}, {"depth": 4},
    {"shape": None}, {"method": "magic"}, {"samples": 0}, {"samples": 1 << 40}, {"seed": 99},
    {"magnitude": float("nan")}, {"magnitude": float("inf")}, {"ttl_seconds": 1e300},
    {"ttl_seconds": 0.5}, {"quantum_bits": -(1 << 60)}, {"repetitions": 1 << 63},
    {"distribution": {"power": 7.5}}, {"distribution": {}}, {"x": [1, 2]}, {"X": [[1, 2], [3, 4]]},
    {"X": [[1.5, float("nan")]]}, {"x": [float("inf")] * 3}, {"width": 1 << 50},
    {"distribution": {"power": 2, "softmax": {}}}, {"distribution": {"softmax": {}}},
    {"x": [0.0] * 70_000}, {"ttl_seconds": 77},
]  # fmt: skip


class Traffic:
    """A source of requests; the same for the same generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._sent: list[Asked] = []
        self.snapshots: list[bytes] = [b"", b"not a snapshot", bytes(300_000)]

    def requests(self, count: int) -> Iterator[Asked]:
        """All sketches are made, then anything happens."""
        for name, spec in SPECS.items():
            yield Asked("create", name, spec)
        for _ in range(count):
            yield self._next()

    def _next(self) -> Asked:
        if self._sent and self._rng.random() < 0.1:
            return self._repeated()
        makers: dict[Callable[[str], Asked], float] = {
            self._create: 5, self._get: 3, self._list: 3, self._patch: 2, self._delete: 1,
            self._plan: 4, self._update: 32, self._sample: 18, self._estimate: 8, self._norm: 8,
            self._seal: 1, self._merge: 7, self._get_snapshot: 4, self._add_snapshot: 5,
        }  # fmt: skip
        weights = np.array(list(makers.values()))
        made = list(makers)[self._rng.choice(len(makers), p=weights / weights.sum())](self._name())
        if made.key is not None:
            self._sent.append(made)
        return made

    def _repeated(self) -> Asked:
        """A retry under its key, or the key for something else."""
        old: Asked = self._one(self._sent)
        if self._rng.random() < 0.6:
            return old
        return Asked("update", old.name, {"index": [1], "delta": [3.0]}, old.key)

    # Parts

    def _one(self, items: Any) -> Any:
        return items[int(self._rng.integers(len(items)))]

    def _often(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def _name(self) -> str:
        return str(self._one(NAMES))

    def _key(self) -> str | None:
        if self._often(0.6):
            return None
        found: str = self._one([f"key {self._rng.integers(1 << 40)}", "é", "x" * 256, "again"])
        return found

    def _numbers(self, count: int) -> list[float]:
        found = [float(one) for one in np.round(self._rng.normal(0, 9, count), 3)]
        if count and self._often(0.05):
            found[int(self._rng.integers(count))] = self._one(
                [float("nan"), float("inf"), 1e300, 1e-40]
            )
        return found

    def _places(self, count: int, below: int) -> list[int]:
        found = [int(one) for one in self._rng.integers(below, size=count)]
        if count and self._often(0.06):
            found[int(self._rng.integers(count))] = self._one([below, 1 << 62, 1 << 63])
        return found

    # Operations

    def _create(self, name: str) -> Asked:
        return Asked("create", name, self._spec(name))

    def _spec(self, name: str) -> dict[str, Any]:
        spec = dict(SPECS.get(name, SPECS["vector"]))
        if self._often(0.6):
            spec |= self._one(_SPEC_FAULTS)
        return {field: value for field, value in spec.items() if value is not None}

    def _plan(self, name: str) -> Asked:
        return Asked("plan", "", self._spec(name))

    def _get(self, name: str) -> Asked:
        return Asked("get", name)

    def _list(self, _: str) -> Asked:
        params = [
            {}, {"limit": 2}, {"prefix": "t"}, {"prefix": "!"}, {"limit": 2000},
            {"cursor": "bogus"}, {"limit": 3, "cursor": "ZGVuc2U"}, {"contains": "E", "limit": 3},
            {"contains": "%"}, {"contains": "e" * 129}, {"contains": "s", "prefix": "d"},
        ]  # fmt: skip
        return Asked("list", more={"params": self._one(params)})

    def _patch(self, name: str) -> Asked:
        return Asked("patch", name, {"ttl_seconds": self._one([None, 60.0, 0.0, 1e300])})

    def _delete(self, name: str) -> Asked:
        return Asked("delete", name)

    def _update(self, name: str) -> Asked:
        if self._often(0.03):
            return Asked("update", name, b"\x08\0\0\0\0\0\0\0{}      ", self._key())
        operand, columns = self._columns(name)
        if self._often(0.05):
            operand = self._one(["y", "A", "x", "A1", "X", "Q"])
        if len(columns) > 2 and all(columns.values()) and self._often(0.04):
            del columns[self._one(list(columns))]
        if self._often(0.3) and not _has(columns, 1 << 63):
            metadata = {} if operand == "y" else {"operand": operand}
            return Asked("update", name, tensors(columns, **metadata), self._key())
        return Asked("update", name, {"operand": operand, **columns}, self._key())

    def _columns(self, name: str) -> tuple[str, dict[str, Any]]:
        kind = SPECS.get(name, SPECS["vector"])["kind"]
        count = int(self._rng.integers(0, 6))
        short = count - 1 if count > 1 and self._often(0.04) else count
        if kind == "vector":
            return "y", {"index": self._places(count, N), "delta": self._numbers(short)}
        if kind == "matrix" and self._often(0.1):
            return "x", {"index": self._places(count, D), "delta": self._numbers(short)}
        operands = {"A": (N, D)}
        if kind == "tensor":
            operands = {"A1": (30, 2), "A2": (20, D), "X": (2, D)}
        operand = self._one(list(operands))
        rows, width = operands[operand]
        if self._often(0.5):
            count = max(1, count)  # an empty matrix has no shape in safetensors of ours
            wide = width + 1 if self._often(0.04) else width
            values = [self._numbers(wide) for _ in range(count)]
            return operand, {"row": self._places(count, rows), "values": values}
        return operand, {
            "row": self._places(count, rows),
            "column": self._places(count, width),
            "delta": self._numbers(short),
        }

    def _query(self, name: str) -> dict[str, Any]:
        kind = SPECS.get(name, SPECS["vector"])["kind"]
        if self._often(0.15):
            kind = self._one(["vector", "matrix", "tensor"])
        wide = D + 1 if self._often(0.05) else D
        choices: list[dict[str, Any]] = [{}]
        if kind == "matrix":
            several = {"queries": [self._numbers(wide) for _ in range(int(self._rng.integers(3)))]}
            choices = [{}, {"x": self._numbers(wide)}, several, several | {"x": [1.0] * D}]
        elif kind == "tensor":
            choices = [{}, {"X": [self._numbers(wide), self._numbers(wide)]}]
        query: dict[str, Any] = self._one(choices)
        return query

    def _sample(self, name: str) -> Asked:
        body = self._query(name)
        if self._often(0.6):
            body["count"] = self._one([1, 2, 3, 5, 0, 20_000, 1 << 63])
        if self._often(0.4):
            body["replacement"] = self._often(0.5)
        if self._often(0.4):
            body["draw"] = self._one([0, 1, 2, 1 << 63])
        more = {"as_safetensors": self._often(0.3)}
        matrices = [one for one in ("x", "queries", "X") if one in body]
        if matrices and self._often(0.3) and all(body[one] for one in matrices):
            given: dict[str, Any] = {one: np.array(body.pop(one)) for one in matrices}
            texts = {key: str(value).lower() for key, value in body.items()}
            return Asked("sample", name, tensors(given, **texts), more=more)
        return Asked("sample", name, body, more=more)

    def _estimate(self, name: str) -> Asked:
        tensor = name.endswith("tensor") != self._often(0.05)
        count = int(self._rng.integers(0, 5))
        index: list[Any] = self._places(count, 20)
        if tensor:
            index = [list(pair) for pair in zip(index, self._places(count, 20), strict=True)]
        return Asked("estimate", name, {"index": index, **self._query(name)})

    def _norm(self, name: str) -> Asked:
        power = self._one([{}, {}, {"power": 2.0}, {"power": 1.0}, {"power": -1.0}])
        return Asked("norm", name, {**power, **self._query(name)})

    def _seal(self, name: str) -> Asked:
        return Asked("seal", name, {"operand": self._one(["y", "A", "x", "X", "Q"])}, self._key())

    def _merge(self, name: str) -> Asked:
        operands = self._one([{}, {"operands": ["A"]}, {"operands": ["y", "Q"]}])
        if name == "vector" and self._often(0.5):
            return Asked("merge", name, {"source": "twin"}, self._key())
        return Asked("merge", name, {"source": self._one([*SPECS, "nobody", "!"]), **operands},
                     self._key())  # fmt: skip

    def _get_snapshot(self, name: str) -> Asked:
        return Asked("get_snapshot", name)

    def _add_snapshot(self, name: str) -> Asked:
        operands = self._one([{}, {}, {"operand": ["y"]}, {"operand": ["A1"]}, {"operand": ["Q"]}])
        more = {"params": operands, "piece": int(self._one([997, 1 << 18]))}
        return Asked("add_snapshot", name, self._one(self.snapshots), self._key(), more)


def _has(columns: dict[str, Any], number: int) -> bool:
    return any(number in column for column in columns.values())
