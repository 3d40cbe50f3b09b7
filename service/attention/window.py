"""The keys of the latest tokens of a head in a sketch: new ones in, old ones out. numpy only."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np
import numpy.typing as npt

F16 = npt.NDArray[np.float16]
I64 = npt.NDArray[np.int64]


class RowSink(Protocol):
    """Where rows are added: a sketch of `service.client`."""

    def update_rows(self, row: I64, values: F16, *, operand: str = "A") -> object:
        """Add values (b, d) to rows (b,)."""


class RowBuffer(Protocol):
    """What gathers rows of any sketches: a buffer of `service.client`."""

    def add_rows(self, sketch_name: str, row: I64, values: F16, operand: str = "A") -> None:
        """Add values (b, d) to rows (b,), soon."""


class Gathered:
    """A sketch whose rows go through a buffer, for a model that writes token by token.

    What was pushed counts from the buffer's next flush on: flush before drawing.
    """

    def __init__(self, buffer: RowBuffer, name: str) -> None:
        self._buffer = buffer
        self._name = name

    def update_rows(self, row: I64, values: F16, *, operand: str = "A") -> None:
        """Add values (b, d) to rows (b,), soon."""
        self._buffer.add_rows(self._name, row, values, operand)


class KeyWindow:
    """The keys of the latest tokens of one head, in a sketch.

    A token goes by adding the negative of its key, which has to be the very
    numbers that were sent: they are rounded alike then, and nothing is left of
    it. So the keys in the window are kept here, as they were sent.
    """

    def __init__(self, sketch: RowSink, retained: int) -> None:
        self._sketch = sketch
        self._retained = retained
        self._kept: deque[tuple[I64, F16]] = deque()
        self._count = 0

    def push(self, positions: I64, keys: F16) -> None:
        """Add the keys (b, d) of tokens, positions int64 (b,), and take out those now too old.

        The arrays are the caller's again. When taking out fails, those tokens are taken out
        with the next push.
        """
        # Copies: a caller may fill the same array anew, or keys be a view of all heads' states.
        positions, keys = positions.copy(), keys.copy()
        self._sketch.update_rows(positions, keys)
        self._kept.append((positions, keys))
        self._count += len(positions)
        while self._count > self._retained:
            self._evict(self._count - self._retained)

    def _evict(self, surplus: int) -> None:
        """Take out at most `surplus` tokens, the oldest."""
        positions, keys = self._kept[0]
        gone = min(surplus, len(positions))
        self._sketch.update_rows(positions[:gone], -keys[:gone])
        if gone < len(positions):
            self._kept[0] = positions[gone:], keys[gone:]
        else:
            self._kept.popleft()
        self._count -= gone

    @property
    def positions(self) -> I64:
        """Of the tokens in the window, oldest first, int64 (count,)."""
        found = [positions for positions, _ in self._kept]
        return np.concatenate(found) if found else np.empty(0, dtype=np.int64)

    @property
    def keys(self) -> F16:
        """Of the tokens in the window, (count, d)."""
        return np.concatenate([keys for _, keys in self._kept])
