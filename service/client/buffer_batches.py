"""Many small updates of one operand as the columns of one request."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from service.client import arrays

Column = npt.NDArray[Any]
#: The columns of an update by name, those of coordinates first, the numbers last.
Columns = dict[str, Column]
#: index and delta; row, column and delta; row and values.
Layout = Literal["index", "entries", "rows"]

LAYOUTS: Final[dict[Layout, tuple[str, ...]]] = {
    "index": ("index", "delta"),
    "entries": ("row", "column", "delta"),
    "rows": ("row", "values"),
}


def read(layout: Layout, given: Sequence[object]) -> Columns:
    """A caller's columns, checked against each other, not copied. Raises ValueError."""
    names = LAYOUTS[layout]
    columns: Columns = {}
    for name, value in zip(names[:-1], given[:-1], strict=True):
        columns[name] = arrays.indices(value, name)
        if columns[name].ndim != 1:
            raise ValueError(f"{name}: must have one dimension, has {columns[name].shape}")
    columns[names[-1]] = arrays.numbers(given[-1], names[-1], 2 if layout == "rows" else 1)
    length = len(columns[names[0]])
    for name in names[1:]:
        if len(columns[name]) != length:
            raise ValueError(f"{name}: has {len(columns[name])} items, {names[0]} has {length}")
    return columns


def size(columns: Columns) -> int:
    """How many numbers an update changes: what the service limits and this buffer counts."""
    return list(columns.values())[-1].size


def pieces(columns: Columns, first: int, most: int) -> list[Columns]:
    """Copies of consecutive rows: of `first` numbers at most, then of `most`; at least one row."""
    numbers = list(columns.values())[-1]
    length = len(numbers)
    width = max(1, size(columns) // max(1, length))
    cuts = [0]
    while cuts[-1] < length:
        room = first if len(cuts) == 1 else most
        cuts.append(min(length, cuts[-1] + max(1, room // width)))
    return [
        {name: column[low:high].copy() for name, column in columns.items()}
        for low, high in itertools.pairwise(cuts)
    ]


@dataclass(eq=False, slots=True)
class Batch:
    """Updates of one operand that go in one request, under one idempotency key.

    numbers: increments in it, before any were summed. key: of every attempt. at: when it may be
    sent, by the clock of its buffer. sealed: takes no more. attempts: how many failed.
    """

    sketch: str
    operand: str
    layout: Layout
    serial: int
    width: int
    at: float
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    numbers: int = 0
    sealed: bool = False
    attempts: int = 0
    _parts: list[Columns] = field(default_factory=list)
    _joined: Columns | None = None

    def append(self, columns: Columns) -> None:
        """More updates. columns: nobody else's; rows as wide as those before."""
        assert not self.sealed, "the key stands for what was sealed"
        self._parts.append(columns)
        self.numbers += size(columns)

    def columns(self, coalesce: bool = False) -> Columns:
        """What to send, the same for every attempt."""
        if self._joined is None:
            assert self.sealed
            joined = {name: _join([part[name] for part in self._parts]) for name in self._names}
            self._joined = coalesced(self.layout, joined) if coalesce else joined
            self._parts = []
        return self._joined

    @property
    def _names(self) -> tuple[str, ...]:
        return LAYOUTS[self.layout]


def _join(parts: list[Column]) -> Column:
    """One column. Integers of unlike types become uint64: numpy would make floats of some."""
    types = {part.dtype for part in parts}
    if len(types) > 1 and all(kind.kind in "iu" for kind in types):
        return np.concatenate([part.astype(np.uint64) for part in parts])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def coalesced(layout: Layout, columns: Columns) -> Columns:
    """The increments of equal coordinates summed in float64, where that makes fewer of them."""
    names = LAYOUTS[layout]
    where = [columns[name] for name in names[:-1]]
    numbers = columns[names[-1]]
    places, at = _distinct(where)
    if len(places[0]) == len(numbers):
        return columns
    sums = np.zeros((len(places[0]), *numbers.shape[1:]))
    np.add.at(sums, at, numbers.astype(np.float64))
    return dict(zip(names, [*places, sums], strict=True))


def _distinct(where: list[Column]) -> tuple[list[Column], npt.NDArray[np.int64]]:
    """The distinct coordinates in ascending order, and which of them each one is."""
    if len(where) == 1:
        places, at = np.unique(where[0], return_inverse=True)
        return [places], at
    order = np.lexsort(where[::-1])
    row, column = (one[order] for one in where)
    new = np.ones(len(order), np.bool_)
    new[1:] = (row[1:] != row[:-1]) | (column[1:] != column[:-1])
    at = np.empty(len(order), np.int64)
    at[order] = np.cumsum(new) - 1
    return [row[new], column[new]], at


class Updatable(Protocol):
    """What a buffer needs of a client: sketches with the methods of `Sketch`."""

    def sketch(self, name: str) -> Any: ...


def request(client: Updatable, batch: Batch, columns: Columns) -> Any:
    """Ask for a batch to be applied; the answer is whatever the client's methods return."""
    sketch = client.sketch(batch.sketch)
    send = {"index": "update", "entries": "update_entries", "rows": "update_rows"}[batch.layout]
    return getattr(sketch, send)(
        *columns.values(), operand=batch.operand, idempotency_key=batch.key
    )
