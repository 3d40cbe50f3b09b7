"""Pairs of a real head while W moves: the operands are what the comparison says they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.attention.model import Model, folder, read_tokenizer
from service.attention.pairs import HEAD, IMITATED, STEPS, PairsRun, imitation, read_input
from service.attention.size import PairsSize
from service.attention.text import WINDOW, Text, read_text
from service.client import Client
from service.demo.pairs.input import Input
from tests.client import rig

SIZE = PairsSize(windows=4, evicted=1, sketches=2, samples=4)


@pytest.fixture(scope="module")
def text() -> Text:
    return read_text(read_tokenizer(folder()), 5 * WINDOW)


@pytest.fixture(scope="module")
def data(text: Text) -> Input:
    return read_input(Model.read(folder()), text, SIZE)


def test_the_operands_are_the_last_windows_of_the_text(data: Input, text: Text) -> None:
    assert data.keys.shape == (4 * WINDOW, 32)
    assert data.queries.shape == (WINDOW, 32)
    last = Model.read(folder()).projections(text.windows[-1:], (HEAD.layer,))[HEAD.layer]
    assert data.queries == pytest.approx(last.queries[0, HEAD.head, 1:-1], abs=5e-3)
    assert data.keys[-WINDOW:] == pytest.approx(last.keys[0, HEAD.head, 1:-1], abs=5e-3)
    assert data.deleted.tolist() == list(range(WINDOW))
    assert sorted(data.key_order.tolist()) == list(range(4 * WINDOW))
    assert set(data.key_order[:WINDOW].tolist()) == set(range(WINDOW))


def test_w_imitates_as_well_as_a_matrix_can(rng: np.random.Generator) -> None:
    """Where the other head is a linear image of this one, W is that image, and no rounding."""
    q, k = rng.normal(size=(2, 300, 8)).astype(np.float16)
    left, right = rng.normal(size=(2, 8, 8))
    queries = {HEAD: q, IMITATED: (q.astype(np.float64) @ left).astype(np.float16)}
    keys = {HEAD: k, IMITATED: (k.astype(np.float64) @ right).astype(np.float16)}
    assert imitation(queries, keys) == pytest.approx(left @ right.T, abs=0.02)


@pytest.mark.parametrize("transport", rig.TRANSPORTS)
def test_after_all_its_moves_a_sketch_equals_one_made_of_what_is_left(
    data: Input, transport: str
) -> None:
    """X goes there, back and there again in steps, tokens go; the bytes are those of the rest."""
    with rig.served() as service, Client(rig.url_of(service, transport)) as client:
        run = PairsRun(client, data, SIZE, seed=3, progress=False)
        kept = _Kept(client)
        collected = PairsRun(kept, data, SIZE, seed=3, progress=False).collect()  # type: ignore[arg-type]
        assert collected.numbers == 2 * (
            data.queries.size + data.keys.size + 32 * 32 * (1 + 3 * STEPS) + WINDOW * 32
        )
        assert [len(drawn.pairs) for drawn in collected.drawn] == [8] * 4
        for drawn in collected.drawn[2:]:
            assert (drawn.pairs[:, 1] >= WINDOW).all()
        fresh = client.create("fresh", run.spec(1))
        live = np.arange(WINDOW, len(data.keys))
        fresh.update_rows(np.arange(WINDOW), data.queries, operand="A1")
        fresh.update_rows(live, data.keys[live], operand="A2")
        x = data.cases[0].x
        fresh.update_rows(np.arange(32), x, operand="X")
        difference = data.cases[1].x - x
        for late in range(STEPS, 0, -1):
            share = late / (STEPS * (STEPS + 1) / 2)
            fresh.update_rows(np.arange(32), difference * share, operand="X")
        assert fresh.snapshot().data == kept.snapshots[-1]


class _Kept:
    """A client whose sketches leave their snapshot behind when they are deleted."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.snapshots: list[bytes] = []

    def create(self, name: str, spec: dict[str, Any]) -> Any:
        sketch, snapshots = self._client.create(name, spec), self.snapshots

        class Kept:
            """The sketch itself, but for its end."""

            def __getattr__(self, method: str) -> Any:
                return getattr(sketch, method)

            def delete(self) -> None:
                snapshots.append(sketch.snapshot().data)
                sketch.delete()

        return Kept()
