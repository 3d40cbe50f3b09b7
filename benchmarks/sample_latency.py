"""Milliseconds to draw from a vector of 2^10 to 2^40 coordinates, beside dense numpy.

    python -m benchmarks.sample_latency [--small] [--json FILE] [--write]

Sketches at their defaults: one made for 16 coordinates, asked for 16, and one made for a
single one, asked for it. *Dense* keeps all of y and draws 16 by |y|²: cumsum and
searchsorted, as long as y fits (2^26); beyond, only its bytes are known. Timed in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.measuring.report import Benchmark, Column, Findings, Row, Size, Target, run
from benchmarks.measuring.streams import F64, filled_vector, spec_of, touched_coordinates
from benchmarks.measuring.timing import interleaved

COUNT: Final = 16
#: Coordinates touched, where there are as many.
TOUCHED: Final = 1 << 20
#: The longest y that the dense peer keeps: 512 MB, and as much again for its sums.
DENSE_BITS: Final = 26
BITS: Final = tuple(range(10, 41, 2))
SMALL_BITS: Final = (10, 14, 20)
TARGETS: Final = {20: 5.0, 40: 10.0}


def dense_draw(y: F64, count: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """`count` coordinates with replacement, each with probability y_i² / Σ y²."""
    sums = np.cumsum(y * y)
    drawn: npt.NDArray[np.intp] = np.searchsorted(sums, rng.random(count) * sums[-1], side="right")
    return drawn


def _row(bits: int, size: Size) -> Row:
    rng = np.random.default_rng((size.seed, bits))
    n = 1 << bits
    index = touched_coordinates(n, 1 << 16 if size.small else TOUCHED, rng)
    delta = rng.normal(size=index.size)
    many, one = (spec_of("vector", {"n": n}, size.seed, samples=k) for k in (COUNT, 1))
    works: dict[str, Callable[[], Any]] = {
        "many": partial(filled_vector(many, index, delta).sample, COUNT),
        "one": partial(filled_vector(one, index, delta).sample, 1),
    }
    if bits <= DENSE_BITS:
        y = np.zeros(n)
        y[index] = delta
        works["dense"] = partial(dense_draw, y, COUNT, rng)
    rounds = size.rounds_of(9 if 22 < bits <= DENSE_BITS else 41)
    times = interleaved(works, rounds, f"n = 2^{bits}")
    dense = times["dense"].median if "dense" in times else None
    return {
        "n_bits": bits,
        "touched": int(index.size),
        "sixteen_ms": times["many"].median * 1e3,
        "sixteen_best_ms": times["many"].best * 1e3,
        "sixteen_p95_ms": times["many"].p95 * 1e3,
        "one_ms": times["one"].median * 1e3,
        "dense_ms": None if dense is None else dense * 1e3,
        "dense_over_sixteen": None if dense is None else dense / times["many"].median,
        "sixteen_bytes": many.memory_bytes,
        "one_bytes": one.memory_bytes,
        "dense_bytes": 8 * n,
        "dense_over_sixteen_bytes": 8 * n / many.memory_bytes,
    }


def measure(size: Size) -> Findings:
    """One row a size."""
    rows = [_row(bits, size) for bits in (SMALL_BITS if size.small else BITS)]
    targets = [
        Target(f"{COUNT} coordinates of n = 2^{row['n_bits']}", "ms",
               TARGETS[row["n_bits"]], row["sixteen_ms"])
        for row in rows if row["n_bits"] in TARGETS
    ]  # fmt: skip
    return Findings(rows, targets)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Latency and bytes against n, both axes logarithmic; the targets as marks."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    n = [2.0 ** row["n_bits"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 3.8), layout="constrained")
    for axes, unit, label in ((left, "ms", "ms a question"), (right, "bytes", "bytes of state")):
        axes.loglog(n, [row[f"sixteen_{unit}"] for row in rows], "o-", label=f"sketchd, {COUNT}")
        axes.loglog(n, [row[f"one_{unit}"] for row in rows], "s-", label="sketchd, 1")
        dense = [(x, row[f"dense_{unit}"]) for x, row in zip(n, rows, strict=True)]
        known = [pair for pair in dense if pair[1] is not None]
        axes.loglog(*zip(*known, strict=True), "--", color="0.4", label="dense numpy")
        axes.set_xscale("log", base=2)
        axes.set(xlabel="n", ylabel=label)
        axes.grid(alpha=0.3)
    best = [row["sixteen_best_ms"] for row in rows]
    left.loglog(n, best, ":", color="C0", label=f"best of all rounds, {COUNT}")
    left.loglog([2.0**bits for bits in TARGETS], list(TARGETS.values()), "r_", ms=14,
                label=f"target for {COUNT}")  # fmt: skip
    left.set_xscale("log", base=2)
    left.legend(fontsize=7)
    right.legend(fontsize=7)
    figure.savefig(path, dpi=130)
    plt.close(figure)


BENCHMARK: Final = Benchmark(
    name="sample_latency",
    about=(__doc__ or "").splitlines()[0],
    caveats=(
        f"{TOUCHED:,} Gaussian coordinates are touched, or all n; the last digits of a latency "
        "depend on them little, on the machine much.",
        "The sketch draws without replacement, each with its inclusion probability; dense numpy "
        "draws with replacement, which is the cheapest it can do.",
        "Dense numpy keeps float64. Its sums could be kept too, until the next update.",
        "Where other work has the processors, a question may wait for a slice of some 4 ms: "
        "the best of all rounds is what it takes by itself.",
        "Asked again with nothing changed, a sketch does all of its work again; its hash "
        "tables are warm.",
    ),
    columns=(
        Column("n", "n_bits", "2^{}"),
        Column("16, ms", "sixteen_ms", "{:.2f}"),
        Column("best", "sixteen_best_ms", "{:.2f}"),
        Column("95 %", "sixteen_p95_ms", "{:.2f}"),
        Column("1, ms", "one_ms", "{:.2f}"),
        Column("dense, ms", "dense_ms", "{:.3g}"),
        Column("dense over 16", "dense_over_sixteen", "{:.3g}"),
        Column("16, bytes", "sixteen_bytes", "{:,}"),
        Column("1, bytes", "one_bytes", "{:,}"),
        Column("dense, bytes", "dense_bytes", "{:,}"),
        Column("dense over 16", "dense_over_sixteen_bytes", "{:.3g}"),
    ),
    measure=measure,
    plot=plot,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.sample_latency`."""
    run(BENCHMARK, arguments)


if __name__ == "__main__":
    main()
