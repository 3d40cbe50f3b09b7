"""The demo's picture: what was drawn over the exact law, and the error as draws add up."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from service.demo import law
from service.demo.findings import Findings
from service.demo.input import Input
from service.demo.law import F64, Draws

INK: Final = "#1f2933"
QUIET: Final = "#8a94a0"
LAW: Final = "#a8c8ec"
DRAWN: Final = "#c8442b"
_BINS: Final = 36
STYLE: Final = {
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlepad": 12,
    "font.size": 9.5,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def save(path: Path, data: Input, draws: list[Draws], findings: Findings, count: int) -> None:
    """Write the picture; the format follows the path's ending."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(11, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        _law(left, data.scores(0), draws[0].independent)
        _errors(right, findings, count)
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)  # type: ignore[union-attr, call-arg]
        figure.savefig(path, dpi=150)


def _law(axes: Axes, scores: F64, drawn: law.I64) -> None:
    """Mass by score for one query: exact, drawn, and how many keys there are to draw from."""
    alive = scores != 0.0
    low, high = np.quantile(scores[alive], [0.0, 1.0])
    edges = np.linspace(low, high, _BINS + 1)
    exact = np.histogram(scores, edges, weights=law.law(scores))[0]
    keys = np.histogram(scores[alive], edges)[0] / alive.sum()
    seen = np.histogram(scores[drawn], edges)[0] / drawn.size
    noise = np.sqrt(exact * (1 - exact) / drawn.size)
    middle = (edges[:-1] + edges[1:]) / 2
    axes.bar(middle, exact, width=np.diff(edges) * 0.92, color=LAW, label="exact law")
    axes.stairs(keys, edges, color=QUIET, linewidth=1.0, label="keys there are")
    axes.errorbar(
        middle, seen, yerr=2 * noise, fmt="o", color=DRAWN, markersize=3.6, elinewidth=0.9,
        label=f"drawn, {drawn.size:,} times (± 2 standard errors)",
    )  # fmt: skip
    axes.set_title("Drawn keys against the exact law")
    axes.set_xlabel("score of a key, k · q (one query)")
    axes.set_ylabel("share")
    axes.set_ylim(0, 1.45 * max(exact.max(), keys.max()))
    axes.legend(loc="upper left", fontsize=8.5)


def _errors(axes: Axes, findings: Findings, count: int) -> None:
    """Error of the attention output against draws, beside exact samplers."""
    length = min(item.errors.size for item in findings.queries)
    spent = count * np.arange(1, length + 1)
    ours = np.stack([item.errors[:length] for item in findings.queries])
    floor = np.concatenate([item.floor_errors[:, :length] for item in findings.queries])
    low, high = np.quantile(floor, [0.05, 0.95], axis=0)
    axes.fill_between(
        spent, low, high, color=QUIET, alpha=0.25, linewidth=0,
        label="exact samplers, 90 % of runs",
    )  # fmt: skip
    axes.plot(spent, ours.T, color=DRAWN, alpha=0.3, linewidth=0.8)
    axes.plot(spent, floor.mean(axis=0), color=INK, linewidth=1.6, linestyle=(0, (4, 2)),
              label="exact samplers, mean")  # fmt: skip
    axes.plot(spent, ours.mean(axis=0), color=DRAWN, linewidth=2.0,
              label=f"sketch, mean of {len(ours)} queries (each thin)")  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title("Attention output: error as draws add up")
    axes.set_xlabel("draws")
    axes.set_ylabel("relative error of Σ y² v / Σ y²")
    axes.legend(loc="lower left", fontsize=8.5)
