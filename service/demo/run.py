"""Streaming keys in, deleting some again, and drawing: what the demo asks of the service."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from service.demo.client import Client
from service.demo.input import Input, Size
from service.demo.law import Draws

ROWS_IN_A_BATCH: Final = 2048


@dataclass(frozen=True, slots=True)
class Collected:
    """What came back, and what it cost.

    draws: one a query. statuses: how many lists of each status. streaming,
    sampling: seconds spent waiting for updates, for samples. numbers: of
    coordinates streamed in all. state_bytes: of one sketch, all repetitions.
    """

    draws: list[Draws]
    statuses: dict[str, int]
    streaming: float
    sampling: float
    numbers: int
    requests: int
    state_bytes: int


@dataclass(slots=True)
class _Answers:
    """Lists as they come in, for one query."""

    first: list[int] = field(default_factory=list)
    independent: list[int] = field(default_factory=list)
    lists: list[tuple[list[int], list[float], list[float]]] = field(default_factory=list)

    def add(self, distinct: dict[str, Any], independent: dict[str, Any]) -> None:
        """Take in the same draw without and with replacement."""
        index = _integers(distinct["index"])
        self.first += index[:1]
        self.independent += _integers(independent["index"])
        self.lists.append((index, distinct["value"], distinct["inclusion_probability"]))

    def draws(self) -> Draws:
        """As arrays; lists that served nothing are left out."""
        return Draws(
            np.array(self.first, dtype=np.int64),
            np.array(self.independent, dtype=np.int64),
            [
                (np.array(index, dtype=np.int64), np.array(value), np.array(inclusion))
                for index, value, inclusion in self.lists
                if index
            ],
        )


class Run:
    """One pass over the input for every sketch, one sketch at a time."""

    def __init__(self, client: Client, data: Input, size: Size, seed: int, progress: bool) -> None:
        self._client = client
        self._data = data
        self._size = size
        self._seed = seed
        self._progress = progress
        self._answers = [_Answers() for _ in range(size.queries)]
        self._statuses: dict[str, int] = {}
        self._seconds = {"streaming": 0.0, "sampling": 0.0}
        self._requests = 0

    def spec(self, number: int = 0) -> dict[str, Any]:
        """The spec of one of the sketches."""
        n, d = self._data.keys.shape
        return {
            "kind": "matrix",
            "shape": {"n": n, "d": d},
            "method": "sketch",
            "samples": self._size.count,
            "repetitions": self._size.repetitions,
            "seed": self._seed + number,
            # What a demo that was killed leaves behind goes away by itself.
            "ttl_seconds": 3600,
        }

    def single(self, n: int) -> dict[str, Any]:
        """The spec of a sketch of one list over n keys, to plan with."""
        shape = {"n": n, "d": self._data.keys.shape[1]}
        return self.spec() | {"shape": shape, "repetitions": 1}

    def collect(self) -> Collected:
        """Create, stream, delete keys, draw and drop, for each sketch in turn."""
        prefix = f"demo-{secrets.token_hex(4)}"
        rows = (self._size.keys + self._data.deleted.size) * self._size.sketches
        state_bytes = 0
        with tqdm(
            total=self._size.lists,
            unit=" lists",
            # None: only where there is a terminal to draw it on.
            disable=None if self._progress else True,
        ) as bar:
            for number in range(self._size.sketches):
                name = f"{prefix}-{number}"
                self._client.create(name, self.spec(number))
                try:
                    which = f"sketch {number + 1} of {self._size.sketches}"
                    bar.set_description(f"  {which}, streaming keys")
                    with self._timed("streaming"):
                        self._stream(name)
                    bar.set_description(f"  {which}, drawing lists ")
                    with self._timed("sampling"):
                        self._draw(name, bar)
                    state_bytes = int(self._client.info(name)["memory_bytes"]["state"])
                finally:
                    self._client.delete(name)
        return Collected(
            draws=[answers.draws() for answers in self._answers],
            statuses=self._statuses,
            streaming=self._seconds["streaming"],
            sampling=self._seconds["sampling"],
            numbers=rows * self._data.keys.shape[1],
            requests=self._requests,
            state_bytes=state_bytes,
        )

    def _stream(self, name: str) -> None:
        """All keys in, then a tenth of them out again by adding their negatives."""
        everything = np.arange(self._size.keys, dtype=np.int64)
        for sign, rows in ((1, everything), (-1, self._data.deleted)):
            for start in range(0, rows.size, ROWS_IN_A_BATCH):
                part = rows[start : start + ROWS_IN_A_BATCH]
                values = self._data.keys[part] * np.float16(sign)
                self._client.add_rows(name, part, values, key=f"{sign}/{start}")

    def _draw(self, name: str, bar: tqdm[Any]) -> None:
        queries: list[list[float]] = self._data.queries.tolist()
        for draw in range(self._size.repetitions):
            both = [
                self._client.sample(name, queries, self._size.count, draw, replacement)
                for replacement in (False, True)
            ]
            self._requests += 2
            bar.update()
            for answers, distinct, independent in zip(self._answers, *both, strict=True):
                answers.add(distinct, independent)
                status = str(distinct["status"])
                self._statuses[status] = self._statuses.get(status, 0) + 1

    @contextlib.contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[part] += time.perf_counter() - start


def _integers(values: list[int | str]) -> list[int]:
    return [int(value) for value in values]
