"""The picture of the pairs: maps of the exact law and of the draws, and block against block."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from service.demo.law import F64
from service.demo.pairs.findings import CaseFindings, Findings
from service.demo.plot import DRAWN, INK, LAW, QUIET, STYLE

#: From paper white over the law's blue to ink, so that no mass is no colour.
_MASS: Final = LinearSegmentedColormap.from_list(
    "mass", ["#ffffff", "#dbe8f6", LAW, "#5b93cf", "#2b5f9e", "#14304f"]
)


@dataclass(frozen=True, slots=True)
class Words:
    """What the picture says of the first and the last case, the axes and the keys that went."""

    titles: tuple[str, str] = (
        "Attention scores, every key: pairs by (q · k)²",
        "The same sketches later: a tenth of the keys deleted, pairs by (q · W k)²",
    )
    keys: str = "keys, in order of the head's second direction"
    queries: str = "queries, likewise"
    gone: str = "deleted"


def save(path: Path, findings: Findings, words: Words = Words()) -> None:
    """Write the first and the last case; the format follows the path's ending."""
    shown = [findings.cases[0], findings.cases[-1]]
    largest = max(float(item.shares.max()) for item in shown) * shown[0].shares.size
    norm = PowerNorm(0.5, vmin=0.0, vmax=largest)
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(11, 6.6), layout="constrained")
        rows: Any = figure.subfigures(2, 1, hspace=0.04)
        for part, item, title in zip(rows, shown, words.titles, strict=True):
            part.suptitle(title, x=0.012, ha="left", fontsize=11.5, fontweight="bold")
            exact, drawn, against = part.subplots(1, 3, width_ratios=(1, 1, 0.82))
            _map(exact, item.shares, norm, "exact law", words)
            image = _map(drawn, item.drawn, norm, f"{item.draws:,} pairs drawn", words)
            exact.set_ylabel(words.queries)
            if item.case.thinned:
                _name_gap(exact, item, words)
            bar = part.colorbar(image, ax=[exact, drawn], pad=0.015, aspect=16, format="%g")
            bar.set_label("mass of a block, 1 where even", fontsize=8.5)
            bar.set_ticks([tick for tick in (0, 1, 2, 4, 6) if tick <= largest])
            bar.outline.set_visible(False)
            bar.ax.tick_params(labelsize=8.5)
            _against(against, item)
        # Once, where the points leave it room.
        against.legend(loc="lower right", fontsize=8.5, borderaxespad=0.1)
        figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)  # type: ignore[union-attr, call-arg]
        figure.savefig(path, dpi=150)


def _map(axes: Axes, shares: F64, norm: PowerNorm, title: str, words: Words) -> AxesImage:
    """Mass by block, in even shares."""
    image = axes.imshow(shares * shares.size, norm=norm, cmap=_MASS, aspect="auto")
    axes.set_title(title, fontsize=9.5, fontweight="normal", pad=6)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(words.keys)
    for spine in axes.spines.values():
        spine.set_visible(True)
    return image


def _name_gap(axes: Axes, item: CaseFindings, words: Words) -> None:
    """Say why there is nothing where every key of a column was deleted."""
    empty = np.flatnonzero(item.shares.sum(axis=0) == 0.0)
    if empty.size:
        axes.text(
            float(empty.mean()), (len(item.shares) - 1) / 2, words.gone, rotation=90,
            ha="center", va="center", color=QUIET, fontsize=9.5,
        )  # fmt: skip


def _against(axes: Axes, item: CaseFindings) -> None:
    """Drawn share against exact share, a point a block, in the band of an exact sampler."""
    size = item.shares.size
    exact, drawn = item.shares.ravel() * size, item.drawn.ravel() * size
    top = 1.12 * max(exact.max(), drawn.max())
    line = np.linspace(0.0, top, 200)
    noise = 2 * np.sqrt(np.clip(line / size * (1 - line / size), 0.0, None) / item.draws) * size
    axes.fill_between(
        line, np.maximum(line - noise, 0.0), line + noise, color=QUIET, alpha=0.22, linewidth=0,
        label="± 2 standard errors",
    )  # fmt: skip
    axes.plot(line, line, color=INK, linewidth=1.2, linestyle=(0, (4, 2)), label="exact law")
    axes.plot(exact, drawn, "o", color=DRAWN, markersize=3.2, alpha=0.75, markeredgewidth=0,
              label="a block")  # fmt: skip
    axes.set_xlim(0.0, top)
    axes.set_ylim(0.0, top)
    axes.set_xlabel("mass of a block, exact")
    axes.set_ylabel("mass drawn")
    # Whole numbers, so that the panels of both cases are as wide.
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
