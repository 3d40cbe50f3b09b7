"""Draws over the exact law at a glance: six vectors, each beside the noise of exact samplers.

    python -m benchmarks.draws [--small] [--seed S] [--json FILE] [--write]

Each vector of 65,536 coordinates is streamed into sketches of many seeds at default sizes, and
coordinates are drawn from all their lists. A panel sorts draws by what the coordinate is (its
value, its rank, its place) and puts their shares over the exact law. --write makes the picture
of the README.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import stats
from tqdm import tqdm

from benchmarks.measuring.report import Benchmark, Column, Findings, Row, Size, Target, run
from sketch_core import Columns, new_sketch, quantise, resolve

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

COORDINATES: Final = 1 << 16
SAMPLES: Final = 16
#: Lists a sketch; as many sketches, of seeds of their own, as make up the draws.
LISTS: Final = 64
SKETCHES: Final = 24
#: Exact samplers whose distances make the noise floor.
FLOOR_RUNS: Final = 2000
#: At which the smallest p-value, times the number of panels, would call the law into question.
CORRECTED_LEVEL: Final = 1e-3
#: The wave's coordinates are spread over 2^40.
SPREAD_BITS: Final = 24

INK: Final = "#1f2933"
LAW: Final = "#a7c7ec"
DRAWN: Final = "#c7432b"
QUIET: Final = "#52606d"
NOISE: Final = "#5b7fa8"


@dataclass(frozen=True, slots=True)
class Panel:
    """A vector and how to look at it.

    power: of the law. value: float64 (n,). keeps: which coordinates are still there at the end;
    the others are streamed too, and deleted again in two pieces. edges, by: bins of `by` (n,),
    which says what a coordinate is to the reader. xlabel: of `by`.
    """

    name: str
    power: float
    value: F64
    keeps: npt.NDArray[np.bool_]
    by: F64
    edges: F64
    xlabel: str
    spread_bits: int = 0

    @property
    def bins(self) -> I64:
        """The bin of every coordinate."""
        found = np.searchsorted(self.edges, self.by, side="right") - 1
        return np.clip(found, 0, len(self.edges) - 2).astype(np.int64)

    @property
    def law(self) -> F64:
        """The exact share of each bin."""
        weight = np.where(self.keeps, np.abs(self.value) ** self.power, 0.0)
        share = np.bincount(self.bins, weight, len(self.edges) - 1)
        return np.asarray(share / share.sum(), dtype=np.float64)


def panels(rng: np.random.Generator) -> list[Panel]:
    """The six vectors."""
    n = COORDINATES
    everything = np.ones(n, dtype=bool)
    normal: F64 = 64.0 * rng.standard_normal(n)
    sides = np.linspace(-4.0, 4.0, 33) * 64.0
    rank: F64 = rng.permutation(n).astype(np.float64) + 1.0
    ranks = np.unique(np.rint(np.geomspace(1, n + 1, 25)))
    place = np.arange(n, dtype=np.float64)
    wave = 40.0 + 30.0 * np.sin(place / n * 5 * np.pi) * np.linspace(0.2, 1.0, n)
    there = (place // (n // 32)) % 5 != 3
    uniform: F64 = 512.0 * rng.random(n)
    values, log_ranks = "value", "rank"
    return [
        Panel("normal values, p = 2", 2.0, normal, everything, normal, sides, values),
        Panel("normal values, p = 1", 1.0, normal, everything, normal, sides, values),
        Panel("uniform values, p = 1.5", 1.5, uniform, everything, uniform,
              np.linspace(0.0, 512.0, 33), values),
        Panel("rank^-0.6, p = 2", 2.0, 512.0 / rank**0.6, everything, rank, ranks, log_ranks),
        Panel("rank^-0.75, p = 1", 1.0, 512.0 / rank**0.75, everything, rank, ranks, log_ranks),
        Panel("a wave with deleted gaps, p = 2", 2.0, wave, there, place / n,
              np.linspace(0.0, 1.0, 65), "place among 2^40 coordinates", SPREAD_BITS),
    ]  # fmt: skip


def drawn(panel: Panel, seed: int, sketches: int, lists: int) -> I64:
    """How many draws each bin had, over all lists of all sketches; with replacement."""
    counts = np.zeros(len(panel.edges) - 1, dtype=np.int64)
    bins = panel.bins
    place = np.arange(COORDINATES, dtype=np.uint64)
    index = place << np.uint64(panel.spread_bits)
    gone = np.flatnonzero(~panel.keeps)
    for number in tqdm(range(sketches), desc=panel.name, leave=False, disable=None):
        spec = resolve({
            "kind": "vector", "shape": {"n": COORDINATES << panel.spread_bits}, "method": "sketch",
            "distribution": {"power": panel.power}, "samples": SAMPLES, "repetitions": lists,
            "seed": seed + number,
        })  # fmt: skip
        sketch = new_sketch(spec)
        half = np.rint(panel.value[gone])  # whole numbers are multiples of every quantum
        rest = np.ldexp(np.rint(np.ldexp(panel.value[gone], spec.quantum_bits)), -spec.quantum_bits)
        for where, delta in (
            (index, panel.value),
            (index[gone], -half),
            (index[gone], half - rest),
        ):
            batch, _ = quantise(spec, Columns("y", index=where, delta=delta))
            sketch.apply([batch])
        for draw in range(lists):
            [sample] = sketch.sample(SAMPLES, replacement=True, draw=draw)
            at = (sample.index >> np.uint64(panel.spread_bits)).astype(np.int64)
            counts += np.bincount(bins[at], minlength=len(counts))
    return counts


def distance(share: F64, law: F64) -> F64:
    """Total variation, over the last axis."""
    return np.asarray(np.abs(share - law).sum(axis=-1) / 2.0, dtype=np.float64)


def p_value(counts: I64, law: F64) -> float:
    """Of a χ² test; bins of which fewer than five draws are expected are taken together."""
    expected = law * counts.sum()
    enough = expected >= 5.0
    seen = np.append(counts[enough], counts[~enough].sum())
    wanted = np.append(expected[enough], expected[~enough].sum())
    if wanted[-1] < 5.0:
        seen, wanted = seen[:-1], wanted[:-1] * seen[:-1].sum() / wanted[:-1].sum()
    return float(stats.chisquare(seen, wanted).pvalue)


def measure(size: Size) -> Findings:
    """A row a panel."""
    lists, sketches = (4, 2) if size.small else (LISTS, SKETCHES)
    rows: list[Row] = []
    for number, panel in enumerate(panels(np.random.default_rng(size.seed))):
        law = panel.law
        counts = drawn(panel, size.seed + 1000 * number, sketches, lists)
        total = int(counts.sum())
        rng = np.random.default_rng(total)
        floor = distance(rng.multinomial(total, law, FLOOR_RUNS) / total, law)
        rows.append({
            "vector": panel.name,
            "draws": total,
            "distance": float(distance(counts / total, law)),
            "floor_median": float(np.median(floor)),
            "floor_95": float(np.quantile(floor, 0.95)),
            "p": p_value(counts, law),
            "zeros": int(counts[law == 0.0].sum()),
            "by": panel.xlabel,
            "edges": panel.edges.tolist(),
            "law": law.tolist(),
            "counts": counts.tolist(),
        })  # fmt: skip
    smallest = min(1.0, len(rows) * min(row["p"] for row in rows))
    return Findings(rows, [
        Target("the smallest p-value, times the number of vectors", "", CORRECTED_LEVEL, smallest,
               at_least=True),
        Target("draws from where all was deleted", "", 0.0, float(sum(r["zeros"] for r in rows))),
    ])  # fmt: skip


def plot(rows: Sequence[Row], path: Path) -> None:
    """Six panels: the law as bars, ± two standard errors of an exact sampler, the draws."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    style: dict[Any, Any] = {
        "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
        "axes.edgecolor": "#8895a3", "axes.labelcolor": INK, "text.color": INK,
        "xtick.color": INK, "ytick.color": INK,
    }  # fmt: skip
    with mpl.rc_context(style):
        figure, axes = plt.subplots(2, 3, figsize=(11.0, 5.6), layout="constrained")
        for row, one in zip(rows, axes.flat, strict=True):
            _panel(one, row)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(path, dpi=150)
        plt.close(figure)


