"""A client whose sketches take updates as told: no network, no time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from service.client.answers import Acknowledgement


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came."""

    sketch: str
    operand: str
    columns: tuple[Any, ...]
    key: str


@dataclass
class Sink:
    """A service in memory. calls: every request. applied: sums by (sketch, operand, coordinate).

    before: called with each request, in its thread; what it raises is the answer, and nothing was
    applied. after: the same, and it was. Keys are remembered, as the service does.
    """

    before: Callable[[Call], None] = lambda call: None
    after: Callable[[Call], None] = lambda call: None
    calls: list[Call] = field(default_factory=list)
    applied: dict[tuple[str, str, int], float] = field(default_factory=dict)
    _keys: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sketch(self, name: str) -> SinkSketch:
        return SinkSketch(self, name)

    def take(self, call: Call) -> Acknowledgement:
        with self._lock:
            self.calls.append(call)
        self.before(call)
        with self._lock:
            body = tuple(column.tolist() for column in call.columns)
            if call.key in self._keys:
                assert self._keys[call.key] == body, "a key stands for one body"
            else:
                self._keys[call.key] = body
                self._apply(call)
        self.after(call)
        return Acknowledgement(len(call.columns[0]), "v-1")

    def _apply(self, call: Call) -> None:
        for where, number in zip(*(call.columns[0], call.columns[-1]), strict=True):
            place = (call.sketch, call.operand, int(where))
            self.applied[place] = self.applied.get(place, 0.0) + float(np.sum(number))


@dataclass(frozen=True, slots=True)
class SinkSketch:
    """The methods of `Sketch` that a buffer calls."""

    sink: Sink
    name: str

    def update(
        self, index: Any, delta: Any, *, operand: str, idempotency_key: str
    ) -> Acknowledgement:
        return self.sink.take(Call(self.name, operand, (index, delta), idempotency_key))

    def update_entries(
        self, row: Any, column: Any, delta: Any, *, operand: str, idempotency_key: str
    ) -> Acknowledgement:
        return self.sink.take(Call(self.name, operand, (row, column, delta), idempotency_key))

    def update_rows(
        self, row: Any, values: Any, *, operand: str, idempotency_key: str
    ) -> Acknowledgement:
        return self.sink.take(Call(self.name, operand, (row, values), idempotency_key))
