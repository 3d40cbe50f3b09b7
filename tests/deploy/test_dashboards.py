"""The dashboards are what their generator makes of the metrics, and fit, and say what they show."""

# ruff: noqa: E402 - PyYAML has no wheels for the newest Python for a while

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

yaml = pytest.importorskip("yaml")

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units as known_units

from deploy.grafana import alarms, generate, queries, units
from deploy.grafana.interpolation import Times, all_chosen, chosen, interpolated
from deploy.grafana.layout import COLUMNS, SCREEN
from service.metrics_catalogue import METRICS
from tests.deploy import prometheus_rules, promql
from tests.tidy.tree import ROOT

DEPLOY: Final = ROOT / "deploy"
NAMES: Final = sorted(generate.DASHBOARDS)
#: Metrics that no panel shows, and why.
NOT_SHOWN: Final[dict[str, str]] = {}
#: Of a histogram, as queries name its series.
_SUFFIX: Final = re.compile(r"_(bucket|count|sum)$")
#: Prometheus' own metrics, and the labels that it or its rules give.
_OWN: Final = {"up", "ALERTS"}
_OWN_LABELS: Final = {"job", "instance", "alertstate", "alertname", "le"}


def read(name: str) -> dict[str, Any]:
    """A committed dashboard."""
    found: dict[str, Any] = json.loads((generate.FOLDER / f"{name}.json").read_text("utf-8"))
    return found


def panels(name: str) -> list[dict[str, Any]]:
    """Its panels, without the headings between them."""
    return [panel for panel in read(name)["panels"] if panel["type"] != "row"]


def expressions(name: str) -> list[str]:
    """Every query of its panels."""
    return [target["expr"] for panel in panels(name) for target in panel["targets"]]


def metrics_of(expression: str) -> set[str]:
    """The metrics that the service answers with and an expression reads, as the catalogue calls
    them; not what rules record, nor what Prometheus knows by itself.
    """
    found = {name for name in promql.read(expression).metrics if ":" not in name}
    return {name if name in METRICS else _SUFFIX.sub("", name) for name in found - _OWN}


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_dashboard_is_the_generators(name: str) -> None:
    text = (generate.FOLDER / f"{name}.json").read_text("utf-8")
    assert text == generate.written(name), "make dashboards"


def test_no_other_dashboard_is_committed() -> None:
    assert sorted(path.stem for path in generate.FOLDER.glob("*.json")) == NAMES


def test_every_metric_is_shown_or_excused() -> None:
    shown = {metric for name in NAMES for text in expressions(name) for metric in metrics_of(text)}
    assert shown <= METRICS.keys()
    assert METRICS.keys() - shown == NOT_SHOWN.keys()


@pytest.mark.parametrize("name", NAMES)
def test_queries_filter_and_group_by_labels_that_the_metrics_have(name: str) -> None:
    for expression in expressions(name):
        asked = promql.read(expression)
        known = {label for metric in metrics_of(expression) for label in METRICS[metric].labels}
        for one in asked.selectors:
            [*own] = metrics_of(one.metric) if one.metric not in _OWN else []
            labels = {label for metric in own for label in METRICS[metric].labels} | _OWN_LABELS
            assert {label for label, _, _ in one.matchers} <= labels, expression
        assert asked.labels <= known | _OWN_LABELS, expression


def test_every_alert_has_a_panel_that_leads_to_its_runbook() -> None:
    named = {rule.name for rule in prometheus_rules.alerts()}
    texts = "\n".join(panel["description"] for name in NAMES for panel in panels(name))
    assert set(re.findall(r"\[(\w+)\]\(https://\S+/runbook/#\w+\)", texts)) == named


