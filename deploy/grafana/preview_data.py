"""Asks a running Prometheus what Grafana would ask for a dashboard."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx

from deploy.grafana.interpolation import Times, interpolated

_LEGEND: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer. name: as the legend shows it. at, values: seconds and numbers."""

    name: str
    labels: Mapping[str, str]
    at: Sequence[float]
    values: Sequence[float]


class Source:
    """A Prometheus. until: the end of the time shown, in seconds since the epoch."""

    def __init__(self, url: str, times: Times) -> None:
        self._url = url
        self._client = httpx.Client(timeout=30)
        self.times = times
        self.until = time.time()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def refresh(self) -> None:
        """Show the time until now."""
        self.until = time.time()

    def label_values(self, series: str, label: str) -> list[str]:
        """The values of a label in the series that a selector matches."""
        asked = {"match[]": series, "start": self.until - self.times.seconds, "end": self.until}
        return [str(value) for value in self._ask(f"label/{label}/values", **asked)]

    def series(self, target: Mapping[str, Any], texts: Mapping[str, str]) -> list[Series]:
        """What a target of a panel returns."""
        expression = interpolated(target["expr"], texts)
        if target.get("instant"):
            data = self._ask("query", query=expression, time=self.until)
            found = [(one["metric"], [one["value"]]) for one in data["result"]]
        else:
            step = self.times.step
            # Grafana aligns the points of a graph with its step.
            end = self.until // step * step
            data = self._ask(
                "query_range", query=expression, start=end - self.times.seconds, end=end, step=step
            )
            found = [(one["metric"], one["values"]) for one in data["result"]]
        return [
            Series(
                _named(target, labels),
                labels,
                [float(at) for at, _ in points],
                [float(value) for _, value in points],
            )
            for labels, points in found
        ]

    def _ask(self, what: str, **options: Any) -> Any:
        answer = self._client.get(f"{self._url}/api/v1/{what}", params=options)
        body = answer.json()
        if body["status"] != "success":
            raise ValueError(f"{options}: {body.get('error')}")
        return body["data"]


def _named(target: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    template = target.get("legendFormat") or "__auto"
    if template == "__auto":
        return ", ".join(labels.values()) or "value"
    return _LEGEND.sub(lambda found: labels.get(found[1], ""), template)
