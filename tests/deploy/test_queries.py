"""A real Prometheus over real replicas: every query of a dashboard and every rule returns data."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

pytest.importorskip("yaml")


from deploy.grafana import generate, preview, preview_panels, queries
from deploy.grafana.alarms import RULES
from deploy.grafana.interpolation import Times, all_chosen, interpolated
from deploy.grafana.preview_data import Source
from tests.deploy import prometheus_rules
from tests.deploy.prometheus_process import PrometheusProcess, prometheus, scraping
from tests.deploy.replicas import Replica, replicas
from tests.deploy.traffic import QUOTAS, SPECS, Traffic

#: What the time picker would hold, and what Grafana makes of it. Scraped once a second.
TIMES: Final = Times(seconds=60.0, step=1.0, scrape=1.0)
#: Queries of dashboards that may be empty, by title, and why.
MAY_BE_EMPTY: Final[dict[tuple[str, str], str]] = {}
#: Parts of alerts that return nothing here, and why that is right.
SILENT: Final = {
    'absent(up{job="sketchd"} == 1)': "the replicas are there",
    "last_over_time(tenant:sketchd_inexact_sketches:max[1h] offset 1d)": "there was no yesterday",
    "2 * (job:sketchd_log_backlog_updates:min30m offset 1h)": "there was no hour before",
    # Steps of subqueries are whole minutes of the clock, and the first may be to come.
    **{
        f"sum_over_time(job:sketchd_{what}:rate5m[{steps}": "no step is over yet"
        for what in ("requests_failed", "updates_slow")
        for steps in ("1h:1m]) * 60", "3d:5m]) * 300")
    },
}
_OPERATORS: Final = re.compile(
    r"(?:\b(?:and|or|unless)\b|[<>]=?|==|!=)(?:\s*(?:on|ignoring)\s*\([^)]*\))?"
)


@dataclass(frozen=True, slots=True)
class Watched:
    """Replicas with traffic, and the Prometheus that has scraped them and evaluated the rules."""

    fleet: list[Replica]
    traffic: Traffic
    prometheus: PrometheusProcess


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Traffic goes on while the tests ask."""
    folder = tmp_path_factory.mktemp("watched")
    rules = sorted(RULES.glob("*.yml"))
    with replicas(folder) as fleet:
        config = scraping([one.target for one in fleet], rules)
        with prometheus(config, folder / "prometheus") as process, Traffic(fleet, 1) as traffic:
            process.until(lambda: not traffic.alive or traffic.rounds >= 5, "some traffic", 120)
            process.until(lambda: [*process.targets().values()] == ["up"] * len(fleet), "scrapes")
            yield Watched(fleet, traffic, process)


def board(name: str) -> dict[str, Any]:
    """A committed dashboard."""
    found: dict[str, Any] = json.loads((generate.FOLDER / f"{name}.json").read_text("utf-8"))
    return found