def _panel(axes: Any, row: Row) -> None:
    edges, law = np.array(row["edges"]), np.array(row["law"])
    share = np.array(row["counts"]) / row["draws"]
    ranked = row["by"] == "rank"
    middle = np.sqrt(edges[:-1] * edges[1:]) if ranked else (edges[:-1] + edges[1:]) / 2.0
    error = 2.0 * np.sqrt(law * (1.0 - law) / row["draws"])
    axes.stairs(law, edges, fill=True, color=LAW, label="exact law")
    axes.errorbar(middle, law, error, fmt="none", ecolor=NOISE, elinewidth=4.5, alpha=0.55,
                  label="where 95 % of an exact sampler's shares lie")  # fmt: skip
    axes.plot(middle, share, "o", color=DRAWN, markersize=3.6, label="drawn from sketches")
    if ranked:
        axes.set_xscale("log")
    axes.set_ylim(0.0, 1.34 * max(law.max(), share.max()))
    axes.set_yticks([])
    axes.set_xlabel(_superscript(row["by"]))
    axes.set_title(_superscript(row["vector"]), loc="left", fontsize=10, fontweight="bold")
    told = (
        f"{row['draws']:,} draws, off by {row['distance']:.1%}\n"
        f"exact samplers {row['floor_median']:.1%}, 95 % below {row['floor_95']:.1%}"
    )
    place = {"transform": axes.transAxes, "ha": "right", "va": "top"}
    axes.text(0.99, 0.985, told, fontsize=7.5, color=QUIET, **place)


def _superscript(text: str) -> str:
    """Exponents as matplotlib writes them."""
    return re.sub(r"(\w+)\^(-?[\d.]+)", r"\1$^{\2}$", text)


BENCHMARK: Final = Benchmark(
    name="draws",
    about=__doc__.splitlines()[0],
    caveats=(
        "Distances are between shares of the bins shown. One run on one seed: read p-values by "
        "their smallest, times their number.",
    ),
    columns=(
        Column("vector", "vector"),
        Column("draws", "draws", "{:,}"),
        Column("distance", "distance", "{:.4f}"),
        Column("exact samplers", "floor_median", "{:.4f}"),
        Column("95 %", "floor_95", "{:.4f}"),
        Column("p", "p", "{:.2g}"),
        Column("of what was deleted", "zeros"),
    ),
    measure=measure,
    plot=plot,
    peers=("scipy",),
)

if __name__ == "__main__":
    run(BENCHMARK)
