"""Tensor sketches with heavy rows and columns, over HTTP and in this process alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from sketch_core import Columns, Sketch, new_sketch, quantise, resolve
from tests.service.http_rig import Service

F64 = npt.NDArray[np.float64]

SHAPE = {"n1": 3000, "n2": 5000, "d1": 4, "d2": 3}
SKETCH: dict[str, Any] = {
    "kind": "tensor", "shape": SHAPE, "method": "sketch", "samples": 8, "repetitions": 2, "seed": 7,
}  # fmt: skip
EXACT = {**SKETCH, "method": "exact"}
SPECS = {"sketch": SKETCH, "exact": EXACT}
#: X as JSON has it: d1 rows of d2 numbers.
X = [[1.0, 0.0, -1.0], [0.5, 2.0, 0.0], [0.0, 0.25, 1.0], [-1.0, 0.0, 0.5]]


@dataclass
class Operands:
    """A1 and A2 with a few heavy rows each: dense arrays, multiples of 2^-8, exact in any spec."""

    rng: np.random.Generator
    first: F64 = field(init=False)
    second: F64 = field(init=False)

    def __post_init__(self) -> None:
        self.first = self._heavy(SHAPE["n1"], SHAPE["d1"])
        self.second = self._heavy(SHAPE["n2"], SHAPE["d2"])

    def _heavy(self, n: int, d: int) -> F64:
        rows = np.zeros((n, d))
        touched = self.rng.permutation(n)[:200]
        sizes = 16.0 / (1.0 + np.arange(200.0))
        rows[touched] = self.rng.normal(size=(200, d)) * sizes[:, None]
        return np.round(rows * 256) / 256

    def product(self, x: list[list[float]]) -> F64:
        """Y = A1 X A2ᵀ."""
        y: F64 = self.first @ np.array(x) @ self.second.T
        return y

    def rows(self, operand: str) -> dict[str, Any]:
        """An update of the rows that are not zero."""
        dense = self.first if operand == "A1" else self.second
        touched = np.flatnonzero(dense.any(axis=1))
        return {"operand": operand, "row": touched, "values": dense[touched]}

    def entries(self, operand: str) -> dict[str, Any]:
        """The same as single entries."""
        dense = self.first if operand == "A1" else self.second
        row, column = np.nonzero(dense)
        return {"operand": operand, "row": row, "column": column, "delta": dense[row, column]}

    def both(self) -> list[dict[str, Any]]:
        """All updates, one operand in either layout."""
        return [self.rows("A1"), self.entries("A2")]


def as_json(update: dict[str, Any]) -> dict[str, Any]:
    """An update as a JSON body."""
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in update.items()
    }


def fill(service: Service, name: str, updates: list[dict[str, Any]]) -> None:
    """Send updates to a sketch."""
    for update in updates:
        done = service.post(f"/v1/sketches/{name}/updates", as_json(update))
        assert done.status_code == 200, done.text
        assert done.json()["accepted"] == len(update["row"])


def filled(request: dict[str, Any], updates: list[dict[str, Any]]) -> Sketch:
    """The same sketch made in this process."""
    spec = resolve(request)
    sketch = new_sketch(spec)
    sketch.apply([quantise(spec, Columns(**update))[0] for update in updates])
    return sketch


def ok(answer: httpx.Response) -> dict[str, Any]:
    """The JSON of an answer that must be 200."""
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
