"""The reader of PromQL finds metrics and labels, and nothing else."""

from __future__ import annotations

import pytest

from tests.deploy.promql import InvalidExpression, Selector, read


def test_metrics_are_told_from_everything_else() -> None:
    found = read(
        """sum by (job, le) (rate(a_total{status=~"5.. or b", x!="}"}[5m] offset 1h)) # c
        / on (pod) group_left (version) (d:e:f > bool 1e3) or histogram_quantile(0.99, g)
        unless avg without (k) (avg_over_time(h:rate5m[1h:30s])) * -Inf"""
    )
    assert found.metrics == {"a_total", "d:e:f", "g", "h:rate5m"}
    assert found.labels == {"job", "le", "pod", "version", "k"}
    assert found.selectors[0] == Selector(
        "a_total", (("status", "=~", "5.. or b"), ("x", "!=", "}"))
    )


def test_aggregations_may_have_their_labels_behind() -> None:
    found = read('max(up) by (job) - sum(rate(x[1m])) without (instance) + {__name__="y"}')
    assert found.metrics == {"up", "x"}
    assert found.labels == {"job", "instance"}
    assert Selector("", (("__name__", "=", "y"),)) in found.selectors


def test_what_is_no_promql_is_refused() -> None:
    for text in ("a ? b", "a{b=c}", 'a{b="c}'):
        with pytest.raises(InvalidExpression):
            read(text)
