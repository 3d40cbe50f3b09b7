"""Write, or check, the golden files: what version 1 of hashes and formats does, frozen.

    python -m tests.golden.make_golden            write files that do not exist, check the others
    python -m tests.golden.make_golden --print    print everything as JSON, touch nothing

Nothing here overwrites a file. A golden file that no longer agrees means that
clients, logs and snapshots made with version 1 would be misread: undo the
change, or give hashes (spec.HASH_VERSION) or format (codec.VERSION) a new
number and the golden files of that number names of their own.

Hash words and cells are hexadecimal text, because JSON numbers end at 2^53;
floats are float.hex().
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from service.access_ports import Quota
from service.backup_file import BackupWriter, Head, SavedSketch
from sketch_core import codec, hashing, scaling, sizing
from sketch_core.batch import Batch, Columns, encode, quantise
from sketch_core.resolve import resolve
from sketch_core.sketch import Sketch, new_sketch
from sketch_core.spec import Spec

FOLDER = Path(__file__).parent

SEEDS = (0, 1, 20_251_003, (1 << 53) - 1, (1 << 64) - 1)
COORDINATES = (
    *range(5), 63, 64, 65, 4095, 1 << 16, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, 1 << 40,
    (1 << 53) + 1, 0x0123456789ABCDEF, 0x5555555555555555, 1 << 62, (1 << 63) - 1, 1 << 63,
    0xAAAAAAAAAAAAAAAA, (1 << 64) - 1,
)  # fmt: skip
#: Hash words at and around every end of the exponential: e = 0, e = ln 2, the largest e, and
#: of the intervals a scale is looked up by.
HASH_ENDS = (
    *range(5), 255, 1 << 10, (1 << 10) - 1, 1 << 11, 1 << 17, 1 << 18, 1 << 24, 1 << 37, 1 << 38,
    1 << 52, 1 << 53, (1 << 54) + 3, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 63) + 1,
    0x8008000000000000 - 1025, 0x8008000000000000 - 1, 0x8008000000000000, 0xB504F333F9DE6484,
    0x4AFB0CCC06219B7C, (1 << 64) - (1 << 53), (1 << 64) - (1 << 12),
    (1 << 64) - (1 << 11), (1 << 64) - (1 << 10) - 1, (1 << 64) - (1 << 10), (1 << 64) - 2,
    (1 << 64) - 1,
)  # fmt: skip
KEYS = ((1, 0, 0), (1, 0, 1), (1, 4095, 0), (2, 0, 0), (3, 0, 0), (3, 7, 1), (4, 0, 0),
        (4, 1 << 32, 0), (4, 3, 129))  # fmt: skip
WIDTHS = (1, 2, 7, 1000, 1 << 14, (1 << 14) + 1, 1 << 22)
POWERS = (1.0, 1.25, 1.5, 2.0)
CLIPS = (6, 26, 46)
SIZES_OF_N = (1, 2, 3, 1 << 13, 1 << 15, (1 << 15) + 1, 1 << 16, 1 << 20, 1_000_003, 1 << 40,
              (1 << 40) + 1, (1 << 63) - 1, 1 << 63)  # fmt: skip


def words(values: Any) -> list[str]:
    """Words as unsigned hexadecimal."""
    return [f"{int(value) & ((1 << 64) - 1):016x}" for value in np.asarray(values).ravel()]


def floats(values: Any) -> list[str]:
    return [float(value).hex() for value in np.asarray(values).ravel()]


def hash_vectors() -> dict[str, Any]:
    """What every hash and scale is, at chosen places."""
    coordinates = np.array(COORDINATES, dtype=np.uint64)
    ends = np.array(HASH_ENDS, dtype=np.uint64)
    seed = 20_251_003
    keys = {f"{s}/{p}/{r}/{i}": hashing.derive_key(s, p, r, i) for s in SEEDS for p, r, i in KEYS}
    buckets = {}
    for width in WIDTHS:
        for repetition, level in ((0, 0), (3, 8), (1 << 32, 0)):
            rows = hashing.BucketHash(seed, repetition, level, 7, width).addresses(coordinates)
            buckets[f"{width}/{repetition}/{level}"] = [
                [int(at) - row * width for at in places] for row, places in enumerate(rows)
            ]
    signs = hashing.SignHash(seed, 2, 135)
    words_of_signs = signs.words(coordinates)
    minus = [
        signs.negative(words_of_signs, cell, np.empty_like(coordinates)) for cell in range(135)
    ]
    races = {f"{p}/{c}": scaling.Race(seed, 1, p, c) for p in POWERS for c in CLIPS}
    repeat = scaling.Race(seed, 1, 2.0, 46)
    return {
        "keys": {name: words(key) for name, key in keys.items()},
        "mix": {name: words(hashing.mix(key, coordinates)) for name, key in keys.items()},
        "buckets": buckets,
        "signs": ["".join("-" if bit else "+" for bit in row) for row in minus],
        "exponential bits": words(repeat.bits(coordinates)),
        "exponentials": floats(scaling.exponentials(ends)),
        "scales of hash ends": {
            f"{p}/{c}": words(scaling.scales(ends, p, c)) for p in POWERS for c in CLIPS
        },
        "scales": {name: words(race.scales(coordinates)) for name, race in races.items()},
        "first gaps": {name: floats(race.first_gaps(coordinates)) for name, race in races.items()},
        "repeat gaps": [floats(row) for row in repeat.repeat_gaps(coordinates, 1, 6)],
        "quantum exponent": {str(p): scaling.quantum_exponent(p) for p in POWERS},
        "scale bits": {f"{p}/{c}": scaling.scale_bits(p, c) for p in POWERS for c in CLIPS},
        "clip bits": {str(n): scaling.clip_bits(n) for n in SIZES_OF_N},
        "level shifts": {str(n): list(sizing.level_shifts(n)) for n in SIZES_OF_N},
    }


# ---- sketches. Everything is given, so that no default can change them.

_TABLES = {"width": 8, "upper_width": 5, "estimate_width": 4, "depth": 3}
_COMMON = {
    "samples": 2, "repetitions": 2, "seed": 20_251_003, "magnitude": 1024.0, "quantum_bits": 4,
}  # fmt: skip
REQUESTS: dict[str, dict[str, Any]] = {
    "vector-p2": {"kind": "vector", "shape": {"n": 1 << 20}, "method": "sketch",
                  "distribution": {"power": 2.0}, **_COMMON, **_TABLES},
    "vector-p1": {"kind": "vector", "shape": {"n": 1 << 63}, "method": "sketch",
                  "distribution": {"power": 1.0}, **_COMMON, **_TABLES, "depth": 5},
    "matrix-rows": {"kind": "matrix", "shape": {"n": 1000, "d": 3}, "method": "sketch",
                    "distribution": {"power": 1.5}, **_COMMON, **_TABLES},
    "matrix-fixed-x": {"kind": "matrix", "shape": {"n": 70_001, "d": 3}, "method": "sketch",
                       "distribution": {"power": 2.0}, **_COMMON, **_TABLES,
                       "x": [0.5, -0.25, 3.0]},
    "exact": {"kind": "matrix", "shape": {"n": 5, "d": 2}, "method": "exact",
              "distribution": {"power": 2.0}, **_COMMON},
}  # fmt: skip
#: Kinds that came after the first golden files, each with a file of logs of its own.
LATER: dict[str, dict[str, Any]] = {
    "tensor": {"kind": "tensor", "shape": {"n1": 1 << 20, "n2": 1000, "d1": 2, "d2": 3},
               "method": "sketch", "distribution": {"power": 2.0}, **_COMMON, **_TABLES,
               "second_width": 6, "second_upper_width": 5},
}  # fmt: skip
TENSOR_ROWS: dict[str, list[tuple[int, list[float]]]] = {
    "A1": [(0, [1.0, -2.5]), ((1 << 20) - 1, [0.0, 1000.0])],
    "A2": [(0, [0.5, 0.0, -1.0]), (999, [3.0, 0.0625, 0.0])],
}
TENSOR_ENTRIES: dict[str, list[tuple[int, int, float]]] = {
    "A1": [(7, 1, 0.25)], "A2": [(999, 2, -8.0)], "X": [(1, 2, 2.0), (0, 0, -0.5), (1, 2, 0.0625)],
}  # fmt: skip

#: The increments of the vectors, also the reference's input: (coordinate, value).
VECTOR_INCREMENTS: dict[str, list[tuple[int, float]]] = {
    "vector-p2": [(0, 1.0), (7, -2.5), (1 << 19, 0.0625), ((1 << 20) - 1, 1000.0), (7, 0.5)],
    "vector-p1": [(0, -1.0), (1 << 40, 3.0), ((1 << 63) - 1, 12.5), (1 << 40, -0.0625)],
}
#: Rows of the matrices, increments of entries, and the streamed x.
ROW_INCREMENTS: dict[str, list[tuple[int, list[float]]]] = {
    "matrix-rows": [(0, [1.0, -2.0, 0.5]), (999, [0.0, 4.0, -0.0625]), (0, [0.25, 0.0, 0.0])],
    "matrix-fixed-x": [(0, [1.0, -2.0, 0.5]), (70_000, [0.0, 4.0, -0.0625])],
    "exact": [(0, [1.0, -2.0]), (4, [0.0, 4.0])],
}
ENTRY_INCREMENTS: dict[str, list[tuple[int, int, float]]] = {
    "matrix-rows": [(17, 2, -8.0), (999, 1, -4.0)],
    "matrix-fixed-x": [(17, 2, -8.0), (70_000, 0, 1.0)],
    "exact": [(2, 1, -8.0), (2, 1, 8.0), (3, 0, 0.0625)],
}
X_INCREMENTS: dict[str, list[tuple[int, float]]] = {
    "matrix-rows": [(0, 1.0), (2, -0.5)],
    "exact": [(1, 2.0), (1, -0.75)],
}


def batches_of(spec: Spec, name: str) -> list[Batch]:
    """The batches of a golden sketch."""
    columns = []
    if name in LATER:
        for operand, listed in TENSOR_ROWS.items():
            row, values = zip(*listed, strict=True)
            columns.append(Columns(operand, row=np.array(row), values=np.array(values)))
        for operand, single in TENSOR_ENTRIES.items():
            row, column, delta = zip(*single, strict=True)
            columns.append(
                Columns(operand, row=np.array(row), column=np.array(column), delta=np.array(delta))
            )
    if name in VECTOR_INCREMENTS:
        index, delta = zip(*VECTOR_INCREMENTS[name], strict=True)
        columns.append(Columns("y", index=np.array(index, np.uint64), delta=np.array(delta)))
    if name in ROW_INCREMENTS:
        row, values = zip(*ROW_INCREMENTS[name], strict=True)
        columns.append(Columns("A", row=np.array(row, np.uint64), values=np.array(values)))
        row, column, delta = zip(*ENTRY_INCREMENTS[name], strict=True)
        columns.append(
            Columns("A", row=np.array(row), column=np.array(column), delta=np.array(delta))
        )
    if name in X_INCREMENTS:
        index, delta = zip(*X_INCREMENTS[name], strict=True)
        columns.append(Columns("x", index=np.array(index), delta=np.array(delta)))
    return [quantise(spec, part)[0] for part in columns]


def golden_sketch(spec: Spec, name: str) -> Sketch:
    sketch = new_sketch(spec)
    sketch.apply(batches_of(spec, name))
    return sketch


def golden_files() -> dict[str, bytes]:
    """File name to bytes: hash vectors, snapshots, and the specs and batches of the snapshots."""
    files = {"hashes-v1.json": _text(hash_vectors())}
    for logs_name, requests in (
        ("logs", REQUESTS),
        *((name, {name: LATER[name]}) for name in LATER),
    ):
        logs = {}
        for name, request in requests.items():
            spec = resolve(request)
            files[f"{name}-v1.snapshot"] = codec.to_snapshot(golden_sketch(spec, name))
            logs[name] = {
                "spec": spec.to_bytes().decode(),
                "batches": [encode(batch).hex() for batch in batches_of(spec, name)],
            }
        files[f"{logs_name}-v1.json"] = _text(logs)
    files["tenant-v1.backup"] = golden_backup()
    return files


def golden_backup() -> bytes:
    """A backup with two of the sketches."""
    stream = io.BytesIO()
    quota = Quota(sketches=10, state_bytes=1 << 30, updates_per_second=1e6)
    writer = BackupWriter(stream, Head("acme", 1_700_000_000.5, quota))
    for name, request in (("exact", REQUESTS["exact"]), ("tensor", LATER["tensor"])):
        spec = resolve(request)
        dense = name == "exact"
        writer.add(
            SavedSketch(
                name=name,
                created_at=1_600_000_000.25,
                ttl_seconds=3600.0 if dense else None,
                state_bytes=spec.memory_bytes,
                sealed=frozenset({"A", "x"} if dense else ()),
                updates=7 if dense else 9,
                underflowed=1 if dense else 0,
                exact=True,
                spec=spec.to_bytes(),
                request=json.dumps(request, sort_keys=True).encode(),
                state=codec.to_snapshot(golden_sketch(spec, name)),
            )
        )
    writer.finish()
    return stream.getvalue()


def _text(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=0).encode() + b"\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="write or check the golden files of version 1")
    parser.add_argument("--print", action="store_true", help="print all as JSON instead")
    if parser.parse_args().print:
        everything = {
            "files": {name: data.hex() for name, data in golden_files().items()},
            "numpy features": enabled_features(),
        }
        json.dump(everything, sys.stdout)
        return 0
    disagree = 0
    for name, data in golden_files().items():
        path = FOLDER / name
        if not path.exists():
            path.write_bytes(data)
            print(f"wrote {name}")
        elif path.read_bytes() != data:
            print(f"{name} does not agree with this code, and is not overwritten", file=sys.stderr)
            disagree += 1
    return 1 if disagree else 0


def enabled_features() -> list[str]:
    """The processor features numpy would dispatch to."""
    # numpy names them only in this private module; its public report is prose.
    compiled: Any = importlib.import_module("numpy._core._multiarray_umath")
    features: dict[str, bool] = compiled.__cpu_features__
    return [name for name in compiled.__cpu_dispatch__ if features.get(name)]


if __name__ == "__main__":
    sys.exit(main())
