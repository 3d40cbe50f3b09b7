"""The pictures: error against draws for ℓ2 and for softmax attention, head by head."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from service.attention import compare
from service.attention.compare import Findings
from service.demo.law import F64
from service.demo.pairs.plot import Words
from service.demo.plot import DRAWN, INK, LAW, QUIET, STYLE

#: For the picture of the pairs, which is that of `sketchd demo pairs`.
PAIRS_WORDS: Final = Words(
    titles=(
        "Every token, X = 1 / √d: pairs by (q · k)²",
        "The same sketches later: a quarter of the tokens evicted, pairs by (q · W k)²",
    ),
    keys="old keys, then others, by direction",
    queries="queries, by direction",
    gone="evicted",
)
_TICKS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_GREEN: Final = "#3f8f5f"
_BLUE: Final = "#2b5f9e"


def save(path: Path, findings: Findings) -> None:
    """Write the picture of the outputs; the format follows the path's ending."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(11, 4.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        _outputs(left, findings)
        _softmax(right, findings)
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)  # type: ignore[union-attr, call-arg]
        figure.savefig(path, dpi=110)


def _outputs(axes: Axes, findings: Findings) -> None:
    """Error of the ℓ2-attention output, medians over heads, queries and runs."""
    draws = np.array(findings.budgets, dtype=np.float64)
    ours = findings.errors(compare.SKETCH)
    low, high = np.nanquantile(ours, [0.1, 0.9], axis=0)
    axes.fill_between(
        draws, low, high, color=DRAWN, alpha=0.12, linewidth=0, label="sketch, 80 % of lists"
    )
    for method, color, dashes, marker in (
        (compare.UNIFORM, _BLUE, (0, ()), "s"),
        (compare.TOP, _GREEN, (0, ()), "^"),
        (compare.EXACT, INK, (0, (4, 2)), ""),
        (compare.SKETCH, DRAWN, (0, ()), "o"),
        (compare.SKETCH_DISTINCT, DRAWN, (0, (1, 1.5)), ""),
    ):
        middle = np.nanmedian(findings.errors(method), axis=0)
        axes.plot(draws, middle, color=color, linestyle=dashes, marker=marker, markersize=4,
                  linewidth=1.6, label=method)  # fmt: skip
    start = float(np.nanmedian(findings.errors(compare.EXACT), axis=0)[0])
    axes.plot(draws, start / np.sqrt(draws), color=QUIET, linewidth=0.9, label="1 / √draws")
    axes.set_title("ℓ2 attention: error of the output")
    _finish(axes)


def _softmax(axes: Axes, findings: Findings) -> None:
    """The same against softmax attention, and how far ℓ2 attention is from it to begin with."""
    draws = np.array(findings.budgets, dtype=np.float64)
    apart = np.array([item.apart for head in findings.heads for item in head.queries])
    low, middle, high = np.quantile(apart, [0.1, 0.5, 0.9])
    axes.axhspan(low, high, color=LAW, alpha=0.35, linewidth=0)
    axes.axhline(middle, color=_BLUE, linewidth=1.2, linestyle=(0, (4, 2)),
                 label="exact ℓ2 attention (band: 80 % of queries)")  # fmt: skip
    for method, color, marker in (
        (compare.UNIFORM, _BLUE, "s"),
        (compare.TOP, _GREEN, "^"),
        (compare.REWEIGHTED, DRAWN, "o"),
    ):
        middle_line: F64 = np.nanmedian(findings.softmax(method), axis=0)
        axes.plot(draws, middle_line, color=color, marker=marker, markersize=4, linewidth=1.6,
                  label=method)  # fmt: skip
    axes.set_title("Softmax attention: error of the output")
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.set_xscale("log", base=4)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    axes.set_yticks([value for value in _TICKS if low < value < high])
    axes.set_xlabel("tokens drawn, of those in the window")
    axes.set_ylabel("relative error, median")
    axes.legend(loc="lower left", fontsize=8)
