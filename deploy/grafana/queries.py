"""PromQL over the metrics of the catalogue, in the variables of a dashboard.

What joins the replicas follows from the catalogue. Counters and what a process has are added up.
What the store holds is one thing that every replica sees, so of that the largest is shown,
and whether the store answers is what the worst of them says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from deploy.grafana import units
from deploy.grafana.alarms import NAMES
from service.metrics_catalogue import METRICS, Joined

#: What a rate is taken over: Grafana chooses it by the scrape interval and the width of the graph.
WINDOW: Final = "$__rate_interval"
#: What Grafana's time picker holds.
RANGE: Final = "$__range"
#: Variables that every metric can be filtered by, and those that some have a label for.
EVERYWHERE: Final = ("job", "instance")
BY_LABEL: Final = ("tenant", "sketch", "kind", "transport")

#: The alerts of the service that fire.
FIRING: Final = f'ALERTS{{alertstate="firing", alertname=~"{NAMES}"}}'

#: How PromQL joins the replicas, by how the catalogue joins the workers of one.
_JOINED: Final[dict[Joined, str]] = {
    "sum": "sum", "usage": "max", "store": "min", "same": "max", "least": "min", "most": "max",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Query:
    """An expression. unit: Grafana's. legend: a template. metrics: of the catalogue, as read."""

    expr: str
    unit: str
    metrics: tuple[str, ...] = ()
    legend: str = ""

    def named(self, legend: str) -> Query:
        """The same with a legend."""
        return replace(self, legend=legend)

    def measured(self, unit: str) -> Query:
        """The same in another unit, where the metric's name does not say it."""
        return replace(self, unit=unit)


def selected(name: str, where: str = "", suffix: str = "", free: tuple[str, ...] = ()) -> str:
    """A metric's series under the variables it can be filtered by, and `where` beside them.

    free: variables that do not filter here.
    """
    labels = METRICS[name].labels
    variables = (*EVERYWHERE, *(one for one in BY_LABEL if one in labels and one not in free))
    matchers = [f'{variable}=~"${variable}"' for variable in variables]
    return f"{name}{suffix}{{{', '.join([*matchers, where] if where else matchers)}}}"


def scraped() -> Query:
    """How many instances Prometheus reaches."""
    return Query('sum(up{job=~"$job", instance=~"$instance"})', units.COUNT)


def _summed(inner: str, by: tuple[str, ...], how: str = "sum") -> str:
    return f"{how} by ({', '.join(by)}) ({inner})" if by else f"{how}({inner})"


def firing() -> Query:
    """How many alerts of the service fire."""
    return Query(f"count({FIRING}) or vector(0)", units.COUNT)


def recorded(name: str, legend: str) -> Query:
    """What a recording rule keeps by job, as it is."""
    return Query(f'{name}{{job=~"$job"}}', units.COUNT, legend=legend)


def over_budget(ratio: str, allowed: str, legend: str) -> Query:
    """A recorded ratio by job, as a multiple of the recorded constant that is allowed."""
    share_of = f"{recorded(ratio, legend).expr} / on() group_left() {allowed}"
    return Query(share_of, units.COUNT, legend=legend)


def setting(name: str, *by: str) -> Query:
    """A setting that replicas were started with, of each worker."""
    return level("sketchd_setting", *by, where=f'setting="{name}"')


def versions() -> Query:
    """How many replicas run each version."""
    name = "sketchd_build_info"
    return Query(f"count by (version) ({selected(name)})", units.COUNT, (name,), "{{version}}")


def age(name: str, *by: str) -> Query:
    """Seconds since a moment that a gauge holds; since the earliest, of several."""
    return Query(f"time() - {_summed(selected(name), by, 'min')}", units.SECONDS, (name,))


def rate(name: str, *by: str, where: str = "", over: str = WINDOW) -> Query:
    """What a counter, or the number of observations of a histogram, grows by a second."""
    suffix = "_count" if METRICS[name].kind == "histogram" else ""
    inner = f"rate({selected(name, where, suffix)}[{over}])"
    return Query(_summed(inner, by), units.of_rate(name), (name,))


