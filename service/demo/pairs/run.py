"""Streaming queries and keys in, drawing pairs, deleting keys, drawing from the same sketch."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from service.demo.client import Client
from service.demo.law import F64, I64
from service.demo.pairs.input import Case, Input, Size

#: A batch takes at most a million numbers.
ROWS_IN_A_BATCH: Final = 8192


@dataclass(frozen=True, slots=True)
class Drawn:
    """What came for one case. pairs int64 (m, 2). norms float64 (lists,): estimates of ‖Y‖_F."""

    pairs: I64
    norms: F64


@dataclass(frozen=True, slots=True)
class Collected:
    """What came back, and what it cost.

    drawn: one a case. statuses: how many lists of each status. seconds: by what
    was done. numbers: of coordinates streamed in all. state_bytes: of one sketch.
    """

    drawn: list[Drawn]
    statuses: dict[str, int]
    seconds: dict[str, float]
    numbers: int
    state_bytes: int


class Run:
    """Every case from every sketch, one sketch at a time."""

    def __init__(self, client: Client, data: Input, size: Size, seed: int, progress: bool) -> None:
        self._client = client
        self._data = data
        self._size = size
        self._seed = seed
        self._progress = progress
        self._pairs: list[list[list[int]]] = [[] for _ in data.cases]
        self._norms: list[list[float]] = [[] for _ in data.cases]
        self._statuses: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._numbers = 0

    def spec(self, number: int = 0) -> dict[str, Any]:
        """The spec of one of the sketches."""
        (n1, d1), (n2, d2) = self._data.queries.shape, self._data.keys.shape
        return {
            "kind": "tensor",
            "shape": {"n1": n1, "n2": n2, "d1": d1, "d2": d2},
            "method": "sketch",
            "samples": self._size.samples,
            "seed": self._seed + number,
            # What a demo that was killed leaves behind goes away by itself.
            "ttl_seconds": 3600,
        }

    def of_keys(self, n2: int) -> dict[str, Any]:
        """The spec of a sketch of so many keys, to plan with."""
        spec = self.spec()
        return spec | {"shape": spec["shape"] | {"n2": n2}}

    def collect(self) -> Collected:
        """Create, stream, draw, delete keys, draw again and drop, for each sketch in turn."""
        prefix = f"demo-{secrets.token_hex(4)}"
        state_bytes = 0
        with tqdm(
            total=self._size.sketches * len(self._data.cases) * self._size.samples,
            unit=" pairs",
            # None: only where there is a terminal to draw it on.
            disable=None if self._progress else True,
        ) as bar:
            for number in range(self._size.sketches):
                name = f"{prefix}-{number}"
                self._client.create(name, self.spec(number))
                try:
                    bar.set_description(f"  sketch {number + 1} of {self._size.sketches}")
                    self._one(name, bar)
                    state_bytes = int(self._client.info(name)["memory_bytes"]["state"])
                finally:
                    self._client.delete(name)
        drawn = [
            Drawn(np.array(pairs, dtype=np.int64).reshape(-1, 2), np.array(norms))
            for pairs, norms in zip(self._pairs, self._norms, strict=True)
        ]
        return Collected(
            drawn, dict(self._statuses), dict(self._seconds), self._numbers, state_bytes
        )

    def _one(self, name: str, bar: tqdm[Any]) -> None:
        """All cases from one sketch: the keys go before the first case that is without them."""
        with self._timed("streaming"):
            self._add(name, "A1", np.arange(self._size.queries), self._data.queries)
            self._add(name, "A2", np.arange(self._size.keys), self._data.keys)
        with self._timed("folding"):
            self._client.norm(name, self._data.cases[0].x)
        thinned = False
        for number, case in enumerate(self._data.cases):
            if case.thinned and not thinned:
                with self._timed("streaming"):
                    gone = self._data.deleted
                    self._add(name, "A2", gone, -self._data.keys[gone])
                with self._timed("folding deletions"):
                    self._client.norm(name, case.x)
                thinned = True
            with self._timed("drawing"):
                self._draw(name, number, case)
            bar.update(self._size.samples)

    def _add(self, name: str, operand: str, rows: I64, values: npt.NDArray[np.float16]) -> None:
        for start in range(0, rows.size, ROWS_IN_A_BATCH):
            part = slice(start, start + ROWS_IN_A_BATCH)
            # Deleting adds the negatives: a key of its own, or it would count as a retry.
            key = f"{operand}/{self._numbers}"
            self._client.add_rows(name, rows[part], values[part], key, operand)
            self._numbers += values[part].size

    def _draw(self, name: str, number: int, case: Case) -> None:
        answer = self._client.sample_pairs(name, case.x, self._size.samples, draw=0)
        self._pairs[number] += [[int(first), int(second)] for first, second in answer["index"]]
        self._norms[number].append(float(answer["norm"]))
        self._statuses[str(answer["status"])] += 1

    @contextlib.contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[part] += time.perf_counter() - start
