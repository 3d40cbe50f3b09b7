"""Prometheus' rules: accepted, tested both ways, about metrics there are, with a runbook each."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from service import cli
from service.metrics import Metrics
from service.metrics_catalogue import METRICS
from service.settings import Settings, variable
from tests.deploy import prometheus_rules
from tests.deploy.prometheus_rules import FOLDER, RUNBOOK, Rule, alerts, base_metrics, rules
from tests.programs import needed

SEVERITIES = {"critical", "warning", "info"}
_LINK = (
    '{{ with query "sketchd:runbook:info" }}{{ . | first | label "url" }}{{ end }}#'  # and its name
)
#: What each section of the runbook says, in this order.
PARTS = ("**For users.**", "**See.**", "**Likely causes.**", "**Do.**", "**Over when.**")


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What promtool says."""
    return subprocess.run(
        [needed("promtool"), *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_prometheus_takes_the_configuration() -> None:
    done = promtool("check", "config", FOLDER / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rule files found" in done.stdout
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *(FOLDER / "rules").iterdir())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", prometheus_rules.unit_tests(), ids=lambda path: path.stem)
def test_rules_do_what_their_tests_say(file: Path) -> None:
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested_both_ways() -> None:
    assert list(prometheus_rules.untested()) == []


def test_rules_ask_for_what_there_is() -> None:
    assert list(prometheus_rules.unknown_names(rules())) == []


def test_each_recorded_series_is_tested_by_value_and_used_or_named_well() -> None:
    recorded = [rule.name for rule in rules() if not rule.is_alert]
    assert len(set(recorded)) == len(recorded)
    tested = (FOLDER / "tests" / "recording.yml").read_text("utf-8")
    for name in recorded:
        assert re.fullmatch(r"[a-z]+:[a-z_]+:[a-z0-9_]+", name), name
        assert f"round({name}, " in tested, name


def test_each_alert_says_what_it_has_to() -> None:
    for rule in alerts():
        assert re.fullmatch(r"Sketchd([A-Z][a-z]+)+", rule.name)
        assert rule.labels["severity"] in SEVERITIES, rule.name
        assert set(rule.annotations) == {"summary", "description", "runbook_url"}, rule.name
        assert rule.annotations["runbook_url"] == _LINK + rule.name.lower()
        assert rule.annotations["summary"].endswith("."), rule.name
        assert rule.annotations["description"].strip().endswith("."), rule.name


def test_only_one_alert_is_about_what_is_not_there() -> None:
    about = [rule.name for rule in alerts() if re.search(r"\babsent", rule.expression)]
    assert about == ["SketchdAbsent"]


def test_the_objective_of_latency_stands_in_one_place_and_is_a_bucket() -> None:
    found = [
        (rule.name, text)
        for rule in rules()
        for selector in rule.asks.selectors
        for label, _, text in selector.matchers
        if label == "le"
    ]
    [(name, bucket)] = found
    assert name == "job:sketchd_updates_slow:rate5m"
    assert float(bucket) in METRICS["sketchd_update_duration_seconds"].buckets


def test_what_must_not_be_missed_is_counted_from_nought() -> None:
    """increase() and changes() do not see a series that begins with 1."""
    registry = CollectorRegistry()
    Metrics(registry)
    looked_at = 0
    for rule in alerts():
        if not re.search(r"\b(increase|changes)\(", rule.expression):
            continue
        for selector in rule.asks.selectors:
            labels = {name: text for name, sign, text in selector.matchers if name != "job"}
            assert registry.get_sample_value(selector.metric, labels) is not None, rule.name
            looked_at += 1
    assert looked_at >= 4


def sections(text: str) -> dict[str, str]:
    """By name: the sections of the runbook that are about an alert."""
    parts = re.split(r"^## (Sketchd\w+)$", text, flags=re.MULTILINE)
    return {
        name: re.split(r"^## ", body, maxsplit=1, flags=re.MULTILINE)[0]
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_each_alert_has_a_section_of_the_runbook_and_each_section_an_alert() -> None:
    found = sections(RUNBOOK.read_text("utf-8"))
    assert list(found) == [rule.name for rule in alerts()]  # in the order of the rules, too
    for name, text in found.items():
        places = [text.find(part) for part in PARTS]
        assert -1 not in places, f"{name}: {PARTS[places.index(-1)]} is missing"
        assert places == sorted(places), name


def test_the_catalogue_names_the_alerts_of_each_metric() -> None:
    known = rules()
    about: dict[str, set[str]] = {name: set() for name in METRICS}
    for rule in alerts():
        for metric in base_metrics(rule, known) & METRICS.keys():
            about[metric].add(rule.name)
    assert {name: set(one.alerts) for name, one in METRICS.items()} == about


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """deploy/prometheus, to break."""
    return Path(shutil.copytree(FOLDER, tmp_path / "prometheus"))


def broken(folder: Path, alert: str, old: str, new: str) -> None:
    """Change one place of one alert of a copy."""
    path = folder / "rules" / "alerts.yml"
    before, found, text = path.read_text("utf-8").partition(f"- alert: {alert}\n")
    own, following, after = text.partition("- alert: ")
    assert own.count(old) == 1
    path.write_text(before + found + own.replace(old, new) + following + after)


@pytest.mark.parametrize(
    "alert, old, new",
    [
        ("SketchdStoreDown", "expr: max by (job, namespace) ", "expr: "),
        ("SketchdStoreDown", "for: 1m", "for: 2m"),
        ("SketchdStoreDown", "severity: critical", "severity: warning"),
        ("SketchdNotReady", "for: 3m", "for: 1m"),
        ("SketchdStoreFailing", "> 0.05", "> 0.01"),
        ("SketchdStoreFailing", "> 0.05", "> 0.2"),
        ("SketchdNotReady", "Replica {{ $labels.instance }}", "Replica {{ $labels.pod }}"),
        ("SketchdTargetDown", 'label "url"', 'label "job"'),
    ],
    ids=lambda text: text,
)
def test_a_broken_rule_is_noticed_by_its_unit_test(
    copy: Path, alert: str, old: str, new: str
) -> None:
    broken(copy, alert, old, new)
    done = promtool("test", "rules", copy / "tests" / "availability.yml")
    assert done.returncode != 0, done.stdout
    assert f"alertname: {alert}" in done.stdout + done.stderr


def test_a_metric_that_nobody_makes_is_noticed(copy: Path) -> None:
    broken(copy, "SketchdNotReady", "expr: sketchd_ready == 0", "expr: sketchd_redy == 0")
    broken(copy, "SketchdSeveralVersions", "(sketchd_build_info)", '(sketchd_build_info{who="x"})')
    assert list(prometheus_rules.unknown_names(rules(copy))) == [
        "SketchdNotReady: no metric sketchd_redy",
        "SketchdSeveralVersions: sketchd_build_info has no label who",
    ]


def test_an_alert_without_its_cases_is_noticed(copy: Path) -> None:
    path = copy / "tests" / "process.yml"
    text = path.read_text("utf-8").replace(
        "alertname: SketchdRest", "alertname: SketchdEventLoopLag #"
    )
    path.write_text(text)
    assert list(prometheus_rules.untested(copy)) == [
        "SketchdRestarting: no case in which it fires",
        "SketchdRestarting: no case in which it is silent",
    ]


def test_queries_of_the_runbook_ask_for_what_there_is(tmp_path: Path) -> None:
    text = RUNBOOK.read_text("utf-8")
    queries = re.findall(r"^```promql\n(.+?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(queries) > 20
    asked = [
        Rule(f"query {number}", True, query, {}, {}) for number, query in enumerate(queries, 1)
    ]
    assert list(prometheus_rules.unknown_names([*rules(), *asked])) == []
    file = tmp_path / "queries.yml"
    groups = [
        {
            "name": "queries",
            "rules": [{"record": f"q{at}", "expr": q} for at, q in enumerate(queries)],
        }
    ]
    file.write_text(json.dumps({"groups": groups}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_commands_of_the_runbook_exist() -> None:
    text = RUNBOOK.read_text("utf-8")
    found = {
        command.removeprefix("sketchd ")
        for command in re.findall(r"`(sketchd [a-z][^`]*)`", text)
        + re.findall(r"(?:exec sketchd|--) (sketchd [a-z]+)", text)
    }
    assert {"doctor", "version", "tenant list"} <= found
    for command in found:
        # What is to be filled in stands in capitals; a number will do for each.
        words = ["7" if word.isupper() else word for word in command.split()]
        cli._parser().parse_args(words)
    settings = set(re.findall(r"`(SKETCHD_[A-Z_]+)", text))
    assert settings <= {variable(field.name) for field in dataclasses.fields(Settings)}
