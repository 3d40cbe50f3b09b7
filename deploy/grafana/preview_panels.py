"""Draws each kind of panel: Prometheus' answers in a rectangle of the preview's sheet."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from deploy.grafana.preview_data import Series
from deploy.grafana.preview_units import shown

if TYPE_CHECKING:
    from deploy.grafana.preview import Sheet

#: x, y, width, height, in pixels.
Place = tuple[float, float, float, float]
Answers = Sequence[Sequence[Series]]

#: Grafana's classic palette.
_PALETTE: Final = (
    "#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#8ab8ff", "#b877d9", "#705da0",
    "#37872d", "#fade2a", "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62", "#584477",
)  # fmt: skip
_NAMED: Final = {"green": "#299c46", "orange": "#e0752d", "red": "#d0342c", "text": "#24292e",
                 "blue": "#3274d9", "transparent": "#24292e"}  # fmt: skip
_FAINT: Final = "#6e747b"
_GRID: Final = "#e9ebed"


def _defaults(panel: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = panel["fieldConfig"]["defaults"]
    return found


def _colour(defaults: Mapping[str, Any], value: float) -> str:
    colour = "text"
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return _NAMED[colour]


def _axes(sheet: Sheet, place: Place, unit: str) -> Axes:
    axes = sheet.axes(*place)
    axes.set_facecolor("none")
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.grid(color=_GRID, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelsize=7, labelcolor=_FAINT)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))
    axes.xaxis.set_major_locator(MaxNLocator(6, prune="both"))
    axes.xaxis.set_major_formatter(FuncFormatter(_clock))
    return axes


def _clock(day: float, _: object) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(day * 86400))


def _days(series: Series) -> np.ndarray[Any, Any]:
    return np.array(series.at) / 86400


def nothing(sheet: Sheet, place: Place) -> None:
    """What Grafana shows for an answer without series."""
    x, y, width, height = place
    sheet.text(x + width / 2, y + height / 2, "No data", ha="center", va="center", color=_FAINT)


def draw_lines(sheet: Sheet, panel: Mapping[str, Any], answers: Answers, place: Place) -> None:
    """Time series, stacked where the panel says so, with its legend and limit."""
    every = list(itertools.chain(*answers))
    if not every:
        nothing(sheet, place)
        return
    defaults = _defaults(panel)
    aside = panel["options"]["legend"]["placement"] == "right"
    plot = _with_legend(sheet, [one.name for one in every], place, aside)
    axes = _axes(sheet, plot, defaults["unit"])
    if defaults["custom"].get("stacking", {}).get("mode") == "normal":
        _stack(axes, every)
    else:
        for one, colour in zip(every, itertools.cycle(_PALETTE), strict=False):
            axes.plot(*_gapped(one), color=colour, lw=1.1)
    _scale(axes, defaults, every)
    axes.margins(x=0)


def _gapped(one: Series) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Days and values, with nothing where points are missing: there no line is drawn."""
    days, values = _days(one), np.array(one.values)
    if len(days) < 3:
        return days, values
    holes = np.flatnonzero(np.diff(days) > 1.5 * np.diff(days).min()) + 1
    return np.insert(days, holes, days[holes - 1]), np.insert(values, holes, np.nan)


def _scale(axes: Axes, defaults: Mapping[str, Any], every: Sequence[Series]) -> None:
    """The vertical axis: where it begins and ends, its ticks, and the limit across it."""
    custom = defaults["custom"]
    if custom.get("scaleDistribution", {}).get("type") == "log":
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: shown(value, defaults["unit"]))
        )
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        highest = max((value for one in every for value in one.values if math.isfinite(value)),
                      default=0.0)  # fmt: skip
        axes.set_ylim(0, axes.get_ylim()[1] if highest > 0 else custom.get("axisSoftMax", 1))
    if defaults.get("decimals") == 0:
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    if "thresholdsStyle" in custom:
        axes.set_ylim(top=max(axes.get_ylim()[1], custom["axisSoftMax"]))
        limit = defaults["thresholds"]["steps"][-1]["value"]
        axes.axhline(limit, color=_NAMED["red"], lw=1, ls=(0, (6, 4)))


