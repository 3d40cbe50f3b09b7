"""The tests' own Prometheus: it scrapes, answers, and says what is wrong with a question."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.prometheus_process import JOB, prometheus, scraping


def test_it_scrapes_what_it_is_told_and_answers(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(
        "groups: [{name: one, rules: [{record: 'job:up:sum', expr: 'sum by (job) (up)'}, "
        "{alert: Gone, expr: 'up == 0', labels: {severity: page}}]}]"
    )
    nobody = "127.0.0.1:1"
    with prometheus(scraping([nobody], [rules]), tmp_path / "one") as found:
        found.until(lambda: found.query("job:up:sum"), "the rule's first value")
        [value] = found.query("up")
        assert (value.value, value.labels["job"], value.labels["instance"]) == (0, JOB, nobody)
        assert found.query("scalar(sum(up))")[0].value == 0
        [past] = found.query_range("up", 10).values()
        assert set(past) == {0.0}
        assert found.targets() == {nobody: "down"}
        found.until(lambda: found.firing() == {"Gone"}, "the alert fires")
        [alert] = found.alerts()
        assert alert.labels["severity"] == "page"
        assert {(one.name, one.kind, one.health) for one in found.rules()} == {
            ("job:up:sum", "recording", "ok"),
            ("Gone", "alerting", "ok"),
        }
        with pytest.raises(AssertionError, match="parse error"):
            found.query("sum(")
    assert not found.alive


def test_it_does_not_start_with_a_broken_rule(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: [{name: one, rules: [{record: 'a', expr: 'sum('}]}]")
    with pytest.raises(AssertionError, match="parse error"):
        with prometheus(scraping([], [rules]), tmp_path / "two"):
            pass
