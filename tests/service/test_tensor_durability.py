"""A tensor's log, checkpoints and restarts: what was acknowledged is there, bit for bit."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from service.settings import Settings
from sketch_core import to_snapshot
from tests.service.http_rig import Service, running
from tests.service.tensor_rig import SKETCH, Operands, X, fill, filled, ok


def compactions(service: Service) -> float:
    """How many ended well."""
    for line in service.client.get("/metrics").text.splitlines():
        if line.startswith('sketchd_compactions_total{outcome="ok"}'):
            return float(line.rpartition(" ")[2])
    return 0.0


def test_a_tensor_survives_compactions_and_restarts(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    settings = Settings(
        store=f"sqlite:///{tmp_path / 'sketches.db'}", compact_min_bytes=1, compact_ratio=0.01
    )
    operands = Operands(rng)
    updates: list[dict[str, Any]] = []
    for _ in range(2):
        updates += [operands.rows("A1"), operands.entries("A1"), operands.entries("A2")]
    updates.append({"operand": "X", "row": np.arange(4), "values": np.array(X)})
    with running(settings) as service:
        service.make("t", SKETCH)
        fill(service, "t", updates[:4])
        ok(service.post("/v1/sketches/t/merge", {"source": "t", "operands": ["A2"]}))
        deadline = time.monotonic() + 20
        while not compactions(service):
            assert time.monotonic() < deadline, "nothing was compacted"
            time.sleep(0.01)
        fill(service, "t", updates[4:])
    own = filled(SKETCH, updates[:4])
    own.merge(own.copy(), {"A2"})
    rest = filled(SKETCH, updates[4:])
    for operand in ("A1", "A2", "X"):
        own.merge(rest, {operand})
    with running(settings) as service:
        assert service.client.get("/v1/sketches/t/snapshot").content == to_snapshot(own)
        info = service.info("t")
        assert info["updates"] == sum(len(update["row"]) for update in updates)
        drawn = ok(service.post("/v1/sketches/t/samples", {"count": 8}))
        [sample] = own.sample(8)
        assert (drawn["index"], drawn["value"]) == (sample.index.tolist(), sample.value.tolist())