def _stack(axes: Axes, every: Sequence[Series]) -> None:
    moments = sorted(set(itertools.chain(*(one.at for one in every))))
    under = np.zeros(len(moments))
    for one, colour in zip(every, itertools.cycle(_PALETTE), strict=False):
        known = dict(zip(one.at, one.values, strict=True))
        over = under + np.nan_to_num([known.get(at, 0.0) for at in moments])
        axes.fill_between(np.array(moments) / 86400, under, over, color=colour, alpha=0.3, lw=0)
        axes.plot(np.array(moments) / 86400, over, color=colour, lw=1)
        under = over


def _with_legend(sheet: Sheet, names: Sequence[str], place: Place, aside: bool) -> Place:
    """Write the legend; the place that is left for the axes within their labels."""
    x, y, width, height = place
    if aside:
        room = min(330, max(7 * max(len(name) for name in names) * 0.8 + 20, 90))
        for row, (name, colour) in enumerate(zip(names, itertools.cycle(_PALETTE), strict=False)):
            if 15 * (row + 1) > height + 6:
                break
            _entry(sheet, x + width - room, y + 15 * row, name, colour)
        return x + 58, y + 4, width - room - 68, height - 24
    lines = _flowed(names, width)
    for row, line in enumerate(lines):
        for at, name, colour in line:
            _entry(sheet, x + at, y + height - 15 * (len(lines) - row) + 4, name, colour)
    return x + 58, y + 4, width - 64, height - 24 - 15 * len(lines)


def _flowed(names: Sequence[str], width: float) -> list[list[tuple[float, str, str]]]:
    lines: list[list[tuple[float, str, str]]] = [[]]
    at = 0.0
    for name, colour in zip(names, itertools.cycle(_PALETTE), strict=False):
        room = 5.8 * len(name) + 30
        if at + room > width and lines[-1]:
            if len(lines) == 3:  # Grafana scrolls
                return lines
            lines.append([])
            at = 0.0
        lines[-1].append((at, name, colour))
        at += room
    return lines


def _entry(sheet: Sheet, x: float, y: float, name: str, colour: str) -> None:
    sheet.box(x, y + 5, 12, 3, facecolor=colour)
    sheet.text(x + 17, y, name, size=7.5, color="#3b4147")


def draw_number(sheet: Sheet, panel: Mapping[str, Any], answers: Answers, place: Place) -> None:
    """The last values, large, with their course behind where the panel says so."""
    x, y, width, height = place
    defaults = _defaults(panel)
    found = [one for one in itertools.chain(*answers) if np.isfinite(one.values).any()]
    if not found:
        sheet.text(x + width / 2, y + height / 2, defaults.get("noValue", "No data"), size=15,
                   ha="center", va="center", color=_FAINT)  # fmt: skip
        return
    with_names = panel["options"]["textMode"] == "value_and_name"
    for number, one in enumerate(found):
        value = [value for value in one.values if math.isfinite(value)][-1]
        colour = _colour(defaults, value)
        middle = x + width * (number + 0.5) / len(found)
        if panel["options"]["graphMode"] == "area":
            _course(sheet, one, colour, (x - 10, y + height * 0.55, width + 20, height * 0.45 + 8))
        text = _worded(defaults, value)
        sheet.text(middle, y + height * 0.42, text, size=19 if len(found) == 1 else 16,
                   weight="bold", ha="center", va="center", color=colour)  # fmt: skip
        if with_names:
            sheet.text(middle, y + height * 0.78, one.name, ha="center", color=_FAINT)


def _worded(defaults: Mapping[str, Any], value: float) -> str:
    for mapping in defaults.get("mappings") or []:
        if f"{value:g}" in mapping["options"]:
            return str(mapping["options"][f"{value:g}"]["text"])
    return shown(value, defaults["unit"], defaults.get("decimals"))


def _course(sheet: Sheet, one: Series, colour: str, place: Place) -> None:
    axes = sheet.axes(*place)
    axes.axis("off")
    axes.fill_between(_days(one), one.values, color=colour, alpha=0.12, lw=0)
    axes.plot(_days(one), one.values, color=colour, lw=0.8, alpha=0.6)
    axes.set_ylim(bottom=0)
    axes.margins(x=0)


