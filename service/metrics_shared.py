"""The metrics of several workers as if they were one: snapshots, how they join, how they travel.

A snapshot is what one worker's registry holds at a moment. Counters, histograms and gauges
of what a process has are added up; what all workers see alike (the store) is taken from the
one that looked last; of some things the worker that has the least, or the most, speaks for
all. `metrics_catalogue` says which is which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from service.metrics_catalogue import METRICS, Described, Joined

#: When a series began says nothing here, and doubles what is scraped.
_LEFT_OUT: Final = "_created"

#: By `Joined`: which of two workers' values is taken.
_CHOSEN: Final[dict[str, Callable[[float, float], float]]] = {"least": min, "most": max}

#: A series: its sample's name, and its labels in the order of their names.
Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class Family:
    """One metric. name: as in the catalogue. values: by series, those of one histogram together."""

    name: str
    values: dict[Series, float] = field(default_factory=dict)

    @property
    def described(self) -> Described:
        """The catalogue's words for it."""
        return METRICS[self.name]

    def add(self, other: Family) -> None:
        """Add another worker's values of the same metric."""
        for series, value in other.values.items():
            self.values[series] = self.values.get(series, 0.0) + value

    def choose(self, other: Family, chosen: Callable[[float, float], float]) -> None:
        """Take another worker's values where they are chosen (min or max) over those here."""
        for series, value in other.values.items():
            self.values[series] = chosen(self.values.get(series, value), value)


@dataclass(slots=True)
class Snapshot:
    """Families by name. as_of: when those of one `Joined` were last set (monotonic seconds)."""

    families: dict[str, Family] = field(default_factory=dict)
    as_of: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, registry: CollectorRegistry, as_of: dict[str, float]) -> Snapshot:
        """What a registry holds now. Every metric in it must be in the catalogue."""
        families = {}
        for metric in registry.collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            families[name] = Family(
                name,
                {
                    (sample.name, tuple(sorted(sample.labels.items()))): sample.value
                    for sample in metric.samples
                    if not sample.name.endswith(_LEFT_OUT)
                },
            )
        return cls(families, dict(as_of))

    def lasting(self) -> Snapshot:
        """What outlives its worker: counters and histograms."""
        return Snapshot(
            {
                name: family
                for name, family in self.families.items()
                if family.described.kind != "gauge"
            }
        )

    def seen_by(self, tenant: str) -> Snapshot:
        """Without what names other tenants."""
        return Snapshot(
            {
                name: Family(
                    name,
                    {
                        series: value
                        for series, value in family.values.items()
                        if dict(series[1]).get("tenant", tenant) == tenant
                    },
                )
                for name, family in self.families.items()
            },
            self.as_of,
        )

    def collect(self) -> Iterator[Metric]:
        """For prometheus_client's writers, which ask a registry like this."""
        for name, one in METRICS.items():
            if name not in self.families:
                continue
            metric = Metric(name.removesuffix("_total"), one.meaning, one.kind)
            for (sample, labels), value in self.families[name].values.items():
                metric.add_sample(sample, dict(labels), value)
            yield metric

    def encoded(self) -> dict[str, Any]:
        """As JSON can carry it."""
        return {
            "as_of": self.as_of,
            "families": {
                name: [[sample, labels, value] for (sample, labels), value in family.values.items()]
                for name, family in self.families.items()
            },
        }

    @classmethod
    def decoded(cls, carried: dict[str, Any]) -> Snapshot:
        """The snapshot that was encoded."""
        return cls(
            {
                name: Family(
                    name,
                    {
                        (sample, tuple((key, text) for key, text in labels)): value
                        for sample, labels, value in series
                    },
                )
                for name, series in carried["families"].items()
            },
            carried["as_of"],
        )


def joined(living: Sequence[Snapshot], ended: Iterable[Snapshot] = ()) -> Snapshot:
    """The metrics of all workers. ended: the last known ones of those that are no more."""
    whole = Snapshot()
    for name, one in METRICS.items():
        of_all = one.joined in ("sum", *_CHOSEN)
        sources = living if of_all else _latest(living, one.joined)
        if one.kind != "gauge":
            sources = [*sources, *ended]
        family = Family(name)
        for snapshot in sources:
            if name not in snapshot.families:
                continue
            if one.joined in _CHOSEN:
                family.choose(snapshot.families[name], _CHOSEN[one.joined])
            else:
                family.add(snapshot.families[name])
        whole.families[name] = family
    return whole


def _latest(living: Sequence[Snapshot], group: Joined) -> list[Snapshot]:
    """The snapshot whose gauges of one thing are the freshest; the first where none is fresher."""
    return [max(living, key=lambda one: one.as_of.get(group, -1.0))] if living else []
