"""Bytes of default sketches, beside the dense vector they stand for and DataSketches.

    python -m benchmarks.state_bytes [--small] [--json FILE] [--write]

Read off the specs and checked against the arrays of an empty sketch: nothing is timed. Beside
them the count_min_sketch of `datasketches` as it serialises, 5 rows of 2048, which
estimates coordinates it is told but finds and draws none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import datasketches

from benchmarks.measuring.report import Benchmark, Column, Findings, Row, Size, Target, run
from benchmarks.measuring.streams import spec_of
from sketch_core.sketch import new_sketch

SAMPLES: Final = (1, 4, 16, 64)
BITS: Final = (20, 40)
#: Bytes, by (samples, bits of n); one coordinate is to be had from as much at any n.
TARGETS: Final = {(16, 20): 300e3, (16, 40): 450e3, (1, 20): 64e3, (1, 40): 64e3}


def measure(size: Size) -> Findings:
    """One row for each number of samples and n."""
    count_min = datasketches.count_min_sketch(5, 2048)
    count_min.update(7)  # an empty one serialises to its header
    peer = count_min.get_serialized_size_bytes()
    rows: list[Row] = []
    for samples in SAMPLES:
        for bits in BITS:
            spec = spec_of("vector", {"n": 1 << bits}, size.seed, samples=samples)
            arrays = new_sketch(spec).arrays()
            held = sum(part.nbytes for operand in arrays.values() for part in operand.values())
            assert held == spec.memory_bytes
            assert spec.sizes is not None
            rows.append({
                "samples": samples,
                "n_bits": bits,
                "width": spec.sizes.width,
                "upper_width": spec.sizes.upper_width,
                "levels": spec.sizes.levels,
                "bytes": held,
                "target_bytes": TARGETS.get((samples, bits)),
                "dense_bytes": 8 << bits,
                "dense_over": (8 << bits) / held,
                "over_count_min": held / peer,
            })  # fmt: skip
    targets = [
        Target(f"{row['samples']} of n = 2^{row['n_bits']}", "KB",
               row["target_bytes"] / 1e3, row["bytes"] / 1e3)
        for row in rows if row["target_bytes"] is not None
    ]  # fmt: skip
    return Findings(rows, targets)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Bytes against the number of samples, a line for each n, targets as marks."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.0, 3.6), layout="constrained")
    for color, bits in zip(("C0", "C1"), BITS, strict=True):
        of_n = [row for row in rows if row["n_bits"] == bits]
        samples = [row["samples"] for row in of_n]
        held = [row["bytes"] for row in of_n]
        axes.loglog(samples, held, "o-", color=color, label=f"n = 2^{bits}")
        known = [row for row in of_n if row["target_bytes"] is not None]
        axes.loglog([row["samples"] for row in known], [row["target_bytes"] for row in known], "_",
                    ms=14, color=color, label=f"target, n = 2^{bits}")  # fmt: skip
    axes.axhline(8 << 20, ls="--", color="0.4", label="dense, n = 2^20")
    axes.set_xticks(SAMPLES, [str(k) for k in SAMPLES])
    axes.set(xlabel="samples a list serves", ylabel="bytes of state")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=130)
    plt.close(figure)


BENCHMARK: Final = Benchmark(
    name="state_bytes",
    about=(__doc__ or "").splitlines()[0],
    caveats=(
        "Arrays of the state alone: hash tables are shared by all sketches of a process and "
        "follow from the seed.",
        "One repetition; each further one adds its hierarchy again.",
    ),
    columns=(
        Column("samples", "samples"),
        Column("n", "n_bits", "2^{}"),
        Column("width", "width"),
        Column("upper", "upper_width"),
        Column("levels", "levels"),
        Column("bytes", "bytes", "{:,}"),
        Column("target", "target_bytes", "{:,.0f}"),
        Column("dense, bytes", "dense_bytes", "{:,}"),
        Column("dense over it", "dense_over", "{:.3g}"),
        Column("over count-min 5 × 2048", "over_count_min", "{:.2f}"),
    ),
    measure=measure,
    plot=plot,
    peers=("datasketches",),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.state_bytes`."""
    run(BENCHMARK, arguments)


if __name__ == "__main__":
    main()
