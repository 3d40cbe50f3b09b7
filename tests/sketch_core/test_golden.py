"""Version 1 of hashes and formats stays what it is, with vector extensions and without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sketch_core import batch as batches
from sketch_core import codec
from sketch_core.spec import Spec
from tests.golden import make_golden
from tests.sketch_core import reference
from tests.sketch_core.streams import sketch_of

NAMES = sorted(make_golden.REQUESTS) + sorted(make_golden.LATER)


@pytest.fixture(scope="module")
def plain_numpy() -> dict[str, Any]:
    """Everything golden, computed by a process whose numpy uses no vector extension."""
    enabled = make_golden.enabled_features()
    if not enabled:
        pytest.skip("numpy dispatches to no extension on this processor")
    done = subprocess.run(
        [sys.executable, "-m", "tests.golden.make_golden", "--print"],
        env={**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(enabled)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    printed: dict[str, Any] = json.loads(done.stdout)
    assert printed["numpy features"] == [], "the extensions were not switched off"
    return printed


def _check(name: str, data: bytes) -> None:
    """That a file is as committed; of JSON, which vectors are not."""
    stored = (make_golden.FOLDER / name).read_bytes()
    if name.endswith(".json"):
        left, right = json.loads(data), json.loads(stored)
        differing = [key for key in left.keys() | right.keys() if left.get(key) != right.get(key)]
        assert not differing, (name, differing)
    assert data == stored, name


FILES = [
    *(f"{name}-v1.json" for name in ("hashes", "logs", *make_golden.LATER)),
    *(f"{name}-v1.snapshot" for name in NAMES),
    "tenant-v1.backup",
]


@pytest.mark.parametrize("name", FILES)
def test_golden_files_agree(name: str) -> None:
    _check(name, make_golden.golden_files()[name])


@pytest.mark.parametrize("name", FILES)
def test_golden_files_agree_without_vector_extensions(
    name: str, plain_numpy: dict[str, Any]
) -> None:
    _check(name, bytes.fromhex(plain_numpy["files"][name]))


def test_every_golden_file_is_checked() -> None:
    committed = {path.name for path in make_golden.FOLDER.glob("*-v*")}
    assert committed == set(FILES) == set(make_golden.golden_files())


def test_golden_files_are_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script leaves a file that disagrees alone, names it and fails."""
    monkeypatch.setattr(make_golden, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["make_golden"])
    assert make_golden.main() == 0
    victim = tmp_path / "exact-v1.snapshot"
    victim.write_bytes(b"other")
    assert make_golden.main() == 1
    assert victim.read_bytes() == b"other"
    assert "exact-v1.snapshot does not agree" in capsys.readouterr().err


def _log(name: str) -> dict[str, Any]:
    file = name if name in make_golden.LATER else "logs"
    logs = json.loads((make_golden.FOLDER / f"{file}-v1.json").read_text())
    log: dict[str, Any] = logs[name]
    return log


def _golden_spec(name: str) -> Spec:
    return Spec.from_bytes(_log(name)["spec"].encode())


def _increments(name: str, spec: Spec) -> dict[str, list[reference.Increment]]:
    """The golden streams by operand, in the quanta of its cells."""
    main = spec.operands[0].name
    numbers = {
        main: [(i, 0, value) for i, value in make_golden.VECTOR_INCREMENTS.get(name, [])],
        "x": [(j, 0, value) for j, value in make_golden.X_INCREMENTS.get(name, [])],
    }
    rows = {main: make_golden.ROW_INCREMENTS.get(name, [])}
    entries = {main: make_golden.ENTRY_INCREMENTS.get(name, [])}
    if name in make_golden.LATER:
        rows, entries = make_golden.TENSOR_ROWS, make_golden.TENSOR_ENTRIES
    for operand, listed in rows.items():
        found = numbers.setdefault(operand, [])
        found += [(i, j, value) for i, values in listed for j, value in enumerate(values)]
    for operand, single in entries.items():
        numbers.setdefault(operand, []).extend(single)
    quanta: dict[str, list[reference.Increment]] = {}
    for operand, found in numbers.items():
        whole = [(i, j, value * 2**spec.quantum_bits) for i, j, value in found]
        if spec.collapsed and spec.x is not None:
            whole = [(i, 0, value * spec.x[j]) for i, j, value in whole]
        assert all(value == int(value) for _, _, value in whole)
        if whole:
            quanta[operand] = [(i, j, int(value)) for i, j, value in whole]
    return quanta


@pytest.mark.parametrize("name", NAMES)
def test_golden_snapshot_decodes_to_the_documented_state(name: str) -> None:
    """Cells as the reference computes them, and the same bytes when written again."""
    spec = _golden_spec(name)
    data = (make_golden.FOLDER / f"{name}-v1.snapshot").read_bytes()
    sketch = codec.from_snapshot(data, spec)
    assert sketch.exact
    arrays, streamed = sketch.arrays(), _increments(name, spec)
    assert list(arrays) == [operand.name for operand in spec.operands if operand.name in streamed]
    for operand, increments in streamed.items():
        dense = spec.operand(operand).sizes is None
        cells = reference.dense_cells if dense else reference.sketch_cells
        for array, known in cells(spec, increments, operand).items():
            kept = arrays[operand][array]
            assert kept.reshape(known.shape).tolist() == known.tolist(), (operand, array)
    assert codec.to_snapshot(sketch) == data


@pytest.mark.parametrize("name", NAMES)
def test_golden_batches_fold_to_the_golden_snapshot(name: str) -> None:
    """A log of version 1 still means what it meant."""
    spec = _golden_spec(name)
    logged = [batches.decode(bytes.fromhex(data)) for data in _log(name)["batches"]]
    assert [batches.encode(batch).hex() for batch in logged] == _log(name)["batches"]
    data = (make_golden.FOLDER / f"{name}-v1.snapshot").read_bytes()
    assert codec.to_snapshot(sketch_of(spec, logged)) == data
    assert codec.to_snapshot(sketch_of(spec, reversed(logged))) == data


@pytest.mark.parametrize("name", NAMES)
def test_golden_spec_is_read_and_written_alike(name: str) -> None:
    assert _golden_spec(name).to_bytes().decode() == _log(name)["spec"]


def test_a_golden_state_still_answers() -> None:
    """Norms and estimates of a state of version 1, which default sizes do not touch."""
    data = (make_golden.FOLDER / "exact-v1.snapshot").read_bytes()
    sketch = codec.from_snapshot(data, _golden_spec("exact"))
    # Rows (1, -2), 0, 0, (1/16, 0), (0, 4) and x = (0, 1.25).
    assert sketch.estimate(np.arange(5, dtype=np.uint64))[0].value.tolist() == [-2.5, 0, 0, 0, 5]
    assert set(sketch.sample(5)[0].index.tolist()) == {0, 4}
    assert sketch.norm()[0].norm == pytest.approx(np.hypot(2.5, 5.0), rel=1e-14)
