"""Reading the text into sketches, drawing for the current queries, and what it all costs."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from service.attention.compare import Context, Drawn
from service.attention.model import Model
from service.attention.reading import reading
from service.attention.size import Head, Size
from service.attention.text import WINDOW, Text
from service.attention.window import F16, KeyWindow
from service.client import Client, Plan, Sketch
from service.demo.law import F64

#: Draws of the lean sketch, which is there to be timed and weighed.
LEAN: Final = 16
#: Requests that a time is the median of.
TIMED: Final = 15


@dataclass(frozen=True, slots=True)
class Cost:
    """One way of holding a head's keys. bytes: of the state. seconds: to answer one query."""

    what: str
    bytes: int
    draws: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Collected:
    """What came back and what it cost. rows: streamed, evictions included. costs: of one head."""

    contexts: list[Context]
    drawn: list[Drawn]
    rows: int
    log_bytes: int
    state_bytes: int
    seconds: Mapping[str, float]
    costs: list[Cost]


class Run:
    """One pass over the text with a sketch for each head, then all the draws."""

    def __init__(self, client: Client, model: Model, size: Size, seed: int, progress: bool) -> None:
        self._client = client
        self._model = model
        self._size = size
        self._seed = seed
        self._progress = progress
        self._prefix = f"attention-{secrets.token_hex(4)}"
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def spec(self, **changed: Any) -> dict[str, Any]:
        """The spec of a head's sketch."""
        return {
            "kind": "matrix",
            "shape": {"n": self._size.tokens, "d": self._model.width},
            "method": "sketch",
            "samples": self._size.samples,
            "repetitions": self._size.repetitions,
            "seed": self._seed,
            # What a run that was killed leaves behind goes away by itself.
            "ttl_seconds": 3600,
        } | changed

    def collect(self, text: Text) -> Collected:
        """Read, stream, draw, weigh and time, and leave nothing behind."""
        with contextlib.ExitStack() as stack:
            sketches = {
                head: stack.enter_context(self._made(head.slug, seed=self._seed + number))
                for number, head in enumerate(self._size.heads)
            }
            contexts = self._read(text, sketches)
            info = sketches[contexts[0].head].info()
            with self._timed("folding"):
                for context in contexts:
                    sketches[context.head].norm(x=context.queries[0])
            folded = sketches[contexts[0].head].info()
            drawn = self._draw(contexts, sketches)
            evicted = (self._size.windows - self._size.retained) * WINDOW
            rows = (self._size.tokens + evicted) * len(contexts)
            costs = self._costs(contexts[0], sketches[contexts[0].head])
            return Collected(
                contexts, drawn, rows, info.memory_bytes.log, folded.memory_bytes.state,
                dict(self._seconds), costs,
            )  # fmt: skip

    def plan(self, tokens: int, samples: int) -> Plan:
        """What a sketch of one list would be."""
        shape = {"n": tokens, "d": self._model.width}
        return self._client.plan(self.spec(shape=shape, samples=samples, repetitions=1))

    @contextlib.contextmanager
    def _made(self, name: str, **changed: Any) -> Iterator[Sketch]:
        sketch = self._client.create(f"{self._prefix}-{name}", self.spec(**changed))
        try:
            yield sketch
        finally:
            sketch.delete()

    def _read(self, text: Text, sketches: Mapping[Head, Sketch]) -> list[Context]:
        """Every window once: keys into the sketches, old ones out, the last kept to compare."""
        windows = {head: KeyWindow(sketch, self._size.live) for head, sketch in sketches.items()}
        values: dict[Head, list[F16]] = {head: [] for head in sketches}
        queries: dict[Head, F16] = {}
        with bar(text.tokens.size, " tokens", "reading and streaming", self._progress) as progress:
            steps = reading(self._model, text, self._size.heads)
            while True:
                with self._timed("reading"):
                    step = next(steps, None)
                if step is None:
                    break
                positions, seen = step
                for head, tokens in seen.items():
                    with self._timed("streaming"):
                        windows[head].push(positions, tokens.keys)
                    values[head].append(tokens.values)
                    queries[head] = tokens.queries
                progress.update(positions.size)
        chosen = np.linspace(0, WINDOW - 1, self._size.queries).round().astype(np.int64) - WINDOW
        return [
            Context(
                head,
                queries[head][chosen].astype(np.float64),
                window.keys.astype(np.float64),
                np.concatenate(values[head])[-self._size.live :].astype(np.float64),
                int(window.positions[0]),
            )
            for head, window in windows.items()
        ]

    def _draw(self, contexts: list[Context], sketches: Mapping[Head, Sketch]) -> list[Drawn]:
        """Every list of every sketch, for all queries at once."""
        size, found = self._size, []
        budgets = [m for m in size.budgets if m <= size.samples]
        total = len(contexts) * size.repetitions * (len(budgets) + 1)
        with bar(total, " requests", "drawing", self._progress) as progress:
            for context in contexts:
                drawn, sketch = Drawn.nothing(size), sketches[context.head]
                for draw in range(size.repetitions):
                    for budget in (None, *budgets):
                        with self._timed("drawing"):
                            answers = sketch.sample_each(
                                context.queries,
                                size.samples if budget is None else budget,
                                replacement=budget is None,
                                draw=draw,
                            )
                        drawn.take(context, answers, budget)
                        progress.update()
                found.append(drawn)
        return found

    def _costs(self, context: Context, wide: Sketch) -> list[Cost]:
        """Ways of holding one head's keys in the window, and the time of one query."""
        n = len(context.keys)
        positions = np.arange(context.first, context.first + n, dtype=np.int64)
        size, found = self._size, []
        with (
            self._made("lean", samples=LEAN, repetitions=1) as lean,
            self._made("exact", method="exact", repetitions=1) as exact,
        ):
            for sketch in (lean, exact):
                for start in range(0, n, 8192):
                    part = slice(start, start + 8192)
                    sketch.update_rows(positions[part], context.keys[part].astype(np.float16))
            for what, sketch, draws in (
                ("sketch", lean, LEAN),
                ("sketch", wide, size.samples),
                ("exact method of the service", exact, LEAN),
            ):
                seconds = _median_seconds(partial(_asked, sketch, draws), context.queries)
                lists = size.repetitions if sketch is wide else 1
                state = sketch.info().memory_bytes.state
                if state:
                    found.append(Cost(what, state // lists, draws, seconds))
        values = context.values.astype(np.float32)
        queries = context.queries.astype(np.float32)
        for what, kind in (("float32", np.float32), ("float16", np.float16)):
            keys = context.keys.astype(kind)
            seconds = _median_seconds(partial(_dense, keys, values), queries)
            found.append(Cost(f"dense {what} in numpy", keys.nbytes, n, seconds))
        return found

    @contextlib.contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[part] += time.perf_counter() - start


def bar(total: int, unit: str, what: str, shown: bool = True) -> tqdm[Any]:
    """How far something is, where there is a terminal to draw it on."""
    disable = None if shown else True
    return tqdm(total=total, unit=unit, desc=f"  {what:21}", disable=disable, unit_scale=True)


def _asked(sketch: Sketch, draws: int, query: Any) -> Any:
    """One list for a query."""
    return sketch.sample(draws, x=query)


def _dense(keys: Any, values: Any, query: Any) -> Any:
    """ℓ2 attention over all keys, in float32 whatever they are held as."""
    weights = np.square(keys.astype(np.float32, copy=False) @ query)
    return weights @ values / weights.sum()


def _median_seconds(answer: Callable[[F64], object], queries: Any) -> float:
    """Of TIMED queries one after another; the first, which warms up, apart."""
    answer(queries[0])
    spent = []
    for number in range(TIMED):
        start = time.perf_counter()
        answer(queries[number % len(queries)])
        spent.append(time.perf_counter() - start)
    return float(np.median(spent))
