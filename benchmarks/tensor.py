"""Tensor sketches: fold, bytes and latency for n1 = n2 = 10^3 to 10^6, beside dense operands.

    python -m benchmarks.tensor [--small] [--json FILE] [--write]

Two sketches at their defaults, one made for a single pair and one for 16, each asked for as
many; X, 64 × 64, comes with the query. *Dense* keeps A1 and A2 in float64: energies of the
rows of Y = A1 X A2ᵀ from A2ᵀA2, which is kept until A2 changes, then one product of A2 with
the chosen rows. Timed in turn. *first* is the question after an update, when what
was derived from A1 and A2 has to be made again; the sketch does so, and the dense
A2ᵀA2 is made again too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.measuring.report import Benchmark, Column, Findings, Row, Size, Target, run
from benchmarks.measuring.streams import (
    F64,
    fill_rows,
    heavy_tailed_rows,
    no_rows,
    row_batch,
    spec_of,
)
from benchmarks.measuring.timing import interleaved
from sketch_core.sketch import Sketch, new_sketch

D: Final = 64
ROWS: Final = (1_000, 10_000, 100_000, 1_000_000)
SMALL_ROWS: Final = (500, 2_000)
COUNTS: Final = (1, 16)
FOLDED_ROWS: Final = 256
#: By count: bytes, and milliseconds of a question.
TARGET_BYTES: Final = {1: 16e6, 16: 96e6}
TARGET_MS: Final = {1: 20.0, 16: 60.0}


class DenseOperands:
    """A1 and A2 as they are, and A2ᵀA2 from the first question after a change on."""

    def __init__(self, first: F64, second: F64) -> None:
        self.first = first
        self.second = second
        self.gram: F64 | None = None

    def draw(self, x: F64, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
        """`count` pairs with replacement, each with probability Y[i1, i2]² / ‖Y‖_F²."""
        if self.gram is None:
            self.gram = self.second.T @ self.second
        energies = np.einsum("ij,ij->i", self.first @ (x @ self.gram @ x.T), self.first)
        sums = np.cumsum(np.maximum(energies, 0.0))
        chosen = np.searchsorted(sums, rng.random(count) * sums[-1], side="right")
        rows = self.second @ (self.first[chosen] @ x).T
        columns = np.cumsum(rows * rows, axis=0)
        return [
            (int(i1), int(np.searchsorted(column, rng.random() * column[-1], side="right")))
            for i1, column in zip(chosen, columns.T, strict=True)
        ]

    def draw_first(self, x: F64, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
        """The same after an update of A2."""
        self.gram = None
        return self.draw(x, count, rng)


def _sample_first(sketch: Sketch, count: int, x: F64) -> object:
    """A question after an update of both operands has dropped what was derived."""
    sketch.apply([no_rows(sketch.spec, name) for name in ("A1", "A2")])
    return sketch.sample(count, queries=x)


def _fold(sketch: Sketch, dense: DenseOperands, size: Size) -> dict[str, float]:
    """Microseconds to fold a row of A1, one of A2, and to add one to a dense operand."""
    rng = np.random.default_rng(size.seed)
    rows = rng.choice(dense.first.shape[0], FOLDED_ROWS, replace=False)
    values = rng.normal(size=(FOLDED_ROWS, D))
    scratch = np.zeros_like(dense.first)

    def add() -> None:
        scratch[rows] += values

    copied = sketch.copy()
    works: dict[str, Callable[[], Any]] = {
        name: partial(copied.apply, [row_batch(sketch.spec, name, rows, values)])
        for name in ("A1", "A2")
    }
    times = interleaved(works | {"dense": add}, size.rounds_of(9), "folding")
    return {name: each.median / FOLDED_ROWS * 1e6 for name, each in times.items()}


def _row(n: int, count: int, dense: DenseOperands, size: Size) -> Row:
    rng = np.random.default_rng((size.seed, n, count))
    spec = spec_of("tensor", {"n1": n, "n2": n, "d1": D, "d2": D}, size.seed, samples=count)
    sketch = new_sketch(spec)
    fill_rows(sketch, "A1", dense.first)
    fill_rows(sketch, "A2", dense.second)
    x = rng.normal(size=(1, D, D))
    works: dict[str, Callable[[], Any]] = {
        "sketch": partial(sketch.sample, count, queries=x),
        "dense": partial(dense.draw, x[0], count, rng),
        "sketch_first": partial(_sample_first, sketch, count, x),
        "dense_first": partial(dense.draw_first, x[0], count, rng),
    }
    rounds = size.rounds_of(7 if n > 100_000 else 21)
    warm = interleaved(
        {name: works[name] for name in ("sketch", "dense")}, rounds, f"n = {n:,}, {count}"
    )
    first = interleaved(
        {name: works[name] for name in ("sketch_first", "dense_first")}, rounds, "after an update"
    )
    fold = _fold(sketch, dense, size)
    (answer,) = sketch.sample(count, queries=x)
    dense_bytes = dense.first.nbytes + dense.second.nbytes
    return {
        "n": n,
        "d": D,
        "count": count,
        "served": int(answer.index.shape[0]),
        "sketch_ms": warm["sketch"].median * 1e3,
        "dense_ms": warm["dense"].median * 1e3,
        "faster": warm["dense"].median / warm["sketch"].median,
        "sketch_first_ms": first["sketch_first"].median * 1e3,
        "dense_first_ms": first["dense_first"].median * 1e3,
        "fold_first_us": fold["A1"],
        "fold_second_us": fold["A2"],
        "fold_dense_us": fold["dense"],
        "sketch_bytes": spec.memory_bytes,
        "dense_bytes": dense_bytes,
        "smaller": dense_bytes / spec.memory_bytes,
    }


def measure(size: Size) -> Findings:
    """One row for each n and count."""
    rows: list[Row] = []
    for n in SMALL_ROWS if size.small else ROWS:
        rng = np.random.default_rng((size.seed, n))
        dense = DenseOperands(heavy_tailed_rows(n, D, rng), heavy_tailed_rows(n, D, rng))
        rows += [_row(n, count, dense, size) for count in COUNTS]
    targets = []
    for row in rows[-len(COUNTS) :]:
        count, n = row["count"], row["n"]
        what = f"{count} of n1 = n2 = {n:,}"
        targets += [
            Target(what, "MB", TARGET_BYTES[count] / 1e6, row["sketch_bytes"] / 1e6),
            Target(what, "ms", TARGET_MS[count], row["sketch_ms"]),
            Target(f"{what}, after an update", "ms", TARGET_MS[count], row["sketch_first_ms"]),
        ]
    return Findings(rows, targets)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Latency and bytes against n, a line for each count."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 3.8), layout="constrained")
    for color, count in zip(("C0", "C1"), COUNTS, strict=True):
        of_count = [row for row in rows if row["count"] == count]
        n = [row["n"] for row in of_count]
        for field, mark, label in (
            ("sketch_ms", "o-", f"sketchd, {count}"),
            ("sketch_first_ms", "o:", f"sketchd, {count}, after an update"),
            ("dense_ms", "--", f"dense, {count}"),
        ):
            left.loglog(n, [row[field] for row in of_count], mark, color=color, label=label)
        right.loglog(
            n, [row["sketch_bytes"] for row in of_count], "o-", color=color,
            label=f"sketchd, {count}",
        )  # fmt: skip
        left.axhline(TARGET_MS[count], color=color, lw=0.6, alpha=0.6)
        right.axhline(TARGET_BYTES[count], color=color, lw=0.6, alpha=0.6)
    dense = rows[:: len(COUNTS)]
    right.loglog([row["n"] for row in dense], [row["dense_bytes"] for row in dense], "--",
                 color="0.4", label="dense A1 and A2")  # fmt: skip
    left.set(xlabel="n1 = n2", ylabel="ms a question (thin: targets)")
    right.set(xlabel="n1 = n2", ylabel="bytes (thin: targets)")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=130)
    plt.close(figure)


BENCHMARK: Final = Benchmark(
    name="tensor",
    about=(__doc__ or "").splitlines()[0],
    caveats=(
        "Rows of A1 and A2 are Gaussian, of lengths that vary by an exponential variable.",
        "BLAS has one thread on both sides, as in the service. With more, and other work on the "
        "machine, the first question after an update took several times as long.",
        "`first` is after an update of both operands; streams ask mostly such questions.",
        "A sketch for 16 pairs keeps 16 tables of A2, so that pairs are independent: a row of "
        "A2 is folded into each.",
    ),
    columns=(
        Column("n1 = n2", "n", "{:,}"),
        Column("pairs", "count"),
        Column("served", "served"),
        Column("ms", "sketch_ms", "{:.1f}"),
        Column("dense, ms", "dense_ms", "{:.3g}"),
        Column("faster", "faster", "{:.2g}"),
        Column("first, ms", "sketch_first_ms", "{:.1f}"),
        Column("dense first, ms", "dense_first_ms", "{:.3g}"),
        Column("fold A1, µs a row", "fold_first_us", "{:.1f}"),
        Column("fold A2, µs", "fold_second_us", "{:.1f}"),
        Column("dense, µs", "fold_dense_us", "{:.2f}"),
        Column("bytes", "sketch_bytes", "{:,}"),
        Column("dense, bytes", "dense_bytes", "{:,}"),
        Column("smaller", "smaller", "{:.2g}"),
    ),
    measure=measure,
    plot=plot,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.tensor`."""
    run(BENCHMARK, arguments)


if __name__ == "__main__":
    main()
