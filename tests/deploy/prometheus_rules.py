"""deploy/prometheus as data: its rules, their unit tests, and the metrics that they stand on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from service.metrics_catalogue import METRICS
from tests.deploy import promql
from tests.deploy.promql import Expression
from tests.tidy.tree import ROOT

yaml = pytest.importorskip("yaml")  # without wheels for the newest Python for a while

FOLDER: Final = ROOT / "deploy" / "prometheus"
RUNBOOK: Final = ROOT / "docs" / "runbook.md"
#: What Prometheus itself knows of a target, and what it calls each one.
_OWN_METRICS: Final = frozenset({"up"})
_OWN_LABELS: Final = frozenset({"job", "instance", "namespace", "pod"})
_PARTS: Final = ("_bucket", "_sum", "_count")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a file. expression: as written."""

    name: str
    is_alert: bool
    expression: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def asks(self) -> Expression:
        """What it asks for. Raises promql.InvalidExpression."""
        return promql.read(self.expression)


def rules(folder: Path = FOLDER) -> list[Rule]:
    """Every rule of every file."""
    return [
        Rule(
            one.get("alert") or one["record"], "alert" in one, one["expr"], one.get("labels", {}),
            one.get("annotations", {}),
        )
        for file in sorted((folder / "rules").glob("*.yml"))
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]
        for one in group["rules"]
    ]  # fmt: skip


def alerts(folder: Path = FOLDER) -> list[Rule]:
    """Those that are alerts."""
    return [rule for rule in rules(folder) if rule.is_alert]


def unit_tests(folder: Path = FOLDER) -> list[Path]:
    """The unit tests of promtool."""
    return sorted((folder / "tests").glob("*.yml"))


@dataclass(frozen=True, slots=True)
class Case:
    """What one unit test asks of one alert at one time. given: the metrics it is given."""

    alert: str
    fires: bool
    given: frozenset[str]


def cases(folder: Path = FOLDER) -> Iterator[Case]:
    """Every case of every file."""
    for file in unit_tests(folder):
        for test in yaml.safe_load(file.read_text("utf-8"))["tests"]:
            given = frozenset(one["series"].partition("{")[0] for one in test["input_series"])
            for case in test.get("alert_rule_test", ()):
                yield Case(case["alertname"], bool(case["exp_alerts"]), given)


def described(metric: str) -> str | None:
    """The catalogue's name for a series, which may be one part of a histogram; None where none."""
    if metric in METRICS or metric in _OWN_METRICS:
        return metric
    for part in _PARTS:
        name = metric.removesuffix(part)
        if name != metric and name in METRICS and METRICS[name].kind == "histogram":
            return name
    return None


def base_metrics(rule: Rule, known: list[Rule]) -> set[str]:
    """The metrics that a rule stands on in the end, through recorded series."""
    recorded = {one.name: one for one in known if not one.is_alert}
    found: set[str] = set()
    for metric in rule.asks.metrics:
        if metric in recorded:
            found |= base_metrics(recorded[metric], known)
        else:
            found.add(described(metric) or metric)
    return found


def unknown_names(known: list[Rule]) -> Iterator[str]:
    """Metrics and labels in rules that no service, no rule and no Prometheus makes; one a line."""
    recorded = {one.name: one for one in known if not one.is_alert}
    for rule in known:
        asks = rule.asks
        labels = set(_OWN_LABELS)
        for metric in asks.metrics:
            name = described(metric)
            if metric in recorded:
                labels |= recorded[metric].asks.labels
            elif name is None:
                yield f"{rule.name}: no metric {metric}"
            elif name in METRICS:
                labels |= {*METRICS[name].labels, "le"}
        for selector in asks.selectors:
            if not selector.metric:
                yield f"{rule.name}: a selector without a metric"
            for label, _, _ in selector.matchers:
                if label not in labels:
                    yield f"{rule.name}: {selector.metric} has no label {label}"
        for label in asks.labels - labels:
            yield f"{rule.name}: no metric of it has the label {label}"


def untested(folder: Path = FOLDER) -> Iterator[str]:
    """Alerts without a case in which they fire, or one in which they do not yet; one a line."""
    known = rules(folder)
    found = list(cases(folder))
    for rule in known:
        if not rule.is_alert:
            continue
        # A case without any series that it looks at would be silent whatever it says.
        metrics = base_metrics(rule, known)
        of_it = [
            case
            for case in found
            if case.alert == rule.name and {described(one) for one in case.given} & metrics
        ]
        for fires in (True, False):
            if not any(case.fires == fires for case in of_it):
                yield f"{rule.name}: no case in which it {'fires' if fires else 'is silent'}"
    names = {rule.name for rule in known}
    for case in found:
        if case.alert not in names:
            yield f"{case.alert}: there is no such alert"
