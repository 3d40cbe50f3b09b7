"""The kinds of panels that the dashboards are made of, in Grafana's own types.

A panel's description says what the metrics it reads mean, in the catalogue's words, and its unit
is that of its queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as prometheus_models

from deploy.grafana.alarms import Alarm
from deploy.grafana.queries import Query
from service.metrics_catalogue import METRICS

#: Chosen on top of each dashboard.
SOURCE: Final = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN: Final = "green"
ORANGE: Final = "orange"
RED: Final = "red"
PLAIN: Final = "text"

Panel = timeseries.Panel | stat.Panel | heatmap.Panel | table.Panel


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. unit: of its query. bar: drawn as one, in place of a plain number.

    alarm: colours the bar from where the alert fires. absent: shown where there is no value.
    """

    title: str
    query: Query
    bar: bool = False
    alarm: Alarm | None = None
    absent: str = "–"


def described(queries: Sequence[Query], note: str, alarms: Sequence[Alarm] = ()) -> str:
    """A panel's description, in Markdown."""
    names = dict.fromkeys(name for query in queries for name in query.metrics)
    parts = [note] if note else []
    parts += [f"`{name}`: {METRICS[name].meaning}" for name in names]
    if alarms:
        parts.append("Alerts: " + ", ".join(f"[{one.name}]({one.runbook})" for one in alarms))
    return "\n\n".join(parts)


def _target(query: Query, letter: int) -> prometheus.Dataquery:
    target = prometheus.Dataquery().ref_id(chr(ord("A") + letter)).expr(query.expr)
    return target.datasource(SOURCE).legend_format(query.legend or "__auto").range()


def _instant(query: Query, letter: int) -> prometheus.Dataquery:
    target = prometheus.Dataquery().ref_id(chr(ord("A") + letter)).expr(query.expr)
    return target.datasource(SOURCE).format(prometheus_models.PromQueryFormat.TABLE).instant()


def _now(query: Query, letter: int) -> prometheus.Dataquery:
    return _target(query, letter).instant()


def _unit(queries: Sequence[Query]) -> str:
    """The one unit of all. Raises ValueError where they differ: they cannot share an axis."""
    found = {query.unit for query in queries}
    if len(found) != 1:
        raise ValueError(f"queries of one panel have several units: {sorted(found)}")
    return found.pop()


def steps(*limits: tuple[float, str], base: str = GREEN) -> builders.ThresholdsConfig:
    """Colours from a value on. limits: (value, colour), rising."""
    first = dashboard.Threshold(value=None, color=base)
    rest = [dashboard.Threshold(value=value, color=colour) for value, colour in limits]
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps([first, *rest])


def _colour(mode: dashboard.FieldColorModeId) -> builders.FieldColor:
    return builders.FieldColor().mode(mode)


