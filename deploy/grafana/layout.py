"""Where panels stand: bands one below the other, 24 columns wide, ids in reading order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard

from deploy.grafana.panels import Panel

COLUMNS: Final = 24
#: One screen of 1080 lines, under Grafana's own bars, shows about so many units of height.
SCREEN: Final = 24


@dataclass(frozen=True, slots=True)
class Band:
    """Panels beside each other, of equal height. heading: a line above; "" for none."""

    panels: Sequence[tuple[int, Panel]]
    height: int
    heading: str = ""


def placed(to: builders.Dashboard, bands: Sequence[Band]) -> None:
    """Put the bands into a dashboard. Raises ValueError where one is not 24 columns wide."""
    y, number = 0, 0
    for band in bands:
        if sum(width for width, _ in band.panels) != COLUMNS:
            raise ValueError(f"the panels of {band.heading or 'a band'} do not fill 24 columns")
        if band.heading:
            number += 1
            at = dashboard.GridPos(h=1, w=COLUMNS, x=0, y=y)
            to.with_row(builders.Row(band.heading).id(number).grid_pos(at))
            y += 1
        x = 0
        for width, panel in band.panels:
            number += 1
            at = dashboard.GridPos(h=band.height, w=width, x=x, y=y)
            to.with_panel(panel.id(number).grid_pos(at))
            x += width
        y += band.height