def draw_heat(sheet: Sheet, panel: Mapping[str, Any], answers: Answers, place: Place) -> None:
    """A histogram over time; Prometheus' buckets are cumulative, what is drawn is not."""
    unit = _defaults(panel)["unit"]
    buckets = sorted(answers[0], key=lambda one: float(one.labels["le"]))
    if not buckets:
        nothing(sheet, place)
        return
    x, y, width, height = place
    axes = _axes(sheet, (x + 58, y + 4, width - 64, height - 24), unit)
    moments = sorted(set(itertools.chain(*(one.at for one in buckets))))
    known = [dict(zip(one.at, one.values, strict=True)) for one in buckets]
    table = np.array([[column.get(at, 0.0) for at in moments] for column in known])
    apart = np.diff(table, axis=0, prepend=0.0).clip(min=0)
    apart = np.ma.masked_less_equal(apart, 1e-9)
    axes.pcolormesh(np.array(moments) / 86400, np.arange(len(buckets)), apart, cmap="Blues",
                    norm=PowerNorm(0.5, vmin=0), shading="nearest")  # fmt: skip
    ticks = range(0, len(buckets), 2)
    bounds = [float(buckets[at].labels["le"]) for at in ticks]
    axes.set_yticks(list(ticks), ["+Inf" if math.isinf(at) else shown(at, unit) for at in bounds])
    axes.margins(x=0)


def draw_rows(sheet: Sheet, panel: Mapping[str, Any], answers: Answers, place: Place) -> None:
    """A table: rows of equal labels, a column for each query, bars where a column has them."""
    organised = next(one for one in panel["transformations"] if one["id"] == "organize")["options"]
    titles = organised["renameByName"]
    wanted = sorted(titles, key=lambda name: organised["indexByName"][name])
    table = _merged(answers)
    sort = panel["options"]["sortBy"][0]["displayName"]
    by = next(name for name in wanted if titles[name] == sort)
    ordered = sorted(table, key=lambda row: -float(row.get(by, 0)))
    styles = {one["matcher"]["options"]: {item["id"]: item.get("value") for item in
              one["properties"]} for one in panel["fieldConfig"]["overrides"]}  # fmt: skip
    x, y, width, height = place
    column = width / len(wanted)
    for number, name in enumerate(wanted):
        title = titles[name]
        style = styles.get(title, {})
        at = x + column * number
        sheet.text(at, y, title, weight="bold", size=8, color="#3b4147")
        most = style.get("max") or _most(row.get(name) for row in ordered)
        for line, row in enumerate(ordered[: int(height // 20) - 1]):
            below = y + 20 * (line + 1)
            if number == 0:
                sheet.box(x, below - 4, width, 0.8, facecolor=_GRID)
            _cell(sheet, row.get(name), style, (at, below, column, 20), most)


def _most(values: Iterable[object]) -> float:
    return max((value for value in values if isinstance(value, float)), default=1.0) or 1.0


def _merged(answers: Answers) -> list[dict[str, Any]]:
    rows: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    for letter, answer in zip("ABCDEFGHIJKLMNOP", answers, strict=False):
        for one in answer:
            row = rows.setdefault(tuple(sorted(one.labels.items())), dict(one.labels))
            row[f"Value #{letter}" if len(answers) > 1 else "Value"] = one.values[-1]
    return list(rows.values())


def _cell(sheet: Sheet, value: object, style: Mapping[str, Any], place: Place, most: float) -> None:
    x, y, width, _ = place
    if value is None:
        sheet.text(x, y, str(style.get("noValue", "")), size=8, color=_FAINT)
        return
    if isinstance(value, str):
        sheet.text(x, y, value, size=8)
        return
    number = float(str(value))
    colour = _colour(style, number) if "thresholds" in style else _NAMED["blue"]
    text = shown(number, str(style["unit"]), style.get("decimals"))
    if "custom.cellOptions" not in style:
        sheet.text(x, y, text, size=8)
        return
    room = width - 80
    sheet.box(x, y, room, 11, facecolor="#eef1f5")
    sheet.box(x, y, room * min(1.0, number / most), 11, facecolor=colour, alpha=0.75)
    sheet.text(x + room + 6, y, text, size=8, color=colour)


Draw = Callable[["Sheet", Mapping[str, Any], Answers, Place], None]
DRAW: Final[dict[str, Draw]] = {
    "timeseries": draw_lines, "stat": draw_number, "heatmap": draw_heat, "table": draw_rows,
}  # fmt: skip
