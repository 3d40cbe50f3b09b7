"""Keys in, old keys out: what is left is the sketch of the tokens in the window, bit for bit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.attention.model import Model, folder, read_tokenizer
from service.attention.reading import WINDOWS_AT_ONCE, reading
from service.attention.size import Head
from service.attention.text import WINDOW, read_text
from service.attention.window import F16, I64, Gathered, KeyWindow
from service.client import Client
from service.demo.client import started_service
from sketch_core import Columns, new_sketch, quantise, resolve, to_snapshot
from tests.client import rig

ROWS, WIDTH = 96, 8
SPEC: dict[str, Any] = {
    "kind": "matrix", "shape": {"n": ROWS, "d": WIDTH}, "method": "sketch", "samples": 4, "seed": 7,
}  # fmt: skip


class OverloadedError(Exception):
    """Of a service that is busy."""


class CoreSketch:
    """A sketch in this process, behind the method of the client's that a window needs."""

    def __init__(self) -> None:
        self.sketch = new_sketch(resolve(SPEC))

    def update_rows(self, row: I64, values: F16, *, operand: str = "A") -> None:
        columns = Columns(operand, row=row.astype(np.uint64), values=values.astype(np.float64))
        self.sketch.apply([quantise(self.sketch.spec, columns)[0]])

    def snapshot(self) -> bytes:
        return to_snapshot(self.sketch)


def keys_of(seed: int) -> F16:
    """Of many sizes, subnormal ones included."""
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.uniform(-7, 2, size=(ROWS, WIDTH))
    return np.asarray(rng.normal(size=(ROWS, WIDTH)) * sizes, dtype=np.float16)


@given(
    cuts=st.lists(st.integers(1, ROWS - 1), max_size=8, unique=True),
    retained=st.integers(1, ROWS + 5),
    seed=st.integers(0, 2**32),
)
def test_what_left_the_window_leaves_nothing(cuts: list[int], retained: int, seed: int) -> None:
    keys, positions = keys_of(seed), np.arange(ROWS, dtype=np.int64)
    streamed = CoreSketch()
    window = KeyWindow(streamed, retained)
    edges = [0, *sorted(cuts), ROWS]
    for start, stop in itertools.pairwise(edges):
        window.push(positions[start:stop], keys[start:stop])
        assert len(window.positions) == min(stop, retained)
    live = positions[-retained:] if retained < ROWS else positions
    assert window.positions.tolist() == live.tolist()
    assert window.keys.tolist() == keys[live].tolist()
    never_evicted = CoreSketch()
    never_evicted.update_rows(live, keys[live])
    assert streamed.snapshot() == never_evicted.snapshot()


def test_a_token_taken_out_with_other_numbers_would_show() -> None:
    """What the test above rests on: the snapshots can differ."""
    keys, positions = keys_of(1), np.arange(ROWS, dtype=np.int64)
    streamed, emptied = CoreSketch(), CoreSketch()
    streamed.update_rows(positions, keys)
    streamed.update_rows(positions, -keys)
    assert streamed.snapshot() == emptied.snapshot()
    streamed.update_rows(positions, keys)
    streamed.update_rows(positions, np.asarray(-keys * np.float16(0.999), dtype=np.float16))
    assert streamed.snapshot() != emptied.snapshot()


