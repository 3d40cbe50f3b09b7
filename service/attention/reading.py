"""What the heads make of a text, as it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from service.attention.model import F32, Model
from service.attention.size import Head
from service.attention.text import WINDOW, Text
from service.attention.window import F16, I64

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
