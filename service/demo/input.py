"""What the demo streams: the shipped attention head, how much of it, and which keys go again."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Final

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: The share of keys deleted again.
DELETED: Final = 0.1


@dataclass(frozen=True, slots=True)
class Size:
    """How much the demo does. keys: how many of the file's. count: draws in a list."""

    keys: int
    queries: int
    sketches: int
    repetitions: int
    count: int = 16

    @property
    def lists(self) -> int:
        """Independent lists a query gets."""
        return self.sketches * self.repetitions


FULL: Final = Size(keys=32768, queries=8, sketches=20, repetitions=20)
QUICK: Final = Size(keys=2048, queries=2, sketches=3, repetitions=8)


@dataclass(frozen=True, slots=True)
class Input:
    """keys float16 (n, d), values float64 (n, d), queries float64 (q, d), deleted int64 (m,)."""

    keys: npt.NDArray[np.float16]
    values: F64
    queries: F64
    deleted: I64

    def scores(self, query: int) -> F64:
        """k_i · q for the keys that are left, 0 for those deleted; float64 (n,)."""
        found = self.keys.astype(np.float64) @ self.queries[query]
        found[self.deleted] = 0.0
        return np.asarray(found)


def read_input(size: Size, seed: int) -> Input:
    """The part of the shipped file that a run uses."""
    file = resources.files("service") / "data" / "attention.safetensors"
    tensors = load(file.read_bytes())
    queries = tensors["queries"]
    chosen = np.linspace(0, len(queries) - 1, size.queries).round().astype(np.int64)
    rng = np.random.default_rng(seed)
    deleted = np.sort(rng.choice(size.keys, int(size.keys * DELETED), replace=False))
    return Input(
        keys=tensors["keys"][: size.keys],
        values=tensors["values"][: size.keys].astype(np.float64),
        queries=queries[chosen].astype(np.float64),
        deleted=deleted.astype(np.int64),
    )
