"""Keys of many heads streamed into sketches as a text is read, old ones taken out again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from service.attention.model import F32, Model
from service.attention.size import Head
from service.attention.text import WINDOW, Text

F16 = npt.NDArray[np.float16]
I64 = npt.NDArray[np.int64]

#: Windows the model reads at once: few enough that its states stay in a processor's cache.
WINDOWS_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Tokens:
    """A stretch of the text as one head sees it, float16 (b, 32) each."""

    queries: F16
    keys: F16
    values: F16


def reading(
    model: Model, text: Text, heads: Sequence[Head]
) -> Iterator[tuple[I64, dict[Head, Tokens]]]:
    """Positions int64 (b,) of the tokens that come next, and what each head makes of them."""
    layers = sorted({head.layer for head in heads})
    windows = text.windows
    for start in range(0, len(windows), WINDOWS_AT_ONCE):
        part = windows[start : start + WINDOWS_AT_ONCE]
        projected = model.projections(part, layers)
        found = {}
        for head in heads:
            of = projected[head.layer]
            found[head] = Tokens(
                *(_of_tokens(each[:, head.head]) for each in (of.queries, of.keys, of.values))
            )
        yield np.arange(start * WINDOW, (start + len(part)) * WINDOW, dtype=np.int64), found


def _of_tokens(states: F32) -> F16:
    """Without the frame of each window, one row a token. states (b, t, 32)."""
    inner = states[:, 1:-1]
    return np.asarray(inner.reshape(-1, inner.shape[-1]), dtype=np.float16)


class RowSink(Protocol):
    """Where rows are added: a sketch of `service.client`."""

    def update_rows(self, row: I64, values: F16, *, operand: str = "A") -> object:
        """Add values (b, d) to rows (b,)."""


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
        """Add the keys (b, d) of tokens, positions int64 (b,), and take out those now too old."""
        self._sketch.update_rows(positions, keys)
        self._kept.append((positions, keys))
        self._count += len(positions)
        while self._count > self._retained:
            self._evict(self._count - self._retained)

    def _evict(self, surplus: int) -> None:
        """Take out at most `surplus` tokens, the oldest."""
        positions, keys = self._kept.popleft()
        if len(positions) > surplus:
            self._kept.appendleft((positions[surplus:], keys[surplus:]))
            positions, keys = positions[:surplus], keys[:surplus]
        self._sketch.update_rows(positions, -keys)
        self._count -= len(positions)

    @property
    def positions(self) -> I64:
        """Of the tokens in the window, oldest first, int64 (count,)."""
        found = [positions for positions, _ in self._kept]
        return np.concatenate(found) if found else np.empty(0, dtype=np.int64)

    @property
    def keys(self) -> F16:
        """Of the tokens in the window, (count, d)."""
        return np.concatenate([keys for _, keys in self._kept])
