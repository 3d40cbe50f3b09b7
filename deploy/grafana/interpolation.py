"""What Grafana puts for the variables of a dashboard before it asks Prometheus.

Nothing here draws or tests: the preview and the tests of the dashboards ask their questions
through it, so that Prometheus gets what Grafana would send.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_LABEL_VALUES: Final = re.compile(r"label_values\((?P<series>.+), (?P<label>\w+)\)")
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
#: What Grafana escapes in a value that stands in a regular expression within a string.
_SPECIAL: Final = re.compile(r"[\\^$.*+?()[\]{}|]")

#: Of Prometheus: the values of a label in the series that a selector matches.
LabelValues = Callable[[str, str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Times:
    """seconds: shown by the time picker. step: between the points of a graph. scrape: the data
    source's interval between scrapes. All in seconds.
    """

    seconds: float
    step: float
    scrape: float

    @property
    def rate_seconds(self) -> float:
        """$__rate_interval, as Grafana's documentation defines it."""
        return max(self.step + self.scrape, 4 * self.scrape)

    @property
    def texts(self) -> dict[str, str]:
        """Grafana's own variables of time."""
        return {
            "__rate_interval": f"{round(self.rate_seconds * 1000)}ms",
            "__interval": f"{round(self.step * 1000)}ms",
            "__range": f"{round(self.seconds)}s",
        }


def chosen(values: Sequence[str]) -> str:
    """Some values of a variable, as a regular expression in a PromQL string."""
    # Doubled, since the expression is a string of PromQL; a backslash stands for itself twice.
    escaped = [
        _SPECIAL.sub(lambda found: "\\\\" + found[0].replace("\\", "\\\\"), value)
        for value in values
    ]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def all_chosen(
    dashboard: Mapping[str, Any], values_of: LabelValues, times: Times
) -> dict[str, str]:
    """What stands for each variable of a dashboard when all its values are chosen, and for those
    of time. Raises LookupError where a variable has no values.
    """
    texts = dict(times.texts)
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        name = variable["name"]
        found = _LABEL_VALUES.fullmatch(variable["query"]["query"])
        if found is None:
            raise LookupError(f"{name}: not a query of label values")
        values = values_of(interpolated(found["series"], texts), found["label"])
        if not values:
            raise LookupError(f"{name} has no values")
        texts[name] = variable.get("allValue") or chosen(values)
    return texts


def interpolated(text: str, texts: Mapping[str, str]) -> str:
    """A text with its variables replaced. Raises KeyError for one that nobody defines."""
    return _VARIABLE.sub(lambda found: texts[found[1] or found[2]], text)
