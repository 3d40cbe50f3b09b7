"""Pairs of tokens by (q_i · W k_j)², while W changes step by step and old tokens go.

The operands of Y = Q X Kᵀ all stream: Q, the queries of the last window; K, the
keys of some windows before it; and X, which begins as 1/√d and moves in steps, as
training would move it, to the W with which the head does what another head of its
layer does. Y is never formed but to compare with. The comparison is that of
`sketchd demo pairs`.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from service.attention.model import Model
from service.attention.reading import Tokens, reading
from service.attention.run import bar
from service.attention.size import Head, PairsSize
from service.attention.text import WINDOW, Text
from service.attention.window import F16
from service.client import Client, Sketch
from service.demo.law import F64, I64
from service.demo.pairs.input import Case, Directions, Input
from service.demo.pairs.run import Collected, Drawn

#: The head whose queries and keys are paired, and the one that W makes it imitate.
HEAD: Final = Head(4, 9)
IMITATED: Final = Head(4, 0)
#: Steps in which X moves from 1/√d to W.
STEPS: Final = 8
ROWS_IN_A_BATCH: Final = 8192


def read_input(model: Model, text: Text, size: PairsSize) -> Input:
    """Q and K of the head over the last windows of the text, what goes, and the cases.

    The maps follow the strongest direction of Q W Kᵀ, the old tokens apart in front.
    """
    last = Text(text.tokens[-size.windows * WINDOW :], text.source, text.first, text.last)
    seen: dict[Head, list[Tokens]] = {HEAD: [], IMITATED: []}
    for _, found in reading(model, last, (HEAD, IMITATED)):
        for head, tokens in found.items():
            seen[head].append(tokens)
    queries = {head: np.concatenate([item.queries for item in seen[head]]) for head in seen}
    keys = {head: np.concatenate([item.keys for item in seen[head]]) for head in seen}
    width = model.width
    identity = np.eye(width) / np.sqrt(width)
    imitating = imitation(queries, keys) / np.sqrt(width)
    current, evicted = queries[HEAD][-WINDOW:], size.evicted * WINDOW
    directions = Directions(current.astype(np.float64) @ imitating, keys[HEAD].astype(np.float64))
    query_order, key_order = directions.orders(0)
    return Input(
        queries=current,
        keys=keys[HEAD],
        deleted=np.arange(evicted, dtype=np.int64),
        cases=[
            Case(label, x, thinned)
            for thinned in (False, True)
            for label, x in (("1", identity), ("W", imitating))
        ],
        query_order=query_order,
        key_order=np.concatenate([key_order[key_order < evicted], key_order[key_order >= evicted]]),
    )


def imitation(queries: dict[Head, F16], keys: dict[Head, F16]) -> F64:
    """The W with the least ‖Q W Kᵀ - Q' K'ᵀ‖_F, float64 (d, d): ' is the imitated head's."""
    q, k = queries[HEAD].astype(np.float64), keys[HEAD].astype(np.float64)
    other_q, other_k = queries[IMITATED].astype(np.float64), keys[IMITATED].astype(np.float64)
    left = np.linalg.lstsq(q, other_q, rcond=None)[0]
    right = np.linalg.lstsq(k, other_k, rcond=None)[0]
    return np.asarray(left @ right.T)


class PairsRun:
    """Every case from every sketch, one sketch at a time."""

    def __init__(
        self, client: Client, data: Input, size: PairsSize, seed: int, progress: bool
    ) -> None:
        self._client = client
        self._data = data
        self._size = size
        self._seed = seed
        self._progress = progress
        self._pairs: list[list[I64]] = [[] for _ in data.cases]
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
            "ttl_seconds": 3600,
        }

    def collect(self) -> Collected:
        """Create, stream, draw, move X, take tokens out, draw again, drop; for each sketch."""
        prefix = f"attention-{secrets.token_hex(4)}-pairs"
        total = self._size.sketches * len(self._data.cases) * self._size.samples
        state_bytes = 0
        with bar(total, " pairs", "pairs", self._progress) as progress:
            for number in range(self._size.sketches):
                sketch = self._client.create(f"{prefix}-{number}", self.spec(number))
                try:
                    self._one(sketch, progress)
                    state_bytes = sketch.info().memory_bytes.state
                finally:
                    sketch.delete()
        drawn = [
            Drawn(np.concatenate(pairs).reshape(-1, 2), np.array(norms))
            for pairs, norms in zip(self._pairs, self._norms, strict=True)
        ]
        return Collected(
            drawn, dict(self._statuses), dict(self._seconds), self._numbers, state_bytes
        )

    def _one(self, sketch: Sketch, progress: tqdm[Any]) -> None:
        """All cases from one sketch. Every operand only ever changes by what is added to it."""
        data = self._data
        with self._timed("streaming"):
            self._add(sketch, "A1", np.arange(len(data.queries)), data.queries)
            self._add(sketch, "A2", np.arange(len(data.keys)), data.keys)
            self._add(sketch, "X", np.arange(data.keys.shape[1]), data.cases[0].x)
        thinned, x = False, data.cases[0].x
        for number, case in enumerate(data.cases):
            with self._timed("streaming"):
                if case.thinned and not thinned:
                    self._add(sketch, "A2", data.deleted, -data.keys[data.deleted])
                    thinned = True
                if case.x is not x:
                    self._move(sketch, x, case.x)
                    x = case.x
            with self._timed("folding"):
                norm = sketch.norm().norm
            with self._timed("drawing"):
                answer = sketch.sample(self._size.samples)
            self._pairs[number].append(answer.index.astype(np.int64))
            self._norms[number].append(norm)
            self._statuses[answer.status] += 1
            progress.update(self._size.samples)

    def _move(self, sketch: Sketch, before: F64, after: F64) -> None:
        """Move X in STEPS steps, ever smaller ones, as training moves a weight.

        Numbers are rounded to a quantum as they arrive. The steps of the way back are
        the negatives of those of the way there, so X returns to where it was.
        """
        rows, total = np.arange(len(before)), STEPS * (STEPS + 1) / 2
        for size in range(STEPS, 0, -1):
            self._add(sketch, "X", rows, (after - before) * (size / total))

    def _add(self, sketch: Sketch, operand: str, rows: I64, values: Any) -> None:
        for start in range(0, rows.size, ROWS_IN_A_BATCH):
            part = slice(start, start + ROWS_IN_A_BATCH)
            sketch.update_rows(rows[part], values[part], operand=operand)
            self._numbers += values[part].size

    @contextlib.contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[part] += time.perf_counter() - start
