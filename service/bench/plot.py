"""The picture of a run: latencies up to the rarest, and what was answered each second."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from service.bench.findings import Findings, as_json
from service.bench.options import Options

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Final = {"update": "#2a6fbb", "sample": "#d1711f"}
_SHARES: Final = (0.5, 0.9, 0.99, 0.999, 0.9999)


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
    for kind, taken in sorted(findings.sent.seconds.items(), reverse=True):
        ordered = sorted(taken)
        count = len(ordered)
        rest = [1 - at / count for at in range(count)]
        axes.plot(rest, [1e3 * one for one in ordered], color=_COLOURS[kind], label=kind)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.invert_xaxis()
    axes.set_xticks([1 - share for share in _SHARES], [f"{100 * s:g} %" for s in _SHARES])
    axes.minorticks_off()
    axes.set_xlabel("of the answers came within")
    axes.set_ylabel("ms")
    axes.grid(alpha=0.3)
    axes.legend()


def _pace(axes: Axes, options: Options, findings: Findings) -> None:
    """Whole seconds only."""
    for kind, done in as_json(options, findings)["each_second"].items():
        whole = done[: max(1, int(findings.seconds))]
        axes.plot(range(len(whole)), whole, color=_COLOURS[kind], label=kind)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("answers a second")
    axes.grid(alpha=0.3)