def targets(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The title of each panel with each of its queries."""
    for panel in board(name)["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target


def rules(*, alerts: bool) -> dict[str, str]:
    """The expressions of all alerts, or of all that is recorded, by name."""
    return {
        rule.name: rule.expression for rule in prometheus_rules.rules() if rule.is_alert == alerts
    }


def operands(expression: str) -> list[str]:
    """The parts of an expression that are combined by set operators or compared, not numbers."""
    text = expression.strip()
    while text.startswith("(") and _closes(text) == len(text) - 1:
        text = text[1:-1].strip()
    cuts = [found for found in _OPERATORS.finditer(text) if _depth(text, found.start()) == 0]
    if not cuts:
        return [] if re.fullmatch(r"-?[\d.e]+", text) else [text]
    starts = [0, *(found.end() for found in cuts)]
    ends = [*(found.start() for found in cuts), len(text)]
    parts = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    return [operand for part in parts for operand in operands(part)]


def _closes(text: str) -> int:
    """Where the parenthesis closes that opens a text."""
    return next(at for at, letter in enumerate(text) if letter == ")" and _depth(text, at + 1) == 0)


def _depth(text: str, end: int) -> int:
    """How many brackets and strings are open before a place."""
    outside = re.sub(r'"[^"]*"?', "", text[:end])
    return (
        sum(map(outside.count, "({["))
        - sum(map(outside.count, ")}]"))
        + (text[:end].count('"') % 2)
    )


def waited(watched: Watched, empty: Mapping[Any, Any], ask: Any, what: str) -> list[str]:
    """Ask for each expression until it returns data or a while has passed; names of those empty."""
    left = dict(empty)

    def less() -> bool:
        for name, expression in list(left.items()):
            if any(math.isfinite(value) for value in ask(expression)):
                del left[name]
        return not left or not watched.traffic.alive

    try:
        watched.prometheus.until(less, what, 120)
    except AssertionError:
        return [str(name) for name in left]
    return [str(name) for name in left]


@pytest.fixture
def source(watched: Watched) -> Iterator[Source]:
    """Asks as Grafana would."""
    with Source(watched.prometheus.url, TIMES) as found:
        yield found


@pytest.mark.parametrize("name", sorted(generate.DASHBOARDS))
def test_every_query_of_a_dashboard_returns_data(
    watched: Watched, source: Source, name: str
) -> None:
    asked = {
        (title, target["refId"]): target
        for title, target in targets(name)
        if (name, title) not in MAY_BE_EMPTY
    }
    assert len(asked) > 15

    def ask(target: Mapping[str, Any]) -> Iterable[float]:
        source.refresh()
        try:
            texts = all_chosen(board(name), source.label_values, TIMES)
        except LookupError:  # not yet
            return []
        return [value for one in source.series(target, texts) for value in one.values]

    assert not waited(watched, asked, ask, f"data for {name}")
    assert watched.traffic.alive


@pytest.mark.parametrize("name", sorted(generate.DASHBOARDS))
def test_every_variable_of_a_dashboard_has_values(
    watched: Watched, source: Source, name: str
) -> None:
    texts = all_chosen(board(name), source.label_values, TIMES)
    assert texts["job"] == "sketchd"
    instances = source.label_values("sketchd_build_info", "instance")
    assert instances == sorted(one.target for one in watched.fleet)


@pytest.mark.parametrize("name", sorted(generate.DASHBOARDS))
def test_the_preview_draws_every_panel(
    watched: Watched, source: Source, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the queries: by now none is empty."""
    without: list[preview_panels.Place] = []
    monkeypatch.setattr(preview_panels, "nothing", lambda _, place: without.append(place))
    picture = preview.drawn(board(name), source)
    assert picture.startswith(b"\x89PNG\r\n")
    width, height = struct.unpack(">II", picture[16:24])
    rows = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in board(name)["panels"])
    assert width == preview.WIDTH
    assert 30 * rows < height < 50 * rows
    assert not without


def test_replicas_are_not_counted_twice(watched: Watched) -> None:
    """Two see one store: it holds as many sketches as one says, and their work adds up."""
    texts = {"job": ".+", "instance": ".*", "tenant": "acme", "kind": ".*"} | TIMES.texts

    def now(query: queries.Query) -> float:
        return sum(one.value for one in watched.prometheus.query(interpolated(query.expr, texts)))

    held = queries.total(queries.level("sketchd_sketches", "tenant"))
    watched.prometheus.until(
        lambda: len(SPECS) <= now(held) <= QUOTAS["acme"]["sketches"], "the sketches of one tenant"
    )
    ready = queries.level("sketchd_ready", how="sum")
    watched.prometheus.until(lambda: now(ready) == len(watched.fleet), "all are ready")
    assert now(queries.scraped()) == len(watched.fleet)


def test_prometheus_takes_every_rule(watched: Watched) -> None:
    watched.prometheus.until(
        lambda: all(rule.evaluated for rule in watched.prometheus.rules()), "all are evaluated"
    )
    loaded = watched.prometheus.rules()
    assert {rule.name for rule in loaded} == rules(alerts=True).keys() | rules(alerts=False).keys()
    assert [(rule.name, rule.trouble) for rule in loaded if rule.health != "ok"] == []


def test_every_recording_rule_records_something(watched: Watched) -> None:
    def ask(expression: str) -> list[float]:
        return [one.value for one in watched.prometheus.query(expression)]

    names = {name: name for name in rules(alerts=False)}
    assert not waited(watched, names, ask, "what rules record")
    assert not waited(watched, rules(alerts=False), ask, "what rules compute")


def test_every_part_of_an_alert_returns_data(watched: Watched) -> None:
    """So that none is silent because of a name that nothing has. Whole ones may well be."""

    def ask(expression: str) -> list[float]:
        return [one.value for one in watched.prometheus.query(expression)]

    parts = {part for text in rules(alerts=True).values() for part in operands(text)}
    assert SILENT.keys() <= parts
    for expression in rules(alerts=True).values():
        ask(expression)  # raises for what Prometheus does not take
    asked = {part: part for part in parts - SILENT.keys()}
    assert not waited(watched, asked, ask, "the parts of alerts")


def test_operands_are_told_apart() -> None:
    assert operands("up == 0") == ["up"]
    assert operands('(a{x!="1 > 0"} > 2 and on (job) b[5m]) or c unless d') == [
        'a{x!="1 > 0"}', "b[5m]", "c", "d",
    ]  # fmt: skip
    assert operands("max by (job) (a or b) >= 3 * scalar(c)") == [
        "max by (job) (a or b)", "3 * scalar(c)",
    ]  # fmt: skip
