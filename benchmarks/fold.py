"""Nanoseconds an update: sketches beside DataSketches, the numpy floor, and a dense matrix.

    python -m benchmarks.fold [--small] [--json FILE] [--write]

Each row is one pair, timed in turn over the same updates. *numpy floor*: one multiply-shift
hash and one scatter a row of cells, as many rows and cells as the sketch has: no signs,
no exponentials, nothing checked. *DataSketches*: count_min_sketch of PyPI's `datasketches`,
5 rows of 2048, its `update` called from a Python loop, because it refuses arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import datasketches
import numpy as np

from benchmarks.measuring.report import Benchmark, Column, Findings, Row, Size, Target, run
from benchmarks.measuring.streams import index_batch, row_batch, spec_of
from benchmarks.measuring.timing import interleaved, ratio
from sketch_core.count_sketch import CHUNK_NUMBERS, CountSketch
from sketch_core.hashing import I64, U64
from sketch_core.sketch import new_sketch
from sketch_core.spec import Spec

BATCH: Final = 10_000
ROWS_IN_A_BATCH: Final = 512
D: Final = 64
#: The shape in which count-min sketches are usually quoted.
DEPTH, WIDTH = 5, 2048

FLOOR: Final = "numpy floor"
PEER: Final = "DataSketches"
DENSE: Final = "dense A[rows] += values"


def numpy_floor(widths: Sequence[int], index: U64, amounts: I64) -> None:
    """Hash and scatter, nothing else: what a row of each width costs at least."""
    for row, width in enumerate(widths):
        cells = np.zeros(width, dtype=np.int64)
        bucket = (index * np.uint64(0x9E3779B97F4A7C15 + 2 * row)) >> np.uint64(32)
        bucket *= np.uint64(width)
        bucket >>= np.uint64(32)
        np.add.at(cells, bucket.view(np.int64), amounts)


def row_widths(spec: Spec) -> list[int]:
    """The width of every row of cells that one update of a vector touches."""
    sizes = spec.sizes
    assert sizes is not None
    levels = [sizes.upper_width] * (sizes.levels - 1) + [sizes.width, sizes.estimate_width]
    return [width for width in levels for _ in range(sizes.depth)]


def count_min_loop(index: Sequence[int], amounts: Sequence[float]) -> Callable[[], None]:
    """One pass over the updates through DataSketches, whose interface takes one at a time."""
    update = datasketches.count_min_sketch(DEPTH, WIDTH).update

    def loop() -> None:
        for item, weight in zip(index, amounts, strict=True):
            update(item, weight)

    return loop


def table_alone(seed: int, index: U64, amounts: I64) -> Callable[[], None]:
    """A CountSketch of 5 × 2048 by itself, added to as sketches do: signs, but no exponentials."""
    sketch = CountSketch(seed, 0, DEPTH, WIDTH)
    cells = np.zeros((sketch.cells, 1), dtype=np.int64)

    def add() -> None:
        for start in range(0, index.size, CHUNK_NUMBERS):
            part = slice(start, start + CHUNK_NUMBERS)
            sketch.add(cells, index[part], None, amounts[part])

    return add


def _vector_cases(size: Size) -> list[tuple[str, int, dict[str, Callable[[], Any]]]]:
    """(case, cells an update, works by name, ours first)."""
    rng = np.random.default_rng(size.seed)
    out: list[tuple[str, int, dict[str, Callable[[], Any]]]] = []
    for bits in (20,) if size.small else (20, 40):
        spec = spec_of("vector", {"n": 1 << bits}, size.seed)
        batch = index_batch(spec, rng.integers(0, spec.n, BATCH), rng.normal(size=BATCH))
        widths = row_widths(spec)
        works: dict[str, Callable[[], Any]] = {
            "ours": partial(new_sketch(spec).apply, [batch]),
            FLOOR: partial(numpy_floor, widths, batch.index, batch.quanta),
        }
        out.append((f"vector, n = 2^{bits}, defaults", len(widths), works))
    spec = spec_of("vector", {"n": 1 << 13}, size.seed, width=WIDTH)
    batch = index_batch(spec, rng.integers(0, spec.n, BATCH), rng.normal(size=BATCH))
    loop = count_min_loop(batch.index.tolist(), np.abs(batch.quanta).astype(float).tolist())
    floor = partial(numpy_floor, [WIDTH] * DEPTH, batch.index, batch.quanta)
    out.append((
        "CountSketch 5 × 2048 alone", DEPTH,
        {"ours": table_alone(size.seed, batch.index, batch.quanta), PEER: loop, FLOOR: floor},
    ))  # fmt: skip
    widths = row_widths(spec)
    out.append((
        "vector, n = 2^13, 5 × 2048 and the unscaled table", len(widths),
        {
            "ours": partial(new_sketch(spec).apply, [batch]),
            PEER: loop,
            FLOOR: partial(numpy_floor, widths, batch.index, batch.quanta),
        },
    ))  # fmt: skip
    return out


def _matrix_case(size: Size, n: int) -> tuple[str, int, dict[str, Callable[[], Any]]]:
    rng = np.random.default_rng(size.seed)
    spec = spec_of("matrix", {"n": n, "d": D}, size.seed)
    rows = rng.choice(n, ROWS_IN_A_BATCH, replace=False)
    values = rng.normal(size=(ROWS_IN_A_BATCH, D))
    batch = row_batch(spec, "A", rows, values)
    dense = np.zeros((n, D))

    def add() -> None:
        dense[rows] += values  # the rows differ, or this would lose some

    case = f"matrix rows, n = {n:,}, d = {D}, a number"
    cells = len(row_widths(spec))
    return case, cells, {"ours": partial(new_sketch(spec).apply, [batch]), DENSE: add}


def measure(size: Size) -> Findings:
    """Every case beside each of its peers."""
    cases = [(*case, BATCH) for case in _vector_cases(size)]
    matrix = _matrix_case(size, 10_000 if size.small else 1_000_000)
    cases.append((*matrix, ROWS_IN_A_BATCH * D))
    rows: list[Row] = []
    for case, cells, works, updates in cases:
        times = interleaved(works, size.rounds_of(101), case)
        for peer in list(works)[1:]:
            middle, low, high = ratio(times["ours"], times[peer])
            rows.append({
                "case": case,
                "cells": cells,
                "peer": peer,
                "ours_ns": times["ours"].median / updates * 1e9,
                "peer_ns": times[peer].median / updates * 1e9,
                "ratio": middle,
                "ratio_low": low,
                "ratio_high": high,
            })  # fmt: skip
    by_peer = {(row["case"], row["peer"]): row["ratio"] for row in rows}
    names = [case for case, *_ in cases]
    alone, whole = names[-3], names[-2]
    targets = [
        Target("a default vector sketch over the numpy floor of its cells", "times",
               2.5, by_peer[names[0], FLOOR]),
        Target("5 × 2048 alone, DataSketches over it", "times",
               3.0, 1.0 / by_peer[alone, PEER], at_least=True),
        Target("a whole vector sketch of 5 × 2048, DataSketches over it", "times",
               3.0, 1.0 / by_peer[whole, PEER], at_least=True),
    ]  # fmt: skip
    return Findings(rows, targets)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Nanoseconds of ours and the peer, side by side, a pair for each row."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    place = np.arange(len(rows))[::-1]
    figure, axes = plt.subplots(figsize=(8.0, 0.5 * len(rows) + 1.0), layout="constrained")
    axes.barh(place + 0.2, [row["ours_ns"] for row in rows], 0.38, label="sketchd")
    axes.barh(place - 0.2, [row["peer_ns"] for row in rows], 0.38, color="0.7", label="peer")
    for where, row in zip(place, rows, strict=True):
        axes.annotate(
            f"×{row['ratio']:.2f}", (max(row["ours_ns"], row["peer_ns"]), where),
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=7,
        )  # fmt: skip
    axes.set_yticks(place, [f"{row['case']}\nbeside {row['peer']}" for row in rows], fontsize=7)
    axes.set_xlabel("ns an update (of one number), medians; × ours over the peer's")
    axes.margins(x=0.1)
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=130)
    plt.close(figure)


BENCHMARK: Final = Benchmark(
    name="fold",
    about=(__doc__ or "").splitlines()[0],
    caveats=(
        f"Batches of {BATCH:,} updates ({ROWS_IN_A_BATCH} rows for the matrix), applied again and "
        "again: tables and batch stay in the caches of the processor, for all sides.",
        "Updates are quantised and validated already; a request pays for that as well.",
        "count_min_sketch adds where its user wants |y| itself: no signs, no deletions below "
        "zero, nothing sampled. The Python loop is most of its time: from C++ it is faster.",
        "The dense matrix keeps a million times 64 numbers and answers by reading all of them.",
    ),
    columns=(
        Column("case", "case"),
        Column("cells an update", "cells"),
        Column("sketchd, ns", "ours_ns", "{:.3g}"),
        Column("peer", "peer"),
        Column("peer, ns", "peer_ns", "{:.3g}"),
        Column("ratio", "ratio", "{:.2f}"),
        Column("from", "ratio_low", "{:.2f}"),
        Column("to", "ratio_high", "{:.2f}"),
    ),
    measure=measure,
    plot=plot,
    peers=("datasketches",),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.fold`."""
    run(BENCHMARK, arguments)


if __name__ == "__main__":
    main()
