"""The picture of a run: latencies up to the rarest, and what was answered each second."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from service.bench.findings import Findings, as_json
from service.bench.options import InvalidOption, Options

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Final = {"update": "#2a6fbb", "sample": "#d1711f"}
_POINTS: Final = 500
_SHARES: Final = (0.5, 0.9, 0.99, 0.999, 0.9999)


def check(path: Path) -> None:
    """Raise InvalidOption, or ModuleNotFoundError, now and not at the end of a run."""
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    # Without an ending matplotlib adds that of a PNG.
    if path.suffix and path.suffix[1:].lower() not in known:
        raise InvalidOption(f"--plot {path}: one of {', '.join(sorted(known))}")


def save(path: Path, options: Options, findings: Findings) -> None:
    """Write the picture, in the format that the file's name ends in."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 3.8), layout="constrained")
    _latencies(left, findings)
    _pace(right, options, findings)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _latencies(axes: Axes, findings: Findings) -> None:
    """Nines to the right."""
    fewest = 1.0
    for kind, taken in sorted(findings.sent.seconds.items(), reverse=True):
        ordered = np.sort(taken)
        # Points evenly spaced on the logarithmic axis: a million answers draw as fast as a hundred.
        rest = np.geomspace(1.0, 1 / ordered.size, _POINTS)
        place = np.minimum(((1 - rest) * ordered.size).astype(int), ordered.size - 1)
        axes.plot(rest, 1e3 * ordered[place], color=_COLOURS[kind], label=kind)
        fewest = min(fewest, 1 / ordered.size)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([1 - share for share in _SHARES], [f"{100 * s:g} %" for s in _SHARES])
    axes.set_xlim(1.0, min(fewest, 0.1))
    axes.xaxis.minorticks_off()
    for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        which(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "125" else "")
    axes.set_xlabel("of the answers came within")
    axes.set_ylabel("ms")
    axes.grid(alpha=0.3)
    if findings.sent.seconds:
        axes.legend(loc="lower right")


def _pace(axes: Axes, options: Options, findings: Findings) -> None:
    """Whole seconds only."""
    for kind, done in as_json(options, findings)["each_second"].items():
        whole = done[: max(1, int(findings.seconds))]
        axes.plot(range(len(whole)), whole, color=_COLOURS[kind], label=kind)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("answers a second")
    axes.grid(alpha=0.3)
