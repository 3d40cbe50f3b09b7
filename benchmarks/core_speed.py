"""How fast the core folds and samples, beside plain numpy in the same run.

    python -m benchmarks.core_speed [--quick] [--output DIR]

*fold*: nanoseconds an update of a default vector sketch, beside the least that
numpy can do for as many cells (one multiply-shift hash and one scatter a row,
no signs, no exponentials). Both take the best of interleaved rounds: machines
are shared, so the ratio is what to quote. *sample*: milliseconds for 16
coordinates as n grows, median and 95th percentile. *dense*: a query of a matrix
sketch beside one matrix-vector product over the dense keys.

Prints tables, and with --output writes JSON and a plot.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from sketch_core.batch import Batch, Columns, quantise
from sketch_core.linear_sketch import LinearSketch
from sketch_core.resolve import resolve
from sketch_core.spec import Spec

BATCH: Final = 10_000
SEED: Final = 1


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def vector_spec(n: int, samples: int = 16) -> Spec:
    """A default vector sketch."""
    return resolve(
        {
            "kind": "vector",
            "shape": {"n": n},
            "method": "sketch",
            "samples": samples,
            "seed": SEED,
        }
    )


def vector_batch(spec: Spec, rng: np.random.Generator, size: int = BATCH) -> Batch:
    """Gaussian increments of random coordinates."""
    index = rng.integers(0, spec.n, size)
    batch, _ = quantise(spec, Columns("y", index=index, delta=rng.normal(size=size)))
    return batch


def numpy_floor(rows: int, width: int, index: np.ndarray, amounts: np.ndarray) -> None:
    """Hash and scatter, nothing else: what a table of `rows` rows costs at least."""
    cells = np.zeros(rows * width, dtype=np.int64)
    for row in range(rows):
        bucket = (index * np.uint64(0x9E3779B97F4A7C15 + 2 * row)) >> np.uint64(32)
        bucket *= np.uint64(width)
        bucket >>= np.uint64(32)
        np.add.at(cells[row * width : (row + 1) * width], bucket.view(np.int64), amounts)


def fold(rounds: int) -> dict[str, Any]:
    """Best nanoseconds an update of the sketch and of the floor, and their ratio."""
    spec = vector_spec(1 << 20)
    assert spec.sizes is not None
    sketch = LinearSketch(spec)
    batch = vector_batch(spec, np.random.default_rng(SEED))
    rows = spec.sizes.depth * (spec.sizes.levels + 1)
    sketched: list[float] = []
    floor: list[float] = []
    for _ in tqdm(range(rounds), desc="fold", leave=False, file=sys.stderr):
        sketched.append(seconds(lambda: sketch.apply([batch])))
        floor.append(
            seconds(lambda: numpy_floor(rows, spec.sizes.width, batch.index, batch.quanta))  # type: ignore[union-attr]
        )
    ours, least = min(sketched) / BATCH * 1e9, min(floor) / BATCH * 1e9
    return {
        "cells_an_update": rows,
        "sketch_ns": ours,
        "numpy_floor_ns": least,
        "ratio": ours / least,
    }


def sample(rounds: int, bits: Sequence[int]) -> list[dict[str, Any]]:
    """Latency of 16 coordinates for n = 2^bits with up to 2^18 touched."""
    out = []
    for size in tqdm(bits, desc="sample", leave=False, file=sys.stderr):
        spec = vector_spec(1 << size)
        sketch = LinearSketch(spec)
        rng = np.random.default_rng(SEED)
        for _ in range(26):
            sketch.apply([vector_batch(spec, rng)])
        sketch.sample(16)
        times = sorted(seconds(functools.partial(sketch.sample, 16)) for _ in range(rounds))
        out.append(
            {
                "n_bits": size,
                "median_ms": statistics.median(times) * 1e3,
                "p95_ms": times[int(0.95 * len(times))] * 1e3,
                "state_bytes": spec.memory_bytes,
            }
        )
    return out


def dense(rounds: int, n: int, d: int) -> dict[str, Any]:
    """A matrix sketch and the dense matrix it stands for, one query each, interleaved."""
    spec = resolve({"kind": "matrix", "shape": {"n": n, "d": d}, "method": "sketch", "seed": SEED})
    sketch = LinearSketch(spec)
    rng = np.random.default_rng(SEED)
    keys = rng.normal(size=(n, d))
    rows = np.arange(n)
    step = 1 << 14
    for start in tqdm(range(0, n, step), desc="dense", leave=False, file=sys.stderr):
        part = slice(start, start + step)
        batch, _ = quantise(spec, Columns("A", row=rows[part], values=keys[part]))
        sketch.apply([batch])
    query = rng.normal(size=(1, d))

    def exact() -> None:
        y = keys @ query[0]
        race = y * y / rng.exponential(size=n)
        np.argpartition(race, n - 16)

    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(seconds(lambda: sketch.sample(16, queries=query)))
        theirs.append(seconds(exact))
    return {
        "n": n,
        "d": d,
        "sketch_ms": statistics.median(ours) * 1e3,
        "dense_ms": statistics.median(theirs) * 1e3,
        "sketch_bytes": spec.memory_bytes,
        "dense_bytes": keys.nbytes,
    }


def plot(results: dict[str, Any], path: Path) -> None:
    """Latency and state against n."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    points = results["sample"]
    bits = [point["n_bits"] for point in points]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    left.plot(bits, [point["median_ms"] for point in points], "o-", label="median")
    left.plot(bits, [point["p95_ms"] for point in points], "--", label="95th percentile")
    left.set(xlabel="log2 n", ylabel="ms for 16 coordinates", ylim=(0, None))
    left.legend(frameon=False)
    right.semilogy(bits, [point["state_bytes"] for point in points], "o-", label="sketch")
    right.semilogy(bits, [8.0 * 2**size for size in bits], "--", label="dense float64")
    right.set(xlabel="log2 n", ylabel="bytes")
    right.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.core_speed`."""
    parser = argparse.ArgumentParser(prog="core_speed", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, seconds")
    parser.add_argument("--output", type=Path, help="directory for core_speed.json and .png")
    chosen = parser.parse_args(arguments)
    rounds = 5 if chosen.quick else 60
    bits = (10, 20, 40) if chosen.quick else (10, 13, 15, 16, 18, 20, 25, 30, 35, 40)
    results: dict[str, Any] = {
        "seed": SEED,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "fold": fold(rounds),
        "sample": sample(rounds, bits),
        "dense": dense(5, 20_000 if chosen.quick else 1_000_000, 64),
    }
    fold_result, dense_result = results["fold"], results["dense"]
    print(f"numpy {np.__version__}, Python {platform.python_version()}, seed {SEED}")
    print(
        f"fold    {fold_result['sketch_ns']:.0f} ns an update of {fold_result['cells_an_update']} "
        f"cells; numpy floor {fold_result['numpy_floor_ns']:.0f} ns; "
        f"ratio {fold_result['ratio']:.2f}"
    )
    for point in results["sample"]:
        print(
            f"sample  n = 2^{point['n_bits']:<3} {point['median_ms']:6.2f} ms median "
            f"{point['p95_ms']:6.2f} ms p95  {point['state_bytes'] / 1024:7.0f} KiB"
        )
    print(
        f"dense   n = {dense_result['n']}, d = {dense_result['d']}: sketch "
        f"{dense_result['sketch_ms']:.1f} ms, {dense_result['sketch_bytes'] / 1e6:.1f} MB; dense "
        f"{dense_result['dense_ms']:.1f} ms, {dense_result['dense_bytes'] / 1e6:.1f} MB; "
        f"{dense_result['dense_ms'] / dense_result['sketch_ms']:.1f} times faster, "
        f"{dense_result['dense_bytes'] / dense_result['sketch_bytes']:.1f} times smaller"
    )
    if chosen.output:
        chosen.output.mkdir(parents=True, exist_ok=True)
        (chosen.output / "core_speed.json").write_text(json.dumps(results, indent=2) + "\n")
        plot(results, chosen.output / "core_speed.png")


if __name__ == "__main__":
    main()