@pytest.mark.parametrize("name", NAMES)
def test_it_fits_on_two_screens_and_nothing_overlaps(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in read(name)["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= COLUMNS
        for cell in itertools.product(
            range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        ):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]
    assert max(y for _, y in taken) < 2 * SCREEN
    # Nor are there holes: every cell down to the last is some panel's.
    assert len(taken) == COLUMNS * (max(y for _, y in taken) + 1)


@pytest.mark.parametrize("name", NAMES)
def test_ids_and_titles_are_unique(name: str) -> None:
    every = read(name)["panels"]
    assert [panel["id"] for panel in every] == list(range(1, len(every) + 1))
    titles = [panel["title"] for panel in every if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_has_a_known_unit_and_says_what_it_means(name: str) -> None:
    known = {value for value in vars(known_units).values() if isinstance(value, str)}
    for panel in panels(name):
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] in known, panel["title"]
        overrides = [
            item["value"]
            for override in panel["fieldConfig"]["overrides"]
            for item in override["properties"]
            if item["id"] == "unit"
        ]
        assert set(overrides) <= known, panel["title"]
        assert panel["title"]
        assert len(panel["description"]) > 20, panel["title"]
        for target in panel["targets"]:
            for metric in metrics_of(target["expr"]):
                assert METRICS[metric].meaning in panel["description"], panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_grafanas_own_types_take_it_and_give_it_back(name: str) -> None:
    register_default_plugins()
    data = read(name)
    for mark in data["annotations"]["list"]:  # the type knows less than Grafana
        for field in ("target", "titleFormat", "textFormat", "step", "tagKeys"):
            del mark[field]
    typed = models.Dashboard.from_json(data)
    assert json.loads(json.dumps(typed, cls=JSONEncoder)) == data


@pytest.mark.parametrize("name", NAMES)
def test_each_variable_is_used_and_each_that_is_used_is_there(name: str) -> None:
    data = read(name)
    declared = {variable["name"] for variable in data["templating"]["list"]}
    assert {"datasource", "job", "instance"} <= declared
    asked = json.dumps([data["panels"], data["annotations"]])
    # Names that begin so are Grafana's own.
    used = {name for name in re.findall(r"\$\{?(\w+)", asked) if not name.startswith("__")}
    assert used == declared
    assert set(re.findall(r"var-(\w+)=", asked)) <= declared
    for variable in data["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["multi"]
            assert variable["includeAll"]


def test_the_dashboards_have_the_variables_of_all_labels_one_filters_by() -> None:
    every = {v["name"] for name in NAMES for v in read(name)["templating"]["list"]}
    assert every == {"datasource", *queries.EVERYWHERE, *queries.BY_LABEL}


def test_links_lead_to_the_other_dashboards() -> None:
    uids = {name: read(name)["uid"] for name in NAMES}
    for name in NAMES:
        links = {link["url"] for link in read(name)["links"]}
        assert links == {f"/d/{uid}" for other, uid in uids.items() if other != name}


def test_grafana_is_provisioned_with_the_source_and_the_folder() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "sketchd.yml").read_text())["datasources"]
    assert (source["uid"], source["type"]) == ("prometheus", "prometheus")
    assert source["url"] == "http://prometheus:9090"
    scraping = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scraping["scrape_interval"]
    [provider] = yaml.safe_load((folder / "dashboards" / "sketchd.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


def test_the_generator_writes_where_it_is_told(tmp_path: Path) -> None:
    generate.main([str(tmp_path / "new")])
    for name in NAMES:
        assert (tmp_path / "new" / f"{name}.json").read_text("utf-8") == generate.written(name)


def test_units_follow_from_names_and_kinds() -> None:
    assert units.of_level("process_resident_memory_bytes") == "bytes"
    assert units.of_level("sketchd_update_duration_seconds") == "s"
    assert units.of_level("sketchd_sketches") == "short"
    assert units.of_rate("sketchd_http_requests_total") == "reqps"
    assert units.of_rate("process_cpu_seconds_total") == "percentunit"
    with pytest.raises(ValueError, match="is a gauge"):
        units.of_rate("sketchd_sketches")


@pytest.mark.parametrize("name", [name for name, one in METRICS.items() if one.kind != "gauge"])
def test_every_counter_and_histogram_has_a_unit_of_its_rate(name: str) -> None:
    assert units.of_rate(name)


def test_replicas_are_added_up_but_for_what_all_see_alike() -> None:
    assert queries.level("sketchd_cache_bytes").expr.startswith("sum(")
    assert queries.level("sketchd_log_backlog_updates").expr.startswith("max(")
    assert queries.level("sketchd_store_up").expr.startswith("min(")


def test_values_are_escaped_as_grafana_does() -> None:
    assert chosen(["a.b"]) == r"a\\.b"
    assert chosen(["a+", "b\\c"]) == r"(a\\+|b\\\\c)"
    times = Times(seconds=3600, step=15, scrape=15)
    assert interpolated('x{y=~"$z"}[$__rate_interval]', {"z": "q"} | times.texts) == (
        'x{y=~"q"}[60000ms]'
    )
    with pytest.raises(KeyError):
        interpolated("$unknown", {})
    board = {"templating": {"list": [
        {"type": "query", "name": "job", "query": {"query": "label_values(up, job)"}},
        {"type": "query", "name": "pod", "query": {"query": 'label_values(up{job=~"$job"}, pod)'},
         "allValue": ".*"},
    ]}}  # fmt: skip
    asked = []

    def values_of(series: str, label: str) -> list[str]:
        asked.append((series, label))
        return ["one", "two"]

    found = all_chosen(board, values_of, times)
    assert (found["job"], found["pod"]) == ("(one|two)", ".*")
    assert asked == [("up", "job"), ('up{job=~"(one|two)"}', "pod")]


def test_an_alert_with_several_limits_has_no_limit() -> None:
    assert alarms.alarm("SketchdEventLoopLag").limit > 0
    with pytest.raises(ValueError, match="not with one number"):
        _ = alarms.alarm("SketchdErrorBudgetBurningFast").limit
    with pytest.raises(KeyError):
        alarms.alarm("sketchd:requests_failed:budget")