def test_keys_of_a_real_text_come_and_go_through_the_service() -> None:
    """Two heads of a transformer over twelve windows, of which five stay."""
    heads = (Head(0, 9), Head(1, 2))
    where = folder()
    text = read_text(read_tokenizer(where), 12 * WINDOW)
    model = Model.read(where)
    spec = SPEC | {"shape": {"n": text.tokens.size, "d": model.width}}
    with started_service() as url, Client(url) as client:
        sketches = {head: client.create(f"head-{head.slug}", spec) for head in heads}
        windows = {head: KeyWindow(sketches[head], 5 * WINDOW) for head in heads}
        seen = 0
        for positions, found in reading(model, text, heads):
            assert len(positions) == WINDOWS_AT_ONCE * WINDOW
            seen += len(positions)
            for head, tokens in found.items():
                assert tokens.keys.shape == tokens.values.shape == (len(positions), 32)
                windows[head].push(positions, tokens.keys)
        assert seen == text.tokens.size
        for head in heads:
            assert windows[head].positions[0] == 7 * WINDOW
            fresh = client.create(f"fresh-{head.slug}", spec)
            fresh.update_rows(windows[head].positions, windows[head].keys)
            assert sketches[head].snapshot().data == fresh.snapshot().data
            drawn = sketches[head].sample(4, x=windows[head].keys[-1].astype(np.float64))
            assert drawn.status == "ok"
            assert (drawn.index >= 7 * WINDOW).all()
        one, other = (sketches[head].snapshot().data for head in heads)
        assert one != other


@pytest.mark.parametrize("transport", rig.TRANSPORTS)
def test_keys_token_by_token_through_a_buffer_are_those_of_one_push(transport: str) -> None:
    keys, positions = keys_of(5), np.arange(ROWS, dtype=np.int64)
    with rig.served() as service, Client(rig.url_of(service, transport)) as client:
        slow, fast = (client.create(name, SPEC) for name in ("slow", "fast"))
        with client.buffer(max_updates=40 * WIDTH) as buffer:
            window = KeyWindow(Gathered(buffer, slow.name), retained=60)
            for token in range(ROWS):
                window.push(positions[token : token + 1], keys[token : token + 1])
            buffer.flush()
            fast.update_rows(positions[-60:], keys[-60:])
            assert slow.snapshot().data == fast.snapshot().data


def test_reading_gives_what_the_model_gives_window_by_window() -> None:
    where = folder()
    text = read_text(read_tokenizer(where), 6 * WINDOW)
    model, head = Model.read(where), Head(1, 4)
    found = [tokens for _, seen in reading(model, text, (head,)) for tokens in seen.values()]
    values = np.concatenate([tokens.values for tokens in found])
    for number, window in enumerate(text.windows):
        alone = model.projections(window[None], (1,))[1].values[0, 4, 1:-1]
        part = values[number * WINDOW : (number + 1) * WINDOW]
        assert part == pytest.approx(alone, abs=2e-3)


def test_the_arrays_that_were_pushed_are_the_callers_again() -> None:
    keys, sink = keys_of(1), CoreSketch()
    window = KeyWindow(sink, 20)
    passing, places = np.empty((8, WIDTH), dtype=np.float16), np.empty(8, dtype=np.int64)
    for start in range(0, ROWS, 8):
        passing[:], places[:] = keys[start : start + 8], np.arange(start, start + 8)
        window.push(places, passing)
    passing[:], places[:] = 0, 0
    left = CoreSketch()
    left.update_rows(np.arange(ROWS - 20, ROWS, dtype=np.int64), keys[-20:])
    assert sink.snapshot() == left.snapshot()
    assert window.positions.tolist() == list(range(ROWS - 20, ROWS))


def test_what_could_not_be_taken_out_goes_with_the_next_push(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys, positions, sink = keys_of(2), np.arange(ROWS, dtype=np.int64), CoreSketch()
    window = KeyWindow(sink, 8)
    window.push(positions[:8], keys[:8])
    add = sink.update_rows

    def busy(row: I64, values: F16, *, operand: str = "A") -> None:
        if row[0] == 0:
            raise OverloadedError
        add(row, values, operand=operand)

    with monkeypatch.context() as patch:
        patch.setattr(sink, "update_rows", busy)
        with pytest.raises(OverloadedError):
            window.push(positions[8:16], keys[8:16])
    window.push(positions[16:20], keys[16:20])
    left = CoreSketch()
    left.update_rows(positions[12:20], keys[12:20])
    assert sink.snapshot() == left.snapshot()
