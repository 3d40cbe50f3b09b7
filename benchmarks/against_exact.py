"""A query of a matrix sketch beside dense numpy, n = 10^3 to 10^6: which wins, and from where.

    python -m benchmarks.against_exact [--small] [--json FILE] [--write]

The query is an x of d = 64 numbers and 16 coordinates are drawn by |A x|². Dense numpy keeps
A in float64, forms A @ x, and draws by cumsum and searchsorted. Timed in turn on one A, with
one thread for BLAS, as the service has it, and once more with all (*threads*).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import threadpoolctl

from benchmarks.measuring.report import (
    Benchmark,
    Column,
    Findings,
    Row,
    Size,
    Target,
    processors,
    run,
)
from benchmarks.measuring.streams import F64, fill_rows, no_rows, spec_of
from benchmarks.measuring.timing import interleaved
from sketch_core.sketch import Sketch, new_sketch

COUNT: Final = 16
D: Final = 64
ROWS: Final = (1_000, 3_000, 10_000, 15_000, 30_000, 100_000, 300_000, 1_000_000)
SMALL_ROWS: Final = (1_000, 20_000)


def dense_query(matrix: F64, x: F64, count: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """`count` rows with replacement, each with probability (A x)_i² / ‖A x‖²."""
    y = matrix @ x
    sums = np.cumsum(y * y)
    drawn: npt.NDArray[np.intp] = np.searchsorted(sums, rng.random(count) * sums[-1], side="right")
    return drawn


def _first_sample(sketch: Sketch, queries: F64) -> object:
    """A question after an update has dropped what was derived."""
    sketch.apply([no_rows(sketch.spec, "A")])
    return sketch.sample(COUNT, queries=queries)


def _row(n: int, size: Size) -> Row:
    rng = np.random.default_rng((size.seed, n))
    spec = spec_of("matrix", {"n": n, "d": D}, size.seed)
    matrix = rng.normal(size=(n, D))
    sketch = new_sketch(spec)
    fill_rows(sketch, "A", matrix)
    x = rng.normal(size=D)
    works: dict[str, Callable[[], object]] = {
        "sketch": partial(sketch.sample, COUNT, queries=x[None]),
        "dense": partial(dense_query, matrix, x, COUNT, rng),
    }
    rounds = size.rounds_of(31)
    times = interleaved(works, rounds, f"n = {n:,}")
    with threadpoolctl.threadpool_limits(processors()["processors"], user_api="blas"):
        threaded = interleaved(works, rounds, f"n = {n:,}, threads")
    works["sketch"] = partial(_first_sample, sketch, x[None])
    first = interleaved(works, rounds, f"n = {n:,}, after an update")
    ours = times["sketch"].median
    return {
        "n": n,
        "d": D,
        "sketch_ms": ours * 1e3,
        "dense_ms": times["dense"].median * 1e3,
        "faster": times["dense"].median / ours,
        "sketch_first_ms": first["sketch"].median * 1e3,
        "dense_threads_ms": threaded["dense"].median * 1e3,
        "faster_than_threads": threaded["dense"].median / threaded["sketch"].median,
        "sketch_bytes": spec.memory_bytes,
        "dense_bytes": matrix.nbytes,
        "smaller": matrix.nbytes / spec.memory_bytes,
        "auto": spec_of("matrix", {"n": n, "d": D}, size.seed, "auto").method,
    }


def crossing(rows: Sequence[Row], field: str) -> float | None:
    """The n where a ratio passes 1, between two rows on a logarithmic scale; None if nowhere."""
    for before, after in itertools.pairwise(rows):
        if before[field] < 1.0 <= after[field]:
            low, high = math.log(before[field]), math.log(after[field])
            share = -low / (high - low)
            return float(before["n"] * (after["n"] / before["n"]) ** share)
    return None


def measure(size: Size) -> Findings:
    """One row a size."""
    rows = [_row(n, size) for n in (SMALL_ROWS if size.small else ROWS)]
    for field, wins in (("faster", "faster"), ("smaller", "smaller")):
        where = crossing(rows, field)
        if where is not None:
            print(f"Dense numpy is the {wins} one up to n of about {where:,.0f}.")
    last = rows[-1]
    targets = [
        Target(f"times faster than dense, n = {last['n']:,}", "", 10.0, last["faster"], True),
        Target(f"times smaller than dense, n = {last['n']:,}", "", 30.0, last["smaller"], True),
    ]
    return Findings(rows, targets)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Time and bytes against n."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    n = [row["n"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 3.6), layout="constrained")
    left.loglog(n, [row["sketch_ms"] for row in rows], "o-", label="sketchd")
    left.loglog(n, [row["dense_ms"] for row in rows], "--", color="0.4", label="dense numpy")
    left.loglog(
        n,
        [row["dense_threads_ms"] for row in rows],
        ":",
        color="0.4",
        label="the same, all threads",
    )
    left.set(xlabel="n", ylabel=f"ms a query of {COUNT}, d = {D}")
    right.loglog(n, [row["sketch_bytes"] for row in rows], "o-", label="sketchd")
    right.loglog(n, [row["dense_bytes"] for row in rows], "--", color="0.4", label="dense numpy")
    right.set(xlabel="n", ylabel="bytes")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=130)
    plt.close(figure)


BENCHMARK: Final = Benchmark(
    name="against_exact",
    about=(__doc__ or "").splitlines()[0],
    caveats=(
        "Both answer one query at a time. Of many queries together dense numpy makes one "
        "matrix product, and so does the sketch.",
        "The sketch is asked again with nothing changed; the first question after an update "
        "reads its cells once more, for a bound on rounding (`after an update`).",
        "All threads are worth their while only where nobody else wants the processors.",
        "Dense numpy is exact, and takes any update in no time.",
        "How fast dense numpy is at n = 10^6 is how fast the memory is.",
    ),
    columns=(
        Column("n", "n", "{:,}"),
        Column("sketchd, ms", "sketch_ms", "{:.2f}"),
        Column("dense, ms", "dense_ms", "{:.3g}"),
        Column("faster", "faster", "{:.2g}"),
        Column("after an update, ms", "sketch_first_ms", "{:.2f}"),
        Column("dense, threads, ms", "dense_threads_ms", "{:.3g}"),
        Column("faster", "faster_than_threads", "{:.2g}"),
        Column("sketchd, bytes", "sketch_bytes", "{:,}"),
        Column("dense, bytes", "dense_bytes", "{:,}"),
        Column("smaller", "smaller", "{:.2g}"),
        Column("`auto` takes", "auto"),
    ),
    measure=measure,
    plot=plot,
    peers=("threadpoolctl",),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.against_exact`."""
    run(BENCHMARK, arguments)


if __name__ == "__main__":
    main()