def grown(name: str, where: str = "", over: str = RANGE) -> Query:
    """How much a counter grew in the time shown; 0 also before it first did."""
    inner = f"increase({selected(name, where)}[{over}])"
    return Query(f"sum({inner}) or vector(0)", units.COUNT, (name,))


def level(name: str, *by: str, where: str = "", how: str = "") -> Query:
    """A gauge over all replicas. how: they are joined, where not as the catalogue's workers are."""
    how = how or _JOINED[METRICS[name].joined]
    return Query(_summed(selected(name, where), by, how), units.of_level(name), (name,))


def quantile(part: float, name: str, *by: str, where: str = "", over: str = WINDOW) -> Query:
    """The value below which this part of a histogram's observations lies."""
    inner = _summed(f"rate({selected(name, where, '_bucket')}[{over}])", ("le", *by))
    return Query(f"histogram_quantile({part:g}, {inner})", units.of_level(name), (name,))


def buckets(name: str, where: str = "") -> Query:
    """A histogram's observations a second by bucket, for a heatmap."""
    inner = f"rate({selected(name, where, '_bucket')}[{WINDOW}])"
    return Query(_summed(inner, ("le",)), units.of_level(name), (name,), "{{le}}")


def added(*parts: Query) -> Query:
    """The sum of queries without labels. None may be empty: see `or_zero`."""
    metrics = tuple(dict.fromkeys(name for part in parts for name in part.metrics))
    return Query(f"({' + '.join(f'({one.expr})' for one in parts)})", parts[0].unit, metrics)


def or_zero(query: Query) -> Query:
    """A query without labels that is 0 where nothing has been counted yet."""
    return replace(query, expr=f"{query.expr} or vector(0)")


def share(part: Query, whole: Query) -> Query:
    """part / whole, of the same labels; nothing where the whole is 0."""
    metrics = tuple(dict.fromkeys(part.metrics + whole.metrics))
    return Query(f"({part.expr}) / ({whole.expr} > 0)", units.SHARE, metrics)


def total(query: Query) -> Query:
    """All series of a query as one."""
    return replace(query, expr=f"sum({query.expr})")


def counted(query: Query) -> Query:
    """How many series a query has."""
    return replace(query, expr=f"count({query.expr})", unit=units.COUNT)


def by(query: Query, *labels: str) -> Query:
    """A query's series added up, by these labels alone."""
    return replace(query, expr=f"sum by ({', '.join(labels)}) ({query.expr})")


def largest(query: Query) -> Query:
    """The largest of a query's series."""
    return replace(query, expr=f"max({query.expr})")


def quota_used(name: str, resource: str) -> Query:
    """The part of a limit that each tenant with such a limit has used up, by tenant and resource.

    name: the gauge of what is limited.
    """
    used = f'label_replace({level(name, "tenant").expr}, "resource", "{resource}", "", "")'
    limit = level("sketchd_tenant_quota", "tenant", "resource", where=f'resource="{resource}"')
    return Query(f"{used} / {limit.expr}", units.SHARE, (name, *limit.metrics))


def either(*several: Query) -> Query:
    """The series of all the queries. Their labels must differ."""
    metrics = tuple(dict.fromkeys(name for one in several for name in one.metrics))
    return replace(several[0], expr=" or ".join(one.expr for one in several), metrics=metrics)


def or_none(query: Query, label: str) -> Query:
    """0 under the label's value `none` where the query returns nothing: nothing has happened."""
    nothing = f'label_replace(vector(0), "{label}", "none", "", "")'
    return replace(query, expr=f"{query.expr} or on() {nothing}")


def nonzero(query: Query) -> Query:
    """Only the series above 0, for graphs of many that are mostly still."""
    return replace(query, expr=f"{query.expr} > 0")
