"""Draw a dashboard as a picture: what its panels show over a running Prometheus.

    python -m deploy.grafana.preview DASHBOARD.json http://127.0.0.1:9090 OUT.png

Not Grafana, and not its look in every detail: places, titles, units, legends, thresholds and the
real answers of Prometheus to what Grafana would ask, so that layout and numbers can be looked at
where no Grafana runs.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deploy.grafana import preview_panels
from deploy.grafana.interpolation import Times, all_chosen
from deploy.grafana.preview_data import Source

#: Of a browser window: Grafana's grid has 24 columns, and rows 30 high with gaps of 8.
WIDTH: Final = 1600
_COLUMN: Final = WIDTH / 24
_ROW: Final = 38
_GAP: Final = 8
_HEAD: Final = 62
_DPI: Final = 100
_PAGE: Final = "#f4f5f5"
_CARD: Final = "#ffffff"
_EDGE: Final = "#e0e2e4"
TEXT: Final = "#24292e"
FAINT: Final = "#6e747b"


class Sheet:
    """A picture that is drawn on in pixels, from the top left."""

    def __init__(self, height: int) -> None:
        self.height = height
        self.figure: Figure = plt.figure(
            figsize=(WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor=_PAGE
        )

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Text whose upper left corner is at (x, y), unless `ha` and `va` say otherwise."""
        style = {"size": 8, "color": TEXT, "va": "top", **style}
        self.figure.text(x / WIDTH, 1 - y / self.height, text, **style)

    def box(self, x: float, y: float, width: float, height: float, **style: Any) -> None:
        """A rectangle."""
        at = (x / WIDTH, 1 - (y + height) / self.height)
        size = (width / WIDTH, height / self.height)
        style = {"lw": 0, "zorder": -1, "transform": self.figure.transFigure, **style}
        self.figure.patches.append(Rectangle(at, *size, **style))

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes whose frame is this rectangle."""
        return self.figure.add_axes(
            (x / WIDTH, 1 - (y + height) / self.height, width / WIDTH, height / self.height)
        )


def drawn(dashboard: Mapping[str, Any], source: Source) -> bytes:
    """The picture of a dashboard, all values of its variables chosen: PNG."""
    texts = all_chosen(dashboard, source.label_values, source.times)
    panels = dashboard["panels"]
    rows = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in panels)
    sheet = Sheet(_HEAD + rows * _ROW + _GAP)
    _head(sheet, dashboard)
    for panel in panels:
        at = panel["gridPos"]
        x, y = at["x"] * _COLUMN + _GAP / 2, _HEAD + at["y"] * _ROW
        width, height = at["w"] * _COLUMN - _GAP, at["h"] * _ROW - _GAP
        if panel["type"] == "row":
            sheet.text(x + 6, y + 9, f"⌄  {panel['title']}", size=10, weight="bold")
            continue
        sheet.box(x, y, width, height, facecolor=_CARD, edgecolor=_EDGE, lw=0.8)
        sheet.text(x + 10, y + 9, panel["title"], size=9, weight="bold")
        answers = [source.series(target, texts) for target in panel["targets"]]
        preview_panels.DRAW[panel["type"]](
            sheet, panel, answers, (x + 10, y + 30, width - 20, height - 38)
        )
    return _encoded(sheet)


def _head(sheet: Sheet, dashboard: Mapping[str, Any]) -> None:
    sheet.text(10, 8, dashboard["title"], size=13, weight="bold")
    x = 10.0
    for variable in dashboard["templating"]["list"]:
        chosen = "Prometheus" if variable["type"] == "datasource" else "All"
        text = f"{variable['label']}: {chosen}"
        sheet.box(x, 34, 7 * len(text) + 14, 20, facecolor=_CARD, edgecolor=_EDGE, lw=0.8)
        sheet.text(x + 8, 38, text, size=8, color=FAINT)
        x += 7 * len(text) + 22
    links = "   ".join(f"↗ {link['title']}" for link in dashboard["links"])
    sheet.text(WIDTH - 12, 38, links, size=8, color=FAINT, ha="right")


def _encoded(sheet: Sheet) -> bytes:
    """With few colours: it is as sharp, and a third of the size."""
    from PIL import Image

    raw = io.BytesIO()
    sheet.figure.savefig(raw, format="png", dpi=_DPI, facecolor=_PAGE, metadata={"Software": None})
    plt.close(sheet.figure)
    small = io.BytesIO()
    Image.open(raw).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    return small.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read a dashboard, ask, draw, write."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana.preview")
    parser.add_argument("dashboard", type=Path)
    parser.add_argument("prometheus", help="its URL")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--seconds", type=float, default=3600, help="the time shown")
    parser.add_argument("--scrape", type=float, default=15, help="seconds between scrapes")
    given = parser.parse_args(arguments)
    step = max(given.scrape, given.seconds / 240)
    with Source(given.prometheus, Times(given.seconds, step, given.scrape)) as source:
        given.picture.write_bytes(drawn(json.loads(given.dashboard.read_text("utf-8")), source))


if __name__ == "__main__":
    main()