def lines(
    title: str,
    *queries: Query,
    note: str = "",
    stacked: bool = False,
    alarms: Sequence[Alarm] = (),
    limit: float | None = None,
    unit: str = "",
    aside: bool = False,
    logarithmic: bool = False,
    whole: bool = False,
) -> timeseries.Panel:
    """Series over time.

    limit: drawn as a dashed line. unit: where the queries have several that can share an axis.
    aside: the legend stands at the right, a line for each series. logarithmic: the axis, which
    else begins at 0. whole: of numbers that have no fractions.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(described(queries, note, alarms))
        .datasource(SOURCE)
        .targets([_target(query, number) for number, query in enumerate(queries)])
        .unit(unit or _unit(queries))
        .color_scheme(_colour(dashboard.FieldColorModeId.PALETTE_CLASSIC))
        .draw_style(common.GraphDrawStyle.LINE)
        .line_interpolation(common.LineInterpolation.LINEAR)
        .line_width(1)
        .fill_opacity(25 if stacked else 0)
        .show_points(common.VisibilityMode.NEVER)
        .span_nulls(False)
        .legend(_legend(aside))
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )
    if logarithmic:
        panel.scale_distribution(
            common_builders.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10)
        )
    else:
        panel.min(0)
    if whole:
        panel.decimals(0)
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if limit is not None:
        _draw_limit(panel, limit)
    return panel


def _legend(aside: bool) -> common_builders.VizLegendOptions:
    placement = common.LegendPlacement.RIGHT if aside else common.LegendPlacement.BOTTOM
    return (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(placement)
        .show_legend(True)
        .calcs([])
    )


def _draw_limit(panel: timeseries.Panel, limit: float) -> None:
    panel.thresholds(steps((limit, RED), base="transparent"))
    # The line is to be seen also where everything is far below.
    panel.axis_soft_max(limit * 1.2)
    panel.thresholds_style(
        common_builders.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.DASHED)
    )


def number(
    title: str,
    *queries: Query,
    note: str = "",
    thresholds: builders.ThresholdsConfig | None = None,
    absent: str = "–",
    graph: bool = True,
    alarms: Sequence[Alarm] = (),
    decimals: int | None = None,
    names: bool = False,
    words: Mapping[str, str] | None = None,
) -> stat.Panel:
    """The last value of one or few queries, large.

    graph: with its course behind; else only the present is asked for. names: with the
    series' legends. words: shown in place of values.
    """
    target = _target if graph else _now
    panel = (
        stat.Panel()
        .title(title)
        .description(described(queries, note, alarms))
        .datasource(SOURCE)
        .targets([target(query, number) for number, query in enumerate(queries)])
        .unit(_unit(queries))
        .no_value(absent)
        .color_scheme(_colour(dashboard.FieldColorModeId.THRESHOLDS))
        .thresholds(thresholds or steps(base=PLAIN))
        .graph_mode(common.BigValueGraphMode.AREA if graph else common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
        .justify_mode(common.BigValueJustifyMode.AUTO)
        .text_mode(
            common.BigValueTextMode.VALUE_AND_NAME
            if names or len(queries) > 1
            else common.BigValueTextMode.VALUE
        )
        .orientation(common.VizOrientation.AUTO)
        .reduce_options(
            common_builders.ReduceDataOptions().values(False).calcs(["lastNotNull"]).fields("")
        )
    )
    if decimals is not None:
        panel.decimals(decimals)
    if words:
        shown = {value: dashboard.ValueMappingResult(text=text) for value, text in words.items()}
        panel.mappings([dashboard.ValueMap(options=shown)])
    return panel


def heat(title: str, query: Query, note: str = "") -> heatmap.Panel:
    """A histogram over time: how many observations a second in each bucket."""
    return (
        heatmap.Panel()
        .title(title)
        .description(described([query], note))
        .datasource(SOURCE)
        .targets([_target(query, 0).format(prometheus_models.PromQueryFormat.HEATMAP)])
        .unit(query.unit)
        .calculate(False)
        .cell_gap(1)
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_models.HeatmapColorMode.SCHEME)
            .scheme("Blues")
            .scale(heatmap_models.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit(query.unit))
        .cell_values(heatmap.CellValues().unit("ops"))
        .scale_distribution(
            common_builders.ScaleDistributionConfig().type(common.ScaleDistribution.LINEAR)
        )
        .show_legend()
        .show_tooltip()
        .hide_y_histogram()
    )


def rows(
    title: str,
    labels: Mapping[str, str],
    columns: Sequence[Column],
    sort: str,
    board: str,
    note: str = "",
) -> table.Panel:
    """A table of the present.

    labels: titles of the columns that hold labels, by label. sort: the title of the column that is
    largest first. board: the uid of its dashboard, which a click on a label narrows down.
    """
    queries = [column.query for column in columns]
    alarms = [column.alarm for column in columns if column.alarm is not None]
    panel = (
        table.Panel()
        .title(title)
        .description(described(queries, note, alarms))
        .datasource(SOURCE)
        .targets([_instant(query, number) for number, query in enumerate(queries)])
        .unit(queries[0].unit)
        .thresholds(steps(base="blue"))
        .with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(_ordered(labels, columns))
        .sort_by([common_builders.TableSortByFieldState().display_name(sort).desc(True)])
        .show_header(True)
        .cell_height(common.TableCellHeight.SM)
    )
    for label, name in labels.items():
        panel.override_by_name(name, [_choosing(board, label)])
    for column in columns:
        panel.override_by_name(column.title, _column_properties(column))
    return panel


def _choosing(board: str, label: str) -> dashboard.DynamicConfigValue:
    """A link in each cell, to the same dashboard of this tenant, or sketch, alone."""
    value = "${__value.raw:percentencode}"
    link = {
        "title": f"Only this {label}",
        "url": f"/d/{board}?${{__url_time_range}}&var-{label}={value}",
    }
    return dashboard.DynamicConfigValue("links", [link])


def _ordered(
    labels: Mapping[str, str], columns: Sequence[Column]
) -> dashboard.DataTransformerConfig:
    """Titles and order of the columns; Grafana calls the value of query A `Value #A`."""
    named = dict(labels)
    if len(columns) == 1:
        named["Value"] = columns[0].title
    else:
        named |= {f"Value #{chr(ord('A') + at)}": one.title for at, one in enumerate(columns)}
    options = {
        "excludeByName": {"Time": True},
        "indexByName": {name: number for number, name in enumerate(named)},
        "renameByName": named,
    }
    return dashboard.DataTransformerConfig(id_val="organize", options=options)


def _column_properties(column: Column) -> list[dashboard.DynamicConfigValue]:
    value = dashboard.DynamicConfigValue
    found = [value("unit", column.query.unit), value("noValue", column.absent)]
    if column.bar:
        cell: dict[str, Any] = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
        found += [value("custom.cellOptions", cell), value("min", 0)]
    if column.query.unit == "percentunit":
        found += [value("max", 1), value("decimals", 1)]
    if column.alarm is not None:
        limit = {"mode": "absolute", "steps": [
            {"color": "blue", "value": None}, {"color": RED, "value": column.alarm.limit},
        ]}  # fmt: skip
        found += [value("thresholds", limit), value("color", {"mode": "thresholds"})]
    return found
