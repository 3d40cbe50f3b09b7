"""Write the dashboards: python -m deploy.grafana.generate [folder].

They are made from `service.metrics_catalogue`, and nothing in them depends on when or where they
are made: the same catalogue gives the same bytes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from deploy.grafana import layout, queries, service, store, tenants
from deploy.grafana.panels import RED, SOURCE

FOLDER: Final = Path(__file__).parent / "dashboards"
#: By the name of its file.
DASHBOARDS: Final[dict[str, ModuleType]] = {"service": service, "store": store, "tenants": tenants}
TAG: Final = "sketchd"

#: Metrics whose series know all values of a label.
_VALUES_OF: Final = {
    "job": "sketchd_build_info",
    "instance": "sketchd_build_info",
    "tenant": "sketchd_sketches",
    "sketch": "sketchd_sketch_memory_bytes",
    "kind": "sketchd_update_duration_seconds_count",
    "transport": "sketchd_update_duration_seconds_count",
}
#: By variable: those before it that narrow its values.
_NARROWED_BY: Final = {"instance": ("job",), "tenant": ("job", "instance"),
                       "sketch": ("job", "instance", "tenant"), "kind": ("job", "instance"),
                       "transport": ("job", "instance")}  # fmt: skip


def _source() -> builders.DatasourceVariable:
    return builders.DatasourceVariable("datasource").id("datasource").label("Data source").type(
        "prometheus"
    )  # fmt: skip


def _variable(name: str) -> builders.QueryVariable:
    matchers = ", ".join(f'{one}=~"${one}"' for one in _NARROWED_BY.get(name, ()))
    within = f"{_VALUES_OF[name]}{{{matchers}}}" if matchers else _VALUES_OF[name]
    variable = (
        builders.QueryVariable(name)
        .id(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query({"query": f"label_values({within}, {name})", "refId": name})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .current(dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )
    if name != "job":
        # What appears later belongs to it too. Of jobs only those that have the metric.
        variable.all_value(".*")
    return variable


def _links(own: str) -> list[Builder[dashboard.DashboardLink]]:
    """To the other dashboards, for the same time and variables."""
    others = [one for name, one in DASHBOARDS.items() if name != own]
    return [
        builders.DashboardLink(other.TITLE.partition(" / ")[2])
        .type(dashboard.DashboardLinkType.LINK)
        .icon("dashboard")
        .tooltip(other.ABOUT)
        .url(f"/d/{other.UID}")
        .keep_time(True)
        .include_vars(True)
        .tags([])
        for other in others
    ]


def _firing() -> builders.AnnotationQuery:
    """Marks the time in which alerts fire."""
    return (
        builders.AnnotationQuery()
        .name("Alerts that fire")
        .datasource(SOURCE)
        .enable(True)
        .hide(False)
        .icon_color(RED)
        .expr(queries.FIRING)
    )


def built(name: str) -> dict[str, Any]:
    """One dashboard, as Grafana reads it."""
    one = DASHBOARDS[name]
    made = (
        builders.Dashboard(one.TITLE)
        .uid(one.UID)
        .description(one.ABOUT)
        .tags([TAG])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .editable()
        .version(1)
        .variables([_source(), *(_variable(which) for which in ("job", *one.VARIABLES))])
        .annotations([_firing()])
        .links(_links(name))
    )
    layout.placed(made, one.bands())
    plain: dict[str, Any] = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    for mark in plain["annotations"]["list"]:
        # Grafana reads these of Prometheus' annotations; the SDK's type does not know them.
        mark |= {"target": {"expr": mark["expr"], "interval": "30s", "refId": "Anno"},
                 "titleFormat": "{{alertname}}", "textFormat": "{{severity}}", "step": "30s",
                 "tagKeys": "severity,tenant,instance"}  # fmt: skip
    return plain


def written(name: str) -> str:
    """The file of a dashboard."""
    return json.dumps(built(name), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> None:
    """Write all of them, into the folder given or that of the project."""
    folder = Path(arguments[0]) if arguments else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name in DASHBOARDS:
        (folder / f"{name}.json").write_text(written(name), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
